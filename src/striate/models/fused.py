"""Convolution, sum and ReLU as one operator: oneDNN adds and clips while a result is still in the cache.

The operators are those that PyTorch's own compiler calls on CPUs. They want the filters reordered for the
size of the input; that is done at the first batch of a size, and costs no more than it costs an ordinary
convolution, which reorders them every time. Where Winograd's way is faster, the filters are transformed for
it in place of that, and take up to nine times their memory. On many maps of a few cells, where most of a
filter sees padding, a convolution is computed as the fully connected layer that it is there.
"""

import operator
import threading
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from striate.winograd import Plan, Room, convolve, even, plan, suits, takes

ADDS = (operator.add, operator.iadd, torch.add)
MANY = 16
"""Pictures for which it is worth reading twice as many numbers as the filters have; measured."""
RELUS = (F.relu, torch.relu, torch.relu_, F.relu_)


class FusedConv(nn.Module):
    """relu(conv(x) + other); ReLU and sum are optional. No gradients, and one thread at a time.

    x (B, C, H, W), other of the result's shape -> (B, outputs, ~H/stride, ~W/stride), channels last.
    Whatever oneDNN does not take (another type, no batch, a sum that broadcasts) is computed step by step.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool):
        super().__init__()
        self.conv, self.relu = conv, relu
        self.place: list[Any] = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self.over = False
        """Whether the result may be written over `other`: nobody looks at that again."""
        self.size: tuple[int, ...] = ()
        self.output: tuple[int, ...] = ()
        self.filters: Tensor | None = None
        """Reordered for inputs of `size`, which give results of the size `output`."""
        self.way: Plan | None = None
        """Winograd's, where inputs of `size` are for it."""
        self.points: tuple[tuple[int, int], Tensor] | None = None
        """The tiles that were wanted last, and the filters transformed for them."""
        self.connected: tuple[Tensor, Tensor] | None = None
        """The biases and weights of a fully connected layer that does the same to inputs of `size`."""

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if not self._takes(x, other):
            y = self.conv(x) if other is None else self.conv(x) + other
            return F.relu(y) if self.relu else y
        bias = None if self.conv.bias is None else self.conv.bias.detach()
        if self.way is not None and self.points is not None:
            y = convolve(x, self.points[1], self.way, _room(), bias, relu=self.relu and other is None)
            return y if other is None else self._ended(y, other)
        if self.connected is not None:
            n, outputs, height, width = self.output
            bias, weight = self.connected
            y = torch.addmm(bias, x.permute(0, 2, 3, 1).reshape(n, -1), weight)
            y = y.view(n, height, width, outputs).permute(0, 3, 1, 2)
            return self._ended(y, other)
        run, over = torch.ops.mkldnn._convolution_pointwise, torch.ops.mkldnn._convolution_pointwise_
        what, last = (self.filters, bias, *self.place), "relu" if self.relu else None
        if other is None:
            return run(x, *what, last or "none", [], "")
        if self.over and other.is_contiguous(memory_format=torch.channels_last):
            return over.binary(other, x, *what, "add", 1.0, last, [], None)
        return run.binary(x, other, *what, "add", 1.0, last, [], None)

    def _takes(self, x: Tensor, other: Tensor | None) -> bool:
        """Whether the fused operator may do it; the filters are then in order."""
        if x.dim() != 4 or x.dtype != torch.float32 or x.device.type != "cpu" or x.numel() == 0:
            return False
        if self.size != x.shape:
            weight, size = self.conv.weight.detach(), tuple(x.shape)
            output, connected = self._output(x), None
            taken = suits(self.conv) and takes(self.conv, x)
            self.way = plan(*size[2:], even(self.conv)) if taken else None
            if self.way is not None:
                if self.points is None or self.points[0] != self.way.size:
                    self.points = self.way.size, self.way.transformed(weight)
            elif tiny(self.conv, size, output):
                connected = connections(self.conv, size, output)
            else:
                self.filters = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.place, list(size))
            self.size, self.output, self.connected = size, output, connected
        return other is None or (other.dtype == x.dtype and other.shape == self.output)

    def _ended(self, y: Tensor, other: Tensor | None) -> Tensor:
        """What follows the convolution, in place."""
        y = y if other is None else y.add_(other)
        return y.relu_() if self.relu else y

    def _output(self, x: Tensor) -> tuple[int, ...]:
        pads, strides, dilations = self.place[:3]
        sides = [
            (x.shape[2 + axis] + 2 * pads[axis] - dilations[axis] * (size - 1) - 1) // strides[axis] + 1
            for axis, size in enumerate(self.conv.kernel_size)
        ]
        return (x.shape[0], self.conv.out_channels, *sides)


MINE = threading.local()
"""Each thread's room: memory that is taken anew for every layer costs as much time as the layer."""


def _room() -> Room:
    if not hasattr(MINE, "room"):
        MINE.room = Room()
    return MINE.room


