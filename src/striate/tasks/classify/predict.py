"""From logits to an answer that can be printed, sent and drawn."""

from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from torch import Tensor

from striate.data.picture import Picture, to_draw_on
from striate.data.prepare import Fit
from striate.task import Facts
from striate.tasks.classify.draw import draw
from striate.tasks.classify.metric import TOP


@dataclass(frozen=True)
class Classification:
    """What the network says of one picture."""

    file: str
    label: str
    confidence: float
    """Probability of `label`, 0..1."""
    top: tuple[tuple[str, float], ...]
    """The five most probable classes and their probabilities, best first."""
    image: Picture | None = field(default=None, repr=False, compare=False)
    """The picture, or the file to read it from when it is to be drawn."""
    size: tuple[int, int] | None = None
    """(width, height) of the original picture."""

    def to_dict(self) -> dict[str, Any]:
        """{"file", "label", "confidence", "top": [{"class", "probability"}, ...]}."""
        top = [{"class": name, "probability": share} for name, share in self.top]
        return {"file": self.file, "label": self.label, "confidence": self.confidence, "top": top}

    def draw(self, image: Picture | None = None) -> Image.Image:
        """The whole picture beside (or above, when it is wide) its five best classes as bars."""
        image = to_draw_on(image, self.image, self.file)
        return draw(image, self.file, self.label, self.top)

    def files(self) -> dict[str, Image.Image]:
        """Nothing is saved beside the drawing."""
        return {}


def decode(output: Tensor, facts: Facts) -> list[dict[str, Any]]:
    """Logits (B, classes) -> one {"label", "confidence", "top": [[class, probability], ...]} per picture."""
    names = facts["classes"]
    best = output.detach().float().softmax(1).topk(min(TOP, len(names)), dim=1)
    answers = []
    for shares, rows in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        top = [[names[row], share] for row, share in zip(rows, shares, strict=True)]
        answers.append({"label": top[0][0], "confidence": top[0][1], "top": top})
    return answers


def prediction(
    decoded: dict[str, Any], *, file: str = "", image: Picture | None = None, fit: Fit | None = None
) -> Classification:
    """One decoded answer and the picture it is about. A label has no place: `fit` only tells its size."""
    top = tuple((name, share) for name, share in decoded["top"])
    size = (int(fit.original[0, 1]), int(fit.original[0, 0])) if fit is not None else None
    if size is None and isinstance(image, Image.Image):
        size = image.size
    return Classification(str(file), decoded["label"], decoded["confidence"], top, image, size)
