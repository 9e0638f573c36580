"""The arithmetic of convolutional networks that one does by hand: sizes, parameters, cost, receptive fields.

    output = (N − F + 2P)/S + 1        N input, F filter, P zeros on each side, S stride

A filter with dilation D reaches over F' = D(F − 1) + 1 cells, and F' takes F's place. What does not come
out whole is refused, with the smallest edits that mend it; `floor` and `ceil` are PyTorch's way of rounding.
Lengths are cells along one axis, a shape is (height, width), a pair is one value for each of the two.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from striate.errors import BadSetting, DoesNotFit

Pair = tuple[int, int]
Kind = Literal["filter", "window"]


def pair(value: int | Sequence[int]) -> Pair:
    """One number for both axes, or one for each -> (height, width)."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return height, width


@dataclass(frozen=True)
class Slide:
    """What moves over a map: a convolution's filter of `size`, or a pool's window. All are pairs."""

    size: Pair
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    kind: Kind = "filter"
    ceil: bool = False

    def reach(self, axis: int) -> int:
        """F' = D(F − 1) + 1: how many cells lie between the first and the last that it sees, both counted."""
        return self.dilation[axis] * (self.size[axis] - 1) + 1

    def overpadded(self, axis: int) -> bool:
        """Whether a pool's window could lie more than half in the padding, which PyTorch does not allow."""
        return self.kind == "window" and self.pad[axis] > self.reach(axis) // 2

    def output(self, n: int, axis: int, floor: bool) -> int | None:
        """Places along one axis of n cells; None where the arithmetic has no whole answer of 1 or more."""
        span, stride = n + 2 * self.pad[axis] - self.reach(axis), self.stride[axis]
        if self.overpadded(axis):
            return None
        if self.ceil:
            places = -(-span // stride) + 1
            # PyTorch's rule: the last window starts inside the input or its left padding.
            places -= (places - 1) * stride >= n + self.pad[axis]
        elif span < 0 or (span % stride and not floor):
            return None
        else:
            places = span // stride + 1
        return places if places >= 1 else None

    def map(self, shape: Pair, floor: bool = False) -> Pair | None:
        """(H, W) -> (H', W'), or None where either has no answer."""
        height, width = self.output(shape[0], 0, floor), self.output(shape[1], 1, floor)
        return None if height is None or width is None else (height, width)


@dataclass(frozen=True)
class Fix:
    """One edit that makes a layer fit: `setting` (pad, stride, size, ceil or input) becomes `value`."""

    setting: str
    value: Pair
    output: Pair
    kind: Kind = "filter"

    def __str__(self) -> str:
        """In words: `padding 1`, `stride 2`, `a 5×5 filter`, `an input of 9×9`."""
        if self.setting == "ceil":
            return "ceil"
        if self.setting == "size":
            return f"{_a(self.value)} {self.kind}"
        if self.setting == "input":
            return f"an input of {times(self.value)}"
        word = "padding" if self.setting == "pad" else self.setting
        return f"{word} {self.value[0] if self.value[0] == self.value[1] else times(self.value)}"


def output_size(
    n: int,
    size: int,
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    floor: bool = False,
    ceil: bool = False,
    layer: str = "",
    kind: Kind = "filter",
) -> int:
    """(N − F + 2P)/S + 1 for a square map of n×n cells: the length of one side of what comes out.

    `floor` drops what is left over, as PyTorch does; `ceil` is its pooling's other rounding. `layer` is
    named in the error, `kind` says whether to speak of a filter or a pool's window.
    Raises DoesNotFit with the arithmetic and the smallest edits that fit; BadSetting for a stride of 0.
    """
    return output_map((n, n), size, stride, pad, dilation, floor, ceil, layer, kind)[0]


def output_map(
    shape: Pair,
    size: int | Pair,
    stride: int | Pair = 1,
    pad: int | Pair = 0,
    dilation: int | Pair = 1,
    floor: bool = False,
    ceil: bool = False,
    layer: str = "",
    kind: Kind = "filter",
) -> Pair:
    """`output_size` for maps, filters and strides that need not be square: (H, W) -> (H', W')."""
    slide = Slide(pair(size), pair(stride), pair(pad), pair(dilation), kind, ceil)
    _check(shape, slide, layer)
    result = slide.map(shape, floor)
    if result is None:
        raise DoesNotFit(_refusal(shape, slide, layer))
    return result


def formula(n: int, size: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> str:
    """The arithmetic as one writes it: `(32 − 5 + 2·2)/1 + 1 = 32`, `(7 − 3)/3 + 1 = 2.33`."""
    reach = dilation * (size - 1) + 1
    padding = f" + 2·{pad}" if pad else ""
    return f"({n} − {reach}{padding})/{stride} + 1 = {_number((n + 2 * pad - reach) / stride + 1)}"


def fixes(shape: Pair, slide: Slide) -> list[Fix]:
    """The smallest edits that make `slide` fit a map of `shape`: one setting changed, and tried.

    In order: the nearest padding; up to two nearest smaller strides; where no padding fits, the nearest
    filter and the next larger input; and for windows, ceil.
    """
    found = _nearest(shape, slide, "pad", _pads(slide), 1)
    strides = range(max(slide.stride) - 1, 0, -1)
    found += sorted(_nearest(shape, slide, "stride", strides, 2), key=lambda fix: fix.value)
    if not any(fix.setting == "pad" for fix in found):
        found += _nearest(shape, slide, "size", range(2, max(shape) + 2 * max(slide.pad) + 1), 1)
        found += _inputs(shape, slide)
    rounded = replace(slide, ceil=True).map(shape)
    if slide.kind == "window" and rounded is not None:
        found.append(Fix("ceil", (1, 1), rounded, slide.kind))
    return found


def _pads(slide: Slide) -> range:
    """Paddings that mean something: a filter must touch the input, and PyTorch's windows lie half on it."""
    size = min(slide.reach(0), slide.reach(1))
    return range(size if slide.kind == "filter" else size // 2 + 1)


def _nearest(shape: Pair, slide: Slide, setting: str, values: Iterable[int], most: int) -> list[Fix]:
    """Up to `most` values of a setting that fit, those nearest to the present one first."""
    now: Pair = getattr(slide, setting)
    nearest = sorted(values, key=lambda value: (abs(value - max(now)), -value))
    both = [(value, value) for value in nearest]
    one = [edit for value in nearest for edit in ((value, now[1]), (now[0], value))]
    square = now[0] == now[1] and shape[0] == shape[1]
    found: list[Fix] = []
    for edit in both if square else both + one:
        output = replace(slide, **{setting: edit}).map(shape)
        if output is not None and edit != now:
            found.append(Fix(setting, edit, output, slide.kind))
            if len(found) == most:
                break
    return found


def _inputs(shape: Pair, slide: Slide) -> list[Fix]:
    """The smallest larger input that fits, along each axis."""
    larger = []
    for axis, n in enumerate(shape):
        least = slide.reach(axis) - 2 * slide.pad[axis]  # the smallest that fits; then one every stride
        larger.append(max(n, least) + (least - max(n, least)) % slide.stride[axis])
    output = slide.map((larger[0], larger[1]))
    return [Fix("input", (larger[0], larger[1]), output, slide.kind)] if output else []


def _refusal(shape: Pair, slide: Slide, layer: str) -> str:
    """`conv2: a 3×3 filter with stride 3 does not fit a 7×7 input: (7 − 3)/3 + 1 = 2.33. Padding ...`"""
    axis = 0 if slide.output(shape[0], 0, floor=False) is None else 1
    padded = shape[axis] + 2 * slide.pad[axis]
    large = padded < slide.reach(axis)
    usual = (("stride", slide.stride, 1), ("padding", slide.pad, 0), ("dilation", slide.dilation, 1))
    settings = [f"{word} {_one(values)}" for word, values, value in usual if values != (value, value)]
    with_ = " with " + " and ".join([", ".join(settings[:-1]), settings[-1]] if settings[1:] else settings)
    across = f" ({times(_reaches(slide))} across)" if max(slide.dilation) > 1 else ""
    what = f"{_a(slide.size)} {slide.kind}{with_ if settings else ''}{across}"
    verb = "is larger than" if large else "does not fit"
    sum_ = formula(
        shape[axis], *(values[axis] for values in (slide.size, slide.stride, slide.pad, slide.dilation))
    )
    return f"{_at(layer)}{what} {verb} {_a(shape)} input: {sum_}. {_advice(fixes(shape, slide))}"


def _advice(found: list[Fix]) -> str:
    """`Padding 1 fits (3×3), or stride 1 (5×5) or 2 (3×3).`"""
    parts: list[str] = []
    for number, fix in enumerate(found):
        words = str(fix)
        if number and fix.setting == found[number - 1].setting:
            parts[-1] += (
                f"{', or' if len(parts) == 1 else ' or'} {words.split(' ', 1)[-1]} ({times(fix.output)})"
            )
        else:
            parts.append(f"{words}{'' if number else ' fits'} ({times(fix.output)})")
    advice = ", or ".join(parts)
    return f"{advice[0].upper()}{advice[1:]}."


def _check(shape: Pair, slide: Slide, layer: str) -> None:
    """Raise BadSetting for numbers that are no sizes, DoesNotFit for a window padded beyond its half."""
    settings = {"size": slide.size, "stride": slide.stride, "pad": slide.pad, "dilation": slide.dilation}
    for name, values in ({"input": shape} | settings).items():
        least = 0 if name == "pad" else 1
        if min(values) < least:
            raise BadSetting(f"{_at(layer)}{name} must be {least} or more, not {_one(values)}")
    if slide.overpadded(0) or slide.overpadded(1):
        most = min(slide.reach(0), slide.reach(1)) // 2
        half = f"half of {_a(_reaches(slide))} window: at most {most}"
        raise DoesNotFit(f"{_at(layer)}padding {_one(slide.pad)} is more than {half}")


def same_padding(size: int, dilation: int = 1, layer: str = "") -> int:
    """(F − 1)/2: the zeros on each side that keep the size at stride 1. Even filters do not fit."""
    twice = dilation * (size - 1)
    if twice % 2:
        with_, times_ = (f" with dilation {dilation}", f"{dilation}·") if dilation > 1 else ("", "")
        smaller, larger = (_a(pair(side)) for side in (size - 1, size + 1))
        raise DoesNotFit(
            f"{_at(layer)}no padding keeps the size under {_a(pair(size))} filter{with_}: "
            f"{times_}({size} − 1)/2 = {_number(twice / 2)}. {smaller.capitalize()} filter takes "
            f"{dilation * (size // 2 - 1)}, {larger} filter {dilation * (size // 2)}."
        )
    return twice // 2


def solve(n: int, out: int, size: int, dilation: int = 1, floor: bool = False) -> list[tuple[int, int]]:
    """Every (stride, pad) that takes n cells to `out` under a filter of `size`, least padding first.

    Padding stays below the filter's reach: more would let it see nothing but zeros. Where `out` is 1 every
    larger stride would do too, and the smallest is given. With `floor` the ones that leave cells over follow
    the exact ones.
    """
    reach = dilation * (size - 1) + 1
    exact, floored = [], []
    for pad in range(reach):
        span = n + 2 * pad - reach
        if span < 0:
            continue
        largest = span // (out - 1) if out > 1 else span + 1
        for stride in range(largest, 0, -1):
            if span // stride + 1 != out:
                break
            (floored if span % stride else exact).append((stride, pad))
    return exact + floored if floor else exact


def smallest_input(chain: Iterable[Sequence[int]], out: int = 1, floor: bool = False) -> int:
    """The smallest n that a chain of (size, stride, pad[, dilation]) takes to `out` cells or more.

    Backwards through N = (out − 1)·S + F' − 2P. Exact unless `floor`; the other exact inputs are this one
    plus any multiple of the product of the strides.
    """
    steps = [(*step, *(1, 0, 1)[len(step) - 1 :]) for step in chain]
    for last in range(out, out + 10_000):
        n = last
        for size, stride, pad, dilation in reversed(steps):
            n = (n - 1) * stride + dilation * (size - 1) + 1 - 2 * pad
            if n < 1 and not floor:
                break
            n = max(n, 1)
        else:
            return n
    raise DoesNotFit(
        f"no input of any size comes out of these {len(steps)} layers: their padding outgrows it"
    )


def dot_length(size: int | Pair, depth: int, groups: int = 1) -> int:
    """Numbers in one filter, multiplied and summed at each place: 5·5·3 = 75. The bias is one more."""
    height, width = pair(size)
    return height * width * (depth // groups)


def check_groups(depth: int, filters: int, groups: int, layer: str = "") -> None:
    """Raise DoesNotFit unless `groups` divides both the depth that comes in and the filters."""
    if depth % groups or filters % groups:
        both = [str(g) for g in range(1, min(depth, filters) + 1) if depth % g == 0 and filters % g == 0]
        number, what = (depth, "a depth of") if depth % groups else (filters, "filters:")
        raise DoesNotFit(
            f"{_at(layer)}{groups} groups do not divide {what} {number}: {number}/{groups} = "
            f"{_number(number / groups)}. Groups of {', '.join(both[:8])} fit."
        )


def conv_parameters(size: int | Pair, depth: int, filters: int, groups: int = 1, bias: bool = True) -> int:
    """Weights and biases of a convolution: 10 filters of 5×5 on depth 3 have 10·(75 + 1) = 760."""
    check_groups(depth, filters, groups)
    return filters * (dot_length(size, depth, groups) + bias)


def fc_parameters(inputs: int, outputs: int, bias: bool = True) -> int:
    """Weights and biases of a fully connected layer: 10 outputs of 32·32·3 = 3072 inputs have 30,730."""
    return outputs * (inputs + bias)


def conv_multiply_adds(
    size: int | Pair, depth: int, filters: int, output: int | Pair, groups: int = 1
) -> int:
    """One dot product for every filter and place of the output map (H', W'); biases are not counted."""
    height, width = pair(output)
    return dot_length(size, depth, groups) * filters * height * width


def fc_multiply_adds(inputs: int, outputs: int) -> int:
    """One multiply-add for every weight."""
    return inputs * outputs


def activation_bytes(numbers: int, batch: int = 1, width: int = 4) -> tuple[int, int]:
    """Bytes of one layer's output for a batch: (forward alone, forward and backward). A float32 has 4.

    Training keeps the values until the backward pass, which puts a gradient beside each: twice as much.
    """
    return numbers * batch * width, 2 * numbers * batch * width


@dataclass(frozen=True)
class Field:
    """The receptive field of a map's cells along one axis, in input pixels. The input itself: Field().

    Pixel 0 reaches from 0 to 1, so its centre is 0.5. Fields may reach beyond the edge, into the padding.
    """

    size: int = 1
    """Pixels that one cell sees."""
    stride: int = 1
    """Pixels between the centres of neighbouring cells."""
    start: float = 0.5
    """Where the centre of cell 0 lies."""

    def then(self, size: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> "Field":
        """The field after one more layer. A fully connected one is a filter as large as its map."""
        more = dilation * (size - 1)
        return Field(
            self.size + more * self.stride, self.stride * stride, self.start + (more / 2 - pad) * self.stride
        )

    def cell(self, index: int) -> tuple[float, float]:
        """The first and the last edge of what cell `index` sees, in pixels."""
        centre = self.start + index * self.stride
        return centre - self.size / 2, centre + self.size / 2

    @staticmethod
    def merge(*fields: "Field") -> "Field":
        """Where branches are added or joined: all that cell 0 sees through any, at the finest stride."""
        first = min(field.cell(0)[0] for field in fields)
        last = max(field.cell(0)[1] for field in fields)
        return Field(round(last - first), min(field.stride for field in fields), (first + last) / 2)


def times(shape: Iterable[int]) -> str:
    """(28, 28, 6) -> `28×28×6`."""
    return "×".join(map(str, shape))


def _a(shape: Pair) -> str:
    """`a 5×5`, `an 8×8`."""
    first = str(shape[0])
    return f"{'an' if first.startswith('8') or first in ('11', '18') else 'a'} {times(shape)}"


def _one(values: Pair) -> str:
    return str(values[0]) if values[0] == values[1] else times(values)


def _reaches(slide: Slide) -> Pair:
    return slide.reach(0), slide.reach(1)


def _at(layer: str) -> str:
    return f"{layer}: " if layer else ""


def _number(value: float) -> str:
    """Two decimals, more where two would make it look whole, none where it is: 2.33, 54.001, −1."""
    digits = 2
    while value != round(value) and round(value, digits) == round(value) and digits < 12:
        digits += 1
    return f"{value:.{digits}f}".rstrip("0").rstrip(".").replace("-", "−")
