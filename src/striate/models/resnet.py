"""ResNet. He, Zhang, Ren and Sun 2015, section 4.2: the CIFAR family, 6n + 2 layers.

One idea: learn the change F(x), add x back.   32x32 x16 -> 16x16 x32 -> 8x8 x64 -> pooled.

| network   | n  | parameters A | (B)       | multiply-adds A | published error on CIFAR-10 |
|-----------|----|--------------|-----------|-----------------|-----------------------------|
| resnet20  | 3  | 269,722      | 272,474   | 40,551,040      | 8.75 %                      |
| resnet32  | 5  | 464,154      | 466,906   | 68,862,592      | 7.51 %                      |
| resnet44  | 7  | 658,586      | 661,338   | 97,174,144      | 7.17 %                      |
| resnet56  | 9  | 853,018      | 855,770   | 125,485,696     | 6.97 %                      |
| resnet110 | 18 | 1,727,962    | 1,730,714 | 252,887,680     | 6.43 % (best of five)       |

Shortcuts A (the default, no parameters) and B (1x1 convolution and norm) where the size changes. The paper
only says "extra zero entries padded"; half of them go before and half behind, as in the published weights.
Deviation: any input size of 4x4 or more, because the last map is averaged whatever its size.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import one_of

WIDTHS = (16, 32, 64)
Shortcut = Literal["A", "B"]


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


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and the shortcut around both: relu(F(x) + x)."""

    def __init__(self, inputs: int, width: int, stride: int, shortcut: Shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            if shortcut == "A":
                self.shortcut = PadShortcut(width - inputs, stride)
            else:
                convolution = nn.Conv2d(inputs, width, 1, stride, bias=False)
                self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, ~H/stride, ~W/stride)."""
        change = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(change + self.shortcut(x))


class PooledLinear(nn.Module):
    """The head: the mean of each map, then one linear layer. (B, C, H, W) -> (B, classes)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, classes)

    def forward(self, maps: Tensor) -> Tensor:
        return self.fc(self.pool(maps).flatten(1))


class CifarResNet(nn.Module):
    """n blocks a stage, three stages, for small pictures. (B, channels, H, W) -> (B, classes).

    The weights are named and ordered as in published CIFAR ResNets: conv1, bn1, layer1.0.conv1 ... head.fc.
    """

    def __init__(self, n: int, classes: int = 10, channels: int = 3, shortcut: Shortcut = "A"):
        super().__init__()
        one_of("shortcut", shortcut, ("A", "B"))
        self.widths = {f"stage{number}": width for number, width in enumerate(WIDTHS, 1)}
        self.strides = {"stage1": 1, "stage2": 2, "stage3": 4}
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(n, 16, WIDTHS[0], 1, shortcut)
        self.layer2 = _stage(n, WIDTHS[0], WIDTHS[1], 2, shortcut)
        self.layer3 = _stage(n, WIDTHS[1], WIDTHS[2], 2, shortcut)
        self.head = PooledLinear(WIDTHS[2], classes)
        he(self)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> stage1 (B, 16, H, W), stage2 (B, 32, H/2, W/2), stage3 (B, 64, H/4, W/4)."""
        maps = {}
        x = self.relu(self.bn1(self.conv1(x)))
        for name, layer in zip(self.widths, (self.layer1, self.layer2, self.layer3), strict=True):
            maps[name] = x = layer(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, classes)."""
        return self.head(self.stages(x)["stage3"])


def _stage(n: int, inputs: int, width: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    """n blocks, the first of which changes width and size."""
    first = BasicBlock(inputs, width, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(width, width, 1, shortcut) for _ in range(n - 1)))


def he(network: nn.Module) -> None:
    """He et al. 2015: convolution weights from N(0, 2 / (width * area)), keeping the variance backwards."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


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
