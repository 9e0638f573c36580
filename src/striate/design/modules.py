"""Designs as PyTorch layers: `build` makes them, `read` reads them back. All of a design that needs torch.

Weights begin as in He et al. 2015: N(0, gain²/fan-in), the gain being that of the activation that follows;
biases at 0. `torch.manual_seed` therefore fixes them.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from striate.design import layers as parts
from striate.design.layers import Layer, Shape
from striate.errors import BadDesign

if TYPE_CHECKING:
    from striate.design import Row

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leakyrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "selu": nn.SELU,
    "relu6": nn.ReLU6,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "softsign": nn.Softsign,
}


def build(rows: Sequence["Row"]) -> nn.Sequential:
    """One child for every row, named as the row."""
    children = OrderedDict((row.name, _module(row)) for row in rows)
    for index, row in enumerate(rows):
        child = children[row.name]
        if isinstance(child, nn.Conv2d | nn.Linear):
            after = next((later.layer for later in rows[index + 1 :] if not _transparent(later.layer)), None)
            start(child, after if isinstance(after, parts.Activation) else None)
    return nn.Sequential(children)


def start(layer: nn.Conv2d | nn.Linear, after: parts.Activation | None) -> None:
    """Draw the weights that keep the variance of what `layer` passes on through the activation after it."""
    if layer.weight.is_meta:  # nothing to draw, and asking costs seconds of imports
        return
    nn.init.normal_(layer.weight, 0, gain(after) / layer.weight[0].numel() ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def gain(after: parts.Activation | None) -> float:
    """By how much the weights must grow because an activation shrinks what passes it: √2 for relu."""
    if after is None or after.name in ("sigmoid", "softsign", "softplus"):
        return 1.0
    if after.name in ("tanh", "selu"):
        return nn.init.calculate_gain(after.name)
    return nn.init.calculate_gain("leaky_relu", after.slope or 0.0) if after.name == "leakyrelu" else 2**0.5


def _transparent(layer: Layer) -> bool:
    """Layers between weights and their activation that do not change what gain is due."""
    return isinstance(layer, parts.MaxPool | parts.AvgPool | parts.BatchNorm | parts.Dropout | parts.LRN)


def _module(row: "Row") -> nn.Module:
    """The PyTorch layer of one row."""
    match row.layer:
        case parts.Conv() as c:
            return nn.Conv2d(
                row.input[0], c.filters, c.size, c.stride, c.pad, c.dilation, groups=c.groups, bias=c.bias
            )
        case parts.MaxPool() as pool:
            return nn.MaxPool2d(pool.size, pool.stride, pool.pad, ceil_mode=pool.ceil)
        case parts.AvgPool() as pool:
            return nn.AvgPool2d(pool.size, pool.stride, pool.pad, ceil_mode=pool.ceil)
        case parts.GlobalPool():
            return nn.AdaptiveAvgPool2d(1)
        case parts.FC() as fc:
            return nn.Linear(row.input[0], fc.outputs, bias=fc.bias)
        case parts.Activation() as activation:
            kind = ACTIVATIONS[activation.name]
            return kind() if activation.slope is None else kind(activation.slope)
        case parts.Dropout() as dropout:
            return nn.Dropout(dropout.p)
        case parts.BatchNorm():
            return nn.BatchNorm2d(row.input[0]) if len(row.input) == 3 else nn.BatchNorm1d(row.input[0])
        case parts.LRN() as lrn:
            return nn.LocalResponseNorm(lrn.size, lrn.alpha * lrn.size, lrn.beta, lrn.k)
        case parts.Flatten():
            return nn.Flatten()
        case _:
            return nn.Softmax(dim=1)


def read(module: nn.Sequential, input: Shape | None = None) -> list[Layer]:
    """The layers of a Sequential and of Sequentials inside it, which must take `input` where it is given.

    Raises BadDesign, or DoesNotFit, naming the layer.
    """
    layers: list[Layer] = []
    shape = input
    width = None if input is None else input[0]  # channels or numbers that come in, where known
    mapped = None if input is None else True  # whether a map comes in, where known
    owners: dict[int, str] = {}  # of the weights
    for name, child in _children(module):
        if type(child) not in READERS:
            known = sorted({kind.__name__ for kind in READERS})
            raise BadDesign(f"{name}: a design has no layer for it: there are {', '.join(known)}")
        try:
            layer = READERS[type(child)](child)
        except (ValueError, parts.BadField) as error:
            raise BadDesign(f"{name}: {error}: keep such a network as a Python module") from None
        why = _misplaced(child, width, mapped) or parts.fault(layers, layer)
        for weight in child.parameters():
            if owners.setdefault(id(weight), name) != name:
                why = f"shares its weights with {owners[id(weight)]}, in a design each layer has its own"
        if why:
            raise BadDesign(f"{name}: {why}")
        width, mapped = _after(child, width, mapped)
        if shape is not None:
            shape = parts.output_shape(layer, shape, name, floor=True)
            width = shape[0]
        layers.append(layer)
    return layers


def _children(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """(what to call it, layer) of every child; Sequentials are opened."""
    if type(module) is not nn.Sequential:
        kind = type(module).__name__
        if not path:
            raise BadDesign(
                f"{kind}: a design is read from an nn.Sequential: keep such a network as a Python module"
            )
        yield f"{'layer ' if path.replace('.', '').isdigit() else ''}{path} ({kind})", module
        return
    for name, child in module._modules.items():  # named_children() leaves out what stands there twice
        if child is not None:
            yield from _children(child, f"{path}.{name}" if path else name)


def _misplaced(child: Any, width: int | None, mapped: bool | None) -> str | None:
    """Why PyTorch would refuse, or do something else than a design says, at this place."""
    takes = {nn.Conv2d: "in_channels", nn.Linear: "in_features"}.get(type(child), "num_features")
    inputs = getattr(child, takes, width)
    if mapped and isinstance(child, nn.Linear):
        return "takes a vector, but a map comes in: put nn.Flatten() before it"
    if isinstance(child, nn.Softmax) and child.dim == -1 and mapped is not False:
        return "dim is -1, the columns of a map: a design's softmax has dim=1"
    if mapped is not None and isinstance(child, nn.BatchNorm1d if mapped else nn.BatchNorm2d):
        return f"does not take the {'map' if mapped else 'vector'} that comes in"
    return f"takes {inputs}, but {width} come in" if width is not None and inputs != width else None


def _after(child: Any, width: int | None, mapped: bool | None) -> tuple[int | None, bool | None]:
    """Width, and map or not, behind a layer."""
    if isinstance(child, nn.Flatten):
        return (width if mapped is False else None), False
    if isinstance(child, nn.Conv2d):
        return child.out_channels, True
    if isinstance(child, nn.Linear):
        return child.out_features, False
    if isinstance(child, nn.BatchNorm2d | nn.BatchNorm1d):
        return child.num_features, isinstance(child, nn.BatchNorm2d) or mapped
    return width, True if isinstance(child, nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d) else mapped


def _same(name: str, values: Any) -> int:
    """The one number of a setting that may be a pair. Raises ValueError where its two differ."""
    if isinstance(values, int):
        return values
    first, *rest = values
    if any(other != first for other in rest):
        raise ValueError(f"{name} {'×'.join(map(str, values))} is not square, designs are")
    return first


def _usual(module: nn.Module, **values: Any) -> None:
    """Raise ValueError where a setting that a design cannot say is not at its usual value."""
    for name, value in values.items():
        if getattr(module, name) != value:
            raise ValueError(f"{name} is {getattr(module, name)!r}, a design can only say {value!r}")


def _conv(c: nn.Conv2d) -> Layer:
    _usual(c, padding_mode="zeros")
    size, stride, dilation = (_same(n, getattr(c, n)) for n in ("kernel_size", "stride", "dilation"))
    pad = (
        {"valid": 0, "same": "same"}[c.padding] if isinstance(c.padding, str) else _same("padding", c.padding)
    )
    values = {"size": size, "filters": c.out_channels, "stride": stride, "pad": pad, "groups": c.groups}
    return parts.make("conv", values | {"dilation": dilation, "bias": c.bias is not None})


def _pool(pool: nn.MaxPool2d | nn.AvgPool2d) -> Layer:
    if isinstance(pool, nn.MaxPool2d):
        _usual(pool, return_indices=False)
        if _same("dilation", pool.dilation) != 1:
            raise ValueError(f"dilation is {pool.dilation!r}, a design's pools have none")
    else:
        _usual(pool, divisor_override=None, **({"count_include_pad": True} if pool.padding else {}))
    size, stride, pad = (_same(n, getattr(pool, n)) for n in ("kernel_size", "stride", "padding"))
    values = {"size": size, "stride": stride, "pad": pad, "ceil": pool.ceil_mode}
    return parts.make("pool" if isinstance(pool, nn.MaxPool2d) else "avgpool", values)


def _globalpool(pool: nn.AdaptiveAvgPool2d) -> Layer:
    if pool.output_size not in (1, (1, 1)):
        raise ValueError(f"output_size is {pool.output_size!r}, a design's globalpool gives 1×1")
    return parts.GlobalPool()


def _norm(norm: nn.BatchNorm2d | nn.BatchNorm1d) -> Layer:
    _usual(norm, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True)
    return parts.BatchNorm()


def _lrn(lrn: nn.LocalResponseNorm) -> Layer:
    # The twelve digits undo the rounding of alpha · size.
    return parts.LRN(lrn.size, float(f"{lrn.alpha / lrn.size:.12g}"), lrn.beta, lrn.k)


def _flatten(flatten: nn.Flatten) -> Layer:
    _usual(flatten, start_dim=1, end_dim=-1)
    return parts.Flatten()


def _softmax(softmax: nn.Softmax) -> Layer:
    if softmax.dim not in (1, -1):
        raise ValueError(f"dim is {softmax.dim!r}, a design's softmax has dim=1")
    return parts.Softmax()


def _activation(activation: Any) -> Layer:
    name = next(name for name, kind in ACTIVATIONS.items() if kind is type(activation))
    if name == "softplus":
        _usual(activation, beta=1, threshold=20)
    if name == "gelu":
        _usual(activation, approximate="none")
    slope = {"leakyrelu": "negative_slope", "elu": "alpha"}.get(name)
    return parts.Activation(name, getattr(activation, slope) if slope else None)


READERS: dict[type[nn.Module], Callable[[Any], Layer]] = {
    nn.Conv2d: _conv,
    nn.MaxPool2d: _pool,
    nn.AvgPool2d: _pool,
    nn.AdaptiveAvgPool2d: _globalpool,
    nn.Linear: lambda linear: parts.FC(linear.out_features, linear.bias is not None),
    nn.Dropout: lambda dropout: parts.Dropout(dropout.p),
    nn.BatchNorm2d: _norm,
    nn.BatchNorm1d: _norm,
    nn.LocalResponseNorm: _lrn,
    nn.Flatten: _flatten,
    nn.Softmax: _softmax,
} | dict.fromkeys(ACTIVATIONS.values(), _activation)
