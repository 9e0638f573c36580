"""A mended copy of a data set, as class folders: without what is damaged, every picture once.

Unreadable pictures are left out; of equal ones the test keeps its own, then the validation split, and in one
split the first stays. No label is changed: those that look wrong are listed in `review.csv` with what they
look like, for a person to decide. The originals are only read.
"""

import csv
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from striate.data.census import Place, labels_of
from striate.data.convert import refuse_full
from striate.data.doctor import Examination
from striate.data.source import Source, Split
from striate.data.store import Progress, as_file
from striate.errors import BadData

KEPT_FIRST = {"test": 0, "val": 1}
"""Which split keeps its copy of a picture that several hold; the others come after."""


@dataclass(frozen=True)
class Mended:
    """What was written and what was not."""

    path: str
    pictures: dict[str, int]
    """Split -> pictures written."""
    unreadable: int
    duplicates: int
    """Pictures left out because another one is the same."""
    review: int
    """Lines of `review.csv`: labels to decide on."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def mend(source: Source, examination: Examination, out: Path, progress: Progress | None = None) -> Mended:
    """Write `out/<split>/<class>/<picture>` and `out/review.csv`.

    Raises `BadData` where `out` holds something, lies inside the data, or cannot be written, and where the
    pictures have no labels.
    """
    out = Path(out)
    _refuse(source, out)
    copies = extra_copies(examination)
    dropped = copies | set(examination.unreadable)
    folders = _folder_names(source.classes)
    progress = progress or (lambda done, total: None)
    total, done, written = sum(len(split) for split in source.splits.values()), 0, Counter()
    places: dict[Place, str] = {}
    try:
        for name, split in source.splits.items():
            taken: set[str] = set()
            for i, label in enumerate(labels_of(split.targets, len(split)).tolist()):
                place, done = Place(name, i), done + 1
                if place not in dropped and 0 <= label < len(folders):
                    places[place] = _write(split, i, f"{name}/{folders[label]}", out, taken)
                    written[name] += 1
                progress(done, total)
        review = _write_review(source, examination, places, out)
    except OSError as why:
        raise BadData(f"{out}: cannot be written: {why.strerror or why}; name another folder") from why
    return Mended(str(out), dict(written), len(examination.unreadable), len(copies), review)


def extra_copies(examination: Examination) -> set[Place]:
    """The pictures to leave out: all but one of every group of equal ones.

    Where equal pictures of one split have different labels, nobody knows which to keep: all of them stay.
    """
    extra: set[Place] = set()
    torn = set(examination.contradictions)
    for group in examination.duplicates:
        best = min(group, key=lambda place: KEPT_FIRST.get(place.split, 2)).split
        first = next(place for place in group if place.split == best)
        for place in group:
            if place != first and not (group in torn and place.split == best):
                extra.add(place)
    return extra


def _refuse(source: Source, out: Path) -> None:
    refuse_full(out)
    if source.path.is_dir() and out.resolve().is_relative_to(source.path.resolve()):
        raise BadData(f"{out}: lies inside the data set, which stays as it is; name a folder elsewhere")
    unlabelled = all((labels_of(s.targets, len(s)) < 0).all() for s in source.splits.values())
    if unlabelled or not source.classes:
        raise BadData(f"{source.name}: has no labels, so it cannot be written as class folders")


def _folder_names(classes: tuple[str, ...]) -> list[str]:
    """Class names as folder names: no way out of the folder, none twice."""
    names: list[str] = []
    for number, name in enumerate(classes):
        plain = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in str(name)).strip(" .")
        names.append(plain if plain and plain not in names else f"{plain}_{number}".lstrip("_"))
    return names


def _write(split: Split, i: int, folder: str, out: Path, taken: set[str]) -> str:
    """One picture: a file byte for byte, an array as PNG. Returns its path below `out`."""
    name, data = as_file(split, i)
    path = PurePosixPath(folder, name)
    if str(path).lower() in taken:
        path = path.with_name(f"{path.stem}_{i}{path.suffix}")
    taken.add(str(path).lower())
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_bytes(data)
    return str(path)


def _write_review(source: Source, examination: Examination, places: dict[Place, str], out: Path) -> int:
    """`review.csv`: a line for every label that a person should look at; how many."""
    lines = [
        [places[s.place], s.label, s.looks_like, f"{s.confidence:.4f}", "looks like another class"]
        for s in examination.suspects
        if s.place in places
    ]
    for group in examination.contradictions:
        labels = {place: _label(source, place) for place in group}
        for place, label in labels.items():
            others = " or ".join(sorted(set(labels.values()) - {label}))
            if place in places:
                lines.append([places[place], label, others, "", "the same picture has another label too"])
    with open(out / "review.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "suggested", "confidence", "reason"])
        writer.writerows(lines)
    return len(lines)


def _label(source: Source, place: Place) -> str:
    split = source.splits[place.split]
    return str(source.classes[labels_of(split.targets, len(split))[place.index]])
