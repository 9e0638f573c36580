"""The smallest edits that make a failing network run. Every edit is tried before it is offered.

The candidates are what a person would try: the numbers of the layer that failed, the input's size and
channels, the numbers of the last layers before the failure. Smallest first, at most `MOST_FIXES`.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from striate import geometry
from striate.tracing.watching import Misfit, Watch

MOST_FIXES = 5
MOST_TRIES = 160
REACH = 64
"""Input sizes are tried up to this many pixels smaller and larger, beside the usual ones."""
USUAL_SIZES = (28, 32, 64, 96, 128, 224, 227, 256, 299, 384)
UNUSUAL = {"pad": 0.0, "padding": 0.0, "stride": 0.7, "size": 0.5, "kernel_size": 0.5, "ceil": 0.7}
"""Added to the cost of an edit: a stride changes every later map, filters of even size have no middle."""
LAYERS_BACK = 6
"""Layers before the failure that are tried."""

Shape = tuple[int, ...]
Change = tuple[nn.Module, str, Any]
_ATTRIBUTES = {"pad": "padding", "stride": "stride", "size": "kernel_size", "ceil": "ceil_mode"}


@dataclass(frozen=True)
class Edit:
    """One change of a network, in words and in deed."""

    words: str
    cost: float
    """By how much a number changes, and a little more the further it stands from the failure."""
    about: str
    """One edit about each thing is offered, the cheapest that works."""
    changes: tuple[Change, ...] = ()
    input: Shape | None = None
    shown: str = ""
    """The layer whose new output is said behind the words."""


def mend(net: nn.Module, shape: Shape, batch: int, floor: bool, watch: Watch) -> tuple[str, ...]:
    """Edits, in words, that mend `net` (on the meta device), whose failure `watch` saw."""
    found: dict[str, str] = {}
    for edit in sorted(_candidates(net, shape, watch), key=lambda edit: edit.cost)[:MOST_TRIES]:
        if edit.about in found:
            continue
        again = Watch(floor, notes=bool(edit.shown))
        with edited(edit.changes):
            works = again.run(net, edit.input or shape, batch)
        if works and all(out.shape[:1] == (batch,) for out in again.outputs[:1]):  # pictures stay apart
            outputs = [row.output for row in again.rows if row.name == edit.shown]
            seen = f" → {geometry.times(outputs[0][1:])}" if outputs and len(outputs[0]) == 3 else ""
            found[edit.about] = edit.words + seen
            if len(found) == MOST_FIXES:
                break
    return tuple(found.values())


def runs(net: nn.Module, shape: Sequence[int], floor: bool = True, batch: int = 1) -> bool:
    """Whether a network on the meta device takes (batch, *shape)."""
    return Watch(floor, notes=False).run(net, shape, batch)


def judge(net: nn.Module, shape: Sequence[int], floor: bool = True) -> str:
    """`fits`, or what is wrong with the input: `small`, `large`, or `other` where neither is known."""
    watch = Watch(floor, notes=False)
    if watch.run(net, shape, 1):
        return "fits"
    failure = watch.failure
    assert failure is not None
    if failure.why == "features":
        return "small" if failure.gets < failure.expects else "large"
    return "small" if failure.why == "window" and failure.beyond else "other"


@contextmanager
def edited(changes: Sequence[Change]) -> Generator[None]:
    """The network with attributes changed and its weights in the sizes that follow; as before afterwards."""
    before = []
    for module, attribute, value in changes:
        state = vars(module)
        before.append((module, state | {key: dict(state[key]) for key in ("_parameters", "_buffers")}))
        setattr(module, attribute, value)
        _resize(module)
    try:
        yield
    finally:
        for module, state in reversed(before):
            vars(module).update(state)


def _resize(module: nn.Module) -> None:
    """Weights of the sizes that a module's attributes now say."""
    if isinstance(module, nn.Linear):
        sizes: dict[str, Shape] = {"weight": (module.out_features, module.in_features)}
    elif isinstance(module, nn.Conv2d):
        depth = module.in_channels // module.groups
        height, width = geometry.pair(module.kernel_size)
        sizes = {"weight": (module.out_channels, depth, height, width), "bias": (module.out_channels,)}
    elif isinstance(module, nn.BatchNorm2d):
        sizes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (module.num_features,))
    else:
        return
    for name, size in sizes.items():
        if module._parameters.get(name) is not None:
            module._parameters[name] = nn.Parameter(torch.empty(size, device="meta"))
        elif module._buffers.get(name) is not None:
            module._buffers[name] = torch.empty(size, device="meta")


# ---- candidates --------------------------------------------------------------------------------------


def _candidates(net: nn.Module, shape: Shape, watch: Watch) -> Iterator[Edit]:
    failure = watch.failure
    if failure is None or not watch.stack:
        return
    name, module, _ = watch.stack[-1]
    if watch.open is not None and watch.open.module is not None:
        name, module = watch.open.name, watch.open.module
    yield from _own(name, module, failure)
    yield from _inputs(shape, failure, module)
    names = {id(part): path for path, part in net.named_modules()}
    layers = list(
        {
            id(row.module): row.module
            for row in watch.rows
            if row.module is not None and row.module is not module
        }.values()
    )
    for distance, index in enumerate(range(len(layers) - 1, -1, -1)):
        after = layers[index + 1] if index + 1 < len(layers) else None
        if distance < 4 * LAYERS_BACK:
            yield from _earlier(
                names.get(id(layers[index]), ""), layers[index], after, failure, 0.6 + 0.02 * distance
            )


