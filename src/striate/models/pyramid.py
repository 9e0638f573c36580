"""A feature pyramid's way down (Lin et al. 2017): what coarse maps know, told to the fine ones."""

from torch import Tensor, nn
from torch.nn.functional import interpolate


class TopDown(nn.Module):
    """Maps (B, widths[i], H, W), the finest first -> the same maps of one width, each with the coarser ones.

    A 1x1 convolution brings every map to the width, the next coarser one is added to it cell by cell, and a
    3x3 convolution smooths the sum. Convolutions are normalised (batch norm) and have no activation. With
    `smoothed` only so many of the finest come back.
    """

    def __init__(self, widths: list[int], width: int, smoothed: int | None = None) -> None:
        super().__init__()
        self.across = nn.ModuleList(_convolution(depth, width, 1) for depth in widths)
        self.smooth = nn.ModuleList(_convolution(width, width, 3) for _ in widths[:smoothed])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        above, sums = None, []
        for across, x in reversed(list(zip(self.across, maps, strict=True))):
            x = across(x)
            above = x if above is None else x + interpolate(above, size=x.shape[2:], mode="nearest")
            sums.append(above)
        return [smooth(x) for smooth, x in zip(self.smooth, reversed(sums), strict=False)]


def _convolution(depth: int, width: int, size: int) -> nn.Sequential:
    conv = nn.Conv2d(depth, width, size, padding=size // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(width))
