"""What detection asks of boxes, beside the same of torchvision: how far apart they are, and which stay."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms, generalized_box_iou_loss

from striate.tasks.detect.boxes import apart, surest


def _boxes(count: int, seed: int) -> Tensor:
    """Boxes that overlap a good deal."""
    places = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=places) * 60
    return torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=places) * 50], 1)


def test_boxes_are_as_far_apart_as_torchvision_says() -> None:
    one, other = _boxes(200, 0), _boxes(200, 1)
    one[0], other[0] = torch.tensor([0.0, 0, 1, 1]), torch.tensor([9.0, 9, 10, 10])  # do not touch
    for boxes in (one, other):
        boxes.requires_grad_()
    apart(one, other).sum().backward()
    ours = one.grad.clone()
    one.grad = None
    torch.testing.assert_close(apart(one, other), generalized_box_iou_loss(one, other))
    generalized_box_iou_loss(one, other).sum().backward()
    torch.testing.assert_close(ours, one.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 30, 700])
@pytest.mark.parametrize("overlap", [0.3, 0.6])
def test_the_boxes_that_stay_are_torchvisions(count: int, overlap: float) -> None:
    boxes, places = _boxes(count, 2), torch.Generator().manual_seed(3)
    scores = torch.rand(count, generator=places)
    labels = torch.randint(0, 3, (count,), generator=places)
    stay = surest(boxes, scores, labels, overlap)
    assert stay.tolist() == batched_nms(boxes, scores, labels, overlap).tolist()
    assert count < 100 or 0 < len(stay) < count
