"""Named sets: where each lies, and where it comes from if it is asked for.

A name is looked up under `STRIATE_DATA`, then in the user's cache, and downloaded only where the caller says
so: from the publisher, with its size and licence said first, checked against a known sum.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from striate.data.readers import digits
from striate.errors import BadData


@dataclass(frozen=True)
class File:
    """One file of a set as published."""

    url: str
    size: int
    """Bytes."""
    md5: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class NamedSet:
    """What is known of a set before it is here."""

    title: str
    licence: str
    files: tuple[File, ...] = ()
    also: tuple[str, ...] = ()
    """Other usual names, below `STRIATE_DATA`, of a folder or archive that holds it."""


_MNIST = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/"  # a copy: the publishers' own page no longer gives it
)
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_CIFAR_TERMS = "Krizhevsky 2009; free for research, pictures from the web"

SETS: dict[str, NamedSet] = {
    "digits": NamedSet("1,797 handwritten digits, 8×8 grey, built in", "Alpaydin, Kaynak 1998; CC BY 4.0"),
    "mnist": NamedSet(
        "MNIST: 70,000 handwritten digits, 28×28 grey",
        "LeCun, Cortes, Burges 1998; CC BY-SA 3.0",
        (
            File(_MNIST + "train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            File(_MNIST + "train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
            File(_MNIST + "t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
            File(_MNIST + "t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
        also=("MNIST/raw",),
    ),
    "fashion-mnist": NamedSet(
        "Fashion-MNIST: 70,000 pieces of clothing, 28×28 grey",
        "Zalando 2017; MIT",
        (
            File(_FASHION + "train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            File(_FASHION + "train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            File(_FASHION + "t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            File(_FASHION + "t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        also=("FashionMNIST/raw",),
    ),
    "cifar10": NamedSet(
        "CIFAR-10: 60,000 photographs of 10 kinds of things, 32×32 colour",
        _CIFAR_TERMS,
        (File(_CIFAR + "cifar-10-python.tar.gz", 170_498_071, "c58f30108f718f92721af3b95e74349a"),),
        also=(
            "cifar-10-batches-py",
            "cifar-10-batches-bin",
            "cifar-10-python.tar.gz",
            "cifar-10-binary.tar.gz",
        ),
    ),
    "cifar100": NamedSet(
        "CIFAR-100: 60,000 photographs of 100 kinds of things, 32×32 colour",
        _CIFAR_TERMS,
        (File(_CIFAR + "cifar-100-python.tar.gz", 169_001_437, "eb9058c3a382ffc7106e4002c42a8d85"),),
        also=("cifar-100-python", "cifar-100-binary", "cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
    ),
}

Progress = Callable[[int, int], None]


def find(data: str | Path, download: bool = False, progress: Progress | None = None) -> Path:
    """Where a named set or a path is; `BadData` says where it was looked for and what would fetch it.

    Only `download=True` uses the network. `progress(bytes done, bytes in all)`; without one, standard error.
    """
    name = str(data)
    if name == "digits":
        return digits.find()
    if name in SETS:
        return _named(name, download, progress)
    path = Path(data).expanduser()
    root = data_root()
    for place in (path, root / path if root else path):
        if place.exists():
            return place
    under = f"nor under STRIATE_DATA ({root})" if root else "and STRIATE_DATA is not set"
    near = get_close_matches(name, SETS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise BadData(
        f"{name}: neither in the working folder ({Path.cwd()}) {under}; {hint}named sets: {', '.join(SETS)}"
    )


def data_root() -> Path | None:
    """The folder that `STRIATE_DATA` names, if it is set."""
    root = os.environ.get("STRIATE_DATA")
    return Path(root).expanduser() if root else None


def cache_root() -> Path:
    """Where downloads are kept: the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "striate" / "data"


def _named(name: str, download: bool, progress: Progress | None) -> Path:
    known, root = SETS[name], data_root()
    usual = (name, f"{name}.zip", *known.also)
    here = next((root / n for n in usual if (root / n).exists()), None) if root else None
    if here is not None:
        return here
    folder = cache_root() / name
    missing = [file for file in known.files if not (folder / file.name).is_file()]
    if not missing:
        return folder
    size = sum(file.size for file in missing) / 1e6
    if not download:
        searched = f"under STRIATE_DATA ({root}) or" if root else "(STRIATE_DATA is not set)"
        raise BadData(
            f"{name}: not found {searched} in {folder}; --download fetches it "
            f"({size:.0f} MB, {known.licence})"
        )
    print(f"{known.title}\nfetching {size:.0f} MB to {folder}; licence: {known.licence}", file=sys.stderr)
    for file in missing:
        fetch(file, folder, progress)
    return folder


def fetch(file: File, folder: Path, progress: Progress | None = None) -> Path:
    """Download one file; it gets its name only once it is whole and its sum is right."""
    target = folder / file.name
    part = folder / f"{file.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = _copy(file, part, progress or _say(file.name))
        if found != file.md5:
            raise BadData(
                f"{file.url}: came with the sum {found}, not {file.md5}: damaged or replaced; try again"
            )
        os.replace(part, target)
    except OSError as why:
        raise BadData(
            f"{file.url}: could not be fetched: {why}; or put {file.name} into {folder} yourself"
        ) from why
    finally:
        part.unlink(missing_ok=True)
    return target


def _copy(file: File, part: Path, progress: Progress) -> str:
    """Stream the file to `part`; the md5 sum of what came. Stops where more comes than was promised."""
    import urllib.request  # slow to import, and hardly ever needed

    digest, done = hashlib.md5(usedforsecurity=False), 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "striate"})
    with urllib.request.urlopen(request, timeout=30) as stream, part.open("wb") as out:
        while done <= file.size and (block := stream.read(1 << 18)):
            out.write(block)
            digest.update(block)
            done += len(block)
            progress(done, file.size)
    return digest.hexdigest()


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
