"""What a pose head minimises: where the truth is on its maps, or how far its points are from it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from striate.errors import BadSetting
from striate.task import Target
from striate.tasks.pose.head import DeepPose, Joints

SPREAD = 1.0
"""Deviation of the wanted map around a joint, in cells."""


def forward(network: nn.Module, images: Tensor, target: Target | None) -> Joints:
    """`Joints`; a cascade is shown the truth in training, to start its later stages from."""
    if target is not None and isinstance(network, DeepPose):
        return network.learn(images, target["keypoints"])
    return network(images)


def loss(output: Joints, target: Target, smoothing: float = 0.0) -> dict[str, Tensor]:
    """{"maps"}: how far each joint's map is from a Gaussian around its place, Kullback and Leibler's
    divergence in nats; or a term a stage: the squared distance in window sides, times ten. Means over the
    joints that are known.

    Raises:
        BadSetting: label smoothing, which is for classes.
    """
    if smoothing:
        raise BadSetting("label_smoothing: joints are places, not classes; leave it at 0.")
    known = target["keypoints"][..., 2] > 0
    count = known.sum().clamp(min=1)
    truth = target["keypoints"][..., :2]
    if output.maps is not None:
        wanted = gaussians(truth, output.maps.shape[2:], output.size)
        said = output.maps.float().flatten(2).log_softmax(2)
        wanted = wanted.flatten(2)
        apart = (torch.xlogy(wanted, wanted) - wanted * said).sum(2)
        return {"maps": (apart * known).sum() / count}
    side = truth.new_tensor(output.size[::-1])
    apart = ((output.points - truth[:, None]) / side).square().sum(-1)
    terms = (apart * known[:, None]).sum((0, 2)) / count
    return {f"stage{number}": 10 * term for number, term in enumerate(terms, 1)}


def gaussians(points: Tensor, cells: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Points (B, K, 2) in a window of `size` (height, width) -> maps (B, K, *cells), each of sum 1."""
    rows, columns = cells
    x, y = points[..., 0] * (columns / size[1]), points[..., 1] * (rows / size[0])
    axes = []
    for at, count in ((y, rows), (x, columns)):
        cell = torch.arange(count, device=points.device) + 0.5
        axes.append(torch.exp(-((cell - at[..., None]) ** 2) / (2 * SPREAD**2)))
    found = axes[0][..., :, None] * axes[1][..., None, :]
    return found / found.sum((2, 3), keepdim=True).clamp(min=1e-9)
