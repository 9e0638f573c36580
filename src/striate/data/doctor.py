"""The doctor: what is believed about a data set, and what is wrong with it.

`examine` opens every picture once (see `census.py`) and asks each check in turn (`findings.py`, `labels.py`);
with `quick` it takes only those that cost next to nothing, which is what a training does first.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from striate.data import findings
from striate.data.census import Census, Place, Progress, of_stores, take
from striate.data.findings import Finding, counted
from striate.data.labels import LabelReport, Suspect, check_labels
from striate.data.source import Source
from striate.data.stream import Pictures
from striate.data.suspects import READABLE

_WORST_FIRST = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Examination:
    """Facts, counts and findings about one data set."""

    name: str
    path: str
    format: str
    licence: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    """Split -> pictures in it, unreadable ones too."""
    balance: dict[str, list[int]]
    """Split -> readable pictures of each class; empty where there are no labels."""
    findings: tuple[Finding, ...]
    """The most serious first."""
    sizes: dict[str, list[int]] = field(default_factory=dict)
    """"min", "median", "max" -> [height, width] of the picture in that place by area."""
    modes: dict[str, int] = field(default_factory=dict)
    """Pillow's mode -> pictures."""
    split_made: bool = False
    """Whether `val` was held out by us and is not on disk."""
    kappa: float | None = None
    """Agreement of a quick classifier with the labels above chance; None where it was not asked."""
    suspects: tuple[Suspect, ...] = ()
    duplicates: tuple[tuple[Place, ...], ...] = ()
    """Groups of pictures with the same pixels."""
    contradictions: tuple[tuple[Place, ...], ...] = ()
    """Those of the groups whose pictures have different labels."""
    unreadable: dict[Place, str] = field(default_factory=dict)
    quick: bool = False
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "name": self.name,
            "path": self.path,
            "format": self.format,
            "licence": self.licence,
            "classes": list(self.classes),
            "pictures": sum(self.counts.values()),
            "splits": {
                split: {
                    "pictures": count,
                    "classes": dict(zip(self.classes, self.balance.get(split, []), strict=False)),
                }
                for split, count in self.counts.items()
            },
            "split_made": self.split_made,
            "sizes": self.sizes,
            "modes": self.modes,
            "label_check": self.kappa,
            "findings": [finding.to_dict() for finding in self.findings],
            "suspects": [suspect.to_dict() for suspect in self.suspects],
            "seconds": self.seconds,
        }


def examine(
    source: Source,
    stores: dict[str, Pictures] | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Examination:
    """Look at every picture and label of a source; nothing is changed, and damage is a finding, no error.

    `stores` are the source's splits where they are held already; then, and with `quick`, only exact
    duplicates, empty pictures and the balance of classes are looked at. `progress(pictures, of how many)`.
    """
    began = time.perf_counter()
    census = of_stores(source, stores) if stores is not None else take(source, progress)
    quick = quick or stores is not None
    same = findings.copies(census)
    torn = [rows for rows in same if len(np.unique(census.label[rows])) > 1]
    found = [*findings.unreadable(census), *findings.duplicates(census, same)]
    found += [*findings.empty_pictures(census), *findings.classes(census, source.classes)]
    labels = LabelReport([], [])
    if not quick:
        found += [*findings.near_duplicates(census), *findings.shapes(census), *findings.from_reading(source)]
        known = {int(row) for rows in torn for row in rows}
        labels = check_labels(census, source.classes, known, seed)
    found += labels.findings
    return Examination(
        name=source.name,
        path=str(source.path),
        format=source.format,
        licence=source.licence,
        classes=tuple(source.classes),
        counts={split: len(stores[split] if stores else source.splits[split]) for split in census.splits},
        balance=_balance(census, len(source.classes)),
        findings=tuple(sorted(found, key=lambda finding: _WORST_FIRST[finding.severity])),
        sizes=_sizes(census),
        modes=dict(zip(*(part.tolist() for part in np.unique(census.mode, return_counts=True)), strict=True)),
        split_made=source.held_out,
        kappa=labels.kappa,
        suspects=tuple(labels.suspects),
        duplicates=tuple(tuple(census.place(row) for row in rows) for rows in same),
        contradictions=tuple(tuple(census.place(row) for row in rows) for rows in torn),
        unreadable=census.unreadable,
        quick=quick,
        seconds=round(time.perf_counter() - began, 3),
    )


def summary(examination: Examination, most: int = 3) -> str:
    """One line: `398 pictures in 2 classes, train 244 / val 154; 1 exact duplicate across train and val`."""
    parts = [f"{split} {count:,}" for split, count in examination.counts.items()]
    line = counted(sum(examination.counts.values()), "picture")
    if examination.classes:
        line += f" in {counted(len(examination.classes), 'class', 'classes')}"
    line += ", " + " / ".join(parts)
    worrying = [f.message.partition(": ")[0] for f in examination.findings if f.severity != "note"]
    if len(worrying) > most:
        worrying = [*worrying[:most], f"{len(worrying) - most} more (striate data shows them)"]
    nothing = "nothing wrong at a glance" if examination.quick else "nothing wrong"
    return "; ".join([line, *(worrying or [nothing])])


def label_check(examination: Examination) -> str:
    """One sentence on how far the labels could be checked."""
    if examination.kappa is None:
        return "not checked"
    if examination.kappa < READABLE:
        return (
            f"checked as a whole; a quick classifier reads too little here to doubt single labels "
            f"(kappa {examination.kappa:.2f})"
        )
    return f"checked one by one (a quick classifier agrees with them: kappa {examination.kappa:.2f})"


def _balance(census: Census, classes: int) -> dict[str, list[int]]:
    """Split -> pictures per class, for the splits that have labels."""
    found = {}
    for number, split in enumerate(census.splits):
        label = census.label[census.split == number]
        if classes and (label >= 0).any():
            found[split] = np.bincount(label[(label >= 0) & (label < classes)], minlength=classes).tolist()
    return found


def _sizes(census: Census) -> dict[str, list[int]]:
    if census.size is None or not len(census):
        return {}
    order = np.argsort(census.size.prod(axis=1), kind="stable")
    picks = {"min": order[0], "median": order[len(order) // 2], "max": order[-1]}
    return {name: census.size[row].tolist() for name, row in picks.items()}
