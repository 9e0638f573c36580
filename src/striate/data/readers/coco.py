"""COCO's JSON: boxes, outlines, joints and sentences of pictures, one file for each split.

    annotations/instances_train2017.json   images/train2017/000000000009.jpg
    train.json   val.json   images/a.jpg

A file's split is told by its name; several of one split (instances, person_keypoints, captions) are joined by
the numbers of their annotations. Pictures are looked for beside the files, in `images`, and in folders there.
Format: cocodataset.org/#format-data.
"""

import codecs
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.readers.labels import by_split, split_of, text_of
from striate.data.source import ImageFile, Source, Split
from striate.data.things import Outline, Thing, checked_box, mirrored, targets
from striate.errors import BadData

NEEDED = {"images": ("id", "file_name"), "annotations": ("image_id",), "categories": ("id", "name")}
"""The format's lists, and the fields without which an item of them says nothing."""

UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
"""Numbers from 1 to 90 that COCO's own files give to none of its eighty categories."""


def recognise(path: Path) -> bool:
    """A JSON file that begins as COCO's do, or a folder that holds one, or has one in `annotations`."""
    return bool(_files(path))


def read(path: Path) -> Source:
    """The splits found, or `all`.

    Raises:
        BadData: a file that is not COCO's after all, or a box, class, joint or picture that is wrong; the
            message names file, annotation and field.
    """
    parsed = {split: [_parsed(file) for file in files] for split, files in by_split(_files(path)).items()}
    whole = [one for group in parsed.values() for one in group]
    classes = _classes(whole)
    root = path if path.is_dir() else path.parent
    root = root.parent if root.name == "annotations" else root
    splits, warnings = {}, _renumbered(whole, classes)
    if "test" in parsed and len(parsed) > 1 and not any(file.annotations for file in parsed["test"]):
        silent = parsed.pop("test")
        warnings += [f"{file.path}: says nothing of its pictures: left out" for file in silent]
    for split in sorted(parsed, key=("train", "val", "test", "all").index):
        splits[split], lines = _split(parsed[split], classes, _Folders(root, split))
        warnings += lines
    skeleton, lines = _skeleton(classes, whole[0].path)
    notes, warnings = skeleton | {"category_ids": classes.ids}, warnings + lines
    name = root.resolve().name
    return Source(name, path, "COCO JSON", splits, tuple(classes.names), notes=notes, warnings=warnings)


@dataclass
class _File:
    """One file, read."""

    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]


@dataclass
class _Classes:
    """What categories there are: their numbers in the file, their names, the skeleton if one has any."""

    ids: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    jointed: int = 0
    """The number of the class that has a skeleton."""
    joints: list[str] = field(default_factory=list)
    bones: list[list[int]] = field(default_factory=list)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".json" and _looks_like(path) else []
    if not path.is_dir():
        return []
    for folder in (path / "annotations", path):
        found = [file for file in sorted(folder.glob("*.json")) if _looks_like(file)]
        if found:
            return found
    return []


def _looks_like(file: Path) -> bool:
    """Whether one of the format's keys stands near the beginning or the end, outside of any value."""
    with file.open("rb") as opened:
        start = opened.read(1 << 16)
        opened.seek(max(0, file.stat().st_size - (1 << 16)))
        end = opened.read()
    return start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{" and any(
        f'"{key}"'.encode() in start + end for key in ("images", "annotations")
    )


def _parsed(file: Path) -> _File:
    try:
        whole = json.loads(text_of(file))
    except ValueError as why:
        raise BadData(f"{file}: cannot be read as JSON: {why}") from why
    if not isinstance(whole, dict) or "images" not in whole:
        raise BadData(f"{file}: COCO's JSON is an object with the lists {', '.join(NEEDED)}")
    images, annotations, categories = (_list(whole, key, file) for key in NEEDED)
    return _File(file, images, annotations, categories)


