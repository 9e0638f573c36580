"""A table of boxes: one box a line, the same path on as many lines as its picture has boxes.

    path,class,xmin,ymin,xmax,ymax
    a.jpg,cat,12,30,80,95
    b.jpg,,,,,

Pixels from the top left corner, as in `things.py`. The columns come in any order; corners may also be called
`x1,y1,x2,y2`, and a corner with lengths `x,y,width,height` or `x,y,w,h`. A line without a box is a picture
without anything. A column `split` names train, val or test. Without a first line that names the columns, the
six are those of RetinaNet's tables: `path,x1,y1,x2,y2,class`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from striate.data.picture import header
from striate.data.readers.csv import LABELS, PATHS, SPLIT, cells_of, missing, one_type, split_of
from striate.data.readers.folders import is_picture
from striate.data.readers.labels import class_order
from striate.data.source import ImageFile, Source, Split
from striate.data.things import Thing, checked_box, targets
from striate.errors import BadData

CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
LENGTHS = (("x", "y", "width", "height"), ("x", "y", "w", "h"))
"""Names of the four columns: two corners, or the upper left corner and the box's sides."""

CLASSES = tuple(name for name in LABELS if name != "y")
"""As in tables of labels, but for the `y` that is a coordinate here."""


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Columns:
    """Where what stands."""

    path: int
    label: int | None
    box: tuple[int, ...]
    names: tuple[str, ...]
    """What the four of the box are called."""
    split: int | None = None


RETINANET = _Columns(0, 5, (1, 2, 3, 4), CORNERS[1])


@dataclass
class _Picture:
    """What all lines about one picture say."""

    file: ImageFile
    split: str
    line: int
    """The first that names it."""
    boxes: list[tuple[int, str, Box]] = field(default_factory=list)
    """Line, class, and x1, y1, x2, y2 as they are written."""


def recognise(path: Path) -> bool:
    """A .csv or .tsv file whose first line names a path and a box, or has them as RetinaNet's tables do."""
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return False
    rows = cells_of(path, most=1)
    return bool(rows) and (_columns(rows[0][1]) is not None or _headerless(rows[0][1]))


def read(path: Path) -> Source:
    """The splits of the `split` column, or `all`, pictures in the order of their first lines.

    Raises:
        BadData: a cell that is wrong, a box outside its picture, two splits for one picture; the message
            names file, line and field.
    """
    rows = cells_of(path)
    columns = _columns(rows[0][1])
    rows = rows if columns is None else rows[1:]
    columns = columns or RETINANET
    if columns.label is None:
        raise BadData(f"{path}: has boxes, but no column of their classes; call one {CLASSES[1]}")
    if not rows:
        raise BadData(f"{path}: names the columns, but no picture")
    pictures: dict[Path, _Picture] = {}
    for line, cells in rows:
        _take_in(pictures, path, line, cells, columns, columns.label)
    said = [(line, label) for picture in pictures.values() for line, label, _ in picture.boxes]
    lines, labels = [line for line, _ in said], [label for _, label in said]
    written = dict(zip(lines, one_type(path, labels, lines), strict=True))
    classes = class_order(set(written.values()))
    place = {name: number for number, name in enumerate(classes)}
    number = {line: place[name] for line, name in written.items()}
    warnings = missing(path, [picture.file for picture in pictures.values()])
    things = {one: _things(path, picture, number, warnings) for one, picture in pictures.items()}
    found = {}
    for split in ("train", "val", "test", "all"):
        if mine := [one for one, picture in pictures.items() if picture.split == split]:
            files = [pictures[one].file for one in mine]
            found[split] = Split(files, targets([things[one] for one in mine]))
    return Source(path.stem, path, "CSV of boxes", found, tuple(classes), warnings=warnings)


def _columns(names: list[str]) -> _Columns | None:
    """Where everything stands, if the line names columns."""
    at = {name.lower(): place for place, name in reversed(list(enumerate(names)))}
    path, label, split = (
        next((at[name] for name in known if name in at), None) for known in (PATHS, CLASSES, SPLIT)
    )
    box = next((four for four in CORNERS + LENGTHS if at.keys() >= set(four)), None)
    if path is None or box is None:
        return None
    return _Columns(path, label, tuple(at[name] for name in box), box, split)


def _headerless(cells: list[str]) -> bool:
    """path,x1,y1,x2,y2,class: a picture, and four numbers or four times nothing."""
    if len(cells) != 6 or not is_picture(cells[0]):
        return False
    return not any(cells[1:5]) or all(_number(cell) is not None for cell in cells[1:5])


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _take_in(
    pictures: dict[Path, _Picture], path: Path, line: int, cells: list[str], columns: _Columns, label: int
) -> None:
    """What one line says, added to its picture's."""
    where = f"{path}, line {line}"
    last = max(columns.path, label, *columns.box, columns.split or 0)
    if len(cells) <= last:
        raise BadData(f"{where}: has {len(cells)} columns, {last + 1} are needed; empty cells count")
    name = cells[columns.path]
    if not name:
        raise BadData(f"{where}: the path is empty")
    split = "all" if columns.split is None else split_of(cells[columns.split], where)
    file = ImageFile(name, path.parent / name)
    picture = pictures.setdefault(file.path, _Picture(file, split, line))
    if picture.split != split:
        raise BadData(f"{where}, split: {name} is in {split} here, in {picture.split} on line {picture.line}")
    if any(cells[place] for place in columns.box):
        if not cells[label]:
            raise BadData(f"{where}: the class is empty")
        picture.boxes.append((line, cells[label], _box(cells, columns, where)))


def _box(cells: list[str], columns: _Columns, where: str) -> Box:
    """x1, y1, x2, y2 as they are written."""
    values = []
    for place, name in zip(columns.box, columns.names, strict=True):
        value = _number(cells[place])
        if value is None:
            raise BadData(f"{where}, {name}: {cells[place]!r} is no number")
        values.append(value)
    x, y, right, bottom = values
    return (x, y, x + right, y + bottom) if columns.names in LENGTHS else (x, y, right, bottom)


def _things(path: Path, picture: _Picture, number: dict[int, int], warnings: list[str]) -> list[Thing]:
    """The boxes of one picture, checked against its size; one that cannot be read has nothing in it."""
    if not picture.boxes or not picture.file.path.is_file():
        return []
    seen = header(picture.file.path)
    if seen is None:
        return []  # a damaged picture: it is left out and named when it is decoded
    found = []
    for line, label, box in picture.boxes:
        cut = checked_box(box, seen[:2], f"{path}, line {line}, box")
        if cut is None:
            warnings.append(f"{path}, line {line}, box: {label} has no area and is left out")
        else:
            found.append(Thing(cut, number[line]))
    return found
