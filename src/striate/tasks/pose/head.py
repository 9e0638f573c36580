"""Where each joint is, on any backbone: a map of every joint, or DeepPose's cascade of regressors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import grid_sample, softmax

from striate.models.backbone import behead
from striate.models.pyramid import TopDown
from striate.task import Facts

HEADS = ("heatmap", "deeppose")

WIDTH = 64
"""Channels of the maps' decoder."""

FINEST = 4
"""Pixels between the cells of the finest stage that is read."""

STAGES = 3
"""Regressors of the cascade (Toshev & Szegedy 2014, section 4.1)."""

POOLED, HIDDEN = 4, 256
"""Cells across the map that the first regressor sees, and its hidden units."""

DROPPED = 0.5
"""Share of those that are left out at random in training (the paper: 0.6)."""

SEEN, SHARE = 32, 0.35
"""Pixels across the crop around a joint that later regressors see, and its share of the window's side."""


def build(backbone: Any, facts: Facts) -> nn.Module:
    """The backbone without its own head, and the head that facts["head"] names."""
    behead(backbone)
    head = {"heatmap": HeatMaps, "deeppose": DeepPose}[facts.get("head", HEADS[0])]
    return head(backbone, len(facts["joints"]))


class Joints(NamedTuple):
    """Where the joints are."""

    points: Tensor
    """(B, S, K, 2) x, y in pixels of the window: after every stage, the best last."""
    score: Tensor
    """(B, K): how sure, 0 to 1; a regressor is always sure."""
    maps: Tensor | None
    """(B, K, h, w) logits of where each joint is, of a head that makes them."""
    size: tuple[int, int]
    """(height, width) of the window."""


class HeatMaps(nn.Module):
    """(B, C, H, W) -> `Joints` of one stage: for every joint a map of how likely it is at each place.

    As Xiao, Wu & Wei 2018 have it, with a feature pyramid (Lin et al. 2017) in place of the three transposed
    convolutions; a map is a softmax over places, and the joint lies at the mean of the 5×5 cells around the
    likeliest, so that it is not bound to the cells.
    """

    def __init__(self, backbone: Any, joints: int) -> None:
        super().__init__()
        self.backbone = backbone
        last = list(backbone.strides)[-1]
        self.read = [name for name, stride in backbone.strides.items() if stride >= FINEST] or [last]
        widths = [backbone.widths[name] for name in self.read]
        self.join = TopDown(widths, WIDTH, smoothed=1)
        self.smooth = nn.Sequential(
            nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
        )
        self.head = nn.Conv2d(WIDTH, joints, 1)

    def forward(self, x: Tensor) -> Joints:
        stages = self.backbone.stages(x)
        finest = self.join([stages[name] for name in self.read])[0]
        return located(self.head(self.smooth(finest)), x)


@fx.wrap  # one call in the graph of the network that answers
def located(maps: Tensor, window: Tensor, reach: int = 2) -> Joints:
    """Logits (B, K, h, w) of the window (B, C, H, W) -> the joints."""
    batch, joints, rows, columns = maps.shape
    share = softmax(maps.float().flatten(2), dim=2)
    best = share.argmax(2, keepdim=True)
    y, x = (torch.arange(n, device=maps.device) for n in (rows, columns))
    y, x = (grid.flatten() for grid in torch.meshgrid(y, x, indexing="ij"))
    near = ((y - y[best]).abs() <= reach) & ((x - x[best]).abs() <= reach)
    weight = share * near
    score = weight.sum(2)
    at = [(weight * (axis + 0.5)).sum(2) / score for axis in (x, y)]
    height, width = window.shape[2:]
    points = torch.stack([at[0] * (width / columns), at[1] * (height / rows)], dim=-1)
    return Joints(points[:, None], score, maps, (height, width))


