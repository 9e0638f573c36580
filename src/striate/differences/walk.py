"""From our answers to theirs, in steps that each change one thing.

Each step's change of `map` is its share of the difference; as every step begins where the last one ended, the
changes add up to all of it. What a step is blamed for depends on those before it: the order is from what is
simplest to know to what is not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from striate.data.findings import counted
from striate.differences.answers import decimals
from striate.precision import Found, Kind

OTHERS = "other answers"
"""The step that is left when everything simpler is explained."""


@dataclass(frozen=True)
class Step:
    """One cause, and all answers as they are after it."""

    cause: str
    found: list[Found]
    pictures: int
    """How many it touches."""


def nothing(kind: Kind, joints: int = 0) -> Found:
    """No answer at all."""
    found: Found = {"labels": np.zeros(0, dtype=np.int64), "scores": np.zeros(0)}
    if kind == "joints":
        return found | {"keypoints": np.zeros((0, joints, 3))}
    return found | {"boxes": np.zeros((0, 4))} | ({"masks": []} if kind == "mask" else {})


def taken(found: Found, rows: np.ndarray) -> Found:
    """Some of a picture's answers; the same object where they are all of them, in order."""
    if np.array_equal(rows, np.arange(len(found["labels"]))):
        return found
    return {
        key: [value[i] for i in rows.tolist()] if key == "masks" else value[rows]
        for key, value in found.items()
    }


def surest(found: Found, most: int) -> Found:
    """The answers of the highest scores, of all classes together, in the order they had."""
    order = np.argsort(-found["scores"], kind="stable")[:most]
    return taken(found, np.sort(order))


def as_written(found: Found, kind: Kind) -> Found:
    """What counts of answers; boxes as they come back from a file that holds width and height, to the bit."""
    fields = ("keypoints",) if kind == "joints" else ("boxes", "masks") if kind == "mask" else ("boxes",)
    found = {key: found[key] for key in ("labels", "scores", *fields)}
    if kind == "joints":
        return found
    boxes = np.asarray(found["boxes"], dtype=np.float64)
    return found | {"boxes": np.concatenate([boxes[:, :2], boxes[:, :2] + _sides(boxes)], axis=1)}


def steps(ours: list[Found], theirs: list[Found], kind: Kind) -> list[Step]:
    """The causes that apply, in order; the last step ends with `theirs`."""
    found, walked = ours, []
    for make in (_cut, _fewer, _rounded_places, _rounded_scores, _only_one, _others):
        cause, after = make(found, theirs, kind)
        touched = sum(a is not b for a, b in zip(found, after, strict=True))
        if cause and touched:
            walked.append(Step(cause, after, touched))
            found = after
    if any(a is not b for a, b in zip(found, theirs, strict=True)):  # equal answers, perhaps in another order
        walked.append(Step("the order of equal scores, or the last decimals", theirs, 0))
    return walked


Made = tuple[str, list[Found]]


def _cut(ours: list[Found], theirs: list[Found], kind: Kind) -> Made:
    scores = np.concatenate([found["scores"] for found in theirs] or [np.zeros(0)])
    if not len(scores):
        return "", ours
    if scores.max() > 1:  # on another scale, such as per cent: no score of ours can be compared
        return "", ours
    lowest, exact = scores.min(), decimals(scores)

    def kept(found: Found) -> np.ndarray:
        said = found["scores"] if exact is None else np.round(found["scores"], exact)
        return np.flatnonzero(said >= lowest)

    after = [taken(found, kept(found)) for found in ours]
    # A picture that they do not answer says nothing about a cut: only the others tell whether there was one.
    if not any(a is not b for a, b, c in zip(ours, after, theirs, strict=True) if len(c["labels"])):
        return "", ours
    return f"no answers below a score of {lowest:.4g}", after


def _fewer(ours: list[Found], theirs: list[Found], kind: Kind) -> Made:
    most = max((len(found["labels"]) for found in theirs), default=0)
    if not most:
        return "", ours
    return f"at most {counted(most, 'answer')} a picture", [surest(found, most) for found in ours]


def _rounded_places(ours: list[Found], theirs: list[Found], kind: Kind) -> Made:
    """Boxes or joints, in the way that gives most of their very numbers; masks have whole pixels anyway."""
    if kind == "mask":
        return "", ours
    key = "keypoints" if kind == "joints" else "boxes"
    places = [_plain(found, key) for found in theirs]
    exact = decimals(np.concatenate([part.ravel() for part in places] or [np.zeros(0)]))
    if exact is None or not any(len(part) for part in places):
        return "", ours
    said = [{tuple(row) for row in np.rint(part * 10**exact).tolist()} for part in places]
    ways = WAYS if key == "boxes" else {name: WAYS[name] for name in ("rounded", "cut off")}
    best, right = next(iter(ways)), -1
    for name, way in ways.items():
        rows = [np.rint(way(_plain(found, key), exact) * 10**exact).tolist() for found in ours]
        hits = sum(tuple(row) in there for some, there in zip(rows, said, strict=True) for row in some)
        best, right = (name, hits) if hits > right else (best, right)
    after = [_placed(found, key, ways[best](_plain(found, key), exact)) for found in ours]
    return f"coordinates {best} to {_decimals(exact)}", after


