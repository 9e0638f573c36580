"""ResNet. He, Zhang, Ren and Sun 2015: table 1 for ImageNet, section 4.2 for CIFAR-10; and the plain nets.

One idea: learn the change F(x), add x back.
ImageNet: 224x224 -> 112 -> 56 -> 28 -> 14 -> 7 -> pooled.    CIFAR-10: 32x32 x16 -> 16x16 x32 -> 8x8 x64.

| network    | blocks        | parameters | multiply-adds  | published error          |
|------------|---------------|------------|----------------|--------------------------|
| resnet18   | 2, 2, 2, 2    | 11,689,512 | 1,814,073,344  |                          |
| resnet34   | 3, 4, 6, 3    | 21,797,672 | 3,663,761,408  | A 7.76, B 7.46, C 7.40   |
| resnet50   | 3, 4, 6, 3    | 25,557,032 | 4,089,184,256  | 7.8 (v1)                 |
| resnet101  | 3, 4, 23, 3   | 44,549,160 | 7,801,405,440  | 7.1 (v1)                 |
| resnet152  | 3, 8, 36, 3   | 60,192,808 | 11,513,626,624 | 6.7 (v1)                 |
| resnet20   | 3, 3, 3       | 269,722    | 40,551,040     | 8.75                     |
| resnet32   | 5, 5, 5       | 464,154    | 68,862,592     | 7.51                     |
| resnet44   | 7, 7, 7       | 658,586    | 97,174,144     | 7.17                     |
| resnet56   | 9, 9, 9       | 853,018    | 125,485,696    | 6.97                     |
| resnet110  | 18, 18, 18    | 1,727,962  | 252,887,680    | 6.43 (best of five)      |
| resnet1202 | 200, 200, 200 | 19,421,274 | 2,829,238,912  | 7.93                     |

Shortcuts where the size or the width changes: A zeros as new channels, no parameters (CIFAR's default); B a
1x1 convolution and norm (ImageNet's); C a 1x1 convolution in every block; "none" makes the plain nets. The
paper only says "extra zero entries padded"; half of them go before and half behind, as in published weights.

The paper halves the size in a bottleneck's first 1x1 convolution ("v1", with 231,211,008 fewer multiply-adds
in each network); everybody's published weights do it in the 3x3, and so do `resnet50`, `resnet101` and
`resnet152`. Weights are named and ordered as published ones.
Deviation: any input size, because the last map is averaged whatever its size.
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import one_of

Shortcut = Literal["A", "B", "C", "none"]


class PadShortcut(nn.Module):
    """Option A: every second row and column, and zeros as the new channels. No parameters.

    (B, C, H, W) -> (B, C + new, ~H/2, ~W/2), in the memory order of x: one copy, made by the pad itself.
    """

    def __init__(self, new: int, stride: int):
        super().__init__()
        self.before, self.behind, self.stride = new // 2, new - new // 2, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.behind))

    def extra_repr(self) -> str:
        return f"channels +{self.before + self.behind}, stride={self.stride}"


def project(inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Module | None:
    """What x goes through on its way around a block; None where x goes as it is, or nowhere."""
    changes = stride != 1 or inputs != outputs
    if shortcut == "none" or not (changes or shortcut == "C"):
        return None
    if shortcut == "A":
        return PadShortcut(outputs - inputs, stride)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """F(x), the shortcut, and their sum: relu(F(x) + x), or relu(F(x)) in a plain net."""

    shortcut: nn.Module | None

    def change(self, x: Tensor) -> Tensor:
        """F(x)."""
        raise NotImplementedError

    def join(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        """Make the shortcut, last of all: the order of published weights."""
        self.plain = shortcut == "none"
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = project(inputs, outputs, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, ~H/stride, ~W/stride)."""
        change = self.change(x)
        if not self.plain:
            change = change + (x if self.shortcut is None else self.shortcut(x))
        return self.relu(change)


