"""YOLO's text: a line for every thing, a file for every picture, all numbers shares of the picture's sides.

    data.yaml   images/train/a.jpg   labels/train/a.txt

A line is `class x y width height` (of the box, x and y its middle), `class x1 y1 x2 y2 x3 y3 ...` (a
polygon), or, where the YAML has `kpt_shape: [K, 3]`, a box and then `x y visible` of every joint. The YAML
says where the pictures of `train`, `val` and `test` are (folders, lists, or files that list them) and what
the classes are called; labels lie where `images` in a path is replaced by `labels`, or beside the pictures.
Format: docs.ultralytics.com/datasets.
"""

from pathlib import Path
from typing import Any

import numpy as np

from striate.data.picture import header
from striate.data.readers.folders import hidden, is_picture
from striate.data.readers.labels import SPLITS, text_of
from striate.data.source import ImageFile, Source, Split
from striate.data.things import Thing, checked_box, targets
from striate.errors import BadData


def recognise(path: Path) -> bool:
    """A YAML file with `names` and a split, a folder that holds one, or `images` beside `labels` of text."""
    return _described(path) is not None or _plain(path)


def read(path: Path) -> Source:
    """The splits that the YAML names, or those that are folders of `images`.

    Raises:
        BadData: the YAML or a line cannot be understood; the message names file, line and field.
    """
    file = _described(path)
    known = _yaml(file) if file else {}
    root = _root(file, known) if file else path
    joints = known.get("kpt_shape")
    if joints is not None and not (
        isinstance(joints, list) and len(joints) == 2 and isinstance(joints[0], int) and joints[1] in (2, 3)
    ):
        raise BadData(f"{file}, kpt_shape: {joints} is not [joints, 2 or 3]")
    names = _names(file, known.get("names"))
    notes, warnings = _skeleton(known, joints[0] if joints else 0, file)
    found: dict[str, tuple[list[ImageFile], list[list[Thing]]]] = {}
    listed = _pictures(root, known, file, warnings)
    for split, pictures in listed.items():
        files = [ImageFile(_relative(picture, root), picture) for picture in pictures]
        if split == "test" and len(listed) > 1 and not any(labels_of(one.path).is_file() for one in files):
            warnings.append(f"{file or root}, test: no picture has a label file: the split is left out")
            continue
        things = [_things(one, labels_of(one.path), len(names) or None, joints) for one in files]
        found[split] = files, things
    if not names:
        most = max((t.label for _, things in found.values() for one in things for t in one), default=-1)
        names = [str(number) for number in range(most + 1)]
    count = joints[0] if joints else 0
    splits = {split: Split(files, targets(things, count)) for split, (files, things) in found.items()}
    name = root.resolve().name
    return Source(name, path, "YOLO", splits, tuple(names), notes=notes, warnings=warnings)


def _described(path: Path) -> Path | None:
    """The YAML file that describes the set."""
    if path.is_file():
        return path if path.suffix in (".yaml", ".yml") and _says(path) else None
    if not path.is_dir():
        return None
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    return next((file for file in files if _says(file)), None)


def _says(file: Path) -> bool:
    keys = {
        line.split(":")[0].strip()
        for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    }
    return "names" in keys and bool({"train", "val"} & keys)


def _plain(path: Path) -> bool:
    """Whether there are `images` and `labels`, and text among the latter."""
    labels = path / "labels"
    return (path / "images").is_dir() and labels.is_dir() and next(labels.rglob("*.txt"), None) is not None


def _yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as why:
        raise BadData(f"{file}: cannot be read as YAML: {' '.join(str(why).split())}") from why
    if not isinstance(found, dict):
        raise BadData(f"{file}: is not a list of settings (names, train, val)")
    return found


def _root(file: Path, known: dict[str, Any]) -> Path:
    """What the paths in the YAML start from: its `path`, if that exists, else its own folder."""
    given = Path(str(known.get("path", ".")))
    beside = file.parent / given
    return beside if beside.is_dir() else file.parent


def _names(file: Path | None, names: Any) -> list[str]:
    if names is None:
        return []
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise BadData(f"{file}, names: must be numbered from 0 without a gap")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise BadData(f"{file}, names: is no list of the classes' names")
    return [str(name) for name in names]


def _skeleton(known: dict[str, Any], count: int, file: Path | None) -> tuple[dict[str, Any], list[str]]:
    """(notes, warnings). The format has no names for joints and no bones; it says which change places in a
    mirror, and where it does not, pictures must not be mirrored."""
    if not count:
        return {}, []
    same = list(range(count))
    notes: dict[str, Any] = {"joints": [f"joint {number}" for number in same], "bones": [], "mirrored": same}
    turned = known.get("flip_idx")
    if turned is None:
        line = (
            f"{file}: without flip_idx it is not known which joints change places in a mirror: none is used"
        )
        return notes | {"mirror": False}, [line]
    if not isinstance(turned, list) or sorted(turned, key=str) != sorted(same, key=str):
        raise BadData(f"{file}, flip_idx: {turned} does not name each joint from 0 to {count - 1} once")
    return notes | {"mirrored": turned}, []


