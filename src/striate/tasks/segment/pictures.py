"""The report's pictures of a segmentation: pictures beside truth and answer, and the classes' bars."""

from typing import Any

import torch
from PIL import Image, ImageDraw

from striate import ink
from striate.data.masks import IGNORED
from striate.data.overlay import over
from striate.data.store import seen
from striate.task import Facts, Picture
from striate.tasks.segment.draw import legend

SHOWN, WIDE = 6, 300
"""Pictures of a set that are shown, and the width of one."""


def pictures(figures: dict[str, Any], facts: Facts, shown: dict[str, Any]) -> list[Picture]:
    """The bars of the classes, and pictures from the worst to the best.

    `figures` are what the metric computed; `shown` holds what was evaluated: images uint8 (N, C, H, W) or a
    store of them, output uint8 (N, H, W) classes, target {"mask": (N, H, W)}.
    """
    found = [_bars(figures["per_class"])]
    if len(shown["output"]):
        found.append(_examples(facts["classes"], shown))
    return found


def _bars(per_class: dict[str, dict[str, float | None]]) -> Picture:
    """IoU of every class, the best first."""
    rows = sorted(per_class.items(), key=lambda pair: -(pair[1]["iou"] or 0.0))
    row, face, bold = 28, ink.font(15), ink.font(15, bold=True)
    sheet = Image.new("RGB", (760, row * len(rows) + 12), ink.PAPER)
    pen = ImageDraw.Draw(sheet)
    for line, (name, figures) in enumerate(rows):
        y, iou = 6 + line * row, figures["iou"]
        pen.text((10, y + 5), ink.shorten(name, bold, 170), ink.INK, bold)
        pen.rounded_rectangle((190, y + 8, 590, y + 20), 6, ink.PALE)
        if iou:
            pen.rounded_rectangle((190, y + 8, 190 + max(4, round(400 * iou)), y + 20), 6, ink.BLUE)
        said = "–" if iou is None else f"{iou:.3f}"
        pen.text((604, y + 5), said, ink.INK, face)
        pen.text((660, y + 5), ink.percent(figures["share"] or 0.0), ink.SOFT, face)
    caption = "Intersection over union of every class, and its share of the pixels."
    return Picture("Classes", caption, ink.png(sheet))


def _examples(classes: list[str], shown: dict[str, Any]) -> Picture:
    """Picture, truth and answer side by side, evenly from the most mistaken picture to the least."""
    said, true = shown["output"], shown["target"]["mask"]
    known = true != IGNORED
    right = (((said == true) & known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)).float()
    order = right.argsort()[torch.linspace(0, len(right) - 1, min(SHOWN, len(right))).round().long()]
    store = shown["images"]
    tall = round(WIDE * true.shape[1] / true.shape[2])
    face = ink.font(14)
    key = legend(true[order].numpy(), tuple(classes), 10)
    height = max(len(order) * (tall + 28), key.height)
    sheet = Image.new("RGB", (3 * (WIDE + 8) + key.width, height), ink.PAPER)
    pen = ImageDraw.Draw(sheet)
    for line, i in enumerate(order.tolist()):
        image = seen(store, i).resize((WIDE, tall), Image.Resampling.LANCZOS)
        truth, answer = (over(image, mask[i].numpy(), len(classes), 0.75) for mask in (true, said))
        y = line * (tall + 28)
        for column, part in enumerate((image, truth, answer)):
            sheet.paste(part, (column * (WIDE + 8), y))
        text = f"{ink.percent(float(right[i]))} of the pixels right"
        pen.text((0, y + tall + 4), text, ink.SOFT, face)
    sheet.paste(key, (3 * (WIDE + 8), 0))
    caption = "The picture, the truth and the answer, from the worst of the set to the best."
    return Picture("Examples", caption, ink.png(sheet))
