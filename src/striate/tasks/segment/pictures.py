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

SHOWN, WIDE = 6, 440
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
    best = sorted(per_class.items(), key=lambda pair: -(pair[1]["iou"] or 0.0))
    rows = [
        (name, c["iou"], "–" if c["iou"] is None else f"{c['iou']:.3f}", ink.percent(c["share"] or 0.0))
        for name, c in best
    ]
    caption = "Intersection over union of every class, and its share of the pixels."
    return Picture("Classes", caption, ink.png(ink.bars(rows)))


def _examples(classes: list[str], shown: dict[str, Any]) -> Picture:
    """Picture, truth and answer side by side, evenly from the most mistaken picture to the least."""
    said, true = shown["output"], shown["target"]["mask"]
    known = true != IGNORED
    right = (((said == true) & known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)).float()
    order = right.argsort()[torch.linspace(0, len(right) - 1, min(SHOWN, len(right))).round().long()]
    store = shown["images"]
    tall = round(WIDE * true.shape[1] / true.shape[2])
    face = ink.font(24)
    key = legend(true[order].numpy(), tuple(classes), 10, scale=2)
    height = max(len(order) * (tall + 48), key.height)
    sheet = Image.new("RGB", (3 * (WIDE + 8) + key.width, height), ink.PAPER)
    pen = ImageDraw.Draw(sheet)
    for line, i in enumerate(order.tolist()):
        image = seen(store, i).resize((WIDE, tall), Image.Resampling.LANCZOS)
        truth, answer = (over(image, mask[i].numpy(), len(classes), 0.75) for mask in (true, said))
        y = line * (tall + 48)
        for column, part in enumerate((image, truth, answer)):
            sheet.paste(part, (column * (WIDE + 8), y))
        text = f"{ink.percent(float(right[i]))} of the pixels right"
        pen.text((0, y + tall + 4), text, ink.SOFT, face)
    sheet.paste(key, (3 * (WIDE + 8), 0))
    caption = "The picture, the truth and the answer, from the worst of the set to the best."
    return Picture("Examples", caption, ink.png(sheet))
