"""The arithmetic of single operators as PyTorch calls them: windows, dot products, cost, sums in words."""

import math
from typing import Any

from torch import Tensor

from striate import geometry
from striate.tracing.receptive import Sight


def slide(name: str, args: tuple) -> geometry.Slide | None:
    """The window that a convolution or a pool moves over its map; None for everything else."""
    if name == "convolution" and not args[6] and args[1].dim() == 4:
        height, width = args[1].shape[2:]
        return geometry.Slide((height, width), _two(args[3]), _two(args[4]), _two(args[5]))
    if name in ("max_pool2d_with_indices", "avg_pool2d"):
        size = _two(args[1])
        stride = _two(args[2]) if len(args) > 2 and args[2] else size
        pad = _two(args[3]) if len(args) > 3 else (0, 0)
        is_max = name.startswith("max")
        dilation = _two(args[4]) if is_max and len(args) > 4 else (1, 1)
        ceil = bool(args[5] if is_max else args[4]) if len(args) > (5 if is_max else 4) else False
        return geometry.Slide(size, stride, pad, dilation, "window", ceil)
    return None


def map_size(x: Tensor) -> geometry.Pair:
    """(height, width) of a map (B, C, H, W)."""
    return x.shape[-2], x.shape[-1]


def _two(values: Any) -> geometry.Pair:
    return geometry.pair(values if isinstance(values, int) or len(values) > 1 else values[0])


def multiply_adds(name: str, args: tuple, made: list[Tensor]) -> int:
    """Products that are summed, in convolutions and matrix products; biases are not counted."""
    if name == "convolution":
        x, weight, transposed = args[0], args[1], args[6]
        places = x if transposed else made[0]
        return places.shape[0] * math.prod(places.shape[2:]) * weight.numel()
    if name in ("mm", "addmm", "bmm", "baddbmm"):
        return made[0].numel() * args[-2].shape[-1]
    return 0


def dot(name: str, args: tuple) -> str:
    """The length of one dot product in words: `5·5·3 = 75 + bias`."""
    if name == "convolution" and not args[6]:
        depth, *size = args[1].shape[1:]
        words = "·".join(map(str, (*size, depth)))
        return f"{words} = {math.prod(size) * depth}{' + bias' if args[2] is not None else ''}"
    if name in ("mm", "addmm"):
        return f"{args[-2].shape[-1]}{' + bias' if name == 'addmm' else ''}"
    return ""


def formula(x: Tensor, slide: geometry.Slide, made: Tensor) -> str:
    """`(32 − 5 + 2·2)/1 + 1 = 32`, and where the result was rounded, `= 54.25 → 54`."""
    sums = []
    for axis, (n, output) in enumerate(zip(map_size(x), map_size(made), strict=True)):
        settings = slide.size, slide.stride, slide.pad, slide.dilation
        text = geometry.formula(n, *(values[axis] for values in settings))
        sums.append(text if text.endswith(f" = {output}") else f"{text} → {output}")
    return sums[0] if sums[0] == sums[1] else f"{sums[0]} by {sums[1]}"


def parts(gets: int, sight: Sight) -> tuple[int, int, int] | None:
    """576 features as 16×6×6, where they are a flattened map."""
    rows, columns = sight
    area = rows.count * columns.count
    if area == 1 or gets % area or rows.inner != columns.count:
        return None
    return gets // area, rows.count, columns.count