def _pictures(
    root: Path, known: dict[str, Any], file: Path | None, warnings: list[str]
) -> dict[str, list[Path]]:
    """Split -> its pictures, sorted."""
    if file is None:
        images = root / "images"
        inside: dict[str, Path] = {}
        for folder in sorted(images.iterdir()):
            if folder.name.lower() in SPLITS:
                inside.setdefault(SPLITS[folder.name.lower()], folder)
        return {split: _walk(folder) for split, folder in inside.items()} or {"all": _walk(images)}
    found = {}
    for split in ("train", "val", "test"):
        if known.get(split):
            given = known[split] if isinstance(known[split], list) else [known[split]]
            places = [_place(root, str(one)) for one in given]
            gone = next((place for place in places if not place.exists()), None)
            if split == "test" and gone:  # Roboflow names one in every YAML, and many sets have none
                warnings.append(f"{file}, test: {gone} does not exist: the split is left out")
                continue
            found[split] = [picture for place in places for picture in _listed(root, place, file, split)]
    return found


def _place(root: Path, given: str) -> Path:
    """What a path in the YAML means. Roboflow's begin one folder too high: `../train/images`."""
    beside = root / given.removeprefix("../")
    return beside if beside.exists() and not (root / given).exists() else root / given


def _listed(root: Path, place: Path, file: Path, split: str) -> list[Path]:
    """The pictures of a folder, or of a text file that lists them."""
    if place.is_dir():
        return _walk(place)
    if place.is_file() and place.suffix == ".txt":
        lines = [line.strip() for line in text_of(place).splitlines() if line.strip()]
        return [root / line for line in lines]
    raise BadData(f"{file}, {split}: {place} is neither a folder nor a list of pictures")


def _walk(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if is_picture(f.name) and not hidden(f.name))


def _relative(picture: Path, root: Path) -> str:
    return picture.relative_to(root).as_posix() if picture.is_relative_to(root) else str(picture)


def labels_of(picture: Path) -> Path:
    """Where the labels of a picture are: the last `images` of its path replaced, else beside it."""
    parts = list(picture.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            return Path(*parts).with_suffix(".txt")
    return picture.with_suffix(".txt")


def _things(picture: ImageFile, file: Path, classes: int | None, joints: list[int] | None) -> list[Thing]:
    """The lines of one file; a picture without a file has nothing in it."""
    if not file.is_file():
        return []
    lines = [line.split() for line in text_of(file).splitlines()]
    if not any(lines):
        return []
    seen = header(picture.path)
    if seen is None:
        return []  # a damaged picture: it is left out and named when it is decoded
    height, width, _ = seen
    found = []
    for number, cells in enumerate(lines, 1):
        if cells:
            thing = _thing(cells, (height, width), classes, joints, f"{file}, line {number}")
            if thing is not None:
                found.append(thing)
    return found


def _thing(
    cells: list[str], size: tuple[int, int], classes: int | None, joints: list[int] | None, where: str
) -> Thing | None:
    try:
        label, values = int(cells[0]), np.array([float(cell) for cell in cells[1:]])
    except ValueError:
        raise BadData(f"{where}: {' '.join(cells)!r} is not a class number and shares of the sides") from None
    if label < 0 or (classes is not None and label >= classes):
        raise BadData(
            f"{where}, class: {label}, but the YAML names {classes} classes (0 to {(classes or 1) - 1})"
        )
    height, width = size
    sides = np.array([width, height], dtype=np.float64)
    points = outline = None
    if joints:
        count, each = joints
        if len(values) != 4 + count * each:
            raise BadData(f"{where}: {len(values)} numbers; a box and {count} joints have {4 + count * each}")
        points = _joints(values[4:].reshape(count, each), sides)
    elif len(values) >= 6 and len(values) % 2 == 0:
        corners = values.reshape(-1, 2) * sides
        low, high = corners.min(0), corners.max(0)
        box = checked_box((*low.tolist(), *high.tolist()), size, where)
        outline = [corners.ravel().round(2).tolist()]
        return None if box is None else Thing(box, label, area=_inside(corners), outline=outline)
    elif len(values) != 4:
        raise BadData(
            f"{where}: {len(values)} numbers after the class; a box has 4, a polygon 6 or more, even"
        )
    middle, half = values[:2] * sides, values[2:4] * sides / 2
    box = checked_box((*(middle - half).tolist(), *(middle + half).tolist()), size, where)
    return None if box is None else Thing(box, label, keypoints=points)


def _joints(points: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """(K, 2 or 3) shares -> (K, 3) pixels; without a third column all are seen but those at 0, 0."""
    found = np.zeros((len(points), 3), dtype=np.float32)
    found[:, :2] = points[:, :2] * sides
    found[:, 2] = points[:, 2] if points.shape[1] == 3 else 2 * (points[:, :2] != 0).any(1)
    return found


def _inside(corners: np.ndarray) -> float:
    """The area of a polygon (n, 2)."""
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