def tiny(conv: nn.Conv2d, input: tuple[int, ...], output: tuple[int, ...]) -> bool:
    """Whether maps (N, C, H, W) are so small, and so many, that multiplying by every connection is faster."""
    pairs = prod(input[2:]) * prod(output[2:])
    return conv.groups == 1 and input[0] >= MANY and pairs <= 2 * prod(conv.kernel_size)


def connections(conv: nn.Conv2d, input: tuple[int, ...], output: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The fully connected layer that a convolution is on maps (N, C, H, W), their numbers channels last.

    Biases (H' * W' * outputs) and weights (H * W * C, H' * W' * outputs).
    """
    (_, channels, *cells), (_, outputs, *places) = input, output
    weights = torch.zeros(*cells, channels, *places, outputs)

    def seen(axis: int) -> Iterator[tuple[int, int, int]]:
        """Which number of the filter lies on a cell of the map when the filter is at a place."""
        pad, stride, dilation = int(conv.padding[axis]), conv.stride[axis], conv.dilation[axis]
        for place, number in product(range(places[axis]), range(conv.kernel_size[axis])):
            cell = place * stride - pad + number * dilation
            if 0 <= cell < cells[axis]:
                yield cell, place, number

    for (row, down, y), (column, across, x) in product(seen(0), seen(1)):
        weights[row, column, :, down, across] = conv.weight.detach()[:, :, y, x].T
    bias = torch.zeros(outputs) if conv.bias is None else conv.bias.detach()
    return bias.repeat(prod(places)), weights.flatten(3).flatten(0, 2)


def fuse(traced: fx.GraphModule) -> int:
    """Replace the convolutions by fused ones, with the sum and ReLU that directly follow; how many.

    A sum is taken in where it is the very next operation: nothing may happen to its other term in between.
    None where this PyTorch comes without oneDNN.
    """
    if not torch.backends.mkldnn.is_available():
        return 0
    layers = dict(traced.named_modules(remove_duplicate=False))
    fused: list[fx.Node] = []
    for node in list(traced.graph.nodes):
        conv = layers[node.target] if node.op == "call_module" else None
        if conv is None or not _plain(conv) or len(node.args) != 1 or node.kwargs:
            continue
        last, arguments = node, node.args
        other = _added(node, layers)
        if other is not None:
            last, arguments = node.next, (node.args[0], other)
        relu = _only_user(last)
        ends = relu is not None and _is_relu(relu, layers)
        name = f"fused{len(fused) + 1}"
        traced.add_submodule(name, FusedConv(conv, ends))
        with traced.graph.inserting_before(last):
            fused.append(traced.graph.call_module(name, arguments))
        gone = [relu, last, node] if ends else [last, node]
        gone[0].replace_all_uses_with(fused[-1])
        for old in dict.fromkeys(gone):
            traced.graph.erase_node(old)
    traced.delete_all_unused_submodules()
    layers = dict(traced.named_modules(remove_duplicate=False))
    for node in fused:
        layers[str(node.target)].over = len(node.args) == 2 and _last_look(node, layers)
    return len(fused)


def _last_look(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """Whether a fused convolution is the last to look at its other term, and that is no part of anything."""

    def fresh(made: Any) -> bool:
        if made.op != "call_module":
            return False
        layer = layers[str(made.target)]
        return type(layer) in FRESH and not (layer._forward_hooks or layer._forward_pre_hooks)

    x, other = (argument for argument in node.args if isinstance(argument, fx.Node))
    earlier = [user for user in other.users if user is not node]
    return x is not other and fresh(other) and all(fresh(user) and user < node for user in earlier)


FRESH = (nn.Conv2d, FusedConv, nn.MaxPool2d)
"""Layers whose results share no memory with what they are made from."""


def _plain(conv: Any) -> bool:
    if type(conv) is not nn.Conv2d or conv._forward_hooks or conv._forward_pre_hooks:
        return False
    weight = conv.weight
    on_cpu = weight.dtype == torch.float32 and weight.device.type == "cpu"
    return on_cpu and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _added(conv: fx.Node, layers: dict[str, nn.Module]) -> fx.Node | None:
    """The other term of a sum that follows at once and is all that the convolution is for."""
    user = _only_user(conv)
    if user is None or user is not conv.next or user.op != "call_function" or user.target not in ADDS:
        return None
    if len(user.args) != 2 or user.kwargs:
        return None
    first, second = user.args
    other = second if first is conv else first
    if not isinstance(other, fx.Node) or other is conv:
        return None
    if user.target is operator.iadd and first is not conv:  # writes into `other`: nobody else may look at it
        fresh = other.op == "call_module" and isinstance(layers[str(other.target)], nn.Conv2d | FusedConv)
        return other if fresh and len(other.users) == 1 else None
    return other


def _is_relu(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        relu = layers[str(node.target)]
        return type(relu) is nn.ReLU and not relu._forward_hooks and not relu._forward_pre_hooks
    return node.op == "call_function" and node.target in RELUS
