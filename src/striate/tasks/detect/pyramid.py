"""A feature pyramid on any backbone: maps of one width and falling resolution."""

from typing import Any

from torch import Tensor, nn

from striate.models.pyramid import TopDown

NARROWEST, WIDEST = 64, 128
"""Channels of the pyramid: as many as the first stage it reads has, within these."""

FINEST, COARSEST = 8, 32
"""Pixels between the cells of the pyramid's first level and, at least, of its last."""


class Pyramid(nn.Module):
    """(B, C, H, W) -> maps of one width, each half as fine as the one before (Lin et al. 2017).

    From the backbone's stages of a stride of `FINEST` pixels or more, or from its last where none is so
    coarse; convolutions of stride 2 make what is missing, up to `COARSEST`.
    """

    def __init__(self, backbone: Any, coarsest: int = COARSEST) -> None:
        super().__init__()
        self.backbone = backbone
        last = list(backbone.strides)[-1]
        self.read = [name for name, stride in backbone.strides.items() if stride >= FINEST] or [last]
        widths = [backbone.widths[name] for name in self.read]
        width = max(NARROWEST, min(WIDEST, widths[0]))
        strides = [backbone.strides[name] for name in self.read]
        while strides[-1] < coarsest:
            strides.append(2 * strides[-1])
        self.join = TopDown(widths, width)
        self.drop = sum(stride < FINEST for stride in strides)
        """Maps that are too fine to look for things in."""
        self.strides = strides[self.drop :]
        """Pixels between the cells of each map; about, where the backbone's convolutions are not padded."""
        self.more = nn.ModuleList(halving(width) for _ in strides[len(self.read) :])
        self.width = width

    def forward(self, x: Tensor) -> list[Tensor]:
        stages = self.backbone.stages(x)
        maps = self.join([stages[name] for name in self.read])
        for layer in self.more:
            maps.append(layer(maps[-1]))
        return maps[self.drop :]


def halving(width: int) -> nn.Sequential:
    """(B, width, h, w) -> (B, width, ⌈h/2⌉, ⌈w/2⌉)."""
    return nn.Sequential(nn.Conv2d(width, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
