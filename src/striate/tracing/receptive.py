"""What every cell of a tensor sees of the picture: receptive fields followed through PyTorch's operators.

A tensor's `Sight` says, for the picture's rows and for its columns, where that axis lies in the tensor and
the `geometry.Field` of the cells along it. An axis is found again by the number of values between two
neighbouring positions in reading order (`inner`), which reshaping and flattening leave alone: channels-last
blocks, shuffled channels and flattened maps need no special case. What cannot be followed (attention,
windows cut from a map) is taken to see the whole picture, which is an upper bound.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from torch import Size, Tag, Tensor
from torch.utils._pytree import tree_leaves

from striate.geometry import Field


@dataclass(frozen=True)
class Axis:
    """The picture's rows (or columns) in a tensor."""

    field: Field
    count: int
    """Positions along it; 1 once they are all mixed."""
    inner: int = 1
    """Values between two neighbouring positions in reading order."""
    whole: bool = False
    """Every position sees all of the picture along this axis."""

    def mixed(self, pixels: int) -> "Axis":
        """All positions brought together into one."""
        field = self.field.then(self.count)
        first, last = field.cell(0)
        return Axis(field, 1, 1, self.whole or (first <= 0 and last >= pixels))


Sight = tuple[Axis, Axis]
Shape = tuple[int, ...] | Size


def at_first(shape: Shape) -> Sight:
    """Of the picture itself, (B, C, H, W); anything else is one position that sees everything."""
    if len(shape) != 4:
        return Axis(Field(), 1, 1, True), Axis(Field(), 1, 1, True)
    return Axis(Field(), shape[2], shape[3]), Axis(Field(), shape[3], 1)


def see(
    op: Any,
    args: tuple,
    kwargs: dict,
    out: Tensor,
    sights: list[tuple[Tensor, Sight]],
    pixels: tuple[int, int],
) -> Sight:
    """The sight of `out = op(*args)`; `sights` are those of the arguments that stem from the picture."""
    name = op._overloadpacket.__name__
    rows, columns = (
        _merge(
            [
                _through(name, op, args, kwargs, out, tensor, sight[which], which, pixels[which])
                for tensor, sight in sights
            ]
        )
        for which in (0, 1)
    )
    return rows, columns


def _through(
    name: str, op: Any, args: tuple, kwargs: dict, out: Tensor, x: Tensor, axis: Axis, which: int, pixels: int
) -> Axis:
    """One axis of one argument through one operator; what goes wrong here is no fault of the network."""
    try:
        return _follow(name, op, args, kwargs, out, x, axis, which, pixels)
    except Exception:  # whatever a stranger's operator has in place of the arguments that are looked for
        return _lost(axis)


def _follow(
    name: str, op: Any, args: tuple, kwargs: dict, out: Tensor, x: Tensor, axis: Axis, which: int, pixels: int
) -> Axis:
    """The operators that are known, each by its own arithmetic."""
    arguments = _arguments(op, args, kwargs)
    if name in _WINDOWS:
        return _window(name, arguments, x, out, axis, which)
    if name in _PRODUCTS:
        return _product(arguments, x, out, axis, which, pixels)
    if name in _REDUCTIONS:
        return _reduce(arguments.get("dim"), x, out, axis, which, pixels)
    if name in _MOVES:
        return _move(name, arguments, x, out, axis, which)
    if name in _SAME_ORDER and out.numel() == x.numel():
        return axis
    if name in _OVER and _kept_apart(name, arguments, x, axis, which):
        return axis
    if name in _POINTWISE or Tag.pointwise in op.tags:
        return _broadcast(x.shape, out.shape, axis, which)
    blind = replace(axis, whole=True)
    return blind if x.shape == out.shape else _lost(axis)


# ---- where an axis lies ------------------------------------------------------------------------------


def _inner(shape: Shape, dim: int) -> int:
    return math.prod(shape[dim + 1 :])


def locate(axis: Axis, shape: Shape, which: int) -> int | None:
    """The dimension that is this axis alone: the usual one, last or last but one, where several could be."""
    usual = len(shape) - 2 + which
    for dim in (usual, *range(len(shape))):
        if 0 <= dim < len(shape) and shape[dim] == axis.count and _inner(shape, dim) == axis.inner:
            return dim
    return None


def _home(axis: Axis, shape: Shape, which: int) -> int | None:
    """The dimension that holds this axis, perhaps with others beside it, as a flattened map does."""
    exact = locate(axis, shape, which)
    if exact is not None:
        return exact
    for dim in range(len(shape)):
        inner = _inner(shape, dim)
        if inner <= axis.inner and axis.inner * axis.count <= inner * shape[dim]:
            return dim
    return None


def _lost(axis: Axis) -> Axis:
    return Axis(axis.field, 1, 1, True)


