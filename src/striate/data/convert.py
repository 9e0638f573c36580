"""A set of things in pictures written again in another format: COCO's JSON, YOLO's text, Pascal VOC's XML.

What a format has no words for is left out and counted: YOLO has no crowds and one polygon a thing, VOC has
neither outlines nor joints and boxes of whole pixels. Pictures are copied byte for byte.
"""

import json
import xml.etree.ElementTree as Xml
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.picture import header
from striate.data.source import Source, Split
from striate.data.store import as_file
from striate.errors import BadData, one_of

Lost = Counter[str]
"""What could not be written, in words, and how often."""


def convert(source: Source, to: str, out: Path) -> Lost:
    """Write `source` to the folder `out` in the format `to`: "coco", "yolo" or "voc".

    Raises:
        BadData: the source has no boxes, a picture cannot be read, or `out` holds something already.
    """
    write = FORMATS[one_of("format", to, FORMATS)]
    for name, split in source.splits.items():
        if "boxes" not in split.targets:
            raise BadData(f"{source.name}, {name}: has no boxes to convert")
    refuse_full(out)
    lost: Lost = Counter()
    out.mkdir(parents=True, exist_ok=True)
    write(source, out, lost)
    return lost


def refuse_full(out: Path) -> None:
    """`BadData` where a folder to write to is a file, or holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadData(f"{out}: holds something already; name a folder that is new or empty")


def _copied(
    split: Split, title: str, folder: Path, taken: set[str]
) -> Iterator[tuple[int, str, tuple[int, int]]]:
    """Write every picture of the split called `title`; yields (number, file name, (height, width)).

    `taken` are the stems of what the folder holds already, in small letters: one is never given twice, for
    labels are called by it, and some disks do not tell A from a.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(split)):
        name, data = as_file(split, i)
        while (plain := Path(name)).stem.lower() in taken:
            name = f"{plain.stem}-{title}-{i}{plain.suffix}"
        taken.add(plain.stem.lower())
        seen = header(data)
        if seen is None:
            raise BadData(f"{split.name(i)}: cannot be read, so its size is not known; --fix leaves such out")
        (folder / name).write_bytes(data)
        yield i, name, seen[:2]


def _coco(source: Source, out: Path, lost: Lost) -> None:
    ids, joints = source.class_numbers, source.notes.get("joints", [])
    categories: list[dict[str, Any]] = []
    with_joints = _classes_with_joints(source) if joints else set()
    for place, (number, name) in enumerate(zip(ids, source.classes, strict=True)):
        categories.append({"id": number, "name": name})
        if place in with_joints:
            skeleton = [[a + 1, b + 1] for a, b in source.notes.get("bones", [])]
            categories[-1] |= {"keypoints": list(joints), "skeleton": skeleton}
    (out / "annotations").mkdir()
    for name, split in source.splits.items():
        images, annotations = [], []
        for i, file, size in _copied(split, name, out / "images" / name, set()):
            height, width = size
            number = split.targets["image_id"][i]
            images.append({"id": number, "file_name": file, "width": width, "height": height})
            for n in range(len(split.targets["boxes"][i])):
                found = _annotation(split, i, n, size)
                found |= {"id": len(annotations) + 1, "image_id": number}
                found["category_id"] = ids[int(split.targets["labels"][i][n])]
                annotations.append(found)
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (out / "annotations" / f"instances_{name}.json").write_text(json.dumps(whole), encoding="utf-8")


def _box(split: Split, i: int, n: int, size: tuple[int, int]) -> np.ndarray:
    """float64 (4,): the box of thing `n`, cut off at the edges of its picture, over which LSP's may reach."""
    height, width = size
    return split.targets["boxes"][i][n].astype(np.float64).clip(0, (width, height, width, height))


def _annotation(split: Split, i: int, n: int, size: tuple[int, int]) -> dict[str, Any]:
    """COCO's words for thing `n` of picture `i`, without its numbers."""
    x1, y1, x2, y2 = _box(split, i, n, size).tolist()
    found: dict[str, Any] = {"bbox": [x1, y1, x2 - x1, y2 - y1]}
    found["area"] = float(_get(split, "area", i, n, (x2 - x1) * (y2 - y1)))
    found["iscrowd"] = int(_get(split, "crowd", i, n, False))
    outline = _get(split, "outlines", i, n, None)
    if outline is not None:
        found["segmentation"] = outline
    points = _get(split, "keypoints", i, n, None)
    if points is not None and points[:, 2].any():
        found["keypoints"] = [float(value) for value in points.ravel()]
        found["num_keypoints"] = int((points[:, 2] > 0).sum())
    return found


def _get(split: Split, field: str, i: int, n: int, otherwise: Any) -> Any:
    return split.targets[field][i][n] if field in split.targets else otherwise


