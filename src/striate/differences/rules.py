"""The same answers counted by other rules: those in use, and the slips that tools are known for."""

from collections.abc import Callable
from typing import Any

import numpy as np

from striate.differences.answers import Answers
from striate.differences.counting import Counter, Pictures
from striate.differences.walk import surest, taken
from striate.precision import SIZES, AveragePrecision, Found, Truth

COCO = "COCO's rules"
"""The figure `map` itself."""

ONE_SIGMA = 0.05
"""About what tools take for skeletons that COCO has no constants for."""

FEW = (1, 10, 100)
"""Answers of one class in a picture, or of all."""


def rules(counter: Counter, truth: list[Truth], theirs: list[Found], answers: Answers) -> dict[str, float]:
    """Rule -> figure; rules that change nothing for this truth and these answers are not there."""
    pictures = list(zip(truth, theirs, strict=True))
    plain = counter.ranking(pictures).precision
    found = {COCO: float(plain.mean())}
    found |= {
        "overlap of 0.5 alone (map50)": float(plain[0]),
        "overlap of 0.75 alone (map75)": float(plain[5]),
    }
    found |= _crowds(counter, pictures) | _counts(counter, pictures) | _outside(counter, pictures, answers)
    if counter.rules.kind == "mask":
        found["overlap of boxes in place of masks"] = _by(counter, "box").map(pictures)
    found |= _sigmas(counter, pictures) if counter.rules.kind == "joints" else _voc(counter, pictures)
    found |= _areas(counter, pictures)
    return {rule: figure for rule, figure in found.items() if np.isfinite(figure)}


def nearest(found: dict[str, float], reported: float) -> list[str]:
    """The rules whose figure is nearest to one that was reported; several where they are equal in print."""
    apart = {rule: round(abs(figure - reported), 4) for rule, figure in found.items()}
    least = min(apart.values())
    return [rule for rule, distance in apart.items() if distance == least]


def _by(counter: Counter, kind: Any = None, sigmas: Any = None, most: int | None = None) -> Counter:
    """Other rules of matching."""
    old = counter.rules
    sigmas = old.sigmas if sigmas is None else sigmas
    return Counter(AveragePrecision(old.classes, kind or old.kind, sigmas, most or old.most))


def _crowds(counter: Counter, pictures: Pictures) -> dict[str, float]:
    if not any(np.any(truth["crowd"]) for truth, _ in pictures):
        return {}

    def counted(truth: Truth) -> Truth:
        return truth | {"crowd": np.zeros(len(truth["crowd"]), dtype=bool)}

    def dropped(truth: Truth) -> Truth:
        return _things(truth, np.flatnonzero(~np.asarray(truth["crowd"], dtype=bool)))

    versions: dict[str, Callable[[Truth], Truth]] = {
        "crowds counted as things": counted,
        "crowds dropped, answers on them mistakes": dropped,
    }
    return {
        rule: counter.map([(change(t) if np.any(t["crowd"]) else t, f) for t, f in pictures])
        for rule, change in versions.items()
    }


def _counts(counter: Counter, pictures: Pictures) -> dict[str, float]:
    """Other numbers of answers that are looked at."""
    found, most = {}, counter.rules.most
    by_class = max((int(np.bincount(f["labels"]).max()) for _, f in pictures if len(f["labels"])), default=0)
    by_picture = max((len(f["labels"]) for _, f in pictures), default=0)
    for few in FEW:
        if few < min(by_class, most):
            some = [(t, _of_each_class(f, few)) for t, f in pictures]
            found[f"{few} answer{'s' * (few > 1)} of a class and picture"] = counter.map(some)
    for few in FEW:
        if few < by_picture and len(counter.rules.classes) > 1:
            some = [(t, surest(f, few)) for t, f in pictures]
            found[f"{few} answer{'s' * (few > 1)} a picture"] = counter.map(some)
    if by_class > most:
        found["any number of answers"] = _by(counter, most=by_class).map(pictures)
    return found


def _outside(counter: Counter, pictures: Pictures, answers: Answers) -> dict[str, float]:
    """Pictures that the split does not have, as pictures without a thing."""
    if not answers.outside:
        return {}
    empty = _things(pictures[0][0], np.zeros(0, dtype=np.int64))
    more = [(empty, found) for found in answers.outside.values()]
    return {"answers for other pictures counted as mistakes": counter.map([*pictures, *more])}


def _sigmas(counter: Counter, pictures: Pictures) -> dict[str, float]:
    sigmas = counter.rules.sigmas
    versions = {
        f"every joint's sigma {ONE_SIGMA}": np.full(len(sigmas), ONE_SIGMA),
        f"every joint's sigma {1 / len(sigmas):.3f}, one over their number": np.full(
            len(sigmas), 1 / len(sigmas)
        ),
        "every joint's sigma their mean": np.full(len(sigmas), sigmas.mean()),
        "sigmas not doubled": sigmas / 2,
    }
    return {rule: _by(counter, sigmas=changed).map(pictures) for rule, changed in versions.items()}


def _voc(counter: Counter, pictures: Pictures) -> dict[str, float]:
    if not all("boxes" in found for _, found in pictures):
        return {}
    boxes = AveragePrecision(counter.rules.classes, "box")
    boxes.update(*zip(*pictures, strict=True))
    versions = {"VOC's 11 points, overlap 0.5": 11, "VOC's area under the curve, overlap 0.5": 0}
    return {rule: boxes.voc(points)["map"] or 0.0 for rule, points in versions.items()}


def _areas(counter: Counter, pictures: Pictures) -> dict[str, float]:
    """Things' areas by their boxes in place of their outlines: other sizes, and of joints another scale."""
    boxes = [np.asarray(truth["boxes"], dtype=np.float64) for truth, _ in pictures]
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in boxes]
    if all(np.allclose(t["area"], area, rtol=1e-3) for (t, _), area in zip(pictures, areas, strict=True)):
        return {}
    other = [(t | {"area": area}, f) for (t, f), area in zip(pictures, areas, strict=True)]
    found = (
        {"areas of boxes in place of outlines": counter.map(other)} if counter.rules.kind == "joints" else {}
    )
    for size in list(SIZES)[1:]:
        ours, theirs = counter.map(pictures, size), counter.map(other, size)
        if np.isfinite([ours, theirs]).all() and not np.isclose(ours, theirs):
            found |= {f"{size} things (map_{size})": ours, f"{size} things by the areas of boxes": theirs}
    return found


def _of_each_class(found: Found, most: int) -> Found:
    rows = [np.flatnonzero(found["labels"] == k) for k in np.unique(found["labels"])]
    kept = [some[np.argsort(-found["scores"][some], kind="stable")[:most]] for some in rows]
    return taken(found, np.sort(np.concatenate([*kept, np.zeros(0, dtype=np.int64)])))


def _things(truth: Truth, rows: np.ndarray) -> Truth:
    """Some of a picture's things."""
    kept = {key: np.asarray(truth[key])[rows] for key in ("boxes", "labels", "crowd", "area")}
    if "keypoints" in truth:
        kept["keypoints"] = np.asarray(truth["keypoints"])[rows]
    if "masks" in truth:
        kept["masks"] = [truth["masks"][i] for i in rows.tolist()]
    return truth | kept
