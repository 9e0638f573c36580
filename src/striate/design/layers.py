"""The layers of a design: frozen dataclasses, the limits of their numbers, what each does to a shape.

A shape is (channels, height, width) of a map, or (length,) of a vector. `LAYERS` at the end is the table of
every layer by the name it has in text and JSON.
"""

import math
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, cast

from striate import geometry
from striate.errors import BadDesign, DoesNotFit

Shape = tuple[int, ...]

MOST = 1_000_000  # no layer has more filters, outputs or cells of padding than this

# field -> the least and the largest value it may have
LIMITS: dict[str, tuple[float, float]] = {
    "size": (1, MOST),
    "filters": (1, MOST),
    "stride": (1, MOST),
    "pad": (0, MOST),
    "groups": (1, MOST),
    "dilation": (1, MOST),
    "outputs": (1, MOST),
    "p": (0, 0.999),
    "slope": (0, 100),
    "alpha": (0, 1e6),
    "beta": (0, 1e6),
    "k": (1e-6, 1e6),
}


WHOLE = ("size", "filters", "stride", "pad", "groups", "dilation", "outputs")
SWITCHES = ("bias", "ceil")


class BadField(BadDesign):
    """A layer's field has a value it cannot have. `field` names it, so that whoever read it can say where."""

    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field


def _check(layer: Any) -> None:
    """The `__post_init__` of every layer: types and limits of its fields. Raises BadField."""
    for field in fields(layer):
        value = getattr(layer, field.name)
        if field.name in SWITCHES:
            if not isinstance(value, bool):
                raise BadField(field.name, f"{field.name} must be true or false, not {value!r}")
        elif field.name in LIMITS and value is not None:
            object.__setattr__(layer, field.name, _number(field.name, value))


def _number(name: str, value: Any) -> int | float:
    """`value` as its kind of number and within the field's limits. Raises BadField."""
    low, high = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # NaN
        raise BadField(name, f"{name} must be a number, not {value!r}")
    if not low <= value <= high:
        bound = f"{low:g} or more" if value < low else f"{high:,} or less"
        shown = f", not {value:g}" if abs(value) < 1e300 else ""  # whole numbers may be longer than any float
        raise BadField(name, f"{name} must be {bound}{shown}")
    if name in WHOLE and value != int(value):
        raise BadField(name, f"{name} must be a whole number, not {value}")
    return int(value) if name in WHOLE else float(value)


@dataclass(frozen=True)
class Conv:
    """`conv5-16 stride1 pad2`: 16 filters of 5×5, each over the whole depth of what comes in."""

    KIND: ClassVar[str] = "conv"
    HEAD: ClassVar[tuple[str, ...]] = ("size", "filters")
    size: int
    filters: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    dilation: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        _check(self)
        if self.filters % self.groups:
            raise BadField("groups", f"{self.groups} groups do not divide {self.filters} filters")


@dataclass(frozen=True)
class MaxPool:
    """`pool2`, `pool3 stride2 pad1 ceil`: the largest value in each window. The usual stride is the size."""

    KIND: ClassVar[str] = "pool"
    HEAD: ClassVar[tuple[str, ...]] = ("size",)
    size: int
    stride: int = cast(int, None)
    pad: int = 0
    ceil: bool = False

    def __post_init__(self) -> None:
        _check_pool(self)


@dataclass(frozen=True)
class AvgPool:
    """`avgpool2`: the mean of each window, the zeros of the padding counted as PyTorch does."""

    KIND: ClassVar[str] = "avgpool"
    HEAD: ClassVar[tuple[str, ...]] = ("size",)
    size: int
    stride: int = cast(int, None)
    pad: int = 0
    ceil: bool = False

    def __post_init__(self) -> None:
        _check_pool(self)


def _check_pool(pool: MaxPool | AvgPool) -> None:
    if pool.stride is None:
        object.__setattr__(pool, "stride", pool.size)
    _check(pool)
    if pool.pad > pool.size // 2:
        half = f"at most half of a {pool.size}×{pool.size} window, {pool.size // 2}"
        raise BadField("pad", f"pad must be {half}, not {pool.pad}")