def _classes_with_joints(source: Source) -> set[int]:
    """Numbers of the classes of which something has a joint."""
    return {
        int(label)
        for split in source.splits.values()
        if "keypoints" in split.targets
        for labels, points in zip(split.targets["labels"], split.targets["keypoints"], strict=True)
        for label in labels[points[:, :, 2].any(1)]
    }


def _yolo(source: Source, out: Path, lost: Lost) -> None:
    joints = source.notes.get("joints", [])
    for name, split in source.splits.items():
        labels = out / "labels" / name
        labels.mkdir(parents=True)
        for i, file, size in _copied(split, name, out / "images" / name, set()):
            lines = [
                _line(split, i, n, size, len(joints), lost) for n in range(len(split.targets["boxes"][i]))
            ]
            text = "".join(f"{line}\n" for line in lines if line)
            (labels / file).with_suffix(".txt").write_text(text, encoding="utf-8")
    settings = ["path: .", *(f"{name}: images/{name}" for name in source.splits), "names:"]
    settings += [f"  {number}: {json.dumps(name)}" for number, name in enumerate(source.classes)]
    if joints:
        settings += [f"kpt_shape: [{len(joints)}, 3]"]
        turned = list(source.notes["mirrored"])
        # A set that does not say which joints change places must not seem to say that none does.
        if source.notes.get("mirror", True) or turned != sorted(turned):
            settings += [f"flip_idx: {turned}"]
    (out / "data.yaml").write_text("\n".join(settings) + "\n", encoding="utf-8")


def _line(split: Split, i: int, n: int, size: tuple[int, int], joints: int, lost: Lost) -> str:
    """YOLO's line for thing `n` of picture `i`."""
    if _get(split, "crowd", i, n, False):
        lost["crowds and difficult things, which YOLO has not"] += 1
        return ""
    sides = np.array([size[1], size[0]], dtype=np.float64)
    box, outline = _box(split, i, n, size), _get(split, "outlines", i, n, None)
    values = np.concatenate([(box[:2] + box[2:]) / 2 / sides, (box[2:] - box[:2]) / sides])
    if joints:
        points = split.targets["keypoints"][i][n].astype(np.float64)
        points[:, :2] /= sides
        values = np.concatenate([values, points.ravel()])
    elif isinstance(outline, list) and len(outline) == 1:
        values = (np.array(outline[0], dtype=np.float64).reshape(-1, 2) / sides).ravel()
    elif outline is not None:
        lost["outlines of several parts or in run lengths, written as boxes"] += 1
    return " ".join([str(int(split.targets["labels"][i][n])), *(f"{value:.9g}" for value in values)])


def _voc(source: Source, out: Path, lost: Lost) -> None:
    (out / "ImageSets" / "Main").mkdir(parents=True)
    (out / "Annotations").mkdir()
    taken: set[str] = set()
    for name, split in source.splits.items():
        stems = []
        for i, file, size in _copied(split, name, out / "JPEGImages", taken):
            stems.append(Path(file).stem)
            root = _xml(source, split, i, file, size, lost)
            Xml.indent(root)
            Xml.ElementTree(root).write(out / "Annotations" / f"{stems[-1]}.xml", encoding="utf-8")
        listed = (out / "ImageSets" / "Main" / ("train" if name == "all" else name)).with_suffix(".txt")
        listed.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in source.classes), encoding="utf-8")


def _xml(source: Source, split: Split, i: int, file: str, size: tuple[int, int], lost: Lost) -> Xml.Element:
    """VOC's words for picture `i`."""
    root = Xml.Element("annotation")
    Xml.SubElement(root, "filename").text = file
    sides = Xml.SubElement(root, "size")
    for field, value in (("width", size[1]), ("height", size[0]), ("depth", 3)):
        Xml.SubElement(sides, field).text = str(value)
    for n, label in enumerate(split.targets["labels"][i]):
        box = _box(split, i, n, size)
        thing = Xml.SubElement(root, "object")
        Xml.SubElement(thing, "name").text = source.classes[int(label)]
        Xml.SubElement(thing, "difficult").text = str(int(_get(split, "crowd", i, n, False)))
        corners = Xml.SubElement(thing, "bndbox")
        whole = np.round(box).astype(int)
        lost["boxes that were not of whole pixels, rounded"] += int((whole != box).any())
        lost["outlines"] += _get(split, "outlines", i, n, None) is not None
        points = _get(split, "keypoints", i, n, None)
        lost["joints"] += points is not None and bool(points[:, 2].any())
        x1, y1, x2, y2 = whole.tolist()
        for field, value in (
            ("xmin", x1 + 1),
            ("ymin", y1 + 1),
            ("xmax", max(x2, x1 + 1)),
            ("ymax", max(y2, y1 + 1)),
        ):
            Xml.SubElement(corners, field).text = str(value)
    return root


FORMATS: dict[str, Callable[[Source, Path, Lost], None]] = {"coco": _coco, "yolo": _yolo, "voc": _voc}
