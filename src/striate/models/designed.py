"""A design as one of the zoo's networks: its convolutions cut into stages, the rest as the head.

A stage is the map just before a pool or convolution with a stride, and the last map of all. Dropout that
leads into the head, and a pool that leaves one cell, belong to the head.
    input 3x32x32, conv5-16 pad2, relu, pool2, conv5-20 pad2, relu, pool2, softmax10
                                     | stage1                        | stage2 | stage3, head
"""

from math import prod

from torch import Tensor, nn

from striate.design import Design, Input, Row
from striate.design.layers import FC, AvgPool, Conv, Dropout, Flatten, GlobalPool, MaxPool, Softmax
from striate.design.modules import ACTIVATIONS, build
from striate.errors import BadDesign, BadSetting
from striate.geometry import pair


class Designed(nn.Module):
    """(B, channels, H, W) -> logits (B, classes): a trailing softmax is the loss's business and left out.

    `classes` replaces the width of the last layer where it differs, and `note` says so. `input` (C, H, W) and
    `floor` are as in `Design.module`. Raises DoesNotFit, and BadDesign where no such last layer is.
    """

    def __init__(
        self, design: Design, classes: int | None = None, input: Input | None = None, floor: bool = False
    ):
        super().__init__()
        self.note = ""
        if design.classes is None:
            raise BadDesign(
                f"design: {design} ends in no fully connected layer: add softmax{classes or 10} to it"
            )
        if classes is not None and classes != design.classes:
            self.note = (
                f"the last layer has {classes} outputs, one for each class, in place of {design.classes}"
            )
            design = design.with_classes(classes)
        self.design = design
        rows = [row for row in design.walk(input, floor) if not isinstance(row.layer, Softmax)]
        network = build(rows)
        cut = _head(rows)
        cuts = _cuts(rows[:cut])
        self.body, self.head = network[:cut], network[cut:]
        self.ends = {f"stage{number}": end for number, end in enumerate(cuts, 1)}
        """Stage name -> how many of the body's layers come before it."""
        shapes = [design.given(input), *(row.output for row in rows)]
        self.widths = {name: shapes[end][0] for name, end in self.ends.items()}
        self.strides = {name: _stride(rows[:end]) for name, end in self.ends.items()}

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> stage1, stage2, ...: (B, width, ~H/stride, ~W/stride), finest first."""
        maps = [x]
        for layer in self.body:
            maps.append(layer(maps[-1]))
        return {name: maps[end] for name, end in self.ends.items()}

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, classes)."""
        return self.head(self.body(x))

    def extra_repr(self) -> str:
        return self.design.text()


def begin_as_nielsen(network: nn.Module) -> None:
    """Draw the weights of a design anew as network3.py does (Nielsen 2015, chapter 6).

    Normal ones of deviation 1/√n, n being a layer's outputs to each input, pooled; biases of deviation 1; a
    last layer of zeros. Behind dropout they are 1 - p times as large: the book multiplies them so when it
    tests, where PyTorch divides what was not dropped in training. Raises BadSetting where it is no design.
    """
    if not isinstance(network, Designed):
        raise BadSetting(f"init=nielsen: {type(network).__name__} is no design and begins in its own way.")
    kept, layers = 1.0, [*network.body, *network.head]
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Dropout):
            kept = 1 - layer.p
        if isinstance(layer, nn.Conv2d | nn.Linear):
            after = next((a for a in layers[index + 1 :] if type(a) not in ACTIVATIONS.values()), None)
            pooled = prod(pair(after.kernel_size)) if isinstance(after, nn.MaxPool2d) else 1
            groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
            outputs = layer.weight[:, 0].numel() / groups / pooled
            nn.init.normal_(layer.weight, 0, kept / outputs**0.5)
            if layer.bias is not None:
                nn.init.normal_(layer.bias)
            kept = 1.0
    for values in [layer for layer in layers if isinstance(layer, nn.Linear)][-1].parameters():
        nn.init.zeros_(values)


def _head(rows: list[Row]) -> int:
    """Where the head begins: at the first layer that makes one cell or a vector of the map."""
    for index, row in enumerate(rows):
        to_a_cell = isinstance(row.layer, MaxPool | AvgPool) and row.output[1:] == (1, 1)
        if to_a_cell or isinstance(row.layer, GlobalPool | Flatten | FC):
            while index and isinstance(rows[index - 1].layer, Dropout):
                index -= 1
            return index
    return len(rows)


def _cuts(body: list[Row]) -> list[int]:
    """How many layers come before each stage: up to every reduction once something was convolved, and all."""
    cuts = {len(body)}
    for index, row in enumerate(body):
        convolved = any(isinstance(earlier.layer, Conv) for earlier in body[:index])
        if convolved and isinstance(row.layer, Conv | MaxPool | AvgPool) and row.layer.stride > 1:
            cuts.add(index)
    return sorted(cuts)


def _stride(rows: list[Row]) -> int:
    """Input pixels between neighbouring cells behind these layers."""
    stride = 1
    for row in rows:
        if isinstance(row.layer, Conv | MaxPool | AvgPool):
            stride *= row.layer.stride
    return stride
