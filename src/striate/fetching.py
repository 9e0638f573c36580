"""Files from elsewhere: where they are kept, and the one function that ever uses the network.

A file is fetched only where the caller says so, is checked against a known sum, and gets its name only once
it is whole.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from striate.errors import BadData

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class File:
    """One file as published."""

    url: str
    size: int
    """Bytes, at most."""
    sum: str
    """The md5 sum, or `sha256:` and the first digits of the SHA-256 sum."""

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def data_root() -> Path | None:
    """The folder that `STRIATE_DATA` names, if it is set."""
    root = os.environ.get("STRIATE_DATA")
    return Path(root).expanduser() if root else None


def cache_root() -> Path:
    """Where downloads are kept: the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "striate"


def fetch(file: File, folder: Path) -> Path:
    """Download one file; it gets its name only once it is whole and its sum is right."""
    target = folder / file.name
    part = folder / f"{file.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy(file, part, _say(file.name))
        check(file, part)
        os.replace(part, target)
    except OSError as why:
        raise BadData(
            f"{file.url}: could not be fetched: {why}; or put {file.name} into {folder} yourself"
        ) from why
    finally:
        part.unlink(missing_ok=True)
    return target


def check(file: File, here: Path) -> None:
    """Raise `BadData` where a file on this machine is not the one that was published."""
    kind, _, start = file.sum.rpartition(":")
    with here.open("rb") as stream:
        found = hashlib.file_digest(stream, kind or "md5").hexdigest()
    if not found.startswith(start):
        raise BadData(
            f"{file.url}: came with the sum {found}, not {file.sum}: damaged or replaced; try again"
        )


def _copy(file: File, part: Path, progress: Progress) -> None:
    """Stream the file to `part`. Stops where more comes than was promised."""
    import urllib.request  # slow to import, and hardly ever needed

    done = 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "striate"})
    with urllib.request.urlopen(request, timeout=30) as stream, part.open("wb") as out:
        while done <= file.size and (block := stream.read(1 << 18)):
            out.write(block)
            done += len(block)
            progress(done, file.size)


def _say(name: str) -> Progress:
    """Percentages on standard error: rewritten in place on a terminal, else every tenth part."""
    terminal, last = sys.stderr.isatty(), -1

    def say(done: int, total: int) -> None:
        nonlocal last
        now = min(100, 100 * done // max(1, total))
        if now == last or (not terminal and now // 10 == last // 10):
            return
        last = now
        end = "\n" if now == 100 or not terminal else ""
        print(f"{chr(13) if terminal else ''}{name} {now:3d} %", end=end, file=sys.stderr, flush=True)

    return say
