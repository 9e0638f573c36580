"""The feature pyramid: the same maps as torchvision's with the same weights."""

import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork

from striate.models.pyramid import TopDown


def test_maps_are_torchvisions() -> None:
    torch.manual_seed(0)
    widths = [8, 16, 24]
    ours, theirs = TopDown(widths, 12), FeaturePyramidNetwork(widths, 12, norm_layer=nn.BatchNorm2d)
    weights = {
        name.replace("across", "inner_blocks").replace("smooth", "layer_blocks"): weight
        for name, weight in ours.state_dict().items()
    }
    theirs.load_state_dict(weights)
    maps = [
        torch.randn(2, width, *size) for width, size in zip(widths, [(21, 13), (11, 7), (6, 4)], strict=True)
    ]
    for net in (ours, theirs):
        net.train()  # batch statistics too
    expected = list(theirs({str(i): x for i, x in enumerate(maps)}).values())
    found = ours(maps)
    assert [tuple(x.shape) for x in found] == [(2, 12, 21, 13), (2, 12, 11, 7), (2, 12, 6, 4)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
