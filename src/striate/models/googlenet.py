"""GoogLeNet. Szegedy et al. 2014 (CVPR 2015), table 1 and figure 3; and the variant with batch norm.

One idea: look at every place with filters of several sizes at once, and make that cheap by 1x1 convolutions.
224x224 -> 112 -> 56 -> 28 -> 14 -> 7 -> pooled.

| network        | parameters | with auxiliaries | multiply-adds |
|----------------|------------|------------------|---------------|
| googlenet      | 6,998,552  | 13,378,280       | 1,582,671,872 |
| googlenet_bn   | 6,624,904  | 13,004,888       | 1,498,376,192 |

The paper's own columns do not add up to its layers (6,797.7K, 1,502M); the counts above are the layers'.
`googlenet` has response normalisation, max pools that round up and convolutions with biases, as the authors'
model was replicated in Caffe; the paper does not say how weights start: He's way here. `googlenet_bn` is
torchvision's: batch norm, no biases, and 3x3 where the paper has 5x5 (a slip that its weights depend on).

Deviation: any input size from 31x31 (15x15 with batch norm), since pools round up and both kinds of head
average adaptively (at 224x224 `googlenet` has the paper's averages: 7x7, and 5x5 with stride 3 in the
auxiliaries).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from striate.models.alexnet import response_norm
from striate.models.resnet import he

# Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY = {"4a": "aux1", "4d": "aux2"}
"""Which modules' outputs the auxiliary classifiers see."""


def conv(inputs: int, outputs: int, size: int, norm: bool, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), batch norm where there is any, ReLU."""
    parts: dict[str, nn.Module] = {
        "conv": nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=not norm)
    }
    if norm:
        parts["bn"] = nn.BatchNorm2d(outputs, eps=0.001)
    return nn.Sequential(OrderedDict(parts | {"relu": nn.ReLU(inplace=True)}))


class Inception(nn.Module):
    """Four branches side by side: (B, inputs, H, W) -> (B, outputs, H, W), the branches' maps joined."""

    def __init__(self, inputs: int, row: tuple[int, int, int, int, int, int], norm: bool):
        super().__init__()
        one, reduce3, three, reduce5, five, pool = row
        self.outputs = one + three + five + pool
        self.branch1 = conv(inputs, one, 1, norm)
        self.branch2 = nn.Sequential(conv(inputs, reduce3, 1, norm), conv(reduce3, three, 3, norm))
        self.branch3 = nn.Sequential(
            conv(inputs, reduce5, 1, norm), conv(reduce5, five, 3 if norm else 5, norm)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), conv(inputs, pool, 1, norm))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class FourByFour(nn.AdaptiveAvgPool2d):
    """The paper's averages over 5x5 cells with stride 3 on its 14x14 map, and adaptive ones on any other."""

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[-2:] == (14, 14):
            return nn.functional.avg_pool2d(input, 5, 3)
        return super().forward(input)


class Auxiliary(nn.Module):
    """Section 5: 4x4 averages, 128 1x1 filters, 1024 hidden units, 70 % dropout. -> logits (B, classes)."""

    def __init__(self, inputs: int, classes: int, norm: bool):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4) if norm else FourByFour(4)
        self.conv = conv(inputs, 128, 1, norm)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.pool(x)).flatten(1)
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


class Head(nn.Module):
    """The mean of each map, dropout, one linear layer. (B, 1024, H, W) -> (B, classes)."""

    def __init__(self, inputs: int, classes: int, dropout: float):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, maps: Tensor) -> Tensor:
        return self.fc(self.dropout(self.pool(maps).flatten(1)))


class GoogLeNet(nn.Module):
    """(B, channels, H, W) -> logits (B, classes); `norm` is the variant with batch norm.

    Names and order of the weights are torchvision's, but for `head.fc` and the auxiliaries' `conv`. The parts
    that only training needs are named by `auxiliary`.
    """

    widths = {"conv1": 64, "conv2": 192, "inception3": 480, "inception4": 832, "inception5": 1024}
    strides = {"conv1": 2, "conv2": 4, "inception3": 8, "inception4": 16, "inception5": 32}

    def __init__(self, classes: int = 1000, channels: int = 3, norm: bool = False, auxiliaries: bool = True):
        super().__init__()
        self.auxiliary = tuple(AUXILIARY.values()) if auxiliaries else ()
        self.conv1 = conv(channels, 64, 7, norm, stride=2)
        self.conv2 = conv(64, 64, 1, norm)
        self.conv3 = conv(64, 192, 3, norm)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        # torchvision's last pool has windows of 2x2.
        self.pool4 = nn.MaxPool2d(2, 2, ceil_mode=True) if norm else self.pool
        self.norm1, self.norm2 = (
            (nn.Identity(), nn.Identity()) if norm else (response_norm(), response_norm())
        )
        inputs, seen = 192, {}
        for name, row in INCEPTION.items():
            module = Inception(inputs, row, norm)
            self.add_module(f"inception{name}", module)
            inputs = seen[name] = module.outputs
        for name, place in zip(AUXILIARY, self.auxiliary, strict=False):
            self.add_module(place, Auxiliary(seen[name], classes, norm))
        self.head = Head(inputs, classes, 0.2 if norm else 0.4)
        _start(self)

    def _walk(self, x: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The stages, and what the auxiliary classifiers see."""
        maps = {"conv1": self.conv1(x)}
        x = self.conv2(self.norm1(self.pool(maps["conv1"])))
        maps["conv2"] = x = self.conv3(x)
        x = self.norm2(x)
        seen = []
        for name in INCEPTION:
            if name in ("3a", "4a", "5a"):
                x = (self.pool4 if name == "5a" else self.pool)(x)
            x = self.get_submodule(f"inception{name}")(x)
            maps[f"inception{name[0]}"] = x
            if name in AUXILIARY:
                seen.append(x)
        return maps, seen

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> conv1 (stride 2), conv2 (4), inception3 (8), 4 (16), 5 (32)."""
        return self._walk(x)[0]

    def training_logits(self, x: Tensor) -> list[Tensor]:
        """(B, channels, H, W) -> logits (B, classes) of the head and of each auxiliary classifier."""
        maps, seen = self._walk(x)
        side = [self.get_submodule(place)(x) for place, x in zip(self.auxiliary, seen, strict=False)]
        return [self.head(maps["inception5"]), *side]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x)["inception5"])


def _start(network: nn.Module) -> None:
    he(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def googlenet(classes: int = 1000, channels: int = 3, auxiliaries: bool = True) -> GoogLeNet:
    return GoogLeNet(classes, channels, False, auxiliaries)


def googlenet_bn(classes: int = 1000, channels: int = 3, auxiliaries: bool = True) -> GoogLeNet:
    return GoogLeNet(classes, channels, True, auxiliaries)