class BasicBlock(Block):
    """Two 3x3 convolutions with batch norm."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, shortcut: Shortcut, v1: bool = True):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.join(inputs, width, stride, shortcut)

    def change(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Bottleneck(Block):
    """1x1 to a quarter of the width, 3x3, 1x1 back. The stride is in the first (`v1`) or in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, shortcut: Shortcut, v1: bool = True):
        super().__init__()
        first, second = (stride, 1) if v1 else (1, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.join(inputs, 4 * width, stride, shortcut)

    def change(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(self.relu(self.bn2(self.conv2(x)))))


class PooledLinear(nn.Module):
    """The head: the mean of each map, then one linear layer. (B, C, H, W) -> (B, classes)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, classes)

    def forward(self, maps: Tensor) -> Tensor:
        return self.fc(self.pool(maps).flatten(1))


class ResNet(nn.Module):
    """`blocks` a stage, of widths that double where the size halves. (B, channels, H, W) -> (B, classes).

    `large` begins with 7x7/2 and a pool, for pictures of some 224 pixels, and has stages of strides 4, 8, 16,
    32; without it the stem is one 3x3 convolution, and the strides are 1, 2, 4.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        width: int,
        classes: int,
        channels: int,
        *,
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
        shortcut: Shortcut = "B",
        large: bool = True,
        v1: bool = False,
    ):
        super().__init__()
        one_of("shortcut", shortcut, ("A", "B", "C", "none"))
        names = [f"stage{number}" for number in range(1, len(blocks) + 1)]
        self.widths = {name: width * 2**i * block.expansion for i, name in enumerate(names)}
        self.strides = {name: (4 if large else 1) * 2**i for i, name in enumerate(names)}
        self.large = large
        self.conv1 = nn.Conv2d(channels, width, *((7, 2, 3) if large else (3, 1, 1)), bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        if large:
            self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = width
        for i, count in enumerate(blocks):
            stride, inside = 1 if i == 0 else 2, width * 2**i
            layer = nn.Sequential()
            for number in range(count):
                layer.append(block(inputs, inside, stride if number == 0 else 1, shortcut, v1))
                inputs = inside * block.expansion
            self.add_module(f"layer{i + 1}", layer)
        self.head = PooledLinear(inputs, classes)
        he(self)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> stage1, stage2, ...: (B, width, ~H/stride, ~W/stride), finest first."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.large:
            x = self.maxpool(x)
        maps = {}
        for name in self.widths:
            maps[name] = x = self.get_submodule(name.replace("stage", "layer"))(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, classes)."""
        return self.head(list(self.stages(x).values())[-1])


class CifarResNet(ResNet):
    """n blocks a stage, three stages, for small pictures. (B, channels, H, W) -> (B, classes)."""

    def __init__(self, n: int, classes: int = 10, channels: int = 3, shortcut: Shortcut = "A"):
        super().__init__((n, n, n), 16, classes, channels, shortcut=shortcut, large=False)


def he(network: nn.Module) -> None:
    """He et al. 2015: convolution weights from N(0, 2 / (width * area)), keeping the variance backwards."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def resnet18(classes: int = 1000, channels: int = 3, shortcut: Shortcut = "B") -> ResNet:
    return ResNet((2, 2, 2, 2), 64, classes, channels, shortcut=shortcut)


def resnet10_half(classes: int = 10, channels: int = 3) -> ResNet:
    """One block a stage at half the width: for plain machines, a seventh of ResNet-18's work."""
    return ResNet((1, 1, 1, 1), 32, classes, channels)


def resnet34(classes: int = 1000, channels: int = 3, shortcut: Shortcut = "B") -> ResNet:
    return ResNet((3, 4, 6, 3), 64, classes, channels, shortcut=shortcut)


def resnet50(classes: int = 1000, channels: int = 3, shortcut: Shortcut = "B", v1: bool = False) -> ResNet:
    return ResNet((3, 4, 6, 3), 64, classes, channels, block=Bottleneck, shortcut=shortcut, v1=v1)


def resnet101(classes: int = 1000, channels: int = 3, shortcut: Shortcut = "B", v1: bool = False) -> ResNet:
    return ResNet((3, 4, 23, 3), 64, classes, channels, block=Bottleneck, shortcut=shortcut, v1=v1)


def resnet152(classes: int = 1000, channels: int = 3, shortcut: Shortcut = "B", v1: bool = False) -> ResNet:
    return ResNet((3, 8, 36, 3), 64, classes, channels, block=Bottleneck, shortcut=shortcut, v1=v1)


def resnet50_v1(classes: int = 1000, channels: int = 3) -> ResNet:
    return resnet50(classes, channels, v1=True)


def resnet101_v1(classes: int = 1000, channels: int = 3) -> ResNet:
    return resnet101(classes, channels, v1=True)


def resnet152_v1(classes: int = 1000, channels: int = 3) -> ResNet:
    return resnet152(classes, channels, v1=True)


def plain18(classes: int = 1000, channels: int = 3) -> ResNet:
    return resnet18(classes, channels, "none")


def plain34(classes: int = 1000, channels: int = 3) -> ResNet:
    return resnet34(classes, channels, "none")


def resnet20(classes: int = 10, channels: int = 3, shortcut: Shortcut = "A") -> CifarResNet:
    return CifarResNet(3, classes, channels, shortcut)


def resnet32(classes: int = 10, channels: int = 3, shortcut: Shortcut = "A") -> CifarResNet:
    return CifarResNet(5, classes, channels, shortcut)


def resnet44(classes: int = 10, channels: int = 3, shortcut: Shortcut = "A") -> CifarResNet:
    return CifarResNet(7, classes, channels, shortcut)


def resnet56(classes: int = 10, channels: int = 3, shortcut: Shortcut = "A") -> CifarResNet:
    return CifarResNet(9, classes, channels, shortcut)


def resnet110(classes: int = 10, channels: int = 3, shortcut: Shortcut = "A") -> CifarResNet:
    return CifarResNet(18, classes, channels, shortcut)


def resnet1202(classes: int = 10, channels: int = 3, shortcut: Shortcut = "A") -> CifarResNet:
    return CifarResNet(200, classes, channels, shortcut)


def plain20(classes: int = 10, channels: int = 3) -> CifarResNet:
    return resnet20(classes, channels, "none")


def plain32(classes: int = 10, channels: int = 3) -> CifarResNet:
    return resnet32(classes, channels, "none")


def plain44(classes: int = 10, channels: int = 3) -> CifarResNet:
    return resnet44(classes, channels, "none")


def plain56(classes: int = 10, channels: int = 3) -> CifarResNet:
    return resnet56(classes, channels, "none")


def plain110(classes: int = 10, channels: int = 3) -> CifarResNet:
    return resnet110(classes, channels, "none")
