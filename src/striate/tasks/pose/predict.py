"""From a pose head's output to joints in the original picture, to print, send and draw."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from striate.data.overlay import skeleton, to_look_at
from striate.data.picture import Picture, open_picture, to_draw_on
from striate.data.prepare import Fit
from striate.task import Facts
from striate.tasks.pose.data import LARGER
from striate.tasks.pose.metric import keep

LARGEST, SMALLEST = 1280, 480
"""Pixels of the longer side of what is drawn, at most and at least."""


@dataclass(frozen=True)
class Pose:
    """The joints of the person that a picture shows."""

    file: str
    facts: Facts = field(repr=False)
    """The skeleton: `joints`, `bones` and `mirrored`."""
    joints: np.ndarray
    """float64 (K, 3) x, y in pixels of the original picture, and how sure each is, 0 to 1."""
    image: Picture | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """{"file", "joints": {name: [x, y, score]}}."""
        values = np.round(self.joints, 3).tolist()
        return {"file": self.file, "joints": dict(zip(self.facts["joints"], values, strict=True))}

    def draw(self, image: Picture | None = None) -> Image.Image:
        """The picture with the skeleton over it: its right side orange, its left side blue."""
        image = to_draw_on(image, self.image, self.file)
        seen = open_picture(image, self.file or None).convert("RGB")
        return over(seen, self.joints, self.facts)

    def files(self) -> dict[str, Image.Image]:
        """Nothing is saved beside the drawing."""
        return {}


@dataclass(frozen=True)
class People:
    """The joints of everybody whom a picture shows, the surest found first."""

    file: str
    facts: Facts = field(repr=False)
    """The skeleton: `joints`, `bones` and `mirrored`."""
    size: tuple[int, int]
    """(height, width) of the original picture."""
    boxes: np.ndarray
    """float64 (P, 4) x1, y1, x2, y2 in pixels of the original picture, as they were found."""
    scores: np.ndarray
    """float64 (P,): how sure it is that there is a person, 0 to 1."""
    joints: np.ndarray
    """float64 (P, K, 3) x, y in pixels of the original picture, and how sure each is, 0 to 1."""
    image: Picture | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """{"file", "size": [height, width], "people": [{"box": [x1, y1, x2, y2], "score", "joints"}, ...]}.

        Joints are {name: [x, y, score]}.
        """
        people = []
        for box, score, joints in zip(self.boxes, self.scores, self.joints, strict=True):
            named = dict(zip(self.facts["joints"], np.round(joints, 3).tolist(), strict=True))
            people.append({"box": np.round(box, 3).tolist(), "score": float(score), "joints": named})
        return {"file": self.file, "size": list(self.size), "people": people}

    def draw(self, image: Picture | None = None) -> Image.Image:
        """The picture with a skeleton over everybody: the right side orange, the left side blue."""
        image = to_draw_on(image, self.image, self.file)
        seen = open_picture(image, self.file or None).convert("RGB")
        sides = LARGER * (self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1)
        return over(seen, self.joints, self.facts, sides=sides.tolist())

    def files(self) -> dict[str, Image.Image]:
        """Nothing is saved beside the drawing."""
        return {}


def over(
    image: Image.Image,
    joints: np.ndarray,
    facts: Facts,
    largest: int = LARGEST,
    sides: Sequence[float] | None = None,
) -> Image.Image:
    """The picture, enlarged where it is small, and in its pixels the joints (K, 3) of one person drawn over
    it, or (P, K, 3) of several who fill squares of `sides`."""
    drawn, scale = to_look_at(image, largest, SMALLEST)
    points = np.concatenate([joints[..., :2] * scale, np.where(joints[..., 2:] > 0, 2, 0)], axis=-1)
    people = points.reshape(-1, *points.shape[-2:])
    for one, side in zip(people, sides or [max(image.size)] * len(people), strict=True):
        skeleton(drawn, one, facts["bones"], facts["mirrored"], side * scale)
    return drawn


def decode(output: Any, facts: Facts) -> list[dict[str, Any]]:
    """`Joints` -> one {"facts": the skeleton, "joints": (K, 3) of the last stage} a picture."""
    chosen = _skeleton(facts)
    return [{"facts": chosen, "joints": one[-1].double().numpy()} for one in keep(output)]


def prediction(
    decoded: dict[str, Any], *, file: str = "", image: Picture | None = None, fit: Fit | None = None
) -> Pose:
    """One decoded answer and the picture it is about, in its pixels."""
    joints = decoded["joints"].copy()
    if fit is not None:
        joints[:, :2] = fit.undo(joints[:, :2], 0)
    return Pose(str(file), decoded["facts"], joints, image)


def join(
    parts: Sequence[Pose],
    boxes: np.ndarray,
    scores: np.ndarray,
    facts: Facts,
    *,
    file: str,
    size: tuple[int, int],
    image: Picture | None = None,
) -> People:
    """The answers about the people of one picture, each already in its pixels."""
    joints = np.array([part.joints for part in parts]).reshape(-1, len(facts["joints"]), 3)
    return People(file, _skeleton(facts), size, boxes, scores, joints, image)


def _skeleton(facts: Facts) -> Facts:
    return {key: facts[key] for key in ("joints", "bones", "mirrored")}
