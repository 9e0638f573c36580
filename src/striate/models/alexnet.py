"""AlexNet. Krizhevsky, Sutskever and Hinton 2012, figure 2 and section 3; and its two later forms.

One idea: eight layers of plain rectified convolutions, large enough and regularised enough for ImageNet.
227x227 -> conv1 55 -> conv2 27 -> conv3, conv4, conv5 13 -> 6 -> fc6, fc7 4096 -> classes.

| layer | output    | parameters | multiply-adds | followed by                      |
|-------|-----------|------------|---------------|----------------------------------|
| conv1 | 96 @ 55²  | 34,944     | 105,415,200   | response normalisation, pool 3/2 |
| conv2 | 256 @ 27² | 307,456    | 223,948,800   | response normalisation, pool 3/2 |
| conv3 | 384 @ 13² | 885,120    | 149,520,384   |                                  |
| conv4 | 384 @ 13² | 663,936    | 112,140,288   |                                  |
| conv5 | 256 @ 13² | 442,624    | 74,760,192    | pool 3/2, to 6²                  |
| fc6   | 4096      | 37,752,832 | 37,748,736    | dropout                          |
| fc7   | 4096      | 16,781,312 | 16,777,216    | dropout                          |
| fc8   | 1000      | 4,097,000  | 4,096,000     |                                  |
| all   |           | 60,965,224 | 724,406,816   |                                  |

`alexnet_single` joins the two columns of conv2, conv4 and conv5: 62,378,344 and 1,135,256,096.
`alexnet_owt` is the single column of "One weird trick for parallelizing convolutional neural networks"
(Krizhevsky 2014) as torchvision has it, for 224x224: 61,100,840 and 714,188,480.

Deviations: pictures are of 227x227, because the paper's 224 do not divide: (224 − 11)/4 + 1 = 54.25. The two
columns are groups of one convolution on one device. At other sizes fc6 has as many cells as are left.
`alexnet_owt` starts from the numbers of 2012, of which the later paper says nothing.
"""

from collections import OrderedDict

from torch import Tensor, nn

from striate.errors import BadSetting
from striate.geometry import Pair
from striate.models.chain import (
    FullyConnected,
    Step,
    cells,
    gaussian,
    maps_before_pools,
    refuse_other_sizes,
)

Row = tuple[int, int, int, int]

# Figure 2: filters, their size, stride and padding.
TABLE: dict[str, Row] = {
    "conv1": (96, 11, 4, 0),
    "conv2": (256, 5, 1, 2),
    "conv3": (384, 3, 1, 1),
    "conv4": (384, 3, 1, 1),
    "conv5": (256, 3, 1, 1),
}
COLUMNS_APART = ("conv2", "conv4", "conv5")
NORMED = ("conv1", "conv2")
POOLED = ("conv1", "conv2", "conv5")

# The table of 2014, without columns and normalisation.
TABLE_OWT: dict[str, Row] = {
    "conv1": (64, 11, 4, 2),
    "conv2": (192, 5, 1, 2),
    "conv3": (384, 3, 1, 1),
    "conv4": (256, 3, 1, 1),
    "conv5": (256, 3, 1, 1),
}

# Section 5: the biases that start at 1, so that the rectifiers have something to learn from at once.
ONES = ("conv2", "conv4", "conv5", "fc6", "fc7")


class AlexNet(nn.Module):
    """As in 2012. (B, channels, *size) -> logits (B, classes).

    Args:
        classes, channels, size: of what it tells apart, and of the pictures; size is (height, width).
        columns: 2 as published, whose conv2, conv4 and conv5 each see their own half of the maps; or 1.
        norm: response normalisation after conv1 and conv2 (section 3.3: 1.4 and 1.2 points, top-1 and top-5).
        overlap: pools of 3x3 at stride 2; else of 2x2, for maps of the same size (section 3.4: 0.4 and 0.3).
        dropout: share of the outputs of fc6 and fc7 that is dropped in training, 0 for none (section 4.2).
    """

    def __init__(
        self,
        classes: int = 1000,
        channels: int = 3,
        size: Pair = (227, 227),
        *,
        columns: int = 2,
        norm: bool = True,
        overlap: bool = True,
        dropout: float = 0.5,
    ):
        super().__init__()
        if columns not in (1, 2):
            raise BadSetting(f"AlexNet: columns must be 1 or 2, not {columns}")
        self.size = size
        left = cells("AlexNet", _steps(TABLE), size)
        self.widths = {"stage1": 96, "stage2": 256, "stage3": 256}
        self.strides = {"stage1": 4, "stage2": 8, "stage3": 16}
        self.features = _features(TABLE, channels, columns, norm, overlap)
        self.head = FullyConnected(_pool(overlap), 256, left, classes, dropout)
        gaussian(self, ONES)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> conv1 (B, 96, ~H/4, ~W/4), conv2 (B, 256, /8), conv5 (B, 256, /16).

        The maps that are pooled: rectified, and normalised where they are.
        """
        return maps_before_pools(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, *size) -> logits (B, classes)."""
        refuse_other_sizes("AlexNet", self.size, x)
        return self.head(self.features(x))


