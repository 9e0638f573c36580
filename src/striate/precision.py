"""Average precision of boxes, masks and joints as COCO counts it, and of boxes as PASCAL VOC does.

Answers of one class are taken from the surest to the least sure, each matched to the truth it fits best
among what is left in its picture; precision at 101 values of recall, averaged over ten overlaps from 0.50 to
0.95 (Lin et al. 2014; the rules in detail are those of COCO's own evaluation program, to which the tests hold
this one). Truth that is a crowd, or of a size that is not asked for, is neither missed nor a mistake to find.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from striate.data.rle import decode

Kind = Literal["box", "mask", "joints"]
Truth = dict[str, Any]
"""One picture: boxes (n, 4) x1, y1, x2, y2; labels (n,); crowd (n,); area (n,); masks, a list of run lengths,
for masks; keypoints (n, K, 3) x, y, v for joints."""
Found = dict[str, Any]
"""One picture: boxes (m, 4); scores (m,); labels (m,); masks or keypoints (m, K, 2 or 3) as in the truth."""

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)

SIZES = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
"""Pixels of a thing's area, both ends included."""

Matches = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""One class of one picture: scores (D,), hit and ignored (sizes, overlaps, D), things to find (sizes,)."""

MOST = {"box": 100, "mask": 100, "joints": 20}
"""Answers of one class in one picture that are looked at."""

EPSILON = np.spacing(1)


class AveragePrecision:
    """One evaluation. Labels are numbers of `classes`; `sigmas` (K,) say how exactly each joint can be known,
    the standard deviation of people's marks over the root of the person's area. `most` answers of one class
    in one picture are looked at, COCO's number where none is given."""

    def __init__(
        self,
        classes: Sequence[str],
        kind: Kind = "box",
        sigmas: Sequence[float] | np.ndarray = (),
        most: int | None = None,
    ) -> None:
        self.classes, self.kind = list(classes), kind
        self.most = MOST[kind] if most is None else most
        self.sigmas = np.asarray(sigmas, dtype=np.float64)
        self.pictures: list[tuple[Truth, Found]] = []

    def __len__(self) -> int:
        return len(self.pictures)

    def update(self, truth: Sequence[Truth], found: Sequence[Found]) -> None:
        """Take in some pictures."""
        self.pictures += zip(truth, found, strict=True)

    def merge(self, other: "AveragePrecision") -> None:
        """Take in another's pictures."""
        self.pictures += other.pictures

    def compute(self) -> dict[str, Any]:
        """COCO's figures: map, map50, map75, map_small, map_medium, map_large; ar1, ar10, ar100 (the mean
        recall with so many answers a picture) and those of the three sizes, or, of joints, ar, ar50, ar75;
        things; per_class {name: {ap, ap50, things}}. None where there is no truth to find. curves: class ->
        precision at the 101 values of recall from 0 to 1, at an overlap of 0.5.
        """
        precision, recall, things = self.tables()
        joints = self.kind == "joints"
        last = -1
        found: dict[str, Any] = {"map": _mean(precision[:, :, :, 0])}
        found["map50"], found["map75"] = _mean(precision[0, :, :, 0]), _mean(precision[5, :, :, 0])
        for place, size in enumerate(SIZES):
            if size != "all" and not (joints and size == "small"):
                found[f"map_{size}"] = _mean(precision[:, :, :, place])
        if joints:
            found |= {"ar": _mean(recall[:, :, 0, last])}
            found |= {"ar50": _mean(recall[0, :, 0, last]), "ar75": _mean(recall[5, :, 0, last])}
        else:
            found |= {f"ar{most}": _mean(recall[:, :, 0, i]) for i, most in enumerate(self._counts())}
        for place, size in enumerate(SIZES):
            if size != "all" and not (joints and size == "small"):
                found[f"ar_{size}"] = _mean(recall[:, :, place, last])
        found["things"] = int(things.sum())
        found["per_class"] = {
            name: {
                "ap": _mean(precision[:, :, k, 0]),
                "ap50": _mean(precision[0, :, k, 0]),
                "things": int(things[k]),
            }
            for k, name in enumerate(self.classes)
        }
        curves = precision[0, :, :, 0].clip(0)
        found["curves"] = {name: curves[:, k].tolist() for k, name in enumerate(self.classes)}
        return found

    def _counts(self) -> tuple[int, ...]:
        return (self.most,) if self.kind == "joints" else (1, 10, self.most)

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(precision (overlaps, recalls, classes, sizes) with all answers; recall (overlaps, classes, sizes,
        answers looked at); things to find of each class (classes,)). -1 where there is nothing to find."""
        counts, classes, sizes = self._counts(), len(self.classes), len(SIZES)
        precision = np.full((len(OVERLAPS), len(RECALLS), classes, sizes), -1.0)
        recall = np.full((len(OVERLAPS), classes, sizes, len(counts)), -1.0)
        matches: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(classes)]
        total = np.zeros((classes, sizes), dtype=np.int64)
        for truth, found in self.pictures:
            for k, (*match, count) in self.matches(truth, found).items():
                matches[k].append(tuple(match))
                total[k] += count
        for k in range(classes):
            for size in range(sizes):
                if not total[k, size]:
                    continue
                for i, most in enumerate(counts):
                    hit, ignored = _sorted(matches[k], size, most)
                    curve, reached = interpolated(hit, ignored, int(total[k, size]))
                    recall[:, k, size, i] = reached
                precision[:, :, k, size] = curve
        return precision, recall, total[:, 0]

    def matches(self, truth: Truth, found: Found) -> dict[int, Matches]:
        """One picture: each class that is in it or was said of it -> what became of the answers."""
        there, said = np.asarray(truth["labels"]), np.asarray(found["labels"])
        return {
            k: self._match(truth, found, np.flatnonzero(there == k), np.flatnonzero(said == k))
            for k in np.union1d(there, said).tolist()
        }

    def _match(self, truth: Truth, found: Found, theirs: np.ndarray, ours: np.ndarray) -> Matches:
        scores = np.asarray(found["scores"], dtype=np.float64)[ours]
        order = np.argsort(-scores, kind="stable")[: self.most]
        ours, scores = ours[order], scores[order]
        crowd = np.asarray(truth["crowd"], dtype=bool)[theirs]
        area = np.asarray(truth["area"], dtype=np.float64)[theirs]
        low, high = np.array(list(SIZES.values())).T[:, :, None]
        no_truth = crowd | (~self._marked(truth, theirs) if self.kind == "joints" else False)
        passed = no_truth | (area < low) | (area > high)  # (sizes, G)
        shape = len(SIZES), len(OVERLAPS), len(ours)
        hit, ignored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        if len(ours):
            own = self._areas(found, ours)
            outside = (own < low) | (own > high)  # (sizes, D)
            if len(theirs):
                fits = self.overlap(truth, found, theirs, ours)
                _greedy(fits, crowd, passed, hit, ignored)
            ignored |= ~hit & outside[:, None]
        return scores, hit, ignored, (~passed).sum(1)

    def overlap(self, truth: Truth, found: Found, theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
        """(D, G): how well each answer, of the rows `ours`, fits each truth, of `theirs`: 0 to 1."""
        crowd = np.asarray(truth["crowd"], dtype=bool)[theirs]
        if self.kind == "joints":
            return oks(
                np.asarray(found["keypoints"], dtype=np.float64)[ours],
                np.asarray(truth["keypoints"], dtype=np.float64)[theirs],
                np.asarray(truth["boxes"], dtype=np.float64)[theirs],
                np.asarray(truth["area"], dtype=np.float64)[theirs],
                self.sigmas,
            )
        if self.kind == "mask":
            said, true = ([one["masks"][i] for i in rows] for one, rows in ((found, ours), (truth, theirs)))
            return mask_overlaps(said, true, crowd)
        said, true = (
            np.asarray(one["boxes"], dtype=np.float64)[rows] for one, rows in ((found, ours), (truth, theirs))
        )
        return overlaps(said, true, crowd)

    def _areas(self, found: Found, ours: np.ndarray) -> np.ndarray:
        """(D,): pixels of the answers."""
        if self.kind == "mask":
            return np.array([np.count_nonzero(decode(found["masks"][i])) for i in ours], dtype=np.float64)
        if self.kind == "joints":
            xy = np.asarray(found["keypoints"], dtype=np.float64)[ours, :, :2]
            return (xy.max(1) - xy.min(1)).prod(1)
        return _sides(np.asarray(found["boxes"], dtype=np.float64)[ours]).prod(1)

    def _marked(self, truth: Truth, theirs: np.ndarray) -> np.ndarray:
        """(G,): whether any joint of the truth is marked."""
        return np.any(np.asarray(truth["keypoints"])[theirs, :, 2] > 0, axis=1)

    def voc(self, points: int = 11) -> dict[str, Any]:
        """Mean average precision of boxes at an overlap of 0.5 by PASCAL VOC's rules, and that of each class.

        An answer is compared with the truth it overlaps most, and a second one for the same is a mistake.
        With 11 `points` as in 2007 (Everingham et al. 2010, section 4.2); 0 is the area under the curve, as
        from 2010 on. {"map", "per_class"}; None where there is no truth.
        """
        per_class = {name: self._voc(k, points) for k, name in enumerate(self.classes)}
        known = [value for value in per_class.values() if value is not None]
        return {"map": float(np.mean(known)) if known else None, "per_class": per_class}

    def _voc(self, k: int, points: int) -> float | None:
        scores, hits, total = [], [], 0
        for truth, found in self.pictures:
            ours = np.flatnonzero(np.asarray(found["labels"]) == k)
            theirs = np.flatnonzero(np.asarray(truth["labels"]) == k)
            hard = np.asarray(truth["crowd"], dtype=bool)[theirs]
            total += int((~hard).sum())
            if not len(ours):
                continue
            order = np.argsort(-np.asarray(found["scores"])[ours], kind="stable")
            ours = ours[order]
            corners = np.asarray(truth["boxes"], dtype=np.float64)[theirs]
            fits = overlaps(
                np.asarray(found["boxes"], dtype=np.float64)[ours], corners, np.zeros(len(theirs), bool)
            )
            taken = np.zeros(len(theirs), dtype=bool)
            for row, which in enumerate(ours.tolist()):
                best = int(fits[row].argmax()) if len(theirs) else -1
                match = best >= 0 and fits[row, best] > 0.5
                if match and hard[best]:
                    continue
                hits.append(bool(match and not taken[best]))
                scores.append(float(found["scores"][which]))
                if match:
                    taken[best] = True
        if not total:
            return None
        hit = (
            np.array(hits, dtype=bool)[np.argsort(-np.array(scores), kind="stable")] if hits else np.zeros(0)
        )
        right, said = np.cumsum(hit), np.arange(1, len(hit) + 1)
        recall, precision = right / total, right / said
        if points:
            steps = np.linspace(0, 1, points)
            return float(np.mean([max(precision[recall >= step - EPSILON], default=0.0) for step in steps]))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        return float((np.diff(recall, prepend=0.0) * envelope).sum())

    def confusion(self, score: float = 0.35, overlap: float = 0.5) -> np.ndarray:
        """Counts int64 (classes + 1, classes + 1), [true][said]; the last of each is the ground.

        Answers of `score` and more are matched to the box they overlap most, whatever its class, the best
        fits first; crowds and what lies on them do not count.
        """
        width = len(self.classes)
        table = np.zeros((width + 1, width + 1), dtype=np.int64)
        for truth, found in self.pictures:
            sure = np.asarray(found["scores"]) >= score
            said, true = np.asarray(found["labels"])[sure], np.asarray(truth["labels"])
            crowd = np.asarray(truth["crowd"], dtype=bool)
            fits = overlaps(
                np.asarray(found["boxes"], dtype=np.float64)[sure],
                np.asarray(truth["boxes"], dtype=np.float64),
                crowd,
            )
            on_crowd = (fits[:, crowd] >= overlap).any(1)
            rest = np.where(crowd, -1.0, fits)
            free_said, free_true = np.ones(len(said), dtype=bool), ~crowd
            while rest.size and rest.max() >= overlap:
                row, column = np.unravel_index(rest.argmax(), rest.shape)
                table[true[column], said[row]] += 1
                rest[row], rest[:, column] = -1, -1
                free_said[row] = free_true[column] = False
            np.add.at(table, (width, said[free_said & ~on_crowd]), 1)
            np.add.at(table, (true[free_true], width), 1)
        return table


def _greedy(
    fits: np.ndarray, crowd: np.ndarray, passed: np.ndarray, hit: np.ndarray, ignored: np.ndarray
) -> None:
    """Match answers in turn, for all sizes and overlaps at once, by how they fit (D, G).

    Fills `hit` and `ignored` (sizes, overlaps, D). An answer takes the truth that it fits best of what is
    not taken, truth that does not count only where nothing else is there; of equals the later. A crowd can be
    taken many times.
    """
    taken = np.zeros((*hit.shape[:2], fits.shape[1]), dtype=bool)
    least = np.minimum(OVERLAPS, 1 - 1e-10)[:, None]
    counts = ~passed[:, None]
    grid = tuple(np.ogrid[: hit.shape[0], : hit.shape[1]])
    for d, fit in enumerate(fits):
        open_ = (fit >= least) & (~taken | crowd)
        counting = open_ & counts
        open_ = np.where(counting.any(2, keepdims=True), counting, open_)
        value = np.where(open_, fit, -1.0)
        best = value.shape[2] - 1 - value[..., ::-1].argmax(2)
        matched = open_.any(2)
        taken[(*grid, best)] |= matched
        hit[..., d] = matched
        ignored[..., d] = matched & passed[np.arange(len(passed))[:, None], best]


def _sorted(matches: list[tuple[np.ndarray, ...]], size: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(hit, ignored), each (overlaps, N): the answers of all pictures, the surest first."""
    order = np.argsort(-np.concatenate([scores[:most] for scores, _, _ in matches]), kind="stable")
    hit = np.concatenate([hits[size, :, :most] for _, hits, _ in matches], axis=1)
    ignored = np.concatenate([passed[size, :, :most] for _, _, passed in matches], axis=1)
    return hit[:, order], ignored[:, order]


