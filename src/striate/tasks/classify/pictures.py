"""The report's pictures of a classifier: what it takes for what, where it is surely right and surely wrong.

Drawn with Pillow at twice the size they are shown at. Names of classes and files are anybody's text, so they
are only ever drawn as text, shortened to their place.
"""

from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from striate import ink
from striate.matrix import confusion_matrix
from striate.task import Facts, Picture
from striate.tasks.classify.metric import BINS, calibration_error, calibration_sums

TILES, ACROSS, SIDE = 24, 6, 224
"""Pictures in a mosaic, in a row of it, and the pixels of one."""

BARS = 40
"""Classes that the bars show at most: the worst."""


def pictures(figures: dict[str, Any], facts: Facts, shown: dict[str, Any]) -> list[Picture]:
    """Five pictures of one evaluation, or four where no picture was mistaken.

    `figures` are what the metric computed; `shown` holds what was evaluated: images uint8 (N, C, H, W) or a
    store of them, output (N, classes) logits, target {"label": (N,)} and, if known, names of the N files.
    """
    names = facts["classes"]
    found = [_confusion(figures["confusion"], names)]
    if len(shown["output"]):
        found += _mosaics(names, shown)
        found.append(_reliability(shown))
    found.insert(-1 if len(found) > 1 else 1, _class_bars(figures["per_class"]))
    return found


def _confusion(counts: list[list[int]], names: list[str]) -> Picture:
    caption = (
        "A row is a true class, a column what the network said. Blue: the share found; orange: mistakes."
    )
    return Picture("Confusion matrix", caption, ink.png(confusion_matrix(counts, names)))


def _mosaics(names: list[str], shown: dict[str, Any]) -> list[Picture]:
    """The surest right answers, every class in turn, and the surest wrong ones."""
    label = shown["target"]["label"].cpu()
    confidence, said = shown["output"].detach().float().cpu().softmax(1).max(1)
    order = confidence.argsort(descending=True, stable=True)
    wrong = order[said[order] != label[order]][:TILES]
    best = _in_turn(order[said[order] == label[order]], label)[:TILES]
    made = []
    if len(best):
        lines = [(names[label[i]], "", ink.percent(float(confidence[i]))) for i in best.tolist()]
        caption = "The pictures it is surest of, and rightly: the best of every class in turn."
        made.append(Picture("Best predictions", caption, ink.png(_mosaic(shown, best, lines, ink.BLUE))))
    if len(wrong):
        lines = [
            (names[said[i]], f", {ink.percent(float(confidence[i]))}", f"is {names[label[i]]}")
            for i in wrong.tolist()
        ]
        caption = "The mistakes it is surest of, and below each what it is. Look here first for wrong labels."
        made.append(
            Picture("Worst predictions", caption, ink.png(_mosaic(shown, wrong, lines, ink.VERMILION)))
        )
    return made


def _in_turn(order: Tensor, label: Tensor) -> Tensor:
    """Indices (n,) best first -> the first of every class, then the second of every class, and so on."""
    sorted_label, place = label[order].sort(stable=True)
    first = torch.searchsorted(sorted_label, sorted_label)
    turn = torch.empty_like(place)
    turn[place] = torch.arange(len(order)) - first
    return order[turn.argsort(stable=True)]


