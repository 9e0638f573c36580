"""From a detector's output to things in the original picture, to print, send and draw."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate.data.picture import Picture, to_draw_on
from striate.data.prepare import Fit
from striate.data.rle import decode as pixels_of
from striate.data.rle import encode
from striate.task import Facts
from striate.tasks.detect.boxes import surest
from striate.tasks.detect.draw import draw
from striate.tasks.detect.onestage import Dense

SURE = 0.35
"""The score from which on an answer is shown."""

LEAST = 0.005
"""The score from which on an answer counts in figures: average precision looks at the unsure ones too."""

OVERLAP = 0.6
"""Of two boxes of one class that overlap more, the surer stays."""

MOST, LOOKED_AT = 100, 1000
"""Answers for one picture, as COCO's figures take them; candidates that are compared for them."""

Found = dict[str, Tensor]
"""One picture's answers, the surest first: boxes (n, 4), scores (n,), labels (n,), perhaps masks."""


@dataclass(frozen=True)
class Detections:
    """The things that the network sees in one picture, the surest first."""

    file: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    """(height, width) of the original picture."""
    boxes: np.ndarray
    """float64 (n, 4) x1, y1, x2, y2 in pixels of the original picture."""
    scores: np.ndarray
    """float64 (n,) in 0..1."""
    labels: np.ndarray
    """int64 (n,): numbers of `classes`."""
    masks: list[dict[str, Any]] | None = field(default=None, repr=False)
    """COCO's run lengths of each thing, where the head gives them."""
    image: Picture | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """{"file", "size": [height, width], "things": [{"class", "score", "box", "rle"}, ...]}.

        A box is [x1, y1, x2, y2] in pixels; `rle` is there where the head gives masks.
        """
        things = []
        for i, box in enumerate(self.boxes.tolist()):
            thing: dict[str, Any] = {"class": self.classes[self.labels[i]], "score": float(self.scores[i])}
            thing["box"] = [round(side, 3) for side in box]
            if self.masks is not None:
                thing["rle"] = self.masks[i]
            things.append(thing)
        return {"file": self.file, "size": list(self.size), "things": things}

    def draw(self, image: Picture | None = None) -> Image.Image:
        """The picture with a named box around every thing, and its mask over it where there is one."""
        image = to_draw_on(image, self.image, self.file)
        masks = None if self.masks is None else [pixels_of(mask) for mask in self.masks]
        return draw(image, self.boxes, self.scores, self.labels, masks, self.classes, self.file)

    def files(self) -> dict[str, Image.Image]:
        """Nothing is saved beside the drawing."""
        return {}


def keep(output: Any) -> list[Found]:
    """`Dense`, or answers already: those of every picture that count in figures, on the CPU."""
    if isinstance(output, Dense):
        return [_best(*one) for one in zip(output.logits, output.boxes, strict=True)]
    return [{key: value.detach().cpu() for key, value in one.items()} for one in output]


def _best(logits: Tensor, boxes: Tensor) -> Found:
    """Logits (A, classes) and boxes (A, 4) of one picture -> its best answers, each box once a class."""
    scores = logits.detach().float().sigmoid()
    place, label = (scores > LEAST).nonzero(as_tuple=True)
    score = scores[place, label]
    first = score.topk(min(LOOKED_AT, len(score))).indices
    place, label, score = place[first], label[first], score[first]
    kept = surest(boxes[place], score, label, OVERLAP)[:MOST]
    found = {"boxes": boxes[place[kept]].detach(), "scores": score[kept], "labels": label[kept]}
    return {key: value.cpu() for key, value in found.items()}


def decode(output: Any, facts: Facts) -> list[dict[str, Any]]:
    """What is shown of a batch: {"classes": names, "boxes", "scores", "labels", "masks"} a picture."""
    decoded = []
    for one in keep(output):
        sure = one["scores"] >= SURE
        decoded.append({"classes": facts["classes"], **{key: value[sure] for key, value in one.items()}})
    return decoded


def prediction(
    decoded: dict[str, Any], *, file: str = "", image: Picture | None = None, fit: Fit | None = None
) -> Detections:
    """One decoded answer and the picture it is about, in its pixels."""
    found = {key: value for key, value in decoded.items() if key != "classes"}
    if fit is None:
        size = 0, 0
        boxes = found["boxes"].double().numpy()
        masks = None
    else:
        height, width = fit.original[0].tolist()
        size = int(height), int(width)
        boxes, masks = originals(found, fit.scale[0], fit.offset[0], size)
    scores, labels = found["scores"].double().numpy(), found["labels"].numpy()
    return Detections(str(file), tuple(decoded["classes"]), size, boxes, scores, labels, masks, image)


def originals(
    found: Found, scale: np.ndarray, offset: np.ndarray, size: tuple[int, int] | None
) -> tuple[np.ndarray, list[dict[str, Any]] | None]:
    """Boxes float64 (n, 4) in pixels of the original, and the run lengths of masks where there are any.

    Original points times `scale` plus `offset` are the window's. With the `size` (height, width) of the
    original, boxes end at its edges; masks need it.
    """
    boxes = found["boxes"].double().numpy().reshape(-1, 2, 2)
    whole = ((boxes - offset) / scale).reshape(-1, 4)
    if size is None:
        return whole, None
    height, width = size
    boxes = whole.clip(0, [width, height, width, height])
    if "masks" not in found:
        return boxes, None
    from torchvision.models.detection.roi_heads import paste_masks_in_image  # takes seconds to import

    # A mask belongs to its whole box, of which the picture may show a part; torchvision cannot draw nothing.
    seen = (boxes[:, 2:] > boxes[:, :2]).all(1, keepdims=True)
    drawn = torch.from_numpy(np.where(seen, whole, boxes)).float()
    pasted = paste_masks_in_image(found["masks"][:, None], drawn, size)
    return boxes, [encode(one[0].numpy() > 0.5) for one in pasted]
