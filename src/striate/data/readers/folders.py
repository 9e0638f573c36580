"""Class folders: a picture's folder is its class. `train/cats/1.jpg`, or without splits `cats/1.jpg`.

The arrangement of names is separate from walking the disk: a zip of class folders is read by the same rules.
"""

import os
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from striate.data.picture import SUFFIXES
from striate.data.readers.labels import SPLITS, class_order, labelled
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData

NOT_CLASSES = {"images", "image", "masks", "labels", "annotations", "imagesets", "jpegimages"}
"""Folders that other formats have where this one has classes. Not `mask`: a picture may show one, or none."""

LEFT_BEHIND = {"__MACOSX", "Thumbs.db", "desktop.ini"}


def recognise(path: Path) -> bool:
    """A folder with a picture somewhere below, and none of the folders of other formats above it."""
    if not path.is_dir():
        return False
    pictures = (name for name in _walk(path)[0] if is_picture(name))
    return any(looks_like_classes(name) for name in islice(pictures, 1))


def read(path: Path) -> Source:
    """The splits found, or `all`; files are named, not opened."""
    files, folders = _walk(path)
    splits, classes, warnings = arrange(str(path), files, folders)
    found = {
        split: Split([ImageFile(name, path / name) for name in names], labelled(labels))
        for split, (names, labels) in splits.items()
    }
    return Source(path.resolve().name, path, "class folders", found, classes, warnings=warnings)


def not_pictures(count: int) -> str:
    """What is said of so many other files."""
    files = "file is no picture and was" if count == 1 else "files are no pictures and were"
    return f"{count:,} {files} left out"


def is_picture(name: str) -> bool:
    """Whether a file's name ends as a picture's does."""
    return name[name.rfind(".") :].lower() in SUFFIXES


def looks_like_classes(name: str) -> bool:
    """Whether a picture's path could be one of class folders."""
    return not NOT_CLASSES & {part.lower() for part in name.split("/")[:-1]}


def hidden(name: str) -> bool:
    """Whether any part of a path is what systems leave behind: .DS_Store, __MACOSX, Thumbs.db."""
    return name.startswith(".") or "/." in name or not LEFT_BEHIND.isdisjoint(name.split("/"))


def _walk(path: Path) -> tuple[list[str], list[str]]:
    """(files, folders) below `path` that are not hidden, as sorted relative names with forward slashes."""
    files, folders = [], []
    for here, inner, names in os.walk(path, followlinks=True):
        inner[:] = [name for name in inner if not hidden(name)]
        below = "" if here == str(path) else Path(here).relative_to(path).as_posix() + "/"
        folders += [below + name for name in inner]
        files += [below + name for name in names if not hidden(name)]
    return sorted(files), sorted(folders)


Arranged = dict[str, tuple[list[str], np.ndarray]]
"""Split -> its pictures' names, and their labels int64 (N,)."""


def arrange(
    where: str, files: list[str], folders: Iterable[str]
) -> tuple[Arranged, tuple[str, ...], list[str]]:
    """Sort the names of pictures into splits and classes: (splits, class names, warnings).

    `where` begins every message. Raises `BadData` for a class folder without pictures and for pictures that
    lie in no class folder (in a test set, which may be unlabelled, those are left out with a warning).
    """
    named = [name for name in files if is_picture(name)]
    wrapping = _wrapping(named)
    pictures = [(name, name.split("/")[len(wrapping) :]) for name in named]
    if not pictures:
        raise BadData(f"{where}: holds no pictures (files ending in {', '.join(sorted(SUFFIXES))})")
    top = {parts[0].lower() for _, parts in pictures if len(parts) > 1}
    has_splits = _has_splits(top, [parts for _, parts in pictures])
    warnings = _other_files(where, files, named)
    found: dict[str, dict[str, list[str]]] = {}
    astray: Counter[str] = Counter()
    for name, parts in pictures:
        split = SPLITS.get(parts[0].lower(), "") if has_splits else "all"
        inside = parts[1:] if has_splits else parts
        if parts[0].lower() == "trainval" and "train" in top and has_splits:
            split = ""  # it holds the pictures of train and val over again
        if not split or (len(inside) == 1 and split != "train" and has_splits):
            astray[parts[0] if len(parts) > 1 else "the top"] += 1
        elif len(inside) == 1:
            raise BadData(
                f"{where}: {name} lies in no class folder; put each class's pictures in a folder of its own, "
                "or give boxes, joints or masks with them (COCO, VOC, YOLO, LSP; masks in a folder beside)"
            )
        else:
            found.setdefault(split, {}).setdefault(inside[0], []).append(name)
    warnings += [
        f"{where}: {n} pictures in {place} lie in no class folder: left out" for place, n in astray.items()
    ]
    if not found:
        raise BadData(
            f"{where}: no picture lies in a class folder; put each class's pictures in a folder of its own"
        )
    _refuse_empty(where, folders, found, len(wrapping), has_splits)
    first = found.get("train") or next(iter(found.values()))
    classes = class_order({name for split in found.values() for name in split})
    for split, by_class in found.items():
        if strangers := sorted(by_class.keys() - first.keys()):
            warnings.append(f"{where}: {split} has classes that train has not: {', '.join(strangers)}")
    return {split: _flat(found[split], classes) for split in _in_order(found)}, tuple(classes), warnings


def _wrapping(pictures: list[str]) -> tuple[str, ...]:
    """The one folder that wraps everything, as archives often have, if there are folders inside it."""
    parts = [name.split("/") for name in pictures]
    top = {p[0] for p in parts}
    if len(top) == 1 and all(len(p) > 2 for p in parts) and next(iter(top)).lower() not in SPLITS:
        return (next(iter(top)),)
    return ()


def _has_splits(top: set[str], pictures: list[list[str]]) -> bool:
    """Whether folders at the top called train, val or test hold classes; among bus and car, train is one."""
    named = top & SPLITS.keys()
    nested = any(parts[0].lower() in SPLITS and len(parts) > 2 for parts in pictures)
    return nested or len(named) > 1 or (len(named) == 1 and len(top) < 3)


def _in_order(found: Iterable[str]) -> list[str]:
    return [split for split in ("train", "val", "test", "all") if split in set(found)]


def _flat(by_class: dict[str, list[str]], classes: list[str]) -> tuple[list[str], np.ndarray]:
    number = {name: i for i, name in enumerate(classes)}
    ordered = [name for name in classes if name in by_class]
    labels = np.repeat([number[c] for c in ordered], [len(by_class[c]) for c in ordered]).astype(np.int64)
    return [name for c in ordered for name in by_class[c]], labels


def _refuse_empty(where: str, folders: Iterable[str], found: dict, top: int, has_splits: bool) -> None:
    """An empty class folder is a copy that went wrong, not a class."""
    for folder in folders:
        parts = folder.rstrip("/").split("/")[top:]
        split = SPLITS.get(parts[0].lower()) if has_splits and parts else "all"
        inside = parts[1:] if has_splits else parts
        if split in found and len(inside) == 1 and inside[0] not in found[split]:
            raise BadData(f"{where}: the class folder {folder} holds no picture; fill it or delete it")


def _other_files(where: str, files: list[str], pictures: list[str]) -> list[str]:
    count = len(files) - len(pictures)
    if not count:
        return []
    first = next(name for name in files if not is_picture(name))
    return [f"{where}: {not_pictures(count)}, such as {first}"]
