"""Which pictures bring a difference about: each one's answers exchanged alone, and what that does to its
things."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from striate.data.findings import counted
from striate.differences.counting import Counter, PictureMatches
from striate.differences.walk import same
from striate.precision import AveragePrecision, Found, Truth

LOOKED_AT = 500
"""Pictures that are exchanged: the ones whose answers differ most."""

WORST = 10
"""Pictures that are named."""

SHIFT = 0.1
"""The change of a score from which on a thing is called surer, or less sure."""


def blame(
    counter: Counter,
    truth: list[Truth],
    before: list[Found],
    after: list[Found],
    names: Sequence[str],
) -> tuple[list[dict[str, Any]], int]:
    """The pictures whose exchange alone brings the `map` furthest the way that all of them bring it:
    [{"image_id", "file", "change", "why"}, ...], and how many were tried."""
    ranking = counter.ranking(list(zip(truth, before, strict=True)))
    start = float(ranking.precision.mean())
    whole = counter.map(list(zip(truth, after, strict=True))) - start
    differ = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a is not b and not same(a, b)]
    matched = {i: counter.matched(truth[i], after[i]) for i in differ}
    if len(differ) > LOOKED_AT:
        differ.sort(key=lambda i: -_distance(ranking.matched[i], matched[i]))
    changes = [(ranking.exchanged(i, matched[i]) - start, i) for i in differ[:LOOKED_AT]]
    if abs(whole) > 1e-12:
        changes = [(change, i) for change, i in changes if change * whole > 0]
    worst = sorted(changes, key=lambda one: (-abs(one[0]), one[1]))[:WORST]
    return [
        {
            "image_id": truth[i]["image_id"],
            "file": names[i],
            "change": change,
            "why": why(counter.rules, truth[i], before[i], after[i]),
        }
        for change, i in worst
        if abs(change) > 1e-12
    ], min(len(differ), LOOKED_AT)


def _distance(one: PictureMatches, other: PictureMatches) -> int:
    """How many more or fewer answers hit, at all overlaps, and how many more or fewer there are."""
    total = 0
    for k in set(one) | set(other):
        counts = [
            np.array([part[k][1][0].sum(), part[k][1].shape[2]]) if k in part else np.zeros(2)
            for part in (one, other)
        ]
        total += int(abs(counts[0] - counts[1]).sum())
    return total


def why(rules: AveragePrecision, truth: Truth, before: Found, after: Found) -> str:
    """What became of a picture's things, at an overlap of 0.5: `missed 2, found 1 more, 3 less sure`."""
    (fit, score, mistakes), (new_fit, new_score, new_mistakes) = (
        _things(rules, truth, found) for found in (before, after)
    )
    had, has = fit >= 0, new_fit >= 0
    named = _other_class(rules, truth, after) & had & ~has
    both = had & has
    more = new_mistakes - mistakes
    counts = {
        "missed {}": (had & ~has & ~named).sum(),
        "{} of another class": named.sum(),
        "found {} more": (has & ~had).sum(),
        f"{counted(abs(more), 'mistake')} {'more' if more > 0 else 'fewer'}": abs(more),
        "{} less sure": (both & (score - new_score > SHIFT)).sum(),
        "{} surer": (both & (new_score - score > SHIFT)).sum(),
    }
    parts = [text.format(n) for text, n in counts.items() if n]
    if both.any() and abs(new_fit[both].mean() - fit[both].mean()) >= 0.005:
        parts.append(f"overlap {fit[both].mean():.2f} → {new_fit[both].mean():.2f}")
    return ", ".join(parts) or "other scores"


def _things(rules: AveragePrecision, truth: Truth, found: Found) -> tuple[np.ndarray, np.ndarray, int]:
    """How well each thing of the truth is found and how surely (G,), -1 where it is not, and the mistakes."""
    labels, said = np.asarray(truth["labels"]), np.asarray(found["labels"])
    crowd = np.asarray(truth["crowd"], dtype=bool)
    fit, score, mistakes = np.full(len(labels), -1.0), np.full(len(labels), -1.0), 0
    for k in np.unique(said).tolist():
        rows, things = np.flatnonzero(said == k), np.flatnonzero(labels == k)
        rows = rows[np.argsort(-found["scores"][rows], kind="stable")][: rules.most]
        if not len(things):
            mistakes += len(rows)
            continue
        fits = rules.overlap(truth, found, things, rows)
        for row, one in zip(rows, fits, strict=True):
            free = np.where((fit[things] < 0) & ~crowd[things], one, -1.0)
            best = int(free.argmax())
            if free[best] >= 0.5:
                fit[things[best]], score[things[best]] = free[best], found["scores"][row]
            elif not (one[crowd[things]] >= 0.5).any():
                mistakes += 1
    return fit, score, mistakes


def _other_class(rules: AveragePrecision, truth: Truth, found: Found) -> np.ndarray:
    """(G,): whether an answer of another class lies on the thing."""
    labels, said = np.asarray(truth["labels"]), np.asarray(found["labels"])
    if not len(labels) or not len(said):
        return np.zeros(len(labels), dtype=bool)
    fits = rules.overlap(truth, found, np.arange(len(labels)), np.arange(len(said)))
    return ((fits >= 0.5) & (said[:, None] != labels[None])).any(0)