def _rounded_scores(ours: list[Found], theirs: list[Found], kind: Kind) -> Made:
    scores = np.concatenate([found["scores"] for found in theirs] or [np.zeros(0)])
    exact = decimals(scores)
    if exact is None or not len(scores) or scores.max() > 1:
        return "", ours
    after = []
    for found in ours:
        new = np.round(found["scores"], exact)
        after.append(found if np.array_equal(new, found["scores"]) else found | {"scores": new})
    return f"scores rounded to {_decimals(exact)}", after


def _only_one(ours: list[Found], theirs: list[Found], kind: Kind) -> Made:
    empty = [
        (not len(one["labels"]), not len(other["labels"])) for one, other in zip(ours, theirs, strict=True)
    ]
    only_ours, only_theirs = sum(not a and b for a, b in empty), sum(a and not b for a, b in empty)
    after = [other if a != b else one for one, other, (a, b) in zip(ours, theirs, empty, strict=True)]
    parts = [f"{counted(only_ours, 'picture')} without an answer of theirs"] if only_ours else []
    parts += [f"{counted(only_theirs, 'picture')} without an answer of ours"] if only_theirs else []
    return " and ".join(parts), after


def _others(ours: list[Found], theirs: list[Found], kind: Kind) -> Made:
    after = [one if same(one, other) else other for one, other in zip(ours, theirs, strict=True)]
    return OTHERS, after


def same(one: Found, other: Found, slack: float = 1e-6) -> bool:
    """Whether two lists of answers of a picture are the same, in any order."""
    if len(one["labels"]) != len(other["labels"]):
        return False
    key = next(key for key in ("keypoints", "masks", "boxes") if key in one)
    orders = []
    for found in (one, other):
        where = (
            np.array([sum(mask["counts"][:1]) for mask in found["masks"]])
            if key == "masks"
            else (np.round(_plain(found, key), 5).T)
        )
        orders.append(np.lexsort((*np.atleast_2d(where), np.round(found["scores"], 9), found["labels"])))
    a, b = (taken(found, order) for found, order in zip((one, other), orders, strict=True))
    if not np.array_equal(a["labels"], b["labels"]) or not np.allclose(a["scores"], b["scores"], 0, slack):
        return False
    return (
        a["masks"] == b["masks"] if key == "masks" else np.allclose(_plain(a, key), _plain(b, key), 0, slack)
    )


def _plain(found: Found, key: str) -> np.ndarray:
    """(n, 4) x, y, width, height of boxes; (n, 2 K) x and y of joints."""
    value = np.asarray(found[key], dtype=np.float64)
    if key == "keypoints":
        return value[..., :2].reshape(len(value), 2 * value.shape[1])
    return np.concatenate([value[:, :2], _sides(value)], axis=1)


def _placed(found: Found, key: str, plain: np.ndarray) -> Found:
    """The same answers at other places, the reverse of `_plain`."""
    if np.array_equal(plain, _plain(found, key)):
        return found
    if key == "keypoints":
        value = np.array(found[key], dtype=np.float64)
        value[..., :2] = plain.reshape(len(value), -1, 2)
        return found | {key: value}
    return found | {key: np.concatenate([plain[:, :2], plain[:, :2] + plain[:, 2:]], axis=1)}


def _at_corners(plain: np.ndarray, exact: int) -> np.ndarray:
    """x, y, width, height of boxes whose corners are rounded."""
    low, high = np.round(plain[:, :2], exact), np.round(plain[:, :2] + plain[:, 2:], exact)
    return np.concatenate([low, np.round(high - low, exact)], axis=1)


def _floor(plain: np.ndarray, exact: int) -> np.ndarray:
    return np.floor(plain * 10**exact + 1e-9) / 10**exact


WAYS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "rounded": np.round,
    "of both corners rounded": _at_corners,
    "cut off": _floor,
}
"""How tools round boxes: x, y, width and height; or the corners before width is taken; or all downwards."""


def _sides(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2:] - boxes[:, :2]


def _decimals(exact: int) -> str:
    return "whole numbers" if not exact else counted(exact, "decimal")
