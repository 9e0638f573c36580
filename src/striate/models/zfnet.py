"""ZF Net. Zeiler and Fergus 2013, figure 3: AlexNet after looking at what its filters had learned.

One idea: smaller filters and a smaller stride in the first layer, so that fewer patterns are lost or aliased.
224x224 -> conv1 110 -> pool 55 -> conv2 26 -> pool 13 -> conv3, conv4, conv5 13 -> 6 -> fc6, fc7 4096.

| layer | output     | parameters | multiply-adds | followed by                             |
|-------|------------|------------|---------------|-----------------------------------------|
| conv1 | 96 @ 110²  | 14,208     | 170,755,200   | pool 3/2 to 55², contrast normalisation |
| conv2 | 256 @ 26²  | 614,656    | 415,334,400   | pool 3/2 to 13², contrast normalisation |
| conv3 | 384 @ 13²  | 885,120    | 149,520,384   |                                         |
| conv4 | 384 @ 13²  | 1,327,488  | 224,280,576   |                                         |
| conv5 | 256 @ 13²  | 884,992    | 149,520,384   | pool 3/2 to 6²                          |
| fc6   | 4096       | 37,752,832 | 37,748,736    | dropout                                 |
| fc7   | 4096       | 16,781,312 | 16,777,216    | dropout                                 |
| fc8   | 1000       | 4,097,000  | 4,096,000     |                                         |
| all   |            | 62,357,608 | 1,168,032,896 |                                         |

`zfnet_wide` is variant (b) of table 2, with 512, 1024 and 512 maps in conv3 to conv5: 107,627,624 parameters
and 2,476,704,896 multiply-adds.

Deviations, all our choice where the paper is silent: it gives sizes but no padding, and a padding of 1 in
conv1 and the first two pools, none in conv2 and the last pool, gives those sizes, rounded down; the constants
of its contrast normalisation across maps are not given, and AlexNet's are used. At other sizes (53x53 or
more) fc6 has as many cells as are left.
"""

from collections import OrderedDict

from torch import Tensor, nn

from striate.geometry import Pair
from striate.models.alexnet import response_norm
from striate.models.chain import (
    FullyConnected,
    Step,
    cells,
    gaussian,
    maps_before_pools,
    refuse_other_sizes,
)

# Figure 3: the layers by which maps shrink, with size, stride and padding. conv3 to conv5 keep their size.
STEPS: tuple[Step, ...] = (
    ("conv1", 7, 2, 1),
    ("pool1", 3, 2, 1),
    ("conv2", 5, 2, 0),
    ("pool2", 3, 2, 1),
    ("conv3", 3, 1, 1),
    ("conv4", 3, 1, 1),
    ("conv5", 3, 1, 1),
    ("pool5", 3, 2, 0),
)
WIDTHS = (96, 256, 384, 384, 256)
WIDTHS_B = (96, 256, 512, 1024, 512)


class ZFNet(nn.Module):
    """(B, channels, *size) -> logits (B, classes). `widths` are the filters of conv1 to conv5."""

    def __init__(
        self,
        widths: tuple[int, int, int, int, int] = WIDTHS,
        classes: int = 1000,
        channels: int = 3,
        size: Pair = (224, 224),
        *,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.size = size
        left = cells("ZF Net", STEPS, size, floor=True)
        self.widths = {"stage1": widths[0], "stage2": widths[1], "stage3": widths[4]}
        self.strides = {"stage1": 2, "stage2": 8, "stage3": 16}
        self.features = _features(widths, channels)
        self.head = FullyConnected(nn.MaxPool2d(3, 2), widths[4], left, classes, dropout)
        gaussian(self)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> the rectified conv1 (B, 96, ~H/2, ~W/2), conv2 (/8) and conv5 (/16)."""
        return maps_before_pools(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, *size) -> logits (B, classes)."""
        refuse_other_sizes("ZF Net", self.size, x)
        return self.head(self.features(x))


def _features(widths: tuple[int, ...], channels: int) -> nn.Sequential:
    """conv1 to the rectified conv5: each is rectified, then pooled, then normalised."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    depths = iter((channels, *widths))
    filters = iter(widths)
    for name, size, stride, pad in STEPS[:-1]:
        number = name[-1]
        if name.startswith("conv"):
            layers[name] = nn.Conv2d(next(depths), next(filters), size, stride, pad)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
        else:
            layers[name] = nn.MaxPool2d(size, stride, pad)
            layers[f"norm{number}"] = response_norm()
    return nn.Sequential(layers)


def zfnet(classes: int = 1000, channels: int = 3, size: Pair = (224, 224), *, dropout: float = 0.5) -> ZFNet:
    """Variant (a), as in figure 3."""
    return ZFNet(WIDTHS, classes, channels, size, dropout=dropout)


def zfnet_wide(
    classes: int = 1000, channels: int = 3, size: Pair = (224, 224), *, dropout: float = 0.5
) -> ZFNet:
    """Variant (b), with wider conv3, conv4 and conv5: the paper's best single network."""
    return ZFNet(WIDTHS_B, classes, channels, size, dropout=dropout)
