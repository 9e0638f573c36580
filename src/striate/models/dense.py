"""Dense evaluation: a classifier moved over a larger picture, as Simonyan and Zisserman 2014, section 3.2.

A fully connected layer behind a map of 7x7 is a convolution with a filter of 7x7. Written so, a network takes
every larger picture and answers once for each place that its crop could have had: a map of class scores,
whose mean is the answer for the picture.

Near the edges of a crop a padded convolution sees zeros where the dense one sees the picture: with padding
the scores are close to those of the crops, without it equal.
"""

from math import prod
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import BadSetting, DoesNotFit
from striate.geometry import Pair, times
from striate.models.backbone import Backbone
from striate.models.chain import FullyConnected


class AsConvolution(nn.Module):
    """A fully connected layer made for maps of `cells`, at every place of larger ones: the same weights.

    (B, C, H, W) -> (B, outputs, H - h + 1, W - w + 1).
    """

    def __init__(self, fc: nn.Linear, cells: Pair):
        super().__init__()
        self.fc, self.cells = fc, cells

    def forward(self, maps: Tensor) -> Tensor:
        given = (maps.shape[-2], maps.shape[-1])
        if given[0] < self.cells[0] or given[1] < self.cells[1]:
            raise DoesNotFit(
                f"fully convolutional: a filter of {times(self.cells)} does not fit a map of {times(given)}: "
                "give it larger pictures, at least of the size that the network was built for"
            )
        depth = self.fc.in_features // prod(self.cells)
        filters = self.fc.weight.view(self.fc.out_features, depth, *self.cells)
        return F.conv2d(maps, filters, self.fc.bias)

    def extra_repr(self) -> str:
        return f"cells={self.cells}"


class FullyConvolutional(nn.Module):
    """(B, channels, H, W), of the size that the network was built for or larger -> (B, classes, h, w).

    The weights are the network's own: training either trains both.
    """

    def __init__(self, network: nn.Module, head: nn.Sequential):
        super().__init__()
        self.network = cast(Backbone, network)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        *_, last = self.network.stages(x).values()
        return self.head(last)


def fully_convolutional(network: nn.Module) -> FullyConvolutional:
    """`network` with its fully connected layers as convolutions: pictures -> maps of class scores.

    AlexNet, ZF Net and VGG answer for every place of their crop, 32 pixels apart. Networks that end in the
    mean of each map (GoogLeNet, ResNet) answer for every cell of it; the mean of the scores is then what the
    network says itself. AlexNet-OWT's crop is 223x223, whose map its adaptive pool leaves as it is.

    Raises:
        BadSetting: the network's head is of neither form.
    """
    head = getattr(network, "head", None)
    layers = [] if head is None else [layer for layer in head.modules() if not list(layer.children())]
    if isinstance(head, FullyConnected):
        return FullyConvolutional(network, _chain(layers, head.cells))
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    others = [layer for layer in layers if not isinstance(layer, nn.Linear | nn.Flatten | nn.Dropout)]
    if len(linear) == len(others) == 1 and _averages(others[0]):
        return FullyConvolutional(network, nn.Sequential(AsConvolution(linear[0], (1, 1))))
    raise BadSetting(
        f"fully_convolutional: {type(network).__name__} does not end in fc6, fc7 and fc8, or in the mean of "
        "each map and one linear layer: AlexNet, ZF Net, VGG, GoogLeNet and ResNet do"
    )


def _chain(layers: list[nn.Module], cells: Pair) -> nn.Sequential:
    """The head's layers: fc6 sees `cells`, those behind it one; what brings maps to `cells` is left out."""
    turned: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.Linear):
            turned.append(AsConvolution(layer, cells))
            cells = (1, 1)
        elif not isinstance(layer, nn.Flatten | nn.AdaptiveAvgPool2d):
            turned.append(layer)
    return nn.Sequential(*turned)


def _averages(layer: nn.Module) -> bool:
    """Whether it gives the mean of each map."""
    return isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))