class DeepPose(nn.Module):
    """(B, C, H, W) -> `Joints` of `STAGES` stages (Toshev & Szegedy 2014).

    The first stage regresses all joints at once, in window sides from the window's middle (section 3.1). A
    later one looks at a crop around each joint where the one before put it, and regresses how far it has to
    move (section 3.2). In training it is shown crops displaced from the true place as the stage before errs:
    by a normal distribution with the mean and deviation of its errors, kept as running averages.

    Where this departs from the paper: all stages are trained at once; later stages are small networks of
    their own on crops of a fixed share of the window, as the window is already cut to the person.
    """

    errors: Tensor

    def __init__(self, backbone: Any, joints: int) -> None:
        super().__init__()
        self.backbone, self.joints = backbone, joints
        width = list(backbone.widths.values())[-1]
        self.look = nn.Sequential(
            nn.AdaptiveAvgPool2d(POOLED),
            nn.Conv2d(width, HIDDEN, POOLED, bias=False),
            nn.GroupNorm(1, HIDDEN),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(DROPPED),
        )
        self.head = Silent(HIDDEN, 2 * joints)
        self.refine = nn.ModuleList(Refiner(joints) for _ in range(STAGES - 1))
        # (stages, mean and square, joints, x and y), in window sides
        self.register_buffer("errors", torch.zeros(STAGES - 1, 2, joints, 2))

    def forward(self, x: Tensor) -> Joints:
        return self._cascade(x, lambda stage, said, side: said)

    def learn(self, x: Tensor, truth: Tensor) -> Joints:
        """In training, with the truth (B, K, 3): later stages start where the one before could err to."""
        return self._cascade(x, lambda stage, said, side: self._displaced(stage, said, truth, side))

    def _cascade(self, x: Tensor, begin: Callable[[int, Tensor, Tensor], Tensor]) -> Joints:
        """All stages; a later one starts at `begin(stage, points of the one before, sides of the window)`."""
        side = torch.tensor([x.shape[3], x.shape[2]], device=x.device, dtype=torch.float32)
        *_, last = self.backbone.stages(x).values()
        points = [(self.head(self.look(last)).float().view(-1, self.joints, 2) + 0.5) * side]
        for stage, refine in enumerate(self.refine):
            start = begin(stage, points[-1].detach(), side)
            points.append(start + refine(crops(x, start)) * SHARE * side)
        stacked = torch.stack(points, dim=1)
        return Joints(stacked, torch.ones_like(stacked[:, 0, :, 0]), None, (x.shape[2], x.shape[3]))

    def _displaced(self, stage: int, said: Tensor, truth: Tensor, side: Tensor) -> Tensor:
        """True places (B, K, 2) moved as the stage errs; its errors are counted in."""
        known = truth[..., 2:] > 0
        with torch.no_grad():
            error = torch.where(known, (said - truth[..., :2]) / side, 0.0)
            count = known.sum(0).clamp(min=1)
            seen = torch.stack([error.sum(0) / count, error.square().sum(0) / count])
            self.errors[stage].lerp_(seen, 0.05)
            mean, square = self.errors[stage]
            spread = (square - mean.square()).clamp(min=1e-4).sqrt()
            moved = truth[..., :2] + (mean + spread * torch.randn_like(said)) * side
        return torch.where(known, moved, said)


class Silent(nn.Linear):
    """A last layer that begins by saying 0, the middle and no move, likeliest before anything is seen.

    Its inputs are divided by the root of their number, so that many of them do not make every step longer.
    """

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input * self.in_features**-0.5)


class Refiner(nn.Module):
    """Crops (B, K, C, S, S) -> (B, K, 2): how far each joint lies from the crop's middle, in its sides."""

    def __init__(self, joints: int, channels: int = 3) -> None:
        super().__init__()
        self.joints = joints
        widths = (channels, 24, 48, 96)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in zip(widths, widths[1:], strict=False)
        ]
        self.features = nn.Sequential(*blocks, nn.Flatten())
        self.out = Silent(96 * (SEEN // 8) ** 2, 2 * joints)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        said = self.out(self.features(x.flatten(0, 1))).view(batch, self.joints, self.joints, 2)
        own = torch.arange(self.joints, device=x.device)
        return said[:, own, own].float()


@fx.wrap
def crops(x: Tensor, points: Tensor) -> Tensor:
    """What a window (B, C, H, W) shows around points (B, K, 2): (B, K, C, `SEEN`, `SEEN`), grey beyond."""
    batch, channels, height, width = x.shape
    if channels == 1:
        x = x.expand(-1, 3, -1, -1)
    line = torch.linspace(-SHARE, SHARE, SEEN, device=x.device)
    y, x_ = torch.meshgrid(line, line, indexing="ij")
    side = torch.tensor([width, height], dtype=torch.float32).to(x.device, non_blocking=True)
    centre = points / side * 2 - 1
    grid = centre[:, :, None, None] + torch.stack([x_, y], dim=-1)
    found = grid_sample(x, grid.flatten(1, 2).to(x.dtype), align_corners=False)
    return found.view(batch, 3, points.shape[1], SEEN, SEEN).transpose(1, 2)