def _list(whole: dict[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    """One of the file's lists, every item of which has the fields that are needed."""
    items = whole.get(key, [])
    if not isinstance(items, list):
        raise BadData(f"{file}, {key}: is not a list")
    for place, item in enumerate(items):
        missing = [name for name in NEEDED[key] if not isinstance(item, dict) or name not in item]
        if missing:
            raise BadData(f"{file}, {key}[{place}]: has no field {missing[0]!r}")
    return items


def _classes(files: list[_File]) -> _Classes:
    known: dict[int, dict[str, Any]] = {}
    for file in files:
        for category in file.categories:
            before = known.setdefault(category["id"], category)
            if before["name"] != category["name"]:
                raise BadData(
                    f"{file.path}, categories: number {category['id']} is {category['name']!r} here and "
                    f"{before['name']!r} in another file"
                )
            if category.get("keypoints"):
                known[category["id"]] = category
    found = _Classes()
    for number in sorted(known):
        found.ids.append(number)
        found.names.append(str(known[number]["name"]))
        if known[number].get("keypoints") and not found.joints:
            found.jointed = number
            found.joints = [str(joint) for joint in known[number]["keypoints"]]
            found.bones = [[a - 1, b - 1] for a, b in known[number].get("skeleton") or []]
    return found


def _renumbered(files: list[_File], classes: _Classes) -> list[str]:
    """Mend the commonest slip of converters, and say so: COCO's eighty categories listed from 1 to 80 while
    the annotations have COCO's own numbers from 1 to 90, or one more."""
    used = {a["category_id"] for file in files for a in file.annotations if "category_id" in a}
    ends = [classes.names[0], classes.names[-1]] if classes.names else []
    if used <= set(classes.ids) or classes.ids != list(range(1, 81)) or ends != ["person", "toothbrush"]:
        return []
    own = [number for number in range(1, 91) if number not in UNUSED]
    for more in (0, 1):
        shifted = [number + more for number in own]
        if used <= set(shifted):
            classes.jointed = dict(zip(classes.ids, shifted, strict=True)).get(classes.jointed, 0)
            classes.ids = shifted
            extra = " plus one" if more else ""
            return [
                f"{files[0].path}: lists the categories as 1 to 80, and its annotations have COCO's own "
                f"numbers from 1 to 90{extra}: read as those"
            ]
    return []


def _skeleton(classes: _Classes, file: Path) -> tuple[dict[str, Any], list[str]]:
    """(notes, warnings). Where no joint's name has a side, pictures must not be mirrored."""
    if not classes.joints:
        return {}, []
    turned = mirrored(classes.joints)
    notes = {"joints": classes.joints, "bones": classes.bones, "mirrored": turned, "jointed": classes.jointed}
    if len(turned) == 1 or turned != sorted(turned):
        return notes, []
    line = f"{file}: no joint is called left or right, to change places in a mirror: none is used"
    return notes | {"mirror": False}, [line]


def _split(files: list[_File], classes: _Classes, folders: "_Folders") -> tuple[Split, list[str]]:
    """The pictures of one split's files, and a line about what was left out."""
    images = _images(files)
    said: list[tuple[str, dict[str, Any]]] = []
    before: dict[tuple[int, Any], int] = {}
    captions: dict[int, list[str]] = defaultdict(list)
    for file in files:
        mine: dict[tuple[int, Any], int] = {}
        for place, annotation in enumerate(file.annotations):
            number = annotation["image_id"]
            where = f"{file.path}, annotations[{place}]"
            if number not in images:
                raise BadData(f"{where}, image_id: there is no picture {number}")
            if "caption" in annotation:
                captions[number].append(str(annotation["caption"]).strip())
            else:
                key = number, annotation.get("id", where)
                known = before.get(key)
                if known is not None and _agree(said[known][1], annotation):
                    said[known] = where, said[known][1] | annotation
                else:
                    mine[key] = len(said)
                    said.append((where, annotation))
        before |= mine
    things: dict[int, list[Thing]] = defaultdict(list)
    empty = 0
    for where, annotation in said:
        number = annotation["image_id"]
        thing = _thing(annotation, images[number], classes, where)
        if thing is None:
            empty += 1
        else:
            things[number].append(thing)
    order = sorted(images)
    found = targets([things[number] for number in order], len(classes.joints))
    found["image_id"] = order
    found["size"] = [(*_size(images[number]), images[number]["file_name"]) for number in order]
    if captions:
        found["captions"] = [captions[number] for number in order]
    pictures = [folders.find(str(images[number]["file_name"])) for number in order]
    lines = [f"{files[0].path}: {empty} boxes without any area are left out"] if empty else []
    return Split(pictures, found), lines


def _images(files: list[_File]) -> dict[int, dict[str, Any]]:
    """The pictures of one split's files by their numbers."""
    found: dict[int, tuple[Path, dict[str, Any]]] = {}
    for file in files:
        for image in file.images:
            if type(image["id"]) is not int:
                raise BadData(f"{file.path}, images: the id {image['id']!r} is no whole number; count from 1")
            where, known = found.setdefault(image["id"], (file.path, image))
            if known["file_name"] != image["file_name"]:
                raise BadData(
                    f"{file.path}, images: number {image['id']} is {image['file_name']} here and "
                    f"{known['file_name']} in {where}: give every picture of a split a number of its own"
                )
            found[image["id"]] = file.path, known | image
    return {number: image for number, (_, image) in found.items()}


def _size(image: dict[str, Any]) -> tuple[float, float]:
    """(height, width) as the file says it; zeros where it does not."""
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int | float) and isinstance(width, int | float) else (0, 0)


def _agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two annotations of one number, in two files, can be of one thing."""
    return all(one[key] == other[key] for key in ("category_id", "bbox") if key in one and key in other)


def _thing(annotation: dict[str, Any], image: dict[str, Any], classes: _Classes, where: str) -> Thing | None:
    if "category_id" not in annotation or annotation["category_id"] not in classes.ids:
        raise BadData(f"{where}, category_id: {annotation.get('category_id')} is in no list of categories")
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, int | float) for v in box):
        raise BadData(f"{where}, bbox: {box} is not [x, y, width, height]")
    x, y, width, height = box
    corners = (float(x), float(y), float(x + width), float(y + height))
    cut = corners
    if any(_size(image)):
        cut = checked_box(corners, _size(image), f"{where}, bbox")
    if cut is None:
        return None
    area = annotation.get("area")
    if not isinstance(area, int | float | None):
        raise BadData(f"{where}, area: {area!r} is no number")
    return Thing(
        cut,
        classes.ids.index(annotation["category_id"]),
        bool(annotation.get("iscrowd", 0)),
        None if area is None else float(area),
        _outline(annotation.get("segmentation"), f"{where}, segmentation"),
        _joints(annotation, len(classes.joints), where),
    )


def _outline(given: Any, where: str) -> Outline:
    """Polygons of three corners or more, or run lengths; None where there are none."""
    if isinstance(given, dict | None):
        return given or None
    if not isinstance(given, list):
        raise BadData(f"{where}: {str(given)[:40]!r} is neither a list of polygons nor run lengths")
    polygons = given if given and isinstance(given[0], list) else [given]
    if not all(isinstance(p, list) and all(isinstance(v, int | float) for v in p) for p in polygons):
        raise BadData(f"{where}: a polygon is [x, y, x, y, ...], numbers alone")
    return [polygon for polygon in polygons if len(polygon) >= 6 and len(polygon) % 2 == 0] or None


def _joints(annotation: dict[str, Any], count: int, where: str) -> np.ndarray | None:
    """float32 (K, 3), or None where the thing has no joints."""
    values = annotation.get("keypoints") or None
    if values is None:
        return None
    if not isinstance(values, list):
        raise BadData(f"{where}, keypoints: {str(values)[:40]!r} is no list of numbers")
    if len(values) != 3 * count:
        raise BadData(
            f"{where}, keypoints: {len(values)} numbers; {count} joints have {3 * count}: x, y, visible each"
        )
    return np.array(values, dtype=np.float32).reshape(count, 3)


class _Folders:
    """Where the pictures of a split lie: beside the files, in `images`, or in a folder of either.

    Folders named after the split come first, those named after another last: names may occur in both.
    """

    def __init__(self, root: Path, split: str) -> None:
        tops = [root, *(top for top in (root / "images", root.parent / "images") if top.is_dir())]
        self.folders = [*tops, *(f for top in tops for f in sorted(top.iterdir()) if f.is_dir())]
        self.split, self.root = split, root
        self.folders.sort(key=self._rank)

    def _rank(self, folder: Path) -> int:
        return {self.split: 0, "all": 1}.get(split_of(folder), 2)

    def find(self, name: str) -> ImageFile:
        """The picture's file; of folders of one rank that of the last one is looked into first.

        Raises:
            BadData: it is in none of the folders.
        """
        for place, folder in enumerate(self.folders):
            if (folder / name).is_file():
                first = next(i for i, one in enumerate(self.folders) if self._rank(one) == self._rank(folder))
                self.folders.insert(first, self.folders.pop(place))
                return ImageFile(name, folder / name)
        looked = ", ".join(str(folder) for folder in self.folders[:4])
        raise BadData(f"{self.root}: the picture {name} is nowhere to be found; looked in {looked}, ...")
