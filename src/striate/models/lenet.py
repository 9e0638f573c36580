"""LeNet-5. LeCun, Bottou, Bengio and Haffner 1998, figure 2 and table 1; and a plain modern net of its shape.

One idea: convolve, subsample, convolve again, and learn every filter from the pixels.
32x32 -> C1 28 -> S2 14 -> C3 10 -> S4 5 -> C5 1 -> F6 -> ten distances.

| layer | output   | trainable | connections |
|-------|----------|-----------|-------------|
| C1    | 6 @ 28²  | 156       | 122,304     |
| S2    | 6 @ 14²  | 12        | 5,880       |
| C3    | 16 @ 10² | 1,516     | 151,600     |
| S4    | 16 @ 5²  | 32        | 2,000       |
| C5    | 120 @ 1² | 48,120    | 48,120      |
| F6    | 84       | 10,164    | 10,164      |
| RBF   | 10       | 0         | 840         |
| all   |          | 60,000    | 340,908     |

Deviations: the ten 7x12 bitmaps are our own drawing (the paper shows its pixels only in a figure); the
loss in training is cross-entropy over -distance/12 (see `TEMPERATURE`; the paper's two losses are `mse_loss`
and `map_loss`); the optimiser is the recipe's, not the stochastic diagonal Levenberg-Marquardt.
Multiply-adds: 326,520 along the links, with the ten distances; C3 runs as a dense convolution with zeros
(240,000 for 150,000), which makes 416,520.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from striate.errors import BadSetting, DoesNotFit

# Table 1 of the paper: which of S2's six maps each of C3's sixteen maps sees. 60 links, each S2 map in ten.
C3 = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"

# The target codes of F6's 84 units: ten digits drawn on 7 x 12 pixels, # = +1 and . = -1. Our own drawing.
DIGITS = """
.#####. ...#... .#####. .#####. .....#. ####### ..####. ####### .#####. .#####.
##...## ..##... ##...## ##...## ....##. ##..... .##.... .....## ##...## ##...##
##...## .###... .....## .....## ...###. ##..... ##..... .....## ##...## ##...##
##...## ...#... .....## .....## ..##.#. ##..... ##..... ....##. ##...## ##...##
##...## ...#... ....##. .....## .##..#. ######. ##.###. ....##. .#####. ##...##
##...## ...#... ....##. ..####. ##...#. .....## ###..## ...##.. .#####. ##..###
##...## ...#... ...##.. .....## ####### .....## ##...## ...##.. ##...## .###.##
##...## ...#... ..##... .....## .....#. .....## ##...## ..##... ##...## .....##
##...## ...#... .##.... .....## .....#. .....## ##...## ..##... ##...## .....##
##...## ...#... ##..... .....## .....#. .....## ##...## ..##... ##...## .....##
##...## ...#... ##..... ##...## .....#. ##...## ##...## ..##... ##...## ....##.
.#####. .#####. ####### .#####. .....#. .#####. .#####. ..##... .#####. .####..
"""

# What the penalties are divided by before the softmax. As they are (1), wrong answers cost up to a hundred
# nats, and five epochs of MNIST end at 97.5 % instead of 98.9 % (AdamW, rate 3e-3). No answer changes by it.
TEMPERATURE = 12.0


class Squash(nn.Module):
    """1.7159 tanh(2a/3): f(1) = 1 and f(-1) = -1, so that targets of +-1 lie where the slope is large."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """(B, C, H, W) -> (B, C, H/2, W/2): each disjoint 2x2 is summed, times a coefficient, plus a bias."""

    def __init__(self, maps: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(maps).uniform_(-2.4 / 4, 2.4 / 4))
        self.bias = nn.Parameter(torch.empty(maps).uniform_(-2.4 / 4, 2.4 / 4))

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2) * (4 * self.weight[:, None, None]) + self.bias[:, None, None]


class SparseConv(nn.Module):
    """A 5x5 convolution whose output maps each see only some input maps: one filter per link of `table`."""

    links: Tensor

    def __init__(self, table: Sequence[Sequence[int]], inputs: int):
        super().__init__()
        self.inputs, self.outputs = inputs, len(table)
        links = [to * inputs + source for to, sources in enumerate(table) for source in sources]
        self.register_buffer("links", torch.tensor(links), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(links), 5, 5))
        self.bias = nn.Parameter(torch.empty(len(table)))
        filters = self.weight.split([len(sources) for sources in table])
        for sources, weight, bias in zip(table, filters, self.bias, strict=True):
            bound = 2.4 / (25 * len(sources))
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H - 4, W - 4). The missing links are zeros that never learn."""
        dense = self.weight.new_zeros(self.outputs * self.inputs, 5, 5).index_copy(0, self.links, self.weight)
        return functional.conv2d(x, dense.view(self.outputs, self.inputs, 5, 5), self.bias)

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, links={len(self.links)}"


