"""The curves of a training as SVG written by hand, and the first layer's filters as a picture.

An SVG of a few points is smaller and sharper than any plotting library's, needs none to be imported, and
takes its colours from the page it is in (light or dark); saved alone it falls back to the same hues.
"""

import math
from html import escape
from typing import Any

import torch
from PIL import Image
from torch import nn

from striate import ink
from striate.task import PERCENT, Picture
from striate.training.loop import first_convolution

Points = list[tuple[float, float]]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 62, 18, 16, 66
COLOURS = ("var(--first,#0072b2)", "var(--second,#d55e00)", "var(--third,#009e73)", "var(--fourth,#cc79a7)")
MEASURED = frozenset("row epoch step steps lr seconds images_per_second images calibration_error".split())
"""Columns of a training's rows that are no figure to maximise: they would squeeze the axis of those."""

FILTERS = 256
"""Filters (or slices of them) that are drawn at most."""


def curves(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The rows of `metrics.jsonl` -> title -> SVG: losses, figures between 0 and 1, the learning rate.

    A value that is missing or not finite leaves its point out; a chart without points is left out.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row if key not in MEASURED))
    found = {key: points for key in keys if (points := _points(rows, key))}
    losses = {_loss_name(key): found.pop(key) for key in list(found) if "loss" in key}
    shares = {k.replace("_", " "): p for k, p in found.items() if all(0 <= y <= 1 for _, y in p)}
    shares = dict(list(shares.items())[: len(COLOURS)])
    rate = {"learning rate": _points(rows, "lr")}
    charts = {"Loss": losses, "Figures": shares, "Learning rate": rate}
    return {
        title: chart(title, series, series is shares)
        for title, series in charts.items()
        if any(series.values())
    }


def _points(rows: list[dict[str, Any]], key: str) -> Points:
    """(epoch, value) of every row that has a finite number under `key`."""
    numbers = [
        (float(row.get("epoch", place)), row.get(key))
        for place, row in enumerate(rows, start=1)
        if isinstance(row.get(key), int | float) and not isinstance(row.get(key), bool)
    ]
    return [(x, float(y)) for x, y in numbers if y is not None and math.isfinite(y)]


