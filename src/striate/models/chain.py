"""What AlexNet, ZF Net and VGG are: one chain of layers cut at its pools, then three fully connected layers.

A fully connected layer has one weight for every cell of the map before it, so that such a network is built
for pictures of one size. Here is the arithmetic from that size to those cells, and what refuses the others.
"""

from collections.abc import Iterable
from math import prod

import torch
from torch import Tensor, nn

from striate.errors import BadSetting, DoesNotFit
from striate.geometry import Pair, Slide, formula, pair, smallest_input, times

Step = tuple[str, int, int, int]
"""A layer by which maps shrink: name, size, stride, padding."""


class FullyConnected(nn.Sequential):
    """The head: the last pool, fc6, fc7 and fc8. (B, width, H, W), pooled to `cells` -> (B, classes).

    Dropout falls on the outputs of fc6 and fc7, or with `drop_inputs` on their inputs.
    """

    def __init__(
        self,
        pool: nn.Module,
        width: int,
        cells: Pair,
        classes: int,
        dropout: float = 0.5,
        drop_inputs: bool = False,
    ):
        super().__init__()
        if not 0 <= dropout <= 1:
            raise BadSetting(f"dropout must be from 0 to 1, not {dropout:g}: it is the share that is dropped")
        self.cells = cells
        self.add_module("pool", pool)
        self.add_module("flatten", nn.Flatten())
        for number, inputs in (6, width * prod(cells)), (7, 4096):
            if drop_inputs:
                self.add_module(f"drop{number - 1}", nn.Dropout(dropout))
            self.add_module(f"fc{number}", linear(inputs, 4096))
            self.add_module(f"relu{number}", nn.ReLU(inplace=True))
            if not drop_inputs:
                self.add_module(f"drop{number}", nn.Dropout(dropout))
        self.add_module("fc8", linear(4096, classes))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer without starting values: a hundred million are drawn once, by the network."""
    return nn.utils.skip_init(nn.Linear, inputs, outputs, device=torch.get_default_device())


def gaussian(network: nn.Module, ones: Iterable[str] = ()) -> None:
    """Krizhevsky's and Zeiler's start: weights from N(0, 0.01), biases 0, or 1 in the layers named `ones`."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, float(name.rpartition(".")[2] in ones))


def maps_before_pools(layers: nn.Sequential, x: Tensor) -> dict[str, Tensor]:
    """Run the layers: stage1, stage2, ... are the maps that a pool takes, and the last of all."""
    maps: dict[str, Tensor] = {}
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            maps[f"stage{len(maps) + 1}"] = x
        x = layer(x)
    maps[f"stage{len(maps) + 1}"] = x
    return maps


def cells(network: str, steps: Iterable[Step], size: Pair, floor: bool = False) -> Pair:
    """(H, W) of pictures -> (h, w) of the map that is left of them after all steps.

    Raises:
        DoesNotFit: with the arithmetic, and the nearest sizes for which it comes out whole.
    """
    steps = tuple(steps)
    found = [_through(steps, n, floor) for n in size]
    wrong = [end for end in found if isinstance(end, str)]
    if wrong:
        fitting = " and ".join(times(near) for near in _nearest(steps, size, floor))
        advice = f"the smallest that do: {fitting}" if floor else f"the nearest that do: {fitting}"
        raise DoesNotFit(f"{network}: pictures of {times(size)} do not fit: {wrong[0]}; {advice}")
    height, width = (end for end in found if isinstance(end, int))
    return height, width


def _through(steps: Iterable[Step], n: int, floor: bool) -> int | str:
    """n cells after all steps, or the arithmetic of the first step that they do not fit."""
    for name, size, stride, pad in steps:
        places = Slide(pair(size), pair(stride), pair(pad)).output(n, 0, floor)
        if places is None:
            return f"{name}: {formula(n, size, stride, pad)}"
        n = places
    return n


def _nearest(steps: tuple[Step, ...], size: Pair, floor: bool) -> list[Pair]:
    """The next smaller and the next larger size that fit, or the smallest of all."""
    least = smallest_input([step[1:] for step in steps], floor=floor)
    period = 1 if floor else prod(stride for _, _, stride, _ in steps)
    beyond = [max(n - least, 0) for n in size]
    below = [least + n // period * period for n in beyond]
    above = [least - -n // period * period for n in beyond]
    return sorted({(below[0], below[1]), (above[0], above[1])})


def refuse_other_sizes(network: str, built: Pair, x: Tensor) -> None:
    """Raise DoesNotFit for pictures (B, C, H, W) of another size than the network was built for."""
    given = (x.shape[-2], x.shape[-1])
    if given != tuple(built):
        raise DoesNotFit(
            f"{network}: built for pictures of {times(built)}, these are {times(given)}: resize them, build "
            f"it with size=({given[0]}, {given[1]}), or run it over larger ones with fully_convolutional"
        )
