"""VGG. Simonyan and Zisserman 2014, table 1: configurations A, A-LRN, B, C, D and E.

One idea: nothing but 3x3 filters, and more of them: two see 5x5 and three see 7x7, with fewer weights.
224x224 x64 -> 112 x128 -> 56 x256 -> 28 x512 -> 14 x512 -> 7 -> fc6, fc7 4096 -> classes.

| network   | table 1 | layers | parameters  | multiply-adds  | with batch norm |
|-----------|---------|--------|-------------|----------------|-----------------|
| vgg11     | A       | 11     | 132,863,336 | 7,609,090,048  | 132,868,840     |
| vgg11_lrn | A-LRN   | 11     | 132,863,336 | 7,609,090,048  |                 |
| vgg13     | B       | 13     | 133,047,848 | 11,308,466,176 | 133,053,736     |
| vgg16_c   | C       | 16     | 133,638,952 | 11,770,888,192 |                 |
| vgg16     | D       | 16     | 138,357,544 | 15,470,264,320 | 138,365,992     |
| vgg19     | E       | 19     | 143,667,240 | 19,632,062,464 | 143,678,248     |

Weights start as Glorot and Bengio 2010 say, biases at 0. The paper drew A's from a Gaussian, trained it and
began the deeper ones with its layers; its authors found after submission (section 3.1) that Glorot's start
makes that unnecessary.

Deviations: the networks with batch norm are later than the paper, here as in torchvision. At other sizes (of
32x32 or more) fc6 has as many cells as are left, size // 32 along each side. `fully_convolutional` is the
paper's evaluation of larger pictures (section 3.2).
"""

from collections import OrderedDict

from torch import Tensor, nn

from striate.errors import BadSetting, one_of
from striate.geometry import Pair
from striate.models.alexnet import response_norm
from striate.models.chain import FullyConnected, cells, maps_before_pools, refuse_other_sizes

WIDTHS = (64, 128, 256, 512, 512)

# Table 1: the filters of every convolution, block by block; a pool of 2x2 at stride 2 ends each.
TABLE: dict[str, tuple[tuple[int, ...], ...]] = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}

POOLS = tuple((f"pool{block}", 2, 2, 0) for block in range(1, 6))


class VGG(nn.Module):
    """One column of table 1. (B, channels, *size) -> logits (B, classes).

    Args:
        configuration: A, A-LRN, B, C, D or E.
        classes, channels, size: of what it tells apart, and of the pictures; size is (height, width).
        batch_norm: after every convolution; those keep their biases, as in torchvision.
        dropout: share of the outputs of fc6 and fc7 that is dropped in training.
    """

    def __init__(
        self,
        configuration: str,
        classes: int = 1000,
        channels: int = 3,
        size: Pair = (224, 224),
        *,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ):
        super().__init__()
        blocks = TABLE[one_of("configuration", configuration, TABLE)]
        if batch_norm and configuration == "A-LRN":
            raise BadSetting("VGG A-LRN: has a normalisation already: choose batch_norm or A")
        self.configuration, self.size = configuration, size
        left = cells(f"VGG {configuration}", POOLS, size, floor=True)
        self.widths = {f"stage{block}": width for block, width in enumerate(WIDTHS, 1)}
        self.strides = {f"stage{block}": 2 ** (block - 1) for block in range(1, 6)}
        self.features = _features(blocks, channels, batch_norm, lrn=configuration == "A-LRN")
        self.head = FullyConnected(nn.MaxPool2d(2), WIDTHS[-1], left, classes, dropout)
        glorot(self)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> stage1 (B, 64, H, W), ... stage5 (B, 512, ~H/16, ~W/16): what is pooled."""
        return maps_before_pools(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, *size) -> logits (B, classes)."""
        refuse_other_sizes(f"VGG {self.configuration}", self.size, x)
        return self.head(self.features(x))


def _features(
    blocks: tuple[tuple[int, ...], ...], channels: int, batch_norm: bool, lrn: bool
) -> nn.Sequential:
    """conv1_1 to the last rectified convolution; the pool after it belongs to the head."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    depth = channels
    for block, (filters, width) in enumerate(zip(blocks, WIDTHS, strict=True), 1):
        if block > 1:
            layers[f"pool{block - 1}"] = nn.MaxPool2d(2)
        for number, size in enumerate(filters, 1):
            place = f"{block}_{number}"
            layers[f"conv{place}"] = nn.Conv2d(depth, width, size, padding=size // 2)
            if batch_norm:
                layers[f"bn{place}"] = nn.BatchNorm2d(width)
            layers[f"relu{place}"] = nn.ReLU(inplace=True)
            depth = width
        if lrn and block == 1:
            layers["norm1"] = response_norm()
    return nn.Sequential(layers)


def glorot(network: nn.Module) -> None:
    """Glorot and Bengio 2010: uniform, of variance 2 / (fan-in + fan-out); biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


def vgg11(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("A", classes, channels, size)


def vgg11_lrn(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("A-LRN", classes, channels, size)


def vgg13(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("B", classes, channels, size)


def vgg16_c(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("C", classes, channels, size)


def vgg16(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("D", classes, channels, size)


def vgg19(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("E", classes, channels, size)


def vgg11_bn(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("A", classes, channels, size, batch_norm=True)


def vgg13_bn(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("B", classes, channels, size, batch_norm=True)


def vgg16_bn(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("D", classes, channels, size, batch_norm=True)


def vgg19_bn(classes: int = 1000, channels: int = 3, size: Pair = (224, 224)) -> VGG:
    return VGG("E", classes, channels, size, batch_norm=True)
