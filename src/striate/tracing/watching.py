"""Running a network without arithmetic, and watching what it does.

A copy of the network lives on PyTorch's `meta` device, where tensors have sizes but no values: any network
runs at any input in milliseconds. Hooks tell which module is at work, a dispatch mode sees every operator
that PyTorch really runs, in functional code too. What does not fit is refused here, before PyTorch does,
with the arithmetic in words.
"""

import copy
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from striate import geometry
from striate.errors import BadSetting, DoesNotFit
from striate.tracing import operators
from striate.tracing.receptive import Sight, at_first, see, tensors

KINDS: dict[type[nn.Module], str] = {
    nn.Conv1d: "conv", nn.Conv2d: "conv", nn.Conv3d: "conv", nn.ConvTranspose2d: "upconv",
    nn.Linear: "fc", nn.MaxPool2d: "pool", nn.AvgPool2d: "avgpool",
    nn.AdaptiveAvgPool2d: "avgpool", nn.AdaptiveMaxPool2d: "pool", nn.BatchNorm2d: "batchnorm",
    nn.LocalResponseNorm: "lrn", nn.Upsample: "upsample",
}  # fmt: skip
"""Modules that are one row each, whatever they are made of. Other leaves take their class's name."""

_OPERATORS = {
    "convolution": "conv", "mm": "fc", "addmm": "fc", "bmm": "matmul", "baddbmm": "matmul",
    "max_pool2d_with_indices": "pool", "avg_pool2d": "avgpool", "_adaptive_avg_pool2d": "avgpool",
    "adaptive_max_pool2d": "pool", "native_batch_norm": "batchnorm", "native_layer_norm": "layernorm",
    "native_group_norm": "groupnorm", "constant_pad_nd": "pad", "native_dropout": "dropout",
}  # fmt: skip
_JOINED = {"add": "added", "sub": "subtracted", "mul": "multiplied", "div": "divided", "cat": "joined"}
_NO_ROW = {
    "view", "_unsafe_view", "unsqueeze", "squeeze", "clone", "alias", "detach", "_to_copy", "permute",
    "transpose", "t", "slice", "select", "split", "split_with_sizes", "unbind", "expand", "copy_",
    "as_strided_", "empty_like", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones",
    "new_empty", "new_full", "_reshape_alias", "chunk", "fill_", "zero_", "lift_fresh",
}  # fmt: skip


class Misfit(DoesNotFit):
    """Why an operator cannot run, with the numbers that a mender needs."""

    def __init__(self, message: str, why: str = "other", expects: int = 0, gets: int = 0):
        super().__init__(message)
        self.why, self.expects, self.gets = why, expects, gets
        """`why` is window, features, channels, join (of branches) or other."""
        self.slide: geometry.Slide | None = None
        self.shape: geometry.Pair | None = None
        """The window that does not fit, and the map it does not fit."""
        self.joined: list[tuple[int, ...]] = []
        """Shapes of the branches that cannot be joined."""

    @property
    def beyond(self) -> bool:
        """The window is larger than its map: a larger input may help."""
        slide, shape = self.slide, self.shape
        if slide is None or shape is None:
            return False
        return any(shape[axis] + 2 * slide.pad[axis] < slide.reach(axis) for axis in (0, 1))

    def wanted(self) -> list[int]:
        """Channels that would be right."""
        return (
            [self.expects] if self.why == "channels" else sorted({shape[0] for shape in self.joined if shape})
        )


@dataclass
class Draft:
    """A row of the table in the making: one run of one layer."""

    name: str
    kind: str
    module: nn.Module | None = None
    output: tuple[int, ...] = ()
    formula: str = ""
    dot: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    bytes: int = 0
    sight: Sight | None = None
    inside: set[int] = field(default_factory=set)
    """Storages that came in: what comes out in one of them takes no memory."""


def on_meta(module: nn.Module) -> nn.Module:
    """A copy without values on the meta device: no weights are copied, and hooks stay behind.

    Raises BadSetting where a weight has no size yet, as in the layers that PyTorch calls lazy.
    """
    memo: dict[int, Any] = {}
    for name, weight in module.named_parameters():
        if is_lazy(weight):
            raise BadSetting(f"{name} has no size yet: run the network once on a picture first.")
        memo[id(weight)] = nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    for part in module.modules():
        for made in tensors(vars(part)):
            if not made.is_leaf:  # what a forward computed and kept, which PyTorch would not copy
                memo[id(made)] = torch.empty_like(made, device="meta")
    twin = copy.deepcopy(module, memo)
    for part in twin.modules():
        for hooks in (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks):
            hooks.clear()
    return twin


