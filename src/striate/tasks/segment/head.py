"""Heads that give every pixel a class: a light decoder for any backbone, and Farabet's three scales."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import avg_pool2d, interpolate

from striate.models.backbone import behead
from striate.task import Facts

HEADS = ("light", "multiscale")

WIDTH = 64
"""Channels of the light decoder."""

FINER, DETAIL = 4, 16
"""Pixels across a cell of the finest map that get channels of their own, at most, and how many."""

HIDDEN = 1024
"""Hidden units of the classifier on three scales (Farabet et al. 2013, section 4)."""

LUMA = ((0.299, 0.587, 0.114), (-0.14713, -0.28886, 0.436), (0.615, -0.51499, -0.10001))
"""RGB -> YUV, ITU-R BT.601."""


def build(backbone: Any, facts: Facts) -> nn.Module:
    """The backbone without its own head, and the head that facts["head"] names.

    With facts["balance"] the network holds the weights of the classes for the loss: their share of the pixels
    to the power of minus that, 1 on average over pixels.
    """
    behead(backbone)
    head = {"light": Light, "multiscale": Multiscale}[facts.get("head", HEADS[0])]
    weights = None
    if facts.get("balance"):
        shares = torch.tensor(facts["frequencies"]).clamp(min=1e-5)
        weights = shares ** -facts["balance"]
        weights = weights / (weights * shares).sum()
    return head(backbone, len(facts["classes"]), weights)


class Light(nn.Module):
    """(B, C, H, W) -> logits (B, classes, H, W): coarse maps are enlarged and added to the finer ones.

    A feature pyramid (Lin et al. 2017) whose finest level alone is read: each stage's map becomes `WIDTH`
    channels wide by a 1×1 convolution, the coarser sum is enlarged to its size and added; one 3×3 convolution
    on the finest, a 1×1 for the classes, and the logits are enlarged to the picture, all bilinear. Outlines
    are finer than the cells of that map: another 1×1 makes `DETAIL` channels for each of a cell's pixels,
    laid out in their places (Shi et al. 2016), and what they say of the classes is added. It begins by saying
    nothing.
    """

    backbone: Any
    weights: Tensor | None

    def __init__(self, backbone: Any, classes: int, weights: Tensor | None = None, width: int = WIDTH):
        super().__init__()
        self.backbone = backbone
        self.lateral = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Conv2d(depth, width, 1, bias=False), nn.BatchNorm2d(width))
                for name, depth in backbone.widths.items()
            }
        )
        self.smooth = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        finer = min(FINER, next(iter(backbone.strides.values())))
        self.detail = nn.Sequential(
            nn.Conv2d(width, DETAIL * finer**2, 1, bias=False),
            nn.BatchNorm2d(DETAIL * finer**2),
            nn.ReLU(),
            nn.PixelShuffle(finer),
        )
        self.head = nn.ModuleDict(
            {"cells": nn.Conv2d(width, classes, 1), "pixels": nn.Conv2d(DETAIL, classes, 1)}
        )
        for parameter in self.head["pixels"].parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        stages = self.backbone.stages(x)
        *finer, coarsest = stages
        total = self.lateral[coarsest](stages[coarsest])
        for name in reversed(finer):
            found = self.lateral[name](stages[name])
            total = found + enlarge(total, found)
        cells = self.smooth(total)
        coarse, fine = self.head["cells"](cells), self.head["pixels"](self.detail(cells))
        return enlarge(coarse, x) + enlarge(fine, x)


class Multiscale(nn.Module):
    """(B, 3, H, W) -> logits (B, classes, H, W). Farabet, Couprie, Najman & LeCun 2013, sections 3.1 and 4.

    The picture as YUV, each channel of three octaves of its Laplacian pyramid normalised over 15×15 pixels;
    one network for all three, whose coarser maps are enlarged to the finest and set beside it; at every place
    a classifier with one hidden layer. Grey pictures have one channel and skip the colours.
    """

    backbone: Any
    weights: Tensor | None
    luma: Tensor

    def __init__(self, backbone: Any, classes: int, weights: Tensor | None = None, scales: int = 3):
        super().__init__()
        self.backbone, self.scales = backbone, scales
        width = list(backbone.widths.values())[-1]
        self.head = nn.Sequential(
            nn.Conv2d(scales * width, HIDDEN, 1), nn.Tanh(), nn.Conv2d(HIDDEN, classes, 1)
        )
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA)[:, :, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        levels = laplacian(yuv(x, self.luma), self.scales)
        maps = [list(self.backbone.stages(level).values())[-1] for level in levels]
        joined = torch.cat([maps[0], *(enlarge(coarse, maps[0]) for coarse in maps[1:])], dim=1)
        return enlarge(self.head(joined), x)


@fx.wrap  # one call in the graph of the network that answers
def yuv(x: Tensor, luma: Tensor) -> Tensor:
    """Colours (B, 3, H, W) -> Y, U, V; grey pictures stay as they are."""
    # No convolution, which a GPU would round: flat windows are divided by their small deviation.
    return (x[:, None] * luma).sum(2) if x.shape[1] == 3 else x


def laplacian(x: Tensor, scales: int, window: int = 15) -> list[Tensor]:
    """(B, C, H, W) -> octaves, the finest first, each channel of mean 0 and deviation 1 in every window."""
    levels = []
    for _ in range(scales):
        coarse = avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        levels.append(normalised(x - enlarge(coarse, x), window))
        x = coarse
    return levels


def normalised(x: Tensor, window: int) -> Tensor:
    """(B, C, H, W) minus its mean, over its deviation, both of a window around each pixel."""
    mean = avg_pool2d(x, window, 1, window // 2, count_include_pad=False)
    square = avg_pool2d((x - mean).square(), window, 1, window // 2, count_include_pad=False)
    return (x - mean) / (square + 1e-4).sqrt()


@fx.wrap
def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, h, w) -> as high and wide as `like`, bilinear."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
