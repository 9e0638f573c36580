"""What can be wrong with a data set, one function per ailment: census in, findings out.

Every message begins with a count and what was counted, then a colon and an example: the part before the colon
is what a training says in its one line.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from striate.data.alike import MANY, MOST, groups, nearly
from striate.data.census import Census
from striate.data.source import Source

Severity = Literal["error", "warning", "note"]

FLAT = 12
"""Brightest minus darkest value, of 255, up to which a picture counts as empty."""

TRAINED_ON = ("train", "all")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    kind: str
    severity: Severity
    message: str
    """One line."""
    files: tuple[str, ...] = ()
    """Every picture concerned, those that belong together side by side."""
    split: str | None = None
    suggestion: str = ""

    def lines(self) -> list[str]:
        """The files to read: a line each, or each pair of near duplicates."""
        if not self.kind.startswith("near-"):
            return list(self.files)
        return [f"{one} ≈ {other}" for one, other in zip(self.files[::2], self.files[1::2], strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "files": list(self.files),
            "split": self.split,
            "suggestion": self.suggestion,
        }


def counted(number: int, one: str, many: str | None = None) -> str:
    """1, "picture" -> "1 picture"; 1200 -> "1,200 pictures"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def unreadable(census: Census) -> Iterable[Finding]:
    """Damaged files, by split; where only their lines are known, all in one."""
    suggestion = "fetch or save them again; --fix leaves them out"
    by_split: dict[str | None, list[tuple[str, str]]] = {}
    for place, why in census.unreadable.items():
        by_split.setdefault(place.split, []).append((why.split(": ")[0], why))
    if census.unread:
        by_split[None] = [(line.split(": ")[0], line) for line in census.unread]
    for split, damaged in by_split.items():
        where = f" in {split}" if split else ""
        message = f"{counted(len(damaged), 'unreadable picture')}{where}: {damaged[0][1]}"
        files = tuple(name for name, _ in damaged)
        yield Finding("unreadable", "error", message, files, split, suggestion)


def copies(census: Census) -> list[np.ndarray]:
    """Groups of rows with the same pixels, without the empty pictures, which say nothing by being equal."""
    full = np.flatnonzero(census.contrast > FLAT)
    return [full[rows] for rows in groups(census.key[full])]


def duplicates(census: Census, same: list[np.ndarray]) -> Iterable[Finding]:
    """Exact duplicates: under two labels, across splits, within one split."""
    sorts: dict[tuple[str, str], list[np.ndarray]] = {}
    for rows in same:
        kind, where = _sort_of_copy(census, rows)
        sorts.setdefault((kind, where), []).append(rows)
    for (kind, where), found in sorted(sorts.items()):
        extra = sum(len(rows) - 1 for rows in found)
        example = " = ".join(census.names[row] for row in found[0][:3])
        files = tuple(census.names[row] for rows in found for row in rows)
        severity: Severity = "warning" if kind == "duplicates" else "error"
        split = where if kind == "duplicates" else None
        message = f"{counted(extra, 'exact duplicate')} {_AMONG[kind].format(where)}: {example}"
        yield Finding(kind, severity, message, files, split, _REMEDY[kind])


def _sort_of_copy(census: Census, rows: np.ndarray) -> tuple[str, str]:
    names = [census.splits[i] for i in np.unique(census.split[rows])]
    if len(np.unique(census.label[rows])) > 1:
        return "contradiction", ""
    return ("leakage", " and ".join(names)) if len(names) > 1 else ("duplicates", names[0])


_AMONG = {"contradiction": "with different labels", "leakage": "across {}", "duplicates": "within {}"}

_REMEDY = {
    "contradiction": "decide which label is right; --fix lists them in review.csv",
    "leakage": "the score on pictures that were trained on is too good; --fix removes the copy trained on",
    "duplicates": "--fix keeps the first of each",
}


def near_duplicates(census: Census) -> Iterable[Finding]:
    """Pictures saved again, scaled or brightened: across splits, and within one."""
    full = np.flatnonzero(census.contrast > FLAT)
    if census.thumbs is None or not 1 < len(full):
        return
    if len(full) > MOST:
        message = f"near duplicates were not looked for: more than {MOST:,} pictures"
        yield Finding("unchecked", "note", message)
        return
    pairs = full[nearly(census.thumbs[full], census.key[full])]
    if len(pairs) >= MANY:
        message = f"more than {MANY:,} pairs of pictures are nearly the same: {_pair(census, pairs[0])}"
        yield Finding("all-alike", "error", message, suggestion="look at the pictures: they may be one video")
        return
    sides = np.sort(census.split[pairs], axis=1)
    for first, second in np.unique(sides, axis=0).reshape(-1, 2).tolist():
        mine = pairs[(sides == (first, second)).all(axis=1)]
        across = first != second
        where = (
            f"across {census.splits[first]} and {census.splits[second]}"
            if across
            else f"within {census.splits[first]}"
        )
        message = f"{counted(len(mine), 'near duplicate')} {where}: {_pair(census, mine[0])}"
        kind, severity = ("near-leakage", "warning") if across else ("near-duplicates", "note")
        files = tuple(census.names[row] for row in mine.ravel())
        split = None if across else census.splits[first]
        remedy = "copies belong in one split only" if across else "a picture that is there twice counts twice"
        yield Finding(kind, severity, message, files, split, f"look at them; {remedy}")