def _own(name: str, module: nn.Module, failure: Misfit) -> Iterator[Edit]:
    """The numbers of the layer that failed."""
    if failure.why == "features" and isinstance(module, nn.Linear):
        words = f"{name}: make it Linear({failure.gets}, {module.out_features})"
        yield Edit(words, 0.1, name, ((module, "in_features", failure.gets),))
    if failure.why == "channels" and isinstance(module, nn.Conv2d) and failure.gets % module.groups == 0:
        words = f"{name}: make it Conv2d({failure.gets}, {module.out_channels}, {_one(module.kernel_size)})"
        yield Edit(words, 0.1, name, ((module, "in_channels", failure.gets),))
    if failure.why == "channels" and isinstance(module, nn.BatchNorm2d):
        words = f"{name}: make it BatchNorm2d({failure.gets})"
        yield Edit(words, 0.1, name, ((module, "num_features", failure.gets),))
    if failure.slide is not None and failure.shape is not None and hasattr(module, "kernel_size"):
        for fix in geometry.fixes(failure.shape, failure.slide):
            if fix.setting in _ATTRIBUTES:
                now = (0, 0) if fix.setting == "ceil" else getattr(failure.slide, fix.setting)
                value = True if fix.setting == "ceil" else fix.value
                cost = (
                    max(abs(new - old) for new, old in zip(fix.value, now, strict=True))
                    + UNUSUAL[fix.setting]
                )
                changes = ((module, _ATTRIBUTES[fix.setting], value),)
                yield Edit(f"{name}: {fix}", cost, f"{name} {fix.setting}", changes, shown=name)


def _inputs(shape: Shape, failure: Misfit, module: nn.Module) -> Iterator[Edit]:
    """Other sizes of the picture, and other numbers of channels."""
    if len(shape) != 3:
        return
    channels, height, width = shape
    if failure.why == "channels" and failure.expects != channels and failure.gets == channels:
        words = (
            f"input with {failure.expects} channel{'s' if failure.expects > 1 else ''} instead of {channels}"
        )
        yield Edit(words, 0.5, "channels", input=(failure.expects, height, width))
    sizes = {(height + d, width + d) for d in range(-REACH, REACH + 1)} | {(n, n) for n in USUAL_SIZES}
    for new in sizes:
        if min(new) > 0 and new != (height, width):
            words = f"input {geometry.times(new)} instead of {height}×{width}"
            about = "larger input" if new[0] > height else "smaller input"
            yield Edit(words, abs(new[0] - height) + 0.2, about, input=(channels, *new))


def _earlier(
    name: str, layer: nn.Module, after: nn.Module | None, failure: Misfit, extra: float
) -> Iterator[Edit]:
    """The numbers of a layer before the failure."""
    if isinstance(layer, nn.Conv2d) and failure.why in ("channels", "join"):
        for filters in failure.wanted():
            if filters != layer.out_channels and filters % layer.groups == 0:
                changes: tuple[Change, ...] = ((layer, "out_channels", filters),)
                words = f"{name}: {filters} filters instead of {layer.out_channels}"
                if isinstance(after, nn.BatchNorm2d) and after.num_features == layer.out_channels:
                    changes += ((after, "num_features", filters),)
                    words += ", and its batch norm"
                yield Edit(words, extra, f"{name} filters", changes)
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) and failure.why != "channels":
        for setting, value, now in _nearby(layer):
            words = f"{name}: {_SAID[setting]} {value} instead of {_one(now)}"
            odd = setting == "kernel_size" and (value % 2 or not isinstance(layer, nn.Conv2d))
            cost = abs(value - max(geometry.pair(now))) + extra + (0 if odd else UNUSUAL[setting])
            yield Edit(words, cost, f"{name} {setting}", ((layer, setting, (value, value)),), shown=name)


_SAID = {"padding": "padding", "stride": "stride", "kernel_size": "size"}


def _nearby(layer: Any) -> Iterator[tuple[str, int, Any]]:
    """Settings of a window one or two steps from the present ones."""
    size = max(geometry.pair(layer.kernel_size))
    for setting, steps in (("padding", (1, -1, 2, -2)), ("stride", (-1, 1)), ("kernel_size", (-2, 2, -1, 1))):
        now = getattr(layer, setting)
        if isinstance(now, str):
            continue
        for step in steps:
            value = max(geometry.pair(now)) + step
            most = size // 2 if setting == "padding" and not isinstance(layer, nn.Conv2d) else size
            least = (
                0 if setting == "padding" else 1 if isinstance(layer, nn.Conv2d) or setting == "stride" else 2
            )
            if value >= least and (setting != "padding" or value <= most):
                yield setting, value, now


def _one(values: Any) -> str:
    """A pair as one number where both are the same."""
    first, second = geometry.pair(values)
    return str(first) if first == second else f"({first}, {second})"
