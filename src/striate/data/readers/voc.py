"""Pascal VOC's XML: a file of boxes for every picture.

    Annotations/a.xml  JPEGImages/a.jpg  ImageSets/Main/train.txt     or simply     a.jpg  a.xml

`ImageSets/Main` names the pictures of each split. Coordinates count from 1 and a box ends on its last pixel
(Everingham et al. 2010), so that xmin 1, xmax 1 is the first column. `difficult` things are neither missed
nor found in an evaluation. Classes are sorted by name, unless `classes.txt` lists them.
"""

import re
import xml.etree.ElementTree as Xml
from collections.abc import Iterable, Iterator
from pathlib import Path

from striate.data.readers.folders import hidden, is_picture
from striate.data.readers.labels import SPLITS, text_of
from striate.data.source import ImageFile, Source, Split
from striate.data.things import Thing, checked_box, targets
from striate.errors import BadData

Named = tuple[str, Thing]
"""The name of a thing's class, and the thing, whose number is not known yet."""


def recognise(path: Path) -> bool:
    """A folder with XML files in `Annotations`, or beside pictures."""
    return path.is_dir() and _annotations(path) is not None


def read(path: Path) -> Source:
    """The splits of `ImageSets/Main`, or `all`.

    Raises:
        BadData: XML that cannot be read or lacks a field, a box outside its picture, a missing picture; the
            message names file and field.
    """
    folder = _annotations(path)
    assert folder is not None
    pictures = _pictures(path, folder)
    names = _splits(path, pictures) or {"all": sorted(file.stem for file in _xmls(folder))}
    warnings: list[str] = []
    found: dict[str, tuple[list[ImageFile], list[list[Named]]]] = {}
    for split, stems in names.items():
        files, things = [], []
        silent = [stem for stem in stems if not (folder / f"{stem}.xml").is_file()]
        if silent:
            told = f"{folder}: has no XML for {len(silent)} of the {len(stems)} pictures of {split}"
            if split == "test" and len(silent) == len(stems) and len(names) > 1:
                warnings.append(f"{told}: left out")
                continue
            warnings.append(f"{told}, {silent[0]} first: taken for pictures with nothing in them")
        for stem in stems:
            if stem not in pictures:
                raise BadData(
                    f"{folder / stem}.xml: there is no picture of this name in {_beside(path, folder)}"
                )
            files.append(ImageFile(pictures[stem].relative_to(path).as_posix(), pictures[stem]))
            xml = folder / f"{stem}.xml"
            things.append(_things(xml, warnings) if xml.is_file() else [])
        found[split] = files, things
    classes = _classes(path, (name for _, things in found.values() for one in things for name, _ in one))
    splits = {
        split: Split(files, targets(_numbered(things, classes, folder)))
        for split, (files, things) in found.items()
    }
    return Source(path.resolve().name, path, "Pascal VOC", splits, tuple(classes), warnings=warnings)


def _annotations(path: Path) -> Path | None:
    for folder in (path / "Annotations", path / "annotations", path):
        if folder.is_dir() and next(_xmls(folder), None):
            return folder
    return None


def _xmls(folder: Path) -> Iterator[Path]:
    """Its XML files, without those that macOS leaves behind."""
    return (file for file in folder.glob("*.xml") if not hidden(file.name))


def _beside(path: Path, annotations: Path) -> Path:
    if annotations == path:
        return path
    names = ("JPEGImages", "images", "Images")
    return next((path / name for name in names if (path / name).is_dir()), path)


def _pictures(path: Path, annotations: Path) -> dict[str, Path]:
    """Name without ending -> picture."""
    files = sorted(_beside(path, annotations).iterdir())
    return {f.stem: f for f in files if is_picture(f.name) and not hidden(f.name)}


def _splits(path: Path, pictures: dict[str, Path]) -> dict[str, list[str]]:
    """Split -> names of its pictures, as listed; `trainval` only where there is no `train`."""
    lists: dict[str, Path] = {}
    for file in sorted((path / "ImageSets" / "Main").glob("*.txt")):
        if file.stem in SPLITS:
            lists.setdefault(SPLITS[file.stem], file)
    return {
        split: [
            _listed(line.strip(), pictures) for line in text_of(lists[split]).splitlines() if line.strip()
        ]
        for split in ("train", "val", "test")
        if split in lists
    }


def _listed(line: str, pictures: dict[str, Path]) -> str:
    """The name in a line of a list: all of it, or what stands before a 1, 0 or -1 (lists of one class)."""
    return line if line in pictures else re.sub(r"\s+(-1|0|1)$", "", line)


def _things(file: Path, warnings: list[str]) -> list[Named]:
    """What one file says is in its picture."""
    try:
        root = Xml.parse(file).getroot()
    except (Xml.ParseError, OSError, ValueError, LookupError) as why:  # the last two: odd encodings
        raise BadData(f"{file}: cannot be read as XML: {why}") from why
    size = int(_number(root, "size/height", file)), int(_number(root, "size/width", file))
    found = []
    for place, thing in enumerate(root.iter("object"), 1):
        where = f"{file}, object {place}"
        name = (thing.findtext("name") or "").strip()
        if not name:
            raise BadData(f"{where}: has no name")
        xmin, ymin, xmax, ymax = (
            _number(thing, f"bndbox/{side}", where) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        if xmax <= xmin or ymax <= ymin:
            warnings.append(f"{where}, bndbox: {name} has no area and is left out")
            continue
        box = checked_box((xmin - 1, ymin - 1, xmax, ymax), size, f"{where}, bndbox")
        if box is not None:
            found.append((name, Thing(box, -1, crowd=thing.findtext("difficult", "0").strip() == "1")))
    return found


def _number(element: Xml.Element, field: str, where: Path | str) -> float:
    text = element.findtext(field)
    try:
        return float(text or "")
    except ValueError:
        raise BadData(f"{where}, {field}: {text!r} is no number") from None


def _classes(path: Path, names: Iterable[str]) -> list[str]:
    """The classes of `classes.txt` in its order, or those that occur, sorted."""
    file = path / "classes.txt"
    if file.is_file():
        return [line.strip() for line in text_of(file).splitlines() if line.strip()]
    return sorted(set(names))


def _numbered(pictures: list[list[Named]], classes: list[str], folder: Path) -> list[list[Thing]]:
    number = {name: place for place, name in enumerate(classes)}
    for things in pictures:
        for name, thing in things:
            if name not in number:
                raise BadData(f"{folder}: a thing is called {name!r}, which classes.txt does not list")
            thing.label = number[name]
    return [[thing for _, thing in things] for things in pictures]