def _pair(census: Census, pair: np.ndarray) -> str:
    return f"{census.names[pair[0]]} ≈ {census.names[pair[1]]}"


def empty_pictures(census: Census) -> Iterable[Finding]:
    """Pictures of one colour, and a set that is one picture over and over."""
    for number, split in enumerate(census.splits):
        mine = census.split == number
        flat = np.flatnonzero(mine & (census.contrast <= FLAT))
        if len(flat):
            message = f"{counted(len(flat), 'nearly constant picture')} in {split}: {census.names[flat[0]]}"
            files = tuple(census.names[row] for row in flat)
            yield Finding("constant", "warning", message, files, split, "look whether they show anything")
        keys = census.key[mine & (census.contrast > FLAT)]
        if len(keys) > 2 and len(np.unique(keys)) <= max(1, len(keys) // 10):
            different = len(np.unique(keys))
            message = f"only {counted(different, 'different picture')} in {split} among {len(keys):,}"
            yield Finding("all-alike", "error", message, (), split, "the copying of this set went wrong")


def classes(census: Census, names: tuple[str, ...]) -> Iterable[Finding]:
    """Labels that no class has, classes without pictures, and a balance far from even."""
    for number, split in enumerate(census.splits):
        rows = np.flatnonzero(census.split == number)
        label = census.label[rows]
        if not len(label) or (label == -1).all():
            continue
        wrong = rows[(label < 0) | (label >= len(names))]
        if len(wrong):
            message = (
                f"{counted(len(wrong), 'label')} outside 0 to {len(names) - 1} in {split}: "
                f"{census.names[wrong[0]]} has {census.label[wrong[0]]}"
            )
            files = tuple(census.names[row] for row in wrong)
            yield Finding("bad-label", "error", message, files, split, "correct the labels or add the class")
        known = label[(label >= 0) & (label < len(names))]
        if len(names) == 1 and split in TRAINED_ON:
            message = f"1 class alone in {split}: {names[0]}"
            yield Finding("one-class", "error", message, (), split, "add what it is to be told from")
        yield from _balance(np.bincount(known, minlength=len(names)), names, split)


def _balance(counts: np.ndarray, names: tuple[str, ...], split: str) -> Iterable[Finding]:
    """The findings about one split's pictures per class, int64 (K,)."""
    trained = split in TRAINED_ON
    empty = [names[k] for k in np.flatnonzero(counts == 0)]
    if empty:
        shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        message = f"{counted(len(empty), 'class', 'classes')} without pictures in {split}: {shown}"
        severity: Severity = "error" if trained else "warning"
        yield Finding("empty-class", severity, message, (), split, "add pictures or remove the class")
    filled = np.flatnonzero(counts)
    if not trained or len(filled) < 2:
        return
    few, most = (filled[pick(counts[filled])] for pick in (np.argmin, np.argmax))
    ratio = counts[most] / counts[few]
    if ratio >= 4:
        message = (
            f"classes up to {ratio:.0f} to 1 in {split}: "
            f"{names[most]} has {counts[most]:,} pictures, {names[few]} {counts[few]:,}"
        )
        suggestion = "judge by the accuracy per class; collect more of the rare ones"
        severity = "warning" if ratio >= 10 else "note"
        yield Finding("imbalance", severity, message, (), split, suggestion)


def shapes(census: Census) -> Iterable[Finding]:
    """Pictures much longer or much smaller than the others, and rare ways to store colour."""
    if census.size is None or not len(census):
        return
    short, long = census.size.min(axis=1), census.size.max(axis=1)
    aspect = long / np.maximum(short, 1)
    longish = np.flatnonzero(aspect > max(4, 2 * float(np.median(aspect))))
    if len(longish):
        height, width = census.size[longish[0]]
        example = f"{census.names[longish[0]]} is {width}×{height}"
        message = f"{counted(len(longish), 'picture')} much longer than the others: {example}"
        suggestion = "its ends are cropped away; cut it up or leave it out"
        yield Finding("odd-size", "note", message, _names(census, longish), None, suggestion)
    small = np.flatnonzero(short < float(np.median(short)) / 6)
    if len(small):
        height, width = census.size[small[0]]
        example = f"{census.names[small[0]]} is {width}×{height}"
        message = f"{counted(len(small), 'picture')} much smaller than the others: {example}"
        suggestion = "it may be a preview or an icon"
        yield Finding("odd-size", "note", message, _names(census, small), None, suggestion)
    yield from _modes(census)


def _modes(census: Census) -> Iterable[Finding]:
    modes = np.array(census.mode)
    for mode in sorted(set(census.mode)):
        rows = np.flatnonzero(modes == mode)
        if len(rows) <= len(modes) / 10:
            message = f"{counted(len(rows), 'picture')} in mode {mode}: {census.names[rows[0]]}"
            suggestion = "nothing to do: it is converted as the others need it"
            yield Finding("odd-mode", "note", message, _names(census, rows), None, suggestion)


def from_reading(source: Source) -> Iterable[Finding]:
    """What the reader noticed."""
    for line in source.warnings:
        yield Finding("reading", "note", line)


def _names(census: Census, rows: np.ndarray) -> tuple[str, ...]:
    return tuple(census.names[row] for row in rows)
