"""Answers of another tool: a file in the format of COCO's results, brought to our pictures and classes.

A list of {"image_id", "category_id", "score"} with "bbox" [x, y, width, height], "segmentation" (run lengths)
or "keypoints" [x, y, v, ...], as in cocodataset.org/#format-results. A picture may also be named by its file,
as some tools do where names are not numbers.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from striate.data.rle import decode, encode
from striate.errors import BadData
from striate.precision import Found, Kind

EXACT = 6
"""Decimals from which on numbers are not called rounded."""


@dataclass(frozen=True)
class Answers:
    """A result file, understood."""

    pictures: dict[int, Found]
    """Number of a picture -> what was said of it; those without an answer are not there."""
    outside: dict[str, Found] = field(default_factory=dict)
    """The same of pictures that are not in the split."""
    strange: int = 0
    """Answers whose class the data does not have."""


def read(path: str | Path) -> list[dict[str, Any]]:
    """The entries of a file.

    Raises:
        BadData: it is not JSON, or no list of objects.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as why:
        raise BadData(f"{path}: cannot be read as JSON: {why}") from why
    if not isinstance(entries, list):
        keys = f"an object with {', '.join(list(entries)[:4])}" if isinstance(entries, dict) else "none"
        raise BadData(f"{path}: COCO's results are a list of answers, and this is {keys}.")
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise BadData(f"{path}, [{place}]: {str(entry)[:40]} is not an object with image_id, score, ...")
    return entries


def kind_of(entries: Sequence[Mapping[str, Any]], kind: Kind) -> Kind:
    """What can be compared: boxes where ours are masks and not one of theirs is."""
    no_mask = kind == "mask" and entries and not any("segmentation" in entry for entry in entries)
    return "box" if no_mask else kind


def understand(
    entries: Sequence[Mapping[str, Any]],
    kind: Kind,
    numbers: Sequence[int],
    names: Mapping[int, str],
    joints: int = 0,
    sizes: Mapping[int, list[int]] | None = None,
    file: str | Path = "theirs",
) -> Answers:
    """Entries -> answers a picture, in the order of the file.

    `numbers` are those of the classes in order, `names` the file of every picture of the split, and `sizes`
    [height, width] of those pictures where masks have to fit them.

    Raises:
        BadData: a field is missing or no number, or not one picture or class is the split's; the message
            names file, entry and field.
    """
    labels = {number: place for place, number in enumerate(numbers)}
    by_name, by_number = _by_name(names), _by_number(names, entries)
    inside: dict[int, list[tuple[int, Any]]] = {}
    outside: dict[str, list[tuple[int, Any]]] = {}
    strange = 0
    for place, entry in enumerate(entries):
        one = _Entry(entry, f"{file}, [{place}]")
        picture, label = one.number("image_id"), labels.get(one.number("category_id"), -1)
        known = by_name.get(picture) if isinstance(picture, str) else by_number.get(picture)
        size = (sizes or {}).get(known) if known is not None else None
        answer = one.answer(kind, joints, size)
        if label < 0:
            strange += 1
        elif known is None:
            outside.setdefault(str(picture), []).append((label, answer))
        else:
            inside.setdefault(known, []).append((label, answer))
    _refuse_strangers(file, entries, numbers, names, bool(inside))
    return Answers(
        {picture: _together(rows) for picture, rows in inside.items()},
        {picture: _together(rows) for picture, rows in outside.items()},
        strange,
    )