def _mosaic(
    shown: dict[str, Any], rows: Tensor, lines: list[tuple[str, str, str]], colour: ink.Colour
) -> Image.Image:
    """The pictures at `rows`; under each an answer with its figure, a second line, and the file if known."""
    images = shown["images"]
    files = shown.get("names") or getattr(shown["images"], "names", None)
    pixels = (images[rows.to(images.device)] if isinstance(images, Tensor) else images.batch(rows)[0]).cpu()
    face, small, gap, text = ink.font(26, bold=True), ink.font(22), 20, 102 if files else 72
    across = min(ACROSS, len(rows))
    down = -(-len(rows) // across)
    size = across * (SIDE + gap) + gap, down * (SIDE + text + gap) + gap
    sheet = Image.new("RGB", size, ink.PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, (picture, (first, figure, second)) in enumerate(zip(pixels, lines, strict=True)):
        x, y = gap + place % across * (SIDE + gap), gap + place // across * (SIDE + text + gap)
        tile = ink.enlarge(_image(picture), SIDE, SIDE)
        sheet.paste(tile, (x + (SIDE - tile.width) // 2, y + (SIDE - tile.height) // 2))
        pen.text(
            (x, y + SIDE + 6), ink.shorten(first, face, SIDE - face.getlength(figure)) + figure, colour, face
        )
        pen.text((x, y + SIDE + 39), ink.shorten(second, small, SIDE), ink.INK, small)
        if files:
            file = files[int(rows[place])].rsplit("/", 1)[-1]
            pen.text((x, y + SIDE + 68), ink.shorten(file, small, SIDE), ink.SOFT, small)
    return sheet


def _image(pixels: Tensor) -> Image.Image:
    """uint8 (C, H, W) -> RGB; pictures of neither one nor three channels show their first."""
    channels = pixels if pixels.shape[0] == 3 else pixels[:1].expand(3, -1, -1)
    return Image.fromarray(channels.permute(1, 2, 0).contiguous().numpy())


def _class_bars(per_class: dict[str, dict[str, Any]]) -> Picture:
    """A bar for every class, the worst first; of many classes only the worst."""
    known = sorted(
        (c["accuracy"], c["n"], name) for name, c in per_class.items() if c["accuracy"] is not None
    )
    listed = known[:BARS]
    sheet = ink.bars([(name, share, ink.percent(share), f"of {n:,}") for share, n, name in listed])
    which = f"the {len(listed)} worst of {len(known)} classes" if len(known) > BARS else "the worst first"
    return Picture(
        "Accuracy of each class", f"The share of a class's pictures found; {which}.", ink.png(sheet)
    )


def _reliability(shown: dict[str, Any]) -> Picture:
    """How often answers of each confidence are right, against the diagonal, and how many there are."""
    confidence, said = shown["output"].detach().float().cpu().softmax(1).max(1)
    sums = calibration_sums(confidence, said == shown["target"]["label"].cpu())
    counts, _, right = sums.tolist()
    left, top, side, below, step = 130, 30, 720, 130, 48
    sheet = Image.new("RGB", (left + side + 60, top + side + below + 100), ink.PAPER)
    pen, face = ImageDraw.Draw(sheet), ink.font(24)
    for tick in range(6):
        at = round(side * tick / 5)
        pen.line((left, top + side - at, left + side, top + side - at), ink.LINE, 2)
        pen.text((left - 14, top + side - at), f"{20 * tick} %", ink.SOFT, face, anchor="rm")
        pen.text((left + at, top + side + below + 24), f"{20 * tick} %", ink.SOFT, face, anchor="ma")
    for which in range(BINS):
        x, n = left + which * step, counts[which]
        tall = round(side * right[which] / n) if n else 0
        share = round((below - 30) * n / max(counts))
        if tall:
            pen.rectangle((x + 3, top + side - tall, x + step - 4, top + side), ink.BLUE)
        if n:
            floor = top + side + below
            pen.rectangle((x + 3, floor - max(share, 2), x + step - 4, floor), ink.mix(ink.INK, 0.45))
    pen.line((left, top + side, left + side, top), ink.VERMILION, 4)
    pen.text((left + side / 2, top + side + below + 60), "confidence", ink.INK, face, anchor="ma")
    upright = Image.new("RGB", (side, 34), ink.PAPER)
    ImageDraw.Draw(upright).text((side / 2, 2), "right", ink.INK, face, anchor="ma")
    sheet.paste(upright.rotate(90, expand=True), (6, top))
    caption = (
        "Of the answers given with this confidence, how many were right. On the line the network is as sure "
        f"as it should be; the mean distance is {100 * calibration_error(sums):.1f} points. "
        "Grey: how many answers."
    )
    return Picture("Is it as sure as it should be?", caption, ink.png(sheet))