class Distance(nn.Module):
    """The Euclidean radial basis output: (B, 84) -> (B, classes), the largest for the nearest code."""

    codes: Tensor

    def __init__(self, classes: int, temperature: float = TEMPERATURE):
        super().__init__()
        self.temperature = temperature
        self.register_buffer("codes", codes(classes))

    def penalties(self, x: Tensor) -> Tensor:
        """The paper's y_i: the squared distance of x to each code."""
        return x.square().sum(1, keepdim=True) + self.codes.square().sum(1) - 2 * x @ self.codes.T

    def forward(self, x: Tensor) -> Tensor:
        return self.penalties(x) / -self.temperature

    def extra_repr(self) -> str:
        return f"classes={len(self.codes)}, fixed codes of {self.codes.shape[1]}"


def codes(classes: int, length: int = 84) -> Tensor:
    """The fixed +-1 targets, (classes, length): the digits for ten, else rows of a Hadamard matrix.

    Sylvester's matrix of order 128, cut to columns 1..84, has 128 rows that differ in at least 20 places;
    classes beyond those get random codes, the same on every machine that draws the same numbers (the
    codes are saved with the weights, so a trained network never depends on it).
    """
    if classes < 2:
        raise BadSetting(f"lenet5: {classes} classes cannot be told apart: classes must be 2 or more")
    if classes == 10:
        rows = [line.split() for line in DIGITS.split("\n") if line]
        pixels = ["".join(row[digit] for row in rows) for digit in range(10)]
        return torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in drawing] for drawing in pixels])
    hadamard = torch.ones(1, 1)
    while len(hadamard) < 128:
        hadamard = torch.cat([torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)])
    more = torch.randint(2, (max(classes - 128, 0), length), generator=torch.Generator().manual_seed(1998))
    return torch.cat([hadamard[:, 1 : length + 1], more * 2.0 - 1])[:classes].contiguous()


def _uniform(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The paper's start: weights and biases uniform in +-2.4 / fan-in."""
    assert layer.bias is not None
    bound = 2.4 / layer.weight[0].numel()
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.uniform_(layer.bias, -bound, bound)
    return layer


def one_cell(maps: Tensor, name: str) -> None:
    """C5 sees all of S4 at once only for pictures of 32x32."""
    if maps.shape[-2:] != (5, 5):
        h, w = maps.shape[-2:]
        raise DoesNotFit(f"{name}: C5 joins maps of 5×5, these are {h}×{w}: give it pictures of 32×32")


class LeNet5(nn.Module):
    """LeNet-5 as published. (B, channels, 32, 32) -> (B, classes); 60,000 trainable parameters."""

    def __init__(self, classes: int = 10, channels: int = 1):
        super().__init__()
        self.widths, self.strides = {"stage1": 6, "stage2": 16}, {"stage1": 2, "stage2": 4}
        table = [[int(source) for source in row] for row in C3.split()]
        self.c1 = _uniform(nn.Conv2d(channels, 6, 5))
        self.s2 = Subsampling(6)
        self.c3 = SparseConv(table, 6)
        self.s4 = Subsampling(16)
        self.squash = Squash()
        self.head = LeNet5Head(classes)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, 32, 32) -> S2 (B, 6, 14, 14), S4 (B, 16, 5, 5). Only S2 and S4 squash."""
        s2 = self.squash(self.s2(self.c1(x)))
        return {"stage1": s2, "stage2": self.squash(self.s4(self.c3(s2)))}

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, 32, 32) -> logits (B, classes): minus the penalties, y_i = |x - w_i|² / TEMPERATURE.

        Softmax cross-entropy over them is the second of the paper's losses (`map_loss`) without a rubbish
        class.
        """
        return self.head(self.stages(x)["stage2"])


