"""The table of a design, strict as on a blackboard, and the edits of its text that mend what does not fit."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import torch

from striate.design import Design, Input, Row
from striate.design.layers import Conv, kind
from striate.design.modules import build
from striate.design.text import write
from striate.errors import DoesNotFit, StriateError
from striate.geometry import times
from striate.tracing.mending import LAYERS_BACK, MOST_FIXES, REACH, UNUSUAL, USUAL_SIZES, runs
from striate.tracing.table import BrokenNetwork, Table, trace


def trace_design(
    design: Design, input: Input | None = None, batch: int = 1, floor: bool = False, name: str = "design"
) -> Table:
    """`tracing.trace` for a design. `input` (C, H, W) overrides its own; `floor` drops what is left over.

    Raises BrokenNetwork with the table up to the layer that fails and what mends it, as edits of the text.
    """
    shape, rows, broken = design.given(input), [], None
    try:
        for row in design.walk(input, floor):
            rows.append(row)
    except DoesNotFit as error:
        broken = error
    with torch.device("meta"):
        table = trace(build(rows), shape, batch, floor, name)
    if broken is None:
        return table
    reason = str(broken).split(". ")[0].rstrip(".") + "."
    raise BrokenNetwork(reason, table, mend_design(design, shape, floor))


def mend_design(design: Design, shape: Input, floor: bool) -> tuple[str, ...]:
    """Edits of the text, the smallest first, each one tried: `pool2: pool3 instead of pool2 → 5×5`."""
    found: dict[str, str] = {}
    for _, about, words, changed, input, index in sorted(
        _edits(design, shape, floor), key=lambda edit: edit[0]
    ):
        if about not in found and fits(changed, input, floor):
            row = _row_of(changed, index, input, floor) if index >= 0 else None
            seen = f" → {times(row.output[1:])}" if row is not None and len(row.output) == 3 else ""
            found[about] = words + seen
            if len(found) == MOST_FIXES:
                break
    return tuple(found.values())


def fits(design: Design, input: Input, floor: bool = False) -> bool:
    """Whether the arithmetic comes out and PyTorch's layers, built from it, run."""
    try:
        with torch.device("meta"):
            return runs(build(design.rows(input, floor)).eval(), input, floor)
    except StriateError:
        return False


Candidate = tuple[float, str, str, Design, Input, int]
"""Cost, what it is about, words, the design after it, its input, the changed layer's place or -1."""


def _edits(design: Design, shape: Input, floor: bool) -> Iterator[Candidate]:
    """What a person would try: numbers of the layer that failed and of those before it, then the input."""
    failed = next(k for k in range(len(design.layers)) if not _walks(design, k + 1, shape, floor))
    numbered = _numbered(design, failed)
    for index in range(failed, max(-1, failed - 4 * LAYERS_BACK), -1):
        old = design.layers[index]
        for cost, setting, new in _variants(old):
            layers = (*design.layers[:index], new, *design.layers[index + 1 :])
            try:
                changed = replace(design, layers=layers)
            except StriateError:
                continue
            words = f"{numbered[index]}: {write((new,), None)} instead of {write((old,), None)}"
            far = 0.0 if index == failed else 0.6 + 0.02 * (failed - index)
            yield cost + far, f"{numbered[index]} {setting}", words, changed, shape, index
    channels, height, width = shape
    sizes = {(height + d, width + d) for d in range(-REACH, REACH + 1)} | {(n, n) for n in USUAL_SIZES}
    for size in sizes - {(height, width)}:
        if min(size) > 0:
            words = f"input {times((channels, *size))} instead of {times(shape)}".replace("×", "x")
            about = "larger input" if size[0] > height else "smaller input"
            yield abs(size[0] - height) + 0.3, about, words, design, (channels, *size), -1


def _walks(design: Design, count: int, shape: Input, floor: bool) -> bool:
    """Whether the first `count` layers fit."""
    if count == 0:
        return True
    try:
        replace(design, layers=design.layers[:count]).rows(shape, floor)
    except DoesNotFit:
        return False
    return True


def _row_of(design: Design, index: int, shape: Input, floor: bool) -> Row:
    """The row of layer `index` of a design that fits."""
    return replace(design, layers=design.layers[: index + 1]).rows(shape, floor)[-1]


def _numbered(design: Design, last: int) -> list[str]:
    """conv1, pool1, conv2, ... for the layers up to `last`, as `Design.walk` names them."""
    names: list[str] = []
    for layer in design.layers[: last + 1]:
        word = {"avgpool": "pool", "softmax": "fc"}.get(kind(layer), kind(layer))
        names.append(f"{word}{1 + sum(name.rstrip('0123456789') == word for name in names)}")
    return names


_STEPS = {"pad": (1, -1, 2, -2), "stride": (-1, 1, -2), "size": (-1, 1, -2, 2)}


def _variants(layer: Any) -> Iterator[tuple[float, str, Any]]:
    """(cost, setting, layer) with one number one or two steps away; groups that divide; a pool's ceil."""
    known = {field.name for field in fields(layer)}
    window = "ceil" in known
    for setting, steps in _STEPS.items():
        if setting not in known or "size" not in known:
            continue
        for step in steps:
            value = getattr(layer, setting) + step
            if value < (0 if setting == "pad" else 2 if window and setting == "size" else 1):
                continue
            cost = abs(step) + UNUSUAL[setting] * (setting != "size" or (not window and value % 2 == 0))
            try:
                yield cost, setting, replace(layer, **{setting: value})
                if setting == "size" and window and layer.stride == layer.size:
                    yield cost - 0.1, setting, replace(layer, size=value, stride=value)
            except StriateError:
                continue
    if "ceil" in known and not layer.ceil:
        yield 1.2, "ceil", replace(layer, ceil=True)
    if isinstance(layer, Conv) and layer.groups > 1:
        for groups in range(layer.groups - 1, 0, -1):
            if layer.filters % groups == 0:
                yield layer.groups - groups, "groups", replace(layer, groups=groups)
