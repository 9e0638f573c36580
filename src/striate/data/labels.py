"""The findings about labels: shifted against the pictures, exchanged between splits, wrong one by one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.data.census import Census, Place
from striate.data.findings import FLAT, Finding, counted
from striate.data.suspects import (
    READABLE,
    SAMPLE,
    doubted,
    exchanged,
    features,
    judge,
    leave_one_out,
    shifted,
)

FEWEST = 20
"""Pictures below which nothing is said about labels."""


@dataclass(frozen=True)
class Suspect:
    """One picture whose label looks wrong."""

    place: Place
    file: str
    label: str
    looks_like: str
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "file": self.file,
            "split": self.place.split,
            "label": self.label,
            "looks_like": self.looks_like,
            "confidence": self.confidence,
        }


@dataclass
class LabelReport:
    """What the quick classifier could say."""

    findings: list[Finding]
    suspects: list[Suspect]
    kappa: float | None = None
    """Its agreement with the labels above chance; None where there was nothing to look at."""


def check_labels(census: Census, names: tuple[str, ...], known: set[int], seed: int = 0) -> LabelReport:
    """Look at every label; `known` rows are reported otherwise (under two labels) and are not named again."""
    report = LabelReport([], [])
    usable = (census.label >= 0) & (census.label < len(names)) & (census.contrast > FLAT)
    if census.thumbs is None or len(names) < 2 or usable.sum() < FEWEST:
        return report
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((census.index[rows], census.split[rows]))]
    split, label = torch.from_numpy(census.split[rows]), torch.from_numpy(census.label[rows])
    seen = features(census.thumbs[torch.from_numpy(rows)])
    moved = dict(_shifted(census, seen, split, label, len(names)))
    report.findings += moved.values()
    sound = [n for n in torch.unique(split).tolist() if n not in moved]
    crossed = dict(_exchanged(census, names, seen, split, label, sound, seed))
    report.findings += crossed.values()
    kept = torch.tensor([n not in moved and n not in crossed for n in split.tolist()]).nonzero()[:, 0]
    if len(kept) < FEWEST or len(torch.unique(label[kept])) < 2:
        return report
    scores = leave_one_out(seen[kept], label[kept], len(names))
    report.kappa = round(scores.kappa, 3)
    if scores.kappa < READABLE:
        return report
    for doubt in doubted(seen[kept], label[kept], scores):
        row = int(rows[int(kept[doubt.row])])
        if row not in known:
            given, other = names[census.label[row]], names[doubt.looks_like]
            place = census.place(row)
            report.suspects.append(Suspect(place, census.names[row], given, other, doubt.confidence))
    report.findings += _suspicious(report.suspects)
    return report


def _shifted(
    census: Census, seen: Tensor, split: Tensor, label: Tensor, classes: int
) -> Iterable[tuple[int, Finding]]:
    """Split numbers whose labels lie beside their pictures."""
    for number in torch.unique(split).tolist():
        mine = (split == number).nonzero()[:, 0]
        found = shifted(seen[mine], label[mine], classes) if len(mine) >= FEWEST else None
        if found:
            places, before, after = found
            name = census.splits[number]
            message = (
                f"labels of {name} shifted by one against the pictures: each picture has the label of the "
                f"{'one before' if places > 0 else 'next one'}; a quick classifier agrees with "
                f"{before:.0%} of them, and with {after:.0%} moved back"
            )
            suggestion = "a line too many or too few (a header?) where labels were written; write them again"
            yield number, Finding("shifted-labels", "error", message, (), name, suggestion)


def _exchanged(
    census: Census,
    names: tuple[str, ...],
    seen: Tensor,
    split: Tensor,
    label: Tensor,
    sound: list[int],
    seed: int,
) -> Iterable[tuple[int, Finding]]:
    """Split numbers in which classes changed places, seen from the first split."""
    if len(sound) < 2:
        return
    generator = torch.Generator().manual_seed(seed)

    def some(number: int) -> Tensor:
        mine = (split == number).nonzero()[:, 0]
        return mine[torch.randperm(len(mine), generator=generator)[:SAMPLE]]

    first = some(sound[0])
    if len(first) < FEWEST:
        return
    for number in sound[1:]:
        mine = some(number)
        said = judge(seen[first], label[first], seen[mine], len(names))
        cycles = exchanged(label[mine], said, len(names))
        if cycles:
            here, there = census.splits[number], census.splits[sound[0]]
            message = f"labels of {here} exchanged against {there}: {_in_words(cycles, names)}"
            suggestion = "two lists of classes in another order, or counted from 0 and from 1: use one list"
            yield number, Finding("exchanged-labels", "error", message, (), here, suggestion)


def _in_words(cycles: list[tuple[int, ...]], names: tuple[str, ...]) -> str:
    """What changed places, the commonest slip by its name."""
    total = len(names)
    for step in (1, -1):
        if len(cycles) == 1 and len(cycles[0]) == total > 2:
            if all((b - a) % total == step % total for a, b in zip(cycles[0], cycles[0][1:], strict=False)):
                first = names[cycles[0][0]]
                return f"every class is off by one ({first} shows {names[cycles[0][1]]}, and so on)"
    parts = []
    for cycle in cycles[:4]:
        if len(cycle) == 2:
            parts.append(f"{names[cycle[0]]} and {names[cycle[1]]} have changed places")
        else:
            parts.append(" → ".join(names[k] for k in (*cycle, cycle[0])[:6]))
    return "; ".join(parts) + ("; ..." if len(cycles) > 4 else "")


def _suspicious(suspects: list[Suspect]) -> Iterable[Finding]:
    """One finding for all labels that look wrong; both files named where two look swapped."""
    if not suspects:
        return
    first = suspects[0]
    back = next((s for s in suspects if (s.label, s.looks_like) == (first.looks_like, first.label)), None)
    message = f"{counted(len(suspects), 'label')} that look wrong: "
    if len(suspects) == 1:
        message = "1 label that looks wrong: "
    message += f"{first.file} is labelled {first.label} and looks like {first.looks_like}"
    if back:
        message += f", {back.file} the other way round: swapped?"
    files = tuple(suspect.file for suspect in suspects)
    suggestion = "look at each; --fix lists them in review.csv and changes none"
    yield Finding("suspect-labels", "warning", message, files, None, suggestion)