def interpolated(hit: np.ndarray, ignored: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """(precision (overlaps, recalls), the recall reached (overlaps,)) of answers in order."""
    right, wrong = (np.cumsum(kind & ~ignored, axis=1).astype(np.float64) for kind in (hit, ~hit))
    recall, precision = right / total, right / (right + wrong + EPSILON)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    found = np.zeros((len(hit), len(RECALLS)))
    for row in range(len(hit)):
        places = np.searchsorted(recall[row], RECALLS, side="left")
        inside = places < recall.shape[1]
        found[row, inside] = precision[row, places[inside]]
    return found, recall[:, -1] if recall.shape[1] else np.zeros(len(hit))


def _mean(values: np.ndarray) -> float | None:
    """Of what has something to find."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _sides(boxes: np.ndarray) -> np.ndarray:
    """(n, 4) -> width and height (n, 2)."""
    return (boxes[:, 2:] - boxes[:, :2]).clip(0)


def overlaps(said: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Boxes (D, 4) and (G, 4) -> intersection over union (D, G); over the answer's own area for a crowd."""
    said, true = said.reshape(-1, 4), true.reshape(-1, 4)
    low = np.maximum(said[:, None, :2], true[None, :, :2])
    high = np.minimum(said[:, None, 2:], true[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    own, theirs = _sides(said).prod(1)[:, None], _sides(true).prod(1)[None]
    whole = np.where(crowd, own, own + theirs - common)
    return np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)


def mask_overlaps(
    said: Sequence[dict[str, Any]], true: Sequence[dict[str, Any]], crowd: np.ndarray
) -> np.ndarray:
    """Run lengths of D and G masks of one picture -> intersection over union (D, G), as `overlaps`."""
    rows, columns = (np.stack([decode(mask).ravel() for mask in masks]) for masks in (said, true))
    common = rows.astype(np.float32) @ columns.astype(np.float32).T  # whole numbers: exact up to 2²⁴ pixels
    own, theirs = rows.sum(1)[:, None], columns.sum(1)[None]
    whole = np.where(crowd, own, own + theirs - common)
    return np.divide(common, whole, out=np.zeros(common.shape), where=whole > 0)


def oks(
    said: np.ndarray, true: np.ndarray, boxes: np.ndarray, area: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """Object keypoint similarity (D, G) of joints (D, K, 2 or 3) to joints (G, K, 3) of people with these
    boxes (G, 4) and areas (G,): exp(-d² / 2 area (2 sigma)²), averaged over the joints that are marked.

    Of somebody without a mark, d is how far joints lie outside twice the box (COCO's rule).
    """
    apart = said[:, None, :, :2] - true[None, :, :, :2]
    marked = true[:, :, 2] > 0
    low, high = boxes[:, :2] - _sides(boxes), boxes[:, 2:] + _sides(boxes)
    xy = said[:, None, :, :2]
    outside = np.maximum(0, low[None, :, None] - xy) + np.maximum(0, xy - high[None, :, None])
    none = ~np.any(marked, axis=1)
    apart = np.where(none[None, :, None, None], outside, apart)
    share = np.exp(-(apart**2).sum(3) / (2 * sigmas) ** 2 / (area[None, :, None] + EPSILON) / 2)
    weight = marked | none[:, None]
    return (share * weight).sum(2) / weight.sum(1)
