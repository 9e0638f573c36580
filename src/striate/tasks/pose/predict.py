"""From a pose head's output to joints in the original picture, to print, send and draw."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from striate.data.overlay import skeleton
from striate.data.picture import Picture, open_picture
from striate.data.prepare import Fit
from striate.errors import BadData
from striate.task import Facts
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
        image = image if image is not None else self.image
        if image is None:
            raise BadData(f"{self.file}: the prediction kept no picture to draw on; give draw() the picture.")
        seen = open_picture(image, self.file or None).convert("RGB")
        return over(seen, self.joints, self.facts)

    def files(self) -> dict[str, Image.Image]:
        """Nothing is saved beside the drawing."""
        return {}


def over(image: Image.Image, joints: np.ndarray, facts: Facts, largest: int = LARGEST) -> Image.Image:
    """The picture, enlarged where it is small, and joints (K, 3) in its pixels drawn over it."""
    scale = min(largest / max(image.size), max(1.0, SMALLEST / max(image.size)))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    drawn = image.resize(size, Image.Resampling.LANCZOS)
    points = np.concatenate([joints[:, :2] * scale, np.where(joints[:, 2:] > 0, 2, 0)], axis=1)
    skeleton(drawn, points, facts["bones"], facts["mirrored"])
    return drawn


def decode(output: Any, facts: Facts) -> list[dict[str, Any]]:
    """`Joints` -> one {"facts": the skeleton, "joints": (K, 3) of the last stage} a picture."""
    chosen = {key: facts[key] for key in ("joints", "bones", "mirrored")}
    return [{"facts": chosen, "joints": one[-1].double().numpy()} for one in keep(output)]


def prediction(
    decoded: dict[str, Any], *, file: str = "", image: Picture | None = None, fit: Fit | None = None
) -> Pose:
    """One decoded answer and the picture it is about, in its pixels."""
    joints = decoded["joints"].copy()
    if fit is not None:
        joints[:, :2] = fit.undo(joints[:, :2], 0)
    return Pose(str(file), decoded["facts"], joints, image)
