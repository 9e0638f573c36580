"""Tar shards, read in place: `000000.tar`, `000001.tar` ... in WebDataset's layout, or tars of class folders.

In WebDataset's layout the members of a sample share a key, their name up to the first dot: `0001.jpg` is the
picture and `0001.cls` holds its class, a number or a name, or `0001.json` does, in one of the fields `KEYS`.

Members are found once, by their headers, and remembered as a place in the file: any of them is then read by
any thread in any order. Nothing is ever unpacked to disk, links are not followed.
"""

import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from striate.data.picture import SUFFIXES
from striate.data.readers.folders import (
    Arranged,
    arrange,
    hidden,
    is_picture,
    looks_like_classes,
    not_pictures,
)
from striate.data.readers.labels import SPLITS, by_split, class_order, labelled, split_of
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData

KEYS = ("cls", "label", "class", "class_name")
"""The fields of a `.json` that may hold the class, in this order."""

LARGEST_LABEL = 1 << 20
"""Bytes that a `.cls` or `.json` may have."""

_LABELS = (".cls", ".json")


@dataclass
class _Shard:
    """What one archive holds, by name."""

    pictures: dict[str, ImageFile] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """Key -> class, as the archive writes it."""
    folders: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files that are neither pictures nor labels of pictures, and a sample's pictures but one."""
    links: list[str] = field(default_factory=list)
    """Links and devices."""


def recognise(path: Path) -> bool:
    """A .tar, or a folder of them, or of such folders called train, val or test, with pictures inside."""
    shards = next(iter(_shards(path).values()), [])
    try:
        return all(_has_pictures(shard) for shard in shards[:1]) if shards else False
    except (OSError, tarfile.TarError):
        return True  # `read` says what is wrong with it


def read(path: Path) -> Source:
    """The splits that folders or file names speak of, or `all`; pictures are placed, not decoded."""
    found = {split: [_indexed(shard) for shard in shards] for split, shards in _shards(path).items()}
    everything = [shard for shards in found.values() for shard in shards]
    web = any(shard.labels for shard in everything)
    for shard in everything if web else []:
        _keep_one_a_sample(shard)
    warnings = _left_out(path, everything)
    if web:
        splits, classes = _web(path, found)
        kind = "tar shards"
    else:
        splits, classes, more = _class_folders(path, found)
        kind, warnings = "tar shards of class folders", warnings + more
    return Source(path.resolve().stem, path, kind, splits, classes, warnings=warnings)


def _shards(path: Path) -> dict[str, list[Path]]:
    """Split -> its archives in order of name; nothing where `path` is not of this format."""
    if path.is_file():
        return {split_of(path): [path]} if path.suffix.lower() == ".tar" else {}
    if not path.is_dir():
        return {}
    named = sorted((f for f in path.iterdir() if f.name.lower() in SPLITS), reverse=True)  # trainval, train
    below = {SPLITS[f.name.lower()]: _tars(f) for f in named}
    inside = {split: tars for split in ("train", "val", "test") if (tars := below.get(split))}
    if inside:
        return inside
    found = by_split(_tars(path))
    if "all" in found and len(found) > 1:
        other = next(shards[0] for split, shards in found.items() if split != "all")
        raise BadData(
            f"{path}: {found['all'][0].name} names no split, {other.name} does; "
            "call every shard train-..., val-... or test-..., or none"
        )
    return {split: found[split] for split in ("train", "val", "test", "all") if split in found}


