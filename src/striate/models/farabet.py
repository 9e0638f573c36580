"""The network that Farabet et al. label scenes with, one scale of it. PAMI 2013, section 4; ICML 2012.

One idea: a small network looks at every place at three scales. Here is the network; the scales are the head
`multiscale` of segmentation.   46x46 pixels -> conv 40, pool 20 -> conv 14, pool 7 -> conv 1.

| layer | filters | fed with                      | parameters |
|-------|---------|-------------------------------|------------|
| conv1 | 16 7x7  | 10 see Y alone, 6 see U and V | 1,094      |
| conv2 | 64 7x7  | 8 of the 16 maps each, drawn  | 25,152     |
| conv3 | 256 7x7 | 32 of the 64 maps each, drawn | 401,664    |
| all   |         |                               | 427,910    |

tanh after conv1 and conv2, each followed by a 2x2 maximum; conv3 has neither. Which maps a filter sees is
drawn once from a fixed seed: the papers do not print it. Pictures of other than three channels are seen whole
by conv1. Unlike there the convolutions pad, so that maps stay as large as the picture.

Only the head `multiscale` makes Y, U and V of a picture. Everywhere else the network is fed red, green and
blue: what is said of Y above is then true of red, and what is said of U and V of green and blue.
"""

import torch
from torch import Tensor, nn

SEED = 2012
"""Of the connections."""


class Partial(nn.Module):
    """A 7×7 convolution whose filters see `each` of `depth` maps: (B, depth, H, W) -> (B, filters, H, W).

    Only the weights of connections that exist are parameters; they are laid among zeros to convolve.
    """

    seen: Tensor

    def __init__(self, depth: int, filters: int, each: int, generator: torch.Generator):
        super().__init__()
        seen = torch.rand(filters, depth, generator=generator).argsort(1)[:, :each]
        self.register_buffer("seen", seen[:, :, None, None].expand(-1, -1, 7, 7).clone())
        self.shape = filters, depth, 7, 7
        bound = (49 * each) ** -0.5
        self.weight = nn.Parameter(torch.empty(filters, each, 7, 7).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(filters))

    def forward(self, x: Tensor) -> Tensor:
        whole = self.weight.new_zeros(self.shape).scatter(1, self.seen, self.weight)
        return torch.conv2d(x, whole, self.bias, padding=3)

    def extra_repr(self) -> str:
        return f"{self.shape[1]}, {self.shape[0]}, each sees {self.weight.shape[1]}"


class Colours(nn.Module):
    """conv1: 10 filters on Y, 6 on U and V. (B, 3, H, W) -> (B, 16, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.y = nn.Conv2d(1, 10, 7, padding=3)
        self.uv = nn.Conv2d(2, 6, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.y(x[:, :1]), self.uv(x[:, 1:])], dim=1)


class Farabet(nn.Module):
    """(B, channels, H, W) -> logits (B, classes): as a classifier it averages the last maps."""

    widths = {"conv1": 16, "conv2": 64, "conv3": 256}
    strides = {"conv1": 1, "conv2": 2, "conv3": 4}

    def __init__(self, classes: int = 10, channels: int = 3):
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        self.conv1 = Colours() if channels == 3 else nn.Conv2d(channels, 16, 7, padding=3)
        self.conv2 = Partial(16, 64, 8, generator)
        self.conv3 = Partial(64, 256, 32, generator)
        self.tanh, self.pool = nn.Tanh(), nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes))

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, channels, H, W) -> conv1 (B, 16, H, W), conv2 (B, 64, H/2, W/2), conv3 (B, 256, H/4, W/4)."""
        one = self.tanh(self.conv1(x))
        two = self.tanh(self.conv2(self.pool(one)))
        return {"conv1": one, "conv2": two, "conv3": self.conv3(self.pool(two))}

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, classes)."""
        return self.head(self.stages(x)["conv3"])


def farabet(classes: int = 10, channels: int = 3) -> Farabet:
    return Farabet(classes, channels)