class LeNet5Head(nn.Module):
    """C5, F6 and the output: (B, 16, 5, 5) -> (B, classes)."""

    def __init__(self, classes: int):
        super().__init__()
        self.c5 = _uniform(nn.Conv2d(16, 120, 5))
        self.f6 = _uniform(nn.Linear(120, 84))
        self.rbf = Distance(classes)
        self.squash = Squash()

    def forward(self, maps: Tensor) -> Tensor:
        one_cell(maps, "lenet5")
        c5 = self.squash(self.c5(maps)).flatten(1)
        return self.rbf(self.squash(self.f6(c5)))


def mse_loss(penalties: Tensor, label: Tensor) -> Tensor:
    """Equation 8: the mean penalty y_D of the right class. Penalties (B, classes) >= 0, label (B,) -> scalar.

    It has no term that pushes wrong classes away: the fixed codes keep it from collapsing.
    """
    return penalties.gather(1, label[:, None]).mean()


def map_loss(penalties: Tensor, label: Tensor, rubbish: float = math.inf) -> Tensor:
    """Equation 9: the mean of y_D + log(e^-j + Σ e^-y_i), of the same shapes.

    `rubbish` is the paper's j: a class of everything else with that penalty, which keeps those of wrong
    classes from being pushed further than it. The paper gives no value; without one it is cross-entropy.
    """
    constant = torch.full_like(penalties[:, :1], -rubbish)
    return functional.cross_entropy(torch.cat([-penalties, constant], 1), label)


def connections(network: LeNet5) -> dict[str, int]:
    """Layer -> its connections as the paper counts them, a bias being one, for 32x32; 340,908 in all."""

    def parameters(layer: nn.Module) -> int:
        return sum(weight.numel() for weight in layer.parameters())

    head = network.head
    return {
        "c1": parameters(network.c1) * 28 * 28,  # every filter and bias is used at every place
        "s2": 6 * 14 * 14 * (4 + 1),
        "c3": parameters(network.c3) * 10 * 10,
        "s4": 16 * 5 * 5 * (4 + 1),
        "c5": parameters(head.c5),
        "f6": parameters(head.f6),
        "rbf": head.rbf.codes.numel(),
    }


class LeNet5Modern(nn.Module):
    """LeNet-5's sizes with today's parts: dense C3, rectifiers, maximum pooling, linear logits.

    (B, channels, 32, 32) -> (B, classes); 61,706 parameters, 416,520 multiply-adds.
    PyTorch's own starting weights.
    """

    def __init__(self, classes: int = 10, channels: int = 1):
        super().__init__()
        self.widths, self.strides = {"stage1": 6, "stage2": 16}, {"stage1": 2, "stage2": 4}
        self.c1 = nn.Conv2d(channels, 6, 5)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.head = LeNet5ModernHead(classes)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, 32, 32) -> S2 (B, 6, 14, 14), S4 (B, 16, 5, 5). Pooled, then rectified: the same."""
        s2 = self.relu(self.pool(self.c1(x)))
        return {"stage1": s2, "stage2": self.relu(self.pool(self.c3(s2)))}

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, 32, 32) -> logits (B, classes)."""
        return self.head(self.stages(x)["stage2"])


class LeNet5ModernHead(nn.Module):
    """Three fully connected layers, the first written as C5: (B, 16, 5, 5) -> (B, classes)."""

    def __init__(self, classes: int):
        super().__init__()
        self.c5 = nn.Linear(16 * 5 * 5, 120)
        self.f6 = nn.Linear(120, 84)
        self.out = nn.Linear(84, classes)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        one_cell(maps, "lenet5-modern")
        return self.out(self.relu(self.f6(self.relu(self.c5(maps.flatten(1))))))


def lenet5(classes: int = 10, channels: int = 1) -> LeNet5:
    return LeNet5(classes, channels)


def lenet5_modern(classes: int = 10, channels: int = 1) -> LeNet5Modern:
    return LeNet5Modern(classes, channels)