@dataclass(frozen=True)
class GlobalPool:
    """`globalpool`: the mean of each whole map, (C, H, W) -> (C, 1, 1)."""

    KIND: ClassVar[str] = "globalpool"
    HEAD: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class FC:
    """`fc100`: 100 outputs, each connected to every number of what comes in, which is flattened first."""

    KIND: ClassVar[str] = "fc"
    HEAD: ClassVar[tuple[str, ...]] = ("outputs",)
    outputs: int
    bias: bool = True

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Activation:
    """`relu`, `tanh`, `leakyrelu0.2`: one function of each number. `slope` is of leakyrelu and elu alone."""

    HEAD: ClassVar[tuple[str, ...]] = ("slope",)
    name: str
    slope: float | None = None

    def __post_init__(self) -> None:
        if self.name not in ACTIVATIONS:
            raise BadField("layer", f"{self.name!r} is not an activation: there are {', '.join(ACTIVATIONS)}")
        usual = ACTIVATIONS[self.name]
        if self.slope is None:
            object.__setattr__(self, "slope", usual)
        elif usual is None:
            raise BadField("slope", f"{self.name} takes no number")
        _check(self)


# name -> its slope where it has one (for elu, the value it falls to: PyTorch's alpha)
ACTIVATIONS: dict[str, float | None] = {
    "relu": None,
    "sigmoid": None,
    "tanh": None,
    "leakyrelu": 0.01,
    "elu": 1.0,
    "gelu": None,
    "silu": None,
    "softplus": None,
    "selu": None,
    "relu6": None,
    "mish": None,
    "hardswish": None,
    "softsign": None,
}


@dataclass(frozen=True)
class Dropout:
    """`dropout0.5`: in training each number is dropped with this probability, and the rest grow to match."""

    KIND: ClassVar[str] = "dropout"
    HEAD: ClassVar[tuple[str, ...]] = ("p",)
    p: float = 0.5

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class BatchNorm:
    """`batchnorm`: each channel to mean 0 and variance 1 over the batch, then a learned scale and shift."""

    KIND: ClassVar[str] = "batchnorm"
    HEAD: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class LRN:
    """`lrn5 alpha0.0001 beta0.75 k2`: x / (k + alpha · Σ x²)^beta over `size` neighbouring channels.

    The sum is AlexNet's, and so is its alpha. PyTorch takes a mean: its alpha is ours times the size.
    """

    KIND: ClassVar[str] = "lrn"
    HEAD: ClassVar[tuple[str, ...]] = ("size",)
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Flatten:
    """`flatten`: (C, H, W) -> (C·H·W,). Needs no writing before a fully connected layer."""

    KIND: ClassVar[str] = "flatten"
    HEAD: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Softmax:
    """`softmax10`: fc10, then probabilities. `softmax` alone has no weights. Only ever the last layer."""

    KIND: ClassVar[str] = "softmax"
    HEAD: ClassVar[tuple[str, ...]] = ("outputs",)
    outputs: int | None = None
    bias: bool = True

    def __post_init__(self) -> None:
        _check(self)
        if self.outputs is None and not self.bias:
            raise BadField("bias", "softmax without a number has no weights, so no bias to leave out")


Layer = (
    Conv | MaxPool | AvgPool | GlobalPool | FC | Activation | Dropout | BatchNorm | LRN | Flatten | Softmax
)

CLASSES = (Conv, MaxPool, AvgPool, GlobalPool, FC, Dropout, BatchNorm, LRN, Flatten, Softmax)
LAYERS: dict[str, type[Layer]] = {c.KIND: c for c in CLASSES} | dict.fromkeys(ACTIVATIONS, Activation)
ALIASES = {
    "maxpool": "pool",
    "averagepool": "avgpool",
    "meanpool": "avgpool",
    "globalavgpool": "globalpool",
    "gap": "globalpool",
    "linear": "fc",
    "dense": "fc",
    "bn": "batchnorm",
    "swish": "silu",
    "lrelu": "leakyrelu",
    "convolution": "conv",
}


EXAMPLES = {
    "conv": "conv5-16 is 16 filters of 5×5",
    "pool": "pool2 takes the largest of 2×2",
    "avgpool": "avgpool2 takes the mean of 2×2",
    "fc": "fc100 has 100 outputs",
}


def kind(layer: Layer) -> str:
    """The name in text and JSON: a key of LAYERS."""
    return layer.name if isinstance(layer, Activation) else layer.KIND


