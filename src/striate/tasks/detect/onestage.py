"""The one-stage detector: every cell of a feature pyramid says what is there and where its sides are."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import softplus

from striate.tasks.detect.pyramid import Pyramid

PRIOR = 0.02
"""How likely an untrained head finds it that there is anything at a place, over all classes. Nearly nowhere
is anything, and learning that would take the first epoch (Lin et al. 2017, "Focal loss", section 3.3)."""


class Dense(NamedTuple):
    """What a one-stage detector says at every one of the A cells of all maps."""

    logits: Tensor
    """(B, A, classes)."""
    boxes: Tensor
    """(B, A, 4) x1, y1, x2, y2 in pixels of the window."""
    cells: Tensor
    """(A, 4): the centre x, y of each cell in the window, its width and height."""


class OneStage(nn.Module):
    """(B, C, H, W) -> `Dense`: at every cell a box around its centre and how likely each class is.

    Two branches of two convolutions, shared by all maps but for their batch norms; a box is the four
    distances from the cell's centre to its sides (Tian et al. 2019, "FCOS", section 3.1), in cells.
    """

    def __init__(self, backbone: Any, classes: int, depth: int = 2) -> None:
        super().__init__()
        self.features = Pyramid(backbone)
        width, maps = self.features.width, len(self.features.strides)
        self.naming, self.boxing = (Branch(width, maps, depth) for _ in range(2))
        self.names = nn.Conv2d(width, classes, 3, padding=1)
        self.sides = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.normal_(self.names.weight, std=0.01)
        nn.init.constant_(self.names.bias, -math.log(classes / PRIOR - 1))  # ty: ignore[invalid-argument-type]
        nn.init.normal_(self.sides.weight, std=0.01)
        nn.init.constant_(self.sides.bias, 2.0)  # ty: ignore[invalid-argument-type]

    def forward(self, x: Tensor) -> Dense:
        logits, boxes, cells = [], [], []
        for level, found in enumerate(self.features(x)):
            here = places(found, x)
            sides = self.sides(self.boxing(found, level)).flatten(2).transpose(1, 2)
            logits.append(self.names(self.naming(found, level)).flatten(2).transpose(1, 2))
            boxes.append(boxed(softplus(sides), here))
            cells.append(here)
        return Dense(torch.cat(logits, 1), torch.cat(boxes, 1), torch.cat(cells))


class Branch(nn.Module):
    """Convolutions that all maps share, with batch norms of each map's own."""

    def __init__(self, width: int, maps: int, depth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(depth))
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(width) for _ in range(maps)) for _ in range(depth)
        )

    def forward(self, x: Tensor, level: int) -> Tensor:
        for conv, norms in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norms[level](conv(x)))  # ty: ignore[not-subscriptable]
        return x


@fx.wrap  # one call in the graph of the network that answers
def places(found: Tensor, window: Tensor) -> Tensor:
    """The cells of a map (B, C, h, w) laid evenly over the window (B, C, H, W): (h·w, 4) as in `Dense`."""
    (rows, columns), (height, width) = found.shape[2:], window.shape[2:]
    high, wide = height / rows, width / columns
    y = (torch.arange(rows, device=found.device, dtype=torch.float32) + 0.5) * high
    x = (torch.arange(columns, device=found.device, dtype=torch.float32) + 0.5) * wide
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, wide), torch.full_like(y, high)], dim=-1).view(-1, 4)


def boxed(sides: Tensor, cells: Tensor) -> Tensor:
    """Distances (B, A, 4) to left, top, right and bottom, in cells (A, 4) -> boxes (B, A, 4) in pixels."""
    centre, size = cells[:, :2], cells[:, 2:]
    sides = sides.float()
    return torch.cat([centre - sides[..., :2] * size, centre + sides[..., 2:] * size], dim=-1)
