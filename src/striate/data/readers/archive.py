"""A zip of class folders, read in place: nothing is unpacked to disk, whatever its members are called."""

import zipfile
from itertools import islice
from pathlib import Path

from striate.data.picture import opened
from striate.data.readers.folders import arrange, hidden, is_picture, looks_like_classes
from striate.data.readers.labels import labelled
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData


def recognise(path: Path) -> bool:
    """A zip file, unless its first picture lies in a folder that only other formats have."""
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    try:
        pictures = (n for n in opened(path).namelist() if is_picture(n) and not hidden(n))
        return all(looks_like_classes(name) for name in islice(pictures, 1))
    except (OSError, zipfile.BadZipFile):
        return True  # `read` says what is wrong with it


def read(path: Path) -> Source:
    """The splits found, or `all`; members are named, not decoded."""
    try:
        names = [name for name in opened(path).namelist() if not hidden(name)]
    except (OSError, zipfile.BadZipFile) as why:
        raise BadData(f"{path}: cannot be read as a zip: {why}; copy or fetch it again") from why
    files = sorted(name for name in names if not name.endswith("/"))
    splits, classes, warnings = arrange(str(path), files, sorted(n for n in names if n.endswith("/")))
    found = {
        split: Split([ImageFile(name, path, name) for name in members], labelled(labels))
        for split, (members, labels) in splits.items()
    }
    return Source(path.stem, path, "zip of class folders", found, classes, warnings=warnings)
