"""A picture with a named box around everything that was found in it."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from striate.data.overlay import boxes as draw_boxes
from striate.data.overlay import over, palette, to_look_at
from striate.data.picture import Picture, open_picture

LARGEST, SMALLEST = 1280, 480
"""Pixels of the longer side of what is drawn, at most and at least."""


def draw(
    picture: Picture,
    boxes: np.ndarray,
    scores: np.ndarray | None,
    labels: np.ndarray,
    masks: Sequence[np.ndarray] | None,
    classes: Sequence[str],
    name: str = "",
) -> Image.Image:
    """The picture with boxes (n, 4) in its pixels, named by class and score; the surest lie on top.

    `masks` are bool (H, W) of the picture, one a box.
    """
    image = open_picture(picture, name or None).convert("RGB")
    colours = palette(len(classes))
    if masks is not None and len(masks):
        number = np.full(masks[0].shape, 255, dtype=np.uint8)
        for label, mask in reversed(list(zip(labels, masks, strict=True))):
            number[mask] = label % 255
        image = over(image, number, len(classes), share=0.4)
    image, scale = to_look_at(image, LARGEST, SMALLEST)
    order = range(len(labels))[::-1]
    texts = [classes[labels[i]] + ("" if scores is None else f" {scores[i]:.2f}") for i in order]
    draw_boxes(
        image, [(boxes[i] * scale).tolist() for i in order], texts, [colours[labels[i]] for i in order]
    )
    return image