def settings(layer: Layer) -> dict[str, Any]:
    """Field -> value, of those that a writer must give: without a default, or away from it."""
    written = {}
    for field in fields(layer):
        value = getattr(layer, field.name)
        usual = field.default
        if field.name == "stride" and isinstance(layer, MaxPool | AvgPool):
            usual = layer.size
        elif field.name == "slope" and isinstance(layer, Activation):
            usual = ACTIVATIONS[layer.name]
        if field.name != "name" and (usual is MISSING or value != usual):
            written[field.name] = value
    return written


def make(name: str, values: dict[str, Any]) -> Layer:
    """The layer called `name` (a key of LAYERS) with these fields. Raises BadField."""
    layer = LAYERS[name]
    if layer is Activation:
        return Activation(name, **values)
    if values.get("pad") == "same":
        values = values | {"pad": _same(values)}
    for field in fields(layer):
        if field.default is MISSING and field.name not in values:
            what = "its size" if field.name == "size" else f"a number of {field.name}"
            raise BadField(field.name, f"{name} needs {what}: {EXAMPLES[name]}")
    return layer(**values)


def _same(values: dict[str, Any]) -> int:
    """The number that `pad same` stands for: (F − 1)/2 of the filter with its dilation. Raises BadField."""
    size, dilation = (_number(name, values.get(name, 1)) for name in ("size", "dilation"))
    try:
        return geometry.same_padding(int(size), int(dilation))
    except DoesNotFit as error:
        raise BadField("pad", str(error)) from None


def fault(before: list[Layer], layer: Layer) -> str | None:
    """Why `layer` cannot follow those before it whatever the input, or None where it can."""
    if any(isinstance(earlier, Softmax) for earlier in before):
        return "nothing can follow softmax: it gives the network's answer"
    flat = [earlier for earlier in before if isinstance(earlier, FC | Flatten)]
    if flat and isinstance(layer, Conv | MaxPool | AvgPool | GlobalPool | LRN):
        return f"{kind(layer)} needs a map, but {kind(flat[0])} before it makes a vector of the map"
    return None


def output_shape(layer: Layer, shape: Shape, name: str, floor: bool) -> Shape:
    """The shape that `layer` makes of `shape`. Raises DoesNotFit naming it as `name`."""
    if isinstance(layer, FC):
        return (layer.outputs,)
    if isinstance(layer, Flatten):
        return (math.prod(shape),)
    if isinstance(layer, Conv | MaxPool | AvgPool | GlobalPool | LRN) and len(shape) != 3:
        raise DoesNotFit(
            f"{name}: needs a map of channels×height×width, not {geometry.times(shape)} numbers in a row"
        )
    if isinstance(layer, GlobalPool):
        return (shape[0], 1, 1)
    if isinstance(layer, Conv):
        geometry.check_groups(shape[0], layer.filters, layer.groups, name)
        size = geometry.output_map(
            (shape[1], shape[2]), layer.size, layer.stride, layer.pad, layer.dilation, floor, layer=name
        )
        return (layer.filters, *size)
    if isinstance(layer, MaxPool | AvgPool):
        size = geometry.output_map(
            (shape[1], shape[2]), layer.size, layer.stride, layer.pad, 1, floor, layer.ceil, name, "window"
        )
        return (shape[0], *size)
    return shape


def parameters(layer: Layer, shape: Shape) -> int:
    """Learned numbers of `layer` on an input of `shape`."""
    if isinstance(layer, Conv):
        return geometry.conv_parameters(layer.size, shape[0], layer.filters, layer.groups, layer.bias)
    if isinstance(layer, FC):
        return geometry.fc_parameters(math.prod(shape), layer.outputs, layer.bias)
    return 2 * shape[0] if isinstance(layer, BatchNorm) else 0


def multiply_adds(layer: Layer, shape: Shape, output: Shape) -> int:
    """Multiply-adds of `layer` for one picture; pooling, norms and activations are not counted."""
    if isinstance(layer, Conv):
        return geometry.conv_multiply_adds(
            layer.size, shape[0], layer.filters, (output[1], output[2]), layer.groups
        )
    return geometry.fc_multiply_adds(math.prod(shape), layer.outputs) if isinstance(layer, FC) else 0


def field_names(name: str) -> list[str]:
    """The fields of the layer called `name` that text and JSON may give."""
    if name in ACTIVATIONS:
        return ["slope"] if ACTIVATIONS[name] is not None else []
    return [field.name for field in fields(LAYERS[name])]
