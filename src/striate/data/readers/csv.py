"""A table of paths and labels: one picture a line, relative to the table's folder.

The first line may name the columns (`path,label` and optionally `split`); without one, the first column is
the path and the second the label. Commas, semicolons or tabs. Tables of boxes are read by `csv_boxes`, which
comes before.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from striate.data.readers.folders import is_picture
from striate.data.readers.labels import SPLITS, class_order, labelled
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData

PATHS = ("path", "file", "image", "filename", "file_name", "filepath", "image_path", "img")
LABELS = ("label", "class", "target", "category", "label_name", "class_name", "y")
SPLIT = ("split", "subset")

WHOLE = re.compile(r"([+-]?[0-9]+)(\.0*)?")
"""A whole number. Python's own rules are wider: to `float`, 0_2 is 2."""

Row = tuple[int, list[str]]
"""Line number, cells."""


def recognise(path: Path) -> bool:
    """A .csv or .tsv file whose first line names both columns, or begins with a picture's name."""
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return False
    rows = cells_of(path, most=1)
    return bool(rows) and (_columns(rows[0][1]) is not None or is_picture(rows[0][1][0]))


def read(path: Path) -> Source:
    """The splits of the `split` column, or `all`; files are named, not opened."""
    rows = cells_of(path)
    columns = _columns(rows[0][1])
    if columns is None:
        columns = (0, 1, None)
    else:
        rows = rows[1:]
    if not rows:
        raise BadData(f"{path}: names the columns, but no picture")
    files, labels, splits = zip(*(_record(path, row, columns) for row in rows), strict=True)
    labels = one_type(path, labels, [line for line, _ in rows])
    classes = class_order(set(labels))
    number = {name: i for i, name in enumerate(classes)}
    warnings = missing(path, files)
    found = {}
    for split in ("train", "val", "test", "all"):
        if mine := [i for i, name in enumerate(splits) if name == split]:
            truth = np.array([number[labels[i]] for i in mine])
            found[split] = Split([files[i] for i in mine], labelled(truth))
    return Source(path.stem, path, "CSV of paths and labels", found, tuple(classes), warnings=warnings)


def cells_of(path: Path, most: int | None = None) -> list[Row]:
    """The lines that are not blank, at most the first `most`."""
    rows: list[Row] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            delimiter = max("\t;,", key=first.count)
            for cells in (reader := csv.reader(stream, delimiter=delimiter)):
                if any(cell.strip() for cell in cells):
                    rows.append((reader.line_num, [cell.strip() for cell in cells]))
                if most is not None and len(rows) >= most:
                    break
    except (OSError, UnicodeDecodeError, csv.Error) as why:
        raise BadData(f"{path}: cannot be read as a table: {why}; save it as UTF-8 CSV") from why
    return rows


def _columns(header: list[str]) -> tuple[int, int, int | None] | None:
    """Where path, label and split are, if the line names columns."""
    names = [cell.lower() for cell in header]

    def first(known: Sequence[str]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    path, label = first(PATHS), first(LABELS)
    return None if path is None or label is None else (path, label, first(SPLIT))


def _record(path: Path, row: Row, columns: tuple[int, int, int | None]) -> tuple[ImageFile, str, str]:
    """(file, label, split) of one line."""
    line, cells = row
    if len(cells) <= max(c for c in columns if c is not None):
        raise BadData(f"{path}, line {line}: has {len(cells)} columns, a path and a label are needed")
    name, label = cells[columns[0]], cells[columns[1]]
    if not name or not label:
        raise BadData(f"{path}, line {line}: the {'label' if name else 'path'} is empty")
    split = "all" if columns[2] is None else split_of(cells[columns[2]], f"{path}, line {line}")
    return ImageFile(name, path.parent / name), label, split


def split_of(cell: str, where: str) -> str:
    """Our name of the split that a cell names."""
    if cell.lower() not in SPLITS:
        raise BadData(f"{where}: split {cell!r}: there are train, val and test")
    return SPLITS[cell.lower()]


def missing(path: Path, files: Sequence[ImageFile]) -> list[str]:
    """A line where some of the files do not exist; `BadData` where none does."""
    gone = [file.name for file in files if not file.path.is_file()]
    if len(gone) == len(files):
        raise BadData(
            f"{path}: none of its {len(files)} files exists, such as {files[0].path}; paths start there"
        )
    return [f"{path}: {len(gone)} of its files do not exist ({gone[0]}, ...)"] if gone else []


def one_type(path: Path, labels: Sequence[str], lines: list[int]) -> list[str]:
    """The labels as class names: all whole numbers, or all text; 3.0 is written 3, as tables often do."""
    whole = [_whole(label) for label in labels]
    numbers = [i for i, value in enumerate(whole) if value is not None]
    if numbers and len(numbers) < len(labels):
        words = next(i for i, value in enumerate(whole) if value is None)
        raise BadData(
            f"{path}: mixed label types: line {lines[numbers[0]]} has the number {labels[numbers[0]]!r}, "
            f"line {lines[words]} the text {labels[words]!r}; write all as numbers or all as names"
        )
    return [str(value) if value is not None else label for value, label in zip(whole, labels, strict=True)]


def _whole(label: str) -> int | None:
    found = WHOLE.fullmatch(label)
    return int(found[1]) if found else None