def _moved(axis: Axis, old: Shape, new: Shape, dims: dict[int, int], which: int) -> Axis:
    """The axis after dimension d of `old` has become dimension dims[d] of `new`."""
    if axis.count == 1:
        return replace(axis, inner=1)
    home = _home(axis, old, which)
    if home is None or home not in dims:
        return _lost(axis)
    within = axis.inner // _inner(old, home)
    return replace(axis, inner=within * _inner(new, dims[home]))


def _merge(axes: list[Axis]) -> Axis:
    """Branches that are added or joined: the position sees what it saw through any of them."""
    first = axes[0]
    for other in axes[1:]:
        if (first.count, first.inner) == (other.count, other.inner):
            same = first.field.stride == other.field.stride
            field = Field.merge(first.field, other.field)
            first = replace(first, field=field, whole=first.whole or other.whole or not same)
        elif 1 in (first.count, other.count):
            first = replace(first if first.count > 1 else other, whole=True)
        else:
            first = _lost(first)
    return first


def _broadcast(old: Shape, new: Shape, axis: Axis, which: int) -> Axis:
    """Values by themselves; dimensions of 1 may be repeated, and new ones may stand in front."""
    return _moved(axis, old, new, {dim: dim + len(new) - len(old) for dim in range(len(old))}, which)


# ---- operators ---------------------------------------------------------------------------------------

_WINDOWS = {
    "convolution", "max_pool2d_with_indices", "avg_pool2d", "max_pool3d_with_indices", "avg_pool3d",
    "_adaptive_avg_pool2d", "adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d",
    "_upsample_nearest_exact2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa",
    "constant_pad_nd", "reflection_pad2d", "replication_pad2d",
}  # fmt: skip
_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
_REDUCTIONS = {
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "var",
    "std",
    "logsumexp",
    "var_mean",
    "linalg_vector_norm",
}
_SAME_ORDER = {
    "view",
    "_unsafe_view",
    "unsqueeze",
    "squeeze",
    "clone",
    "alias",
    "detach",
    "_to_copy",
    "reshape",
    "_reshape_alias",
    "lift_fresh",
}
_MOVES = {
    "permute",
    "transpose",
    "t",
    "slice",
    "select",
    "cat",
    "split",
    "split_with_sizes",
    "unbind",
    "expand",
    "stack",
}
_OVER = {"native_layer_norm", "_softmax", "_log_softmax", "_safe_softmax", "native_batch_norm"}
_POINTWISE = {
    "copy_",
    "bernoulli_",
    "native_dropout",
    "prelu",
    "_prelu_kernel",
    "masked_fill",
    "where",
    "fill_",
    "threshold",
}


