"""The report's pictures of poses: how far off joints are, which are found, and people."""

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from striate import ink
from striate.data.store import seen
from striate.task import Facts, Picture
from striate.tasks.pose.predict import over

SHOWN, TALL = 6, 320
"""People of a set that are shown, and the height of one."""


def pictures(figures: dict[str, Any], facts: Facts, shown: dict[str, Any]) -> list[Picture]:
    """`figures` are what the metric computed; `shown` holds what was evaluated: images uint8 (N, C, H, W) or
    a store of them, output float32 (N, S, K, 3) as from `keep`, target as `targets` stores it."""
    found = [_bars(figures["per_class"])] if figures["per_class"] else []
    if figures["pdj_curve"]:
        found.append(_curve(figures["pdj_curve"]))
    if len(shown["output"]):
        found.append(_examples(facts, shown))
    return found


def _bars(per_joint: dict[str, dict[str, float]]) -> Picture:
    rows = [
        (joint, found["pck"], ink.percent(found["pck"]), f"{found['error']:.1f} px")
        for joint, found in per_joint.items()
    ]
    caption = "Found within a tenth of the person's size (PCK@0.1), and the mean distance in original pixels."
    return Picture("Joints", caption, ink.png(ink.bars(rows)))


def _curve(values: list[float]) -> Picture:
    """The share of joints found over the distance that is allowed."""
    side, left, top = 720, 84, 30
    sheet = Image.new("RGB", (left + side + 40, top + side + 100), ink.PAPER)
    pen, face = ImageDraw.Draw(sheet), ink.font(26)
    for tick in range(6):
        at = top + side - tick * side / 5
        pen.line((left, at, left + side, at), ink.PALE, 2)
        pen.text((left - 14, at), f"{tick / 5:g}", ink.SOFT, face, anchor="rm")
        pen.text((left + tick * side / 5, top + side + 14), f"{tick / 10:g}", ink.SOFT, face, anchor="ma")
    x, y = left + np.linspace(0, side, len(values)), top + side - np.asarray(values) * side
    pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), ink.BLUE, 5)
    pen.text((left + side / 2, top + side + 56), "distance, in torsos", ink.SOFT, face, anchor="ma")
    caption = "The share of joints that lie within a distance of their true place (PDJ)."
    return Picture("Detected joints", caption, ink.png(sheet))


def _examples(facts: Facts, shown: dict[str, Any]) -> Picture:
    """Truth above answer, from the worst of the set to the best."""
    truth, said = shown["target"]["keypoints"], shown["output"][:, -1]
    known = truth[..., 2] > 0
    apart = ((said[..., :2] - truth[..., :2]).norm(dim=-1) * known).sum(1) / known.sum(1).clamp(min=1)
    order = (-apart).argsort()[torch.linspace(0, len(apart) - 1, min(SHOWN, len(apart))).round().long()]
    store, columns = shown["images"], []
    for i in order.tolist():
        image = seen(store, i)
        pair = [over(image, joints.double().numpy(), facts) for joints in (truth[i], said[i])]
        columns.append([part.resize((round(TALL * part.width / part.height), TALL)) for part in pair])
    wide = columns[0][0].width
    sheet = Image.new("RGB", (len(columns) * (wide + 6), 2 * (TALL + 6)), ink.PAPER)
    for place, pair in enumerate(columns):
        for line, part in enumerate(pair):
            sheet.paste(part, (place * (wide + 6), line * (TALL + 6)))
    caption = (
        "The truth above, the answer below, from the worst of the set to the best; right orange, left blue."
    )
    return Picture("Examples", caption, ink.png(sheet))