@dataclass(frozen=True)
class _Entry:
    """One answer and where it stands."""

    entry: Mapping[str, Any]
    where: str

    def number(self, name: str) -> Any:
        """The number of a picture or class; a picture's may be a name."""
        value = self._value(name)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise BadData(
                f"{self.where}, {name}: {value!r} is not a number{' or a name' * (name == 'image_id')}"
            )
        return value

    def answer(self, kind: Kind, joints: int, size: list[int] | None) -> dict[str, Any]:
        """What it says: boxes, masks or keypoints, and scores, of one thing."""
        found: dict[str, Any] = {"scores": self._finite("score", self._value("score"), None)}
        if kind == "joints":
            marks = self._finite("keypoints", self._value("keypoints"), 3 * joints)
            return found | {"keypoints": marks.reshape(joints, 3)}
        if kind == "mask" or ("bbox" not in self.entry and "segmentation" in self.entry):
            mask = self._mask(size)
            if kind == "mask":
                found["masks"] = encode(mask)
            if "bbox" not in self.entry:
                return found | {"boxes": _around(mask)}
        x, y, width, height = self._finite("bbox", self._value("bbox"), 4).tolist()
        if min(width, height) < 0:
            raise BadData(f"{self.where}, bbox: {width:g}×{height:g} is no size; it is x, y, width, height")
        return found | {"boxes": np.array([x, y, x + width, y + height])}

    def _value(self, name: str) -> Any:
        if name not in self.entry:
            raise BadData(f"{self.where}: has no field {name!r}")
        return self.entry[name]

    def _finite(self, name: str, value: Any, count: int | None) -> np.ndarray:
        many = value if isinstance(value, list) else [value]
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in many)
        if not numbers or not np.isfinite(np.array(many, dtype=np.float64)).all():
            raise BadData(f"{self.where}, {name}: {str(value)[:60]} is not made of finite numbers")
        if isinstance(value, list) != (count is not None) or (count is not None and len(many) != count):
            wanted = f"{count} numbers" if count is not None else "one number"
            raise BadData(f"{self.where}, {name}: {str(value)[:60]} is not {wanted}")
        return np.array(value, dtype=np.float64)

    def _mask(self, size: list[int] | None) -> np.ndarray:
        rle = self._value("segmentation")
        if not isinstance(rle, dict):
            raise BadData(f"{self.where}, segmentation: is not run lengths: {{'size', 'counts'}}")
        try:
            mask = decode(rle)
        except BadData as why:
            raise BadData(f"{self.where}, segmentation: {why}") from None
        if size is not None and list(mask.shape) != list(size):
            raise BadData(
                f"{self.where}, segmentation: size {list(mask.shape)} is not the picture's {list(size)}"
            )
        return mask


def _by_name(names: Mapping[int, str]) -> dict[str, int]:
    """Numbers of pictures by file, and by file without folder and ending where that tells them apart."""
    found: dict[str, int] = {}
    stems: dict[str, list[int]] = {}
    for number, name in names.items():
        found[name] = number
        for short in {PurePath(name).name, PurePath(name).stem}:
            stems.setdefault(short, []).append(number)
    return {short: same[0] for short, same in stems.items() if len(same) == 1} | found


def _by_number(names: Mapping[int, str], entries: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """What their numbers of pictures are in ours: the same, or, where that makes sense of more of them, the
    numbers that files are called by (000000000009.jpg is 9), as tools write them of data without its own."""
    same = {number: number for number in names}
    called: dict[int, int] = {}
    for number, name in names.items():
        stem = PurePath(name).stem
        if not (stem.isascii() and stem.isdigit()) or int(stem) in called:
            return same
        called[int(stem)] = number
    theirs = {entry["image_id"] for entry in entries if isinstance(entry.get("image_id"), int | float)}
    return called if len(theirs & called.keys()) > len(theirs & same.keys()) else same


def _around(mask: np.ndarray) -> np.ndarray:
    """The box around a mask; of an empty one, nothing at the corner."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    ends = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0, 0, 0, 0]
    return np.array(ends, dtype=np.float64)


def _together(rows: list[tuple[int, Any]]) -> Found:
    found: Found = {"labels": np.array([label for label, _ in rows], dtype=np.int64)}
    for key in rows[0][1]:
        values = [answer[key] for _, answer in rows]
        found[key] = values if key == "masks" else np.array(values)
    return found


def _refuse_strangers(
    file: str | Path,
    entries: Sequence[Mapping[str, Any]],
    numbers: Sequence[int],
    names: Mapping[int, str],
    any_inside: bool,
) -> None:
    """Raise where not one answer is about a picture and a class of the split."""
    if any_inside or not entries:
        return
    for name, known in (("category_id", list(numbers)), ("image_id", list(names))):
        theirs = list(dict.fromkeys(entry[name] for entry in entries))
        if not set(theirs) & set(known):
            few, ours = (", ".join(str(one) for one in some[:3]) for some in (theirs, known))
            raise BadData(
                f"{file}, {name}: the numbers differ: theirs are {few}, ..., and the data's {ours}, ...; "
                "not one is in both."
            )
    raise BadData(f"{file}: not one answer has both a picture and a class of this split.")


def decimals(values: np.ndarray) -> int | None:
    """The decimals that all numbers make do with; None where they are not rounded.

    A width that was added to a corner and taken off again is off by the last bits.
    """
    return next((d for d in range(EXACT + 1) if np.allclose(np.round(values, d), values, 0, 1e-9)), None)