def _arguments(op: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Arguments by name, with the operator's own usual values for those not given."""
    names = [argument.name for argument in op._schema.arguments]
    usual = {a.name: a.default_value for a in op._schema.arguments if a.has_default_value()}
    return usual | dict(zip(names, args, strict=False)) | kwargs


def _window(name: str, given: dict, x: Tensor, out: Tensor, axis: Axis, which: int) -> Axis:
    """Convolutions, pools, padding and resizing: things that happen along the last dimensions."""
    dim = locate(axis, x.shape, which)
    if dim is None or (dim < 2 and name == "convolution"):
        return _lost(axis)
    count, inner = out.shape[dim], _inner(out.shape, dim)
    batched = x.dim() > 3 or name == "convolution"  # pools also take a map by itself
    spatial = dim - 2 if batched else dim - (x.dim() - 2)
    if spatial < 0 or (x.dim() == 5 and name == "constant_pad_nd" and dim < 3):
        return replace(axis, inner=inner) if count == axis.count else _lost(axis)
    field = _field(name, given, axis, spatial, dim - x.dim(), count)
    return replace(axis, field=field, count=count, inner=inner)


def _field(name: str, given: dict, axis: Axis, spatial: int, dim: int, count: int) -> Field:
    """The field along one axis: `spatial` counts it among those a window slides along, `dim` from the end."""
    old = axis.field
    if name.endswith(("pad_nd", "pad2d")):
        padding = given.get("pad", given.get("padding"))
        before = padding[2 * (-dim - 1)] if len(padding) >= -2 * dim else 0
        return old.then(1, 1, before)
    if "adaptive" in name:
        return _adaptive(old, axis.count, count)
    if "upsample" in name:
        stride = _ratio(old.stride * axis.count, count)
        neighbours = 1 if "nearest" in name else 3 if "cubic" in name else 1
        grown = 0 if "nearest" in name else neighbours * old.stride
        return Field(old.size + grown, stride, old.start + (stride - old.stride) / 2)
    if name == "convolution":
        size = given["weight"].shape[2 + spatial]
        if given["transposed"]:
            return _transposed(
                old,
                size,
                _at(given["stride"], spatial),
                _at(given["padding"], spatial),
                _at(given["dilation"], spatial),
            )
        return old.then(size, *(_at(given[key], spatial) for key in ("stride", "padding", "dilation")))
    size = _at(given["kernel_size"], spatial)
    stride = _at(given["stride"], spatial) if given.get("stride") else size
    return old.then(size, stride, _at(given["padding"], spatial), _at(given.get("dilation", 1), spatial))


def _at(values: Any, index: int) -> int:
    return values if isinstance(values, int) else values[index] if len(values) > 1 else values[0]


def _ratio(cells: int, count: int) -> Any:
    """Pixels between cells: a whole number where it is one."""
    return cells // count if cells % count == 0 else cells / count


def _adaptive(old: Field, n: int, places: int) -> Field:
    """Windows from floor(i·n/m) to ceil((i + 1)·n/m): the largest of them, centred."""
    edges = [(i * n // places, -(-(i + 1) * n // places)) for i in range(places)]
    size = max(last - first for first, last in edges)
    stride = _ratio(old.stride * n, places)
    return Field(old.size + (size - 1) * old.stride, stride, old.start + (stride - old.stride) / 2)


def _transposed(old: Field, size: int, stride: int, pad: int, dilation: int) -> Field:
    """A transposed convolution: each place is reached from up to F'/S cells, S times closer together."""
    reach = dilation * (size - 1) + 1
    cells = -(-reach // stride)
    finer = _ratio(old.stride, stride)
    return Field(old.size + (cells - 1) * old.stride, finer, old.start + (pad - (reach - 1) / 2) * finer)


def _product(given: dict, x: Tensor, out: Tensor, axis: Axis, which: int, pixels: int) -> Axis:
    """Matrix products: what is summed over is mixed, the other dimensions stay what they were."""
    left = given.get("mat1", given.get("batch1", given["self"]))
    is_left = left is x
    summed = x.dim() - 1 if is_left else x.dim() - 2
    home = _home(axis, x.shape, which)
    if axis.count == 1 or home == summed:
        return axis.mixed(pixels)
    stays = x.dim() - 2 if is_left else x.dim() - 1
    return _moved(axis, x.shape, out.shape, {0: 0, stays: stays} if x.dim() == 3 else {stays: stays}, which)


def _reduce(dims: Any, x: Tensor, out: Tensor, axis: Axis, which: int, pixels: int) -> Axis:
    """Sums, means and maxima over dimensions."""
    wanted = range(x.dim()) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    gone = {dim % x.dim() for dim in wanted}
    home = _home(axis, x.shape, which)
    if axis.count == 1 or home in gone:
        return axis.mixed(pixels)
    kept = out.dim() == x.dim()
    places = {
        dim: dim if kept else dim - sum(other < dim for other in gone)
        for dim in range(x.dim())
        if dim not in gone
    }
    return _moved(axis, x.shape, out.shape, places, which)


def _move(name: str, given: dict, x: Tensor, out: Tensor, axis: Axis, which: int) -> Axis:
    """Dimensions swapped, cut, joined or repeated."""
    n = x.dim()
    dims = {dim: dim for dim in range(n)}
    if name == "permute":
        dims = {dim % n: place for place, dim in enumerate(given["dims"])}
    elif name in ("transpose", "t"):
        a, b = (given["dim0"] % n, given["dim1"] % n) if name == "transpose" else (0, n - 1)
        dims[a], dims[b] = b, a
    elif name == "expand":
        return _broadcast(x.shape, out.shape, axis, which)
    else:
        return _cut(name, given["dim"] % (n + (name == "stack")), given, x, out, axis, which)
    return _moved(axis, x.shape, out.shape, dims, which)


def _cut(name: str, along: int, given: dict, x: Tensor, out: Tensor, axis: Axis, which: int) -> Axis:
    """Slices, single positions, pieces and joins along one dimension."""
    dims = {dim: dim for dim in range(x.dim())}
    if name in ("select", "unbind"):
        dims = {dim: dim - (dim > along) for dim in dims if dim != along}
    elif name == "stack":
        dims = {dim: dim + (dim >= along) for dim in dims}
    if name == "stack" or axis.count == 1 or _home(axis, x.shape, which) != along:
        return _moved(axis, x.shape, out.shape, dims, which)
    if locate(axis, x.shape, which) != along or name not in ("slice", "select"):
        return _lost(axis)
    first, step = (given["start"] or 0, given["step"]) if name == "slice" else (given["index"], 1)
    first += axis.count if first < 0 else 0
    field = Field(axis.field.size, axis.field.stride * step, axis.field.start + first * axis.field.stride)
    if name == "select":
        return replace(axis, field=field, count=1, inner=1)
    return replace(axis, field=field, count=out.shape[along], inner=_inner(out.shape, along))


def _kept_apart(name: str, given: dict, x: Tensor, axis: Axis, which: int) -> bool:
    """Whether normalising over some dimensions leaves the positions of this axis independent."""
    if name == "native_batch_norm":
        return not given["training"]
    if name == "native_layer_norm":
        over = set(range(x.dim() - len(given["normalized_shape"]), x.dim()))
    else:
        over = {given["dim"] % x.dim()}
    return axis.count == 1 or _home(axis, x.shape, which) not in over


def tensors(values: Any) -> list[Tensor]:
    """Every tensor in nested arguments or results."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