def _tars(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    tars = (f for f in folder.iterdir() if f.suffix.lower() == ".tar" and not hidden(f.name))
    return sorted(f for f in tars if f.is_file())


def _has_pictures(shard: Path) -> bool:
    """Whether one of the first members is a picture, in no folder that only other formats have."""
    with tarfile.open(shard, "r:") as archive:
        names = (_plain(member.name) for member in islice(archive, 100) if member.isfile())
        first = next((name for name in names if is_picture(name) and not hidden(name)), None)
    return first is not None and looks_like_classes(first)


def _plain(name: str) -> str:
    """A member's name, without the `./` that tar writes."""
    return name.removeprefix("./")


def _indexed(path: Path) -> _Shard:
    """Read the headers of one archive, and the labels between them."""
    shard = _Shard()
    try:
        with tarfile.open(path, "r:") as archive:
            for member in _members(archive):
                _note(shard, path, archive, member)
            _refuse_damage(path, archive)
    except (OSError, ValueError, OverflowError, EOFError, tarfile.TarError) as why:
        raise BadData(
            f"{path}: cannot be read as a tar: {why}; it must be whole and not compressed: unpack a .tar.gz "
            "with gunzip, fetch a damaged one again"
        ) from why
    return shard


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members that systems did not leave behind; the archive is kept from remembering them."""
    before = -1
    for member in archive:
        archive.members.clear()  # ty: ignore[missing-attribute]
        if member.size < 0 or archive.offset <= before:
            raise tarfile.ReadError(f"a size below zero at byte {member.offset:,}")
        before = archive.offset
        if not hidden(_plain(member.name)):
            yield member


def _refuse_damage(path: Path, archive: tarfile.TarFile) -> None:
    """Python takes a damaged header in the middle for the end, which is a block of zeros or the file's."""
    with path.open("rb") as stream:
        stream.seek(archive.offset)
        if any(stream.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"damaged at byte {archive.offset:,}")


def _note(shard: _Shard, path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Put one member where it belongs."""
    name = _plain(member.name)
    suffix = name[name.rfind(".") :].lower()
    if member.isdir():
        shard.folders.append(name + "/")
    elif not member.isfile() or member.issparse():
        shard.links.append(f"{path.name}/{name}")
    elif suffix in SUFFIXES:
        shard.pictures[name] = ImageFile(f"{path.name}/{name}", path, span=(member.offset_data, member.size))
    elif suffix in _LABELS:
        if member.size > LARGEST_LABEL:
            raise BadData(f"{path}: {name}: has {member.size:,} bytes; a label has few")
        stream = archive.extractfile(member)
        label = _label(f"{path}: {name}", suffix, stream.read() if stream else b"")
        if label is not None:
            shard.labels[_key(name)] = label
    else:
        shard.others.append(f"{path.name}/{name}")


def _key(name: str) -> str:
    """A member's name up to the first dot that is not in a folder's name."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]


def _label(where: str, suffix: str, data: bytes) -> str | None:
    """The class in a `.cls`, or in a `.json` that has one; `BadData` where it cannot be read."""
    try:
        text = data.decode("utf-8").strip()
        if suffix == ".cls":
            value = text
        else:
            fields = json.loads(text)
            value = next((fields[k] for k in KEYS if k in fields), None) if isinstance(fields, dict) else None
    except (ValueError, RecursionError) as why:
        raise BadData(f"{where}: cannot be read: {why}; write the class as UTF-8 text") from why
    if value is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
        raise BadData(f"{where}: {str(value)[:40]!r} is no class; write its number or its name")
    return str(value).strip()


def _keep_one_a_sample(shard: _Shard) -> None:
    """Its picture is `0001.jpg`; `0001.seg.png` or `0001.thumb.jpg` is something else that belongs to it."""
    chosen: dict[str, str] = {}
    for name in shard.pictures:
        key = _key(name)
        before = chosen.setdefault(key, name)
        if name.count(".") < before.count("."):
            chosen[key] = name
    kept = set(chosen.values())
    shard.others += [file.name for name, file in shard.pictures.items() if name not in kept]
    shard.pictures = {name: file for name, file in shard.pictures.items() if name in kept}


def _web(path: Path, found: dict[str, list[_Shard]]) -> tuple[dict[str, Split], tuple[str, ...]]:
    """WebDataset's layout: every picture with the label of its key, in the order of the shards."""
    records = {
        split: [_record(shard, name) for shard in shards for name in shard.pictures]
        for split, shards in found.items()
    }
    names = {label: file for split in records.values() for file, label in split}
    _one_kind(path, names)
    classes = class_order(names)
    number = {name: i for i, name in enumerate(classes)}
    splits = {
        split: Split([file for file, _ in pairs], labelled(np.array([number[label] for _, label in pairs])))
        for split, pairs in records.items()
        if pairs
    }
    return splits, tuple(classes)


def _record(shard: _Shard, name: str) -> tuple[ImageFile, str]:
    """A picture and its class."""
    file = shard.pictures[name]
    label = shard.labels.get(_key(name))
    if label is None:
        raise BadData(
            f"{file.path}: {name} has no label: {_key(name)}.cls should hold its class, "
            f"or {_key(name)}.json in a field {' or '.join(KEYS)}"
        )
    return file, label


def _one_kind(path: Path, names: dict[str, ImageFile]) -> None:
    """Classes are all numbers or all names."""
    numbers = [name for name in names if name.isascii() and name.isdigit()]
    words = [name for name in names if not (name.isascii() and name.isdigit())]
    if numbers and words:
        one, other = names[numbers[0]], names[words[0]]
        raise BadData(
            f"{path}: mixed label types: {one.name} has the number {numbers[0]}, "
            f"{other.name} the name {words[0]!r}; write all as numbers or all as names"
        )


def _class_folders(
    path: Path, found: dict[str, list[_Shard]]
) -> tuple[dict[str, Split], tuple[str, ...], list[str]]:
    """Tars of class folders: all members are arranged as if they lay in one folder, or one of each split."""
    prefix = {split: "" if split == "all" else f"{split}/" for split in found}
    files: dict[str, ImageFile] = {}
    for split, shards in found.items():
        for shard in shards:
            for name, file in shard.pictures.items():
                place = prefix[split] + name
                if place in files:  # every writer of shards may count from 0
                    folder, slash, last = place.rpartition("/")
                    place = f"{folder}{slash}{file.path.stem}-{last}"
                files[place] = file
    folders = {
        prefix[split] + folder for split, shards in found.items() for s in shards for folder in s.folders
    }
    arranged, classes, warnings = arrange(str(path), sorted(files), sorted(folders))
    return _as_splits(arranged, files), classes, warnings


def _as_splits(arranged: Arranged, files: dict[str, ImageFile]) -> dict[str, Split]:
    return {
        split: Split([files[name] for name in names], labelled(labels))
        for split, (names, labels) in arranged.items()
    }


def _left_out(path: Path, shards: Iterable[_Shard]) -> list[str]:
    """A line each about links and about files that are no pictures."""
    shards = list(shards)
    links = [name for shard in shards for name in shard.links]
    others = [name for shard in shards for name in shard.others]
    lines = []
    if links:
        lines.append(f"{path}: {len(links)} links are not followed and were left out, such as {links[0]}")
    if others:
        lines.append(f"{path}: {not_pictures(len(others))}, such as {others[0]}")
    return lines