class AlexNetOWT(nn.Module):
    """As in 2014, and in torchvision. (B, channels, H, W) of 63x63 or more -> logits (B, classes).

    What is left of the pictures is brought to 6x6 cells by averaging or repeating, which changes nothing for
    224x224. Dropout falls on the inputs of fc6 and fc7.
    """

    def __init__(
        self, classes: int = 1000, channels: int = 3, size: Pair = (224, 224), *, dropout: float = 0.5
    ):
        super().__init__()
        cells("AlexNet-OWT", _steps(TABLE_OWT), size, floor=True)
        self.widths = {"stage1": 64, "stage2": 192, "stage3": 256}
        self.strides = {"stage1": 4, "stage2": 8, "stage3": 16}
        self.features = _features(TABLE_OWT, channels, columns=1, norm=False, overlap=True)
        pool = nn.Sequential(_pool(overlap=True), nn.AdaptiveAvgPool2d((6, 6)))
        self.head = FullyConnected(pool, 256, (6, 6), classes, dropout, drop_inputs=True)
        gaussian(self, ONES)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> conv1 (B, 64, ~H/4, ~W/4), conv2 (B, 192, /8), conv5 (B, 256, /16)."""
        return maps_before_pools(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, classes)."""
        cells("AlexNet-OWT", _steps(TABLE_OWT), (x.shape[-2], x.shape[-1]), floor=True)
        return self.head(self.features(x))


def _features(table: dict[str, Row], channels: int, columns: int, norm: bool, overlap: bool) -> nn.Sequential:
    """conv1 to the rectified conv5; the pool after it belongs to the head."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    depth = channels
    for name, (filters, size, stride, pad) in table.items():
        number = name[-1]
        groups = columns if name in COLUMNS_APART else 1
        layers[name] = nn.Conv2d(depth, filters, size, stride, pad, groups=groups)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if norm and name in NORMED:
            layers[f"norm{number}"] = response_norm()
        if name in POOLED[:-1]:
            layers[f"pool{number}"] = _pool(overlap)
        depth = filters
    return nn.Sequential(layers)


def _pool(overlap: bool) -> nn.MaxPool2d:
    """z = 3, s = 2; or z = s = 2, which leaves as many cells of the odd maps here, without their last row."""
    return nn.MaxPool2d(3 if overlap else 2, 2)


def response_norm() -> nn.LocalResponseNorm:
    """Section 3.3: each value divided by (2 + 1e-4 · the sum of the squares of five neighbours)^0.75.

    PyTorch takes their mean, hence the fivefold alpha.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def _steps(table: dict[str, Row]) -> list[Step]:
    """What makes the maps smaller, in order: the convolutions and the pools of 3x3 at stride 2."""
    steps: list[Step] = []
    for name, (_, size, stride, pad) in table.items():
        steps.append((name, size, stride, pad))
        if name in POOLED:
            steps.append((f"pool{name[-1]}", 3, 2, 0))
    return steps


def alexnet(
    classes: int = 1000,
    channels: int = 3,
    size: Pair = (227, 227),
    *,
    norm: bool = True,
    overlap: bool = True,
    dropout: float = 0.5,
) -> AlexNet:
    """The two columns of 2012, in 67x67, 99x99, ... 227x227 pictures."""
    return AlexNet(classes, channels, size, norm=norm, overlap=overlap, dropout=dropout)


def alexnet_single(
    classes: int = 1000,
    channels: int = 3,
    size: Pair = (227, 227),
    *,
    norm: bool = True,
    overlap: bool = True,
    dropout: float = 0.5,
) -> AlexNet:
    """One column of both widths: every filter sees every map."""
    return AlexNet(classes, channels, size, columns=1, norm=norm, overlap=overlap, dropout=dropout)


def alexnet_owt(
    classes: int = 1000, channels: int = 3, size: Pair = (224, 224), *, dropout: float = 0.5
) -> AlexNetOWT:
    """The single column of 2014, in pictures of 63x63 or more."""
    return AlexNetOWT(classes, channels, size, dropout=dropout)