class Watch(TorchDispatchMode):
    """Runs a network on the meta device. `rows` are the layers in the order they ran, up to `failure`."""

    def __init__(self, floor: bool = True, notes: bool = True):
        super().__init__()
        self.floor, self.notes = floor, notes
        self.rows: list[Draft] = []
        self.open: Draft | None = None
        self.stack: list[tuple[str, nn.Module, list[tuple[int, ...]]]] = []
        self.failure: Misfit | None = None
        self.outputs: list[Tensor] = []
        self.sights = WeakTensorKeyDictionary()
        self.origins = WeakTensorKeyDictionary()
        self.sizes: dict[int, int] = {}
        self.numbers: Counter[str] = Counter()
        self.counted: set[int] = set()
        self.pixels = (1, 1)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled in here, so PyTorch need not import its compiler (2 s) to keep it out."""
        return False

    # ---- running ----

    def run(self, net: nn.Module, shape: Sequence[int], batch: int, grad: bool = False) -> bool:
        """Feed `net`, already on the meta device, (batch, *shape). False where it failed: see `failure`."""
        handles = self._attend(net)
        try:
            with torch.device("meta"), torch.set_grad_enabled(grad):
                kinds = (weight.dtype for weight in net.parameters() if weight.is_floating_point())
                x = torch.empty(batch, *shape, dtype=next(kinds, None))
                self._begin(net, x)
                with self:
                    self.outputs = tensors(net(x))
        except Misfit as misfit:
            self.failure = misfit
        except Exception as error:  # whatever a stranger's forward may raise is the finding itself
            self.failure = self._in_words(error)
        finally:
            for handle in handles:
                handle.remove()
        if self.open is not None:  # the layer that failed has no row
            self.rows.remove(self.open)
        return self.failure is None

    def _attend(self, net: nn.Module) -> list[Any]:
        handles = []
        for name, module in net.named_modules():
            handles.append(module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True))
            handles.append(module.register_forward_hook(partial(self._leave, name)))
        return handles

    def _begin(self, net: nn.Module, x: Tensor) -> None:
        if self.notes:
            self.pixels = (x.shape[2], x.shape[3]) if x.dim() == 4 else (1, 1)
            self.sights[x] = at_first(x.shape)
            for weight in net.parameters():
                self.origins[weight] = {id(weight)}
                self.sizes[id(weight)] = weight.numel()

    def _enter(self, name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        given = tensors((args, kwargs))
        self.stack.append((name, module, [tuple(x.shape) for x in given]))
        if self.open is None and is_layer(module):
            self.open = Draft(name or kind_of(module), kind_of(module), module)
            self.open.inside = {x.untyped_storage()._cdata for x in given}
            self.rows.append(self.open)

    def _leave(self, name: str, module: nn.Module, args: tuple, output: Any) -> None:
        self.stack.pop()
        row = self.open
        if row is None or row.module is not module or any(m is module for _, m, _ in self.stack):
            return
        self.open = None
        out = tensors(output)
        if isinstance(module, nn.Identity) or (isinstance(module, nn.Sequential) and len(module) == 0):
            self.rows.remove(row)
            return
        self._note_output(row, out)
        row.parameters += self._count({id(weight) for weight in module.parameters()})

    # ---- operators ----

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        args, kwargs = tree_map_only(Tensor, _to_meta, (args, kwargs or {}))
        name = func._overloadpacket.__name__
        slide = operators.slide(name, args)
        self._check(name, args, slide)
        try:
            out = func(*args, **kwargs)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise self._explain(name, args, error) from None
        if self.notes:
            self._note(func, name, args, kwargs, out, slide)
        return out

    def layer(self, kind: str = "") -> str:
        """The name of what is at work, for a row or an error."""
        if self.open is not None:
            return self.open.name
        path = next((name for name, _, _ in reversed(self.stack) if name), "")
        return ".".join(part for part in (path, kind) if part)

    def _note(self, func: Any, name: str, args: tuple, kwargs: dict, out: Any, slide: Any) -> None:
        """Everything the table says of one operator that has run."""
        given, made = tensors((args, kwargs)), tensors(out)
        seen = [(x, self.sights[x]) for x in given if x in self.sights]
        weights = set().union(*(self.origins[x] for x in given if x in self.origins))
        if not seen:
            for x in made:
                self.origins[x] = weights
            return
        row = self.open or self._functional(name, given, weights)
        for x in made:
            self.sights[x] = see(func, args, kwargs, x, seen, self.pixels)
        if row is None:
            return
        row.multiply_adds += operators.multiply_adds(name, args, made)
        if slide is not None and not row.formula:
            row.formula = operators.formula(args[0], slide, made[0])
        row.dot = row.dot or operators.dot(name, args)
        if row is not self.open:
            self._note_output(row, made[:1])
            row.parameters += self._count(weights)

    def _functional(self, name: str, given: list[Tensor], weights: set[int]) -> Draft | None:
        """A row for an operator outside every layer; none for those that only rearrange."""
        if name in _NO_ROW and not weights - self.counted:
            return None
        kind = _OPERATORS.get(name, name.strip("_"))
        path = self.layer(kind)
        self.numbers[path] += 1
        number = self.numbers[path]
        row = Draft(path if number == 1 else f"{path}{number}", kind)
        row.inside = {x.untyped_storage()._cdata for x in given}
        self.rows.append(row)
        return row

    def _note_output(self, row: Draft, out: list[Tensor]) -> None:
        if out:
            row.output = tuple(out[0].shape[1:])
            row.sight = self.sights.get(out[0], row.sight) if self.notes else None
        fresh = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in out}
        row.bytes = sum(size for storage, size in fresh.items() if storage not in row.inside)

    def _count(self, weights: set[int]) -> int:
        """Numbers in those of the weights that no row has counted yet."""
        fresh = weights - self.counted
        self.counted |= fresh
        return sum(self.sizes.get(weight, 0) for weight in fresh)

    # ---- what does not fit ----

    def _check(self, name: str, args: tuple, slide: geometry.Slide | None) -> None:
        """Refuse, with the arithmetic, what PyTorch would, and what is not whole where that is asked."""
        if name == "convolution" and not args[6]:
            x, weight, groups = args[0], args[1], args[8]
            if x.dim() == weight.dim() and x.shape[1] != weight.shape[1] * groups:
                raise self._channels(weight.shape[1] * groups, x.shape)
        if slide is not None and args[0].dim() in (3, 4):
            shape = operators.map_size(args[0])
            if slide.map(shape, self.floor) is None:
                self._refuse(shape, slide)
        if name in ("mm", "addmm"):
            left, right = args[-2:]
            if left.shape[-1] != right.shape[0]:
                raise self._features(right.shape[0], left)

    def _refuse(self, shape: geometry.Pair, slide: geometry.Slide) -> None:
        s = slide
        layer = self.layer("conv" if s.kind == "filter" else "pool")
        try:
            geometry.output_map(shape, s.size, s.stride, s.pad, s.dilation, self.floor, s.ceil, layer, s.kind)
        except DoesNotFit as error:
            misfit = Misfit(str(error).split(". ")[0].rstrip(".") + ".", "window")
            misfit.slide, misfit.shape = slide, shape
            raise misfit from None

    def _features(self, expects: int, x: Tensor) -> Misfit:
        gets = x.shape[-1]
        sight = self.sights.get(x)
        parts = operators.parts(gets, sight) if sight is not None else None
        product = f" = {geometry.times(parts)}" if parts else ""
        message = f"{self.layer('fc')}: expects {expects} features, gets {gets}{product}."
        return Misfit(message, "features", expects, gets)

    def _channels(self, expects: int, shape: Sequence[int]) -> Misfit:
        gets = shape[1]
        message = (
            f"{self.layer('conv')}: its filters have a depth of {expects}, the input has {gets} "
            f"{'channel' if gets == 1 else 'channels'} ({geometry.times(shape[1:])})."
        )
        return Misfit(message, "channels", expects, gets)

    def _explain(self, name: str, args: tuple, error: Exception) -> Misfit:
        """PyTorch's refusal of one operator in the words of the field."""
        shapes = [tuple(x.shape[1:]) for x in tensors(args)]
        maps = " and ".join(geometry.times(shape) or "1" for shape in shapes[:4])
        plain = name.rstrip("_")
        if plain in _JOINED and len(shapes) > 1:
            layer = self.layer(plain)
            misfit = Misfit(f"{layer}: {maps} cannot be {_JOINED[plain]}: their sizes differ.", "join")
            misfit.joined = shapes
            return misfit
        if name in ("view", "_unsafe_view") and args:
            (x, wanted), numbers = args[:2], math.prod(tensors(args)[0].shape)
            text = f"{geometry.times(x.shape)} = {numbers} numbers cannot be arranged as {list(wanted)}."
            return Misfit(f"{self.layer('view')}: {text}")
        return self._in_words(error)

    def _in_words(self, error: Exception) -> Misfit:
        """Any other error: where it happened, what was fed, PyTorch's own first line."""
        name, module, shapes = self.stack[-1] if self.stack else ("", nn.Identity(), [])
        if shapes and isinstance(module, nn.modules.batchnorm._NormBase) and len(shapes[0]) > 1:
            if module.num_features != shapes[0][1]:
                message = (
                    f"{name or 'batchnorm'}: normalises {module.num_features} channels, gets {shapes[0][1]}."
                )
                return Misfit(message, "channels", module.num_features, shapes[0][1])
        fed = f", fed {geometry.times(shapes[0][1:])}" if shapes and len(shapes[0]) > 1 else ""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        why = lines[0].rstrip(".")
        if "meta tensor" in why or "Meta" in why:
            why = f"computes with values, which a trace has none of ({why})"
        return Misfit(f"{name or type(module).__name__}{fed}: {why}.")


def is_layer(module: nn.Module) -> bool:
    """One row: a layer of `KINDS`, or any module without parts."""
    return isinstance(module, tuple(KINDS)) or not any(True for _ in module.children())


def kind_of(module: nn.Module) -> str:
    """conv, fc, pool, relu, ...: the field's word, or the class's name in small letters."""
    for known, kind in KINDS.items():
        if isinstance(module, known):
            return kind
    return type(module).__name__.lower()


def _to_meta(x: Tensor) -> Tensor:
    """Constants that a forward made elsewhere."""
    return x if x.device.type == "meta" else torch.empty_like(x, device="meta")
