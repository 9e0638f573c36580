"""What is known of a picture drawn over it: boxes with names, classes in colours, joints and bones.

The same for the truth of a data set and for what a network says. Lines and letters grow with the picture.
"""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from striate import ink

SHARE = 0.55
"""How much of a class's colour lies over the picture."""

FIRST = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (86, 180, 233),
    (230, 159, 0), (112, 72, 160), (150, 90, 60), (120, 190, 60), (200, 40, 60), (90, 100, 110),
)  # fmt: skip
"""Okabe and Ito's colours and five that differ from them and from one another."""


def palette(classes: int) -> list[ink.Colour]:
    """As many colours as classes: the first twelve chosen by hand, the others around the circle of hues."""
    colours: list[ink.Colour] = list(FIRST[:classes])
    for number in range(len(colours), classes):
        hue = number * 0.61803398875 % 1  # the golden angle: neighbours in number are far apart in hue
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.55)[number % 2], (0.9, 0.65, 0.8)[number % 3])
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours


def to_look_at(image: Image.Image, largest: int, smallest: int) -> tuple[Image.Image, float]:
    """The picture with a longer side of `smallest` to `largest` pixels, and how much larger it became."""
    scale = min(largest / max(image.size), max(1.0, smallest / max(image.size)))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS), scale


def over(image: Image.Image, mask: np.ndarray, classes: int, share: float = SHARE) -> Image.Image:
    """The picture with its classes' colours over it, outlines in full colour; 255 stays uncovered.

    `mask` uint8 (h, w) may be smaller or larger than the picture.
    """
    rows = ((np.arange(image.height) + 0.5) * mask.shape[0] / image.height).astype(int)
    columns = ((np.arange(image.width) + 0.5) * mask.shape[1] / image.width).astype(int)
    seen = mask[np.ix_(rows, columns)]
    table = np.zeros((256, 3), dtype=np.float32)
    table[:classes] = palette(classes)
    weight = np.where(seen < classes, share, 0.0)
    weight[_outlines(seen) & (seen < classes)] = 0.9
    pixels = np.asarray(image, dtype=np.float32)
    mixed = pixels + (table[seen] - pixels) * weight[:, :, None]
    return Image.fromarray(mixed.round().astype(np.uint8))


def _outlines(mask: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels whose right or lower neighbour is of another class."""
    edge = np.zeros(mask.shape, dtype=bool)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    return edge


def boxes(
    image: Image.Image,
    corners: Sequence[Sequence[float]],
    texts: Sequence[str],
    colours: Sequence[ink.Colour],
) -> None:
    """Draw boxes x1, y1, x2, y2 in the picture's pixels, each with its text on a ground of its colour.

    A text stands above its box, or inside where there is no room above.
    """
    pen, width = ImageDraw.Draw(image), max(1, round(max(image.size) / 320))
    face = ink.font(max(10, round(max(image.size) / 48)), bold=True)
    for (x1, y1, x2, y2), text, colour in zip(corners, texts, colours, strict=True):
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=width)
        if text:
            left, top, right, bottom = (round(side) for side in face.getbbox(text))
            wide, high = right - left + 6, bottom - top + 6
            x = max(0, min(x1, image.width - wide))
            y = y1 - high if y1 >= high else y1
            pen.rectangle((x, y, x + wide, y + high), colour)
            light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 150
            pen.text((x + 3 - left, y + 3 - top), text, ink.PAPER if light else ink.INK, face)


def skeleton(
    image: Image.Image,
    joints: np.ndarray,
    bones: Sequence[Sequence[int]],
    mirrored: Sequence[int],
    side: float | None = None,
) -> None:
    """Draw joints (K, 3) x, y, v in the picture's pixels, and the bones between those that are known.

    What lies right of the body (its partner in the mirror has a larger number) is orange, what lies left
    blue, the middle green; joints that are covered (v 1) are hollow. Lines grow with `side`, in pixels: the
    picture's, or of the part of it that shows the person.
    """
    pen, size = ImageDraw.Draw(image), max(2.0, (side or max(image.size)) / 130)
    known = joints[:, 2] > 0
    sides = [(number > partner) - (number < partner) for number, partner in enumerate(mirrored)]
    colour = {-1: ink.VERMILION, 1: ink.BLUE, 0: FIRST[2]}
    for one, other in bones:
        if known[one] and known[other]:
            side = sides[one] if sides[one] == sides[other] else sides[one] + sides[other]
            ends = [tuple(joints[place, :2].tolist()) for place in (one, other)]
            pen.line(ends, colour[max(-1, min(1, side))], max(1, round(size * 0.8)))
    for number in np.flatnonzero(known):
        x, y, seen = joints[number].tolist()
        box = (x - size, y - size, x + size, y + size)
        pen.ellipse(box, colour[sides[number]] if seen > 1 else None, outline=ink.PAPER)
