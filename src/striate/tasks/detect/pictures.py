"""The report's pictures of a detector: precision against recall, what is taken for what, and examples."""

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from striate import ink
from striate.data.overlay import palette
from striate.data.store import seen
from striate.matrix import confusion_matrix
from striate.task import Facts, Picture
from striate.tasks.detect.draw import draw
from striate.tasks.detect.predict import SURE

SHOWN, WIDE = 4, 840
"""Pictures of a set that are shown, and the width of one."""

LARGEST_MATRIX, NAMED = 40, 12
"""Classes up to which the confusions are drawn, and curves that are named beside the plot."""


def pictures(figures: dict[str, Any], facts: Facts, shown: dict[str, Any]) -> list[Picture]:
    """`figures` are what the metric computed; `shown` holds what was evaluated: images uint8 (N, C, H, W) or
    a store of them, output one dict a picture as from `keep`, target as `targets` stores it."""
    classes = facts["classes"]
    found = [_curves(figures["curves"], figures["per_class"])]
    if len(classes) <= LARGEST_MATRIX:
        caption = (
            f"Answers of a score of {SURE} and more against the things they overlap by half or more. The "
            "last row counts answers where there is nothing, the last column things that were missed."
        )
        matrix = confusion_matrix(figures["confusion"], [*classes, "nothing"])
        found.append(Picture("Confusions", caption, ink.png(matrix)))
    if len(shown["output"]):
        found.append(_examples(classes, shown))
    return found


def _curves(curves: dict[str, Any], per_class: dict[str, dict[str, Any]]) -> Picture:
    """Precision over recall at an overlap of 0.5: the mean dark, each class in its colour."""
    side, left, top = 840, 84, 60
    sheet = Image.new("RGB", (left + side + 500, top + side + 100), ink.PAPER)
    pen, face = ImageDraw.Draw(sheet), ink.font(26)
    for tick in range(0, 11, 2):
        at = top + side - tick * side / 10
        pen.line((left, at, left + side, at), ink.PALE, 2)
        pen.text((left - 14, at), f"{tick / 10:g}", ink.SOFT, face, anchor="rm")
        pen.text((left + tick * side / 10, top + side + 14), f"{tick / 10:g}", ink.SOFT, face, anchor="ma")
    pen.text((left + side / 2, top + side + 56), "recall", ink.SOFT, face, anchor="ma")
    pen.text((left, top - 24), "precision", ink.SOFT, face, anchor="ls")
    names = [name for name in curves if per_class[name]["things"]]
    colours = dict(zip(curves, palette(len(curves)), strict=True))

    def line(values: Any, colour: ink.Colour, width: int) -> None:
        x = left + np.linspace(0, side, len(values))
        y = top + side - np.asarray(values) * side
        pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), colour, width)

    for name in names:
        line(curves[name], colours[name], 4 if len(names) <= NAMED else 2)
    if len(names) > 1:
        line(np.mean([curves[name] for name in names], axis=0), ink.INK, 6)
    best = sorted(names, key=lambda name: -(per_class[name]["ap50"] or 0.0))[:NAMED]
    for row, name in enumerate(best):
        y = top + 18 + row * 46
        pen.line((left + side + 36, y, left + side + 84, y), colours[name], 6)
        text = ink.shorten(name, face, 260)
        pen.text((left + side + 100, y), text, ink.INK, face, anchor="lm")
        pen.text((left + side + 476, y), f"{per_class[name]['ap50']:.3f}", ink.SOFT, face, anchor="rm")
    caption = "Precision against recall at an overlap of 0.5, and the area under each class's curve (AP50)"
    caption += "; black is the mean." if len(names) > 1 else "."
    return Picture("Precision and recall", caption, ink.png(sheet))


def _examples(classes: list[str], shown: dict[str, Any]) -> Picture:
    """Truth and answer side by side, evenly through the set."""
    truth, count = shown["target"], len(shown["output"])
    rows, store = torch.linspace(0, count - 1, min(SHOWN, count)).round().long(), shown["images"]
    face, parts = ink.font(26), []
    for i in rows.tolist():
        small = seen(store, i)
        scale = WIDE / small.width
        image = small.resize((WIDE, round(small.height * scale)), Image.Resampling.LANCZOS)
        known = truth["labels"][i] >= 0
        boxes, labels = (truth[key][i][known].numpy() for key in ("boxes", "labels"))
        answer = shown["output"][i]
        sure = {key: value[answer["scores"] >= SURE].numpy() for key, value in answer.items()}
        parts.append(
            [
                draw(image, scale * boxes, None, labels, None, classes),
                draw(image, scale * sure["boxes"], sure["scores"], sure["labels"], None, classes),
            ]
        )
    tall = parts[0][0].height
    sheet = Image.new("RGB", (2 * WIDE + 16, len(parts) * (tall + 16) + 44), ink.PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, text in enumerate(("the truth", f"the answer (scores from {SURE})")):
        pen.text((column * (WIDE + 16), 4), text, ink.SOFT, face)
    for line, pair in enumerate(parts):
        for column, part in enumerate(pair):
            sheet.paste(part, (column * (WIDE + 16), 44 + line * (tall + 16)))
    return Picture("Examples", "Truth and answer for pictures spread evenly over the set.", ink.png(sheet))