def _loss_name(key: str) -> str:
    """`loss` is the training's; `val_loss`, `test_loss` and `train_loss` were evaluated after the epoch."""
    names = {
        "loss": "training",
        "val_loss": "validation",
        "test_loss": "test",
        "train_loss": "training, after",
    }
    return names.get(key, key.replace("_", " "))


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers that span low..high: multiples of 1, 2 or 5 times a power of ten."""
    rough = max(high - low, 1e-12) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def chart(title: str, series: dict[str, Points], share: bool = False) -> str:
    """One SVG with a line per series and its last value in the legend.

    The axis of shares begins at the least, and says percent where all of them are usually said so.
    """
    percent = share and all(name.replace(" ", "_") in PERCENT for name in series)
    series = {name: points for name, points in series.items() if points}
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    levels = ticks(min(ys) if share else min(0.0, *ys), max(ys))
    if share and levels[-1] > 1:
        levels = [level for level in levels if level <= 1 + 1e-9]
    x0, x1, y0, y1 = min(xs), max(xs), levels[0], max(levels[-1], max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x0) / (x1 - x0) if x1 > x0 else 0.5
        up = (y - y0) / (y1 - y0) if y1 > y0 else 0.5
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [_grid(place, x0, x1, levels, percent)]
    for points, colour in zip(series.values(), COLOURS, strict=False):
        parts.append(_line([place(x, y) for x, y in points], colour))
    parts.append(_legend(series, percent))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)} by epoch" font-family="system-ui,sans-serif" font-size="13" '
        f'fill="currentColor">{"".join(parts)}</svg>'
    )


def _grid(place: Any, x0: float, x1: float, levels: list[float], percent: bool) -> str:
    """A faint line and a number for every level; numbers for the epochs."""
    parts = []
    for level in levels:
        x, y = place(x0, level)
        parts.append(
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity=".15"/>'
            f'<text x="{LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end">{_number(level, percent)}</text>'
        )
    parts.append(
        f'<text x="{LEFT - 14}" y="{HEIGHT - BOTTOM + 20}" text-anchor="end" opacity=".7">epoch</text>'
    )
    epochs = [x for x in ticks(x0, x1, 8) if x0 <= x <= x1 and x == int(x)] if x1 > x0 else [x0]
    for epoch in epochs:
        x, _ = place(epoch, levels[0])
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{_number(epoch)}</text>'
        )
    return "".join(parts)


def _line(points: Points, colour: str) -> str:
    """A line through the points, each marked while they are few."""
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    few = points if len(points) <= 40 else []
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in few)
    line = f'<path d="M{path}" fill="none" stroke-width="2.2" stroke-linejoin="round"/>'
    return f'<g style="stroke:{colour}">{line}</g><g style="fill:{colour}">{dots}</g>'


def _legend(series: dict[str, Points], percent: bool) -> str:
    """Below the chart: a dot, the name and the last value of every series."""
    texts = [f"{name} {_number(points[-1][1], percent, fine=True)}" for name, points in series.items()]
    # Room by length: a letter of this size is 7 wide on average, a dot and the gaps 36.
    widths = [7 * len(text) + 36 for text in texts]
    x, tight = LEFT + 4.0, min(1.0, (WIDTH - LEFT) / sum(widths))
    parts, y = [], HEIGHT - 18
    for number, (text, width) in enumerate(zip(texts, widths, strict=True)):
        parts.append(f'<circle cx="{x:.0f}" cy="{y - 4}" r="5" style="fill:{COLOURS[number % 4]}"/>')
        parts.append(f'<text x="{x + 11:.0f}" y="{y}">{escape(text)}</text>')
        x += width * tight
    return "".join(parts)


def _number(value: float, percent: bool = False, fine: bool = False) -> str:
    """A tick (short) or a result (`fine`: with its decimals)."""
    if percent:
        return f"{100 * value:.2f} %" if fine else f"{100 * value:.6g} %"
    return f"{value:.4g}" if fine else f"{value:.6g}"


def filters_picture(network: nn.Module) -> Picture | None:
    """The first convolution's weights as a grid of little pictures; None for a network without one.

    Filters on three channels are shown in colour, others in grey, a filter of several grey channels as
    several pictures. Each is stretched from its least weight (black) to its greatest (white).
    """
    first = first_convolution(network)
    if first is None:
        return None
    weight = first.weight.detach().float().cpu().nan_to_num(0, 0, 0)
    count, depth, height, width = weight.shape
    if depth != 3:
        weight = weight.reshape(-1, 1, height, width)
    png = ink.png(_grid_of(weight[:FILTERS]))
    more = "" if len(weight) <= FILTERS else f", the first {FILTERS} slices"
    caption = f"{count} of {height}×{width}×{depth}{more}: what the first layer looks for."
    return Picture("First-layer filters", caption, png)


def _grid_of(weight: torch.Tensor) -> Image.Image:
    """Filters (N, 1 or 3, h, w) -> tiles in rows, every weight a square of whole pixels."""
    low, high = weight.amin((1, 2, 3), keepdim=True), weight.amax((1, 2, 3), keepdim=True)
    spread = torch.where(high > low, high - low, 1.0)
    pixels = torch.where(high > low, (weight - low) / spread, 0.5).mul(255).round().to(torch.uint8)
    pixels = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    count, height, width, _ = pixels.shape
    across = min(count, 8 if count <= 32 else 16)
    size = max(1, (160 if across <= 8 else 84) // max(height, width))
    tiles = pixels.repeat_interleave(size, 1).repeat_interleave(size, 2)
    gap, down = 12, -(-count // across)
    tall, wide = height * size + gap, width * size + gap
    sheet = torch.full((down * tall + gap, across * wide + gap, 3), 255, dtype=torch.uint8)
    for place, tile in enumerate(tiles):
        y, x = gap + place // across * tall, gap + place % across * wide
        sheet[y : y + height * size, x : x + width * size] = tile
    return Image.fromarray(sheet.numpy())
