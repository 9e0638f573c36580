"""ZF Net: figure 3's sizes, the counts of both variants, the start, and the filters held to a radius."""

from functools import cache

import pytest
import torch

from striate.errors import DoesNotFit
from striate.models.zfnet import ZFNet, zfnet, zfnet_wide
from striate.tracing import trace

# Figure 3 in pictures of 224x224: output, parameters, multiply-adds.
PAPER = {
    "features.conv1": ((96, 110, 110), 14_208, 170_755_200),
    "features.pool1": ((96, 55, 55), 0, 0),
    "features.norm1": ((96, 55, 55), 0, 0),
    "features.conv2": ((256, 26, 26), 614_656, 415_334_400),
    "features.pool2": ((256, 13, 13), 0, 0),
    "features.norm2": ((256, 13, 13), 0, 0),
    "features.conv3": ((384, 13, 13), 885_120, 149_520_384),
    "features.conv4": ((384, 13, 13), 1_327_488, 224_280_576),
    "features.conv5": ((256, 13, 13), 884_992, 149_520_384),
    "head.pool": ((256, 6, 6), 0, 0),
    "head.fc6": ((4096,), 37_752_832, 37_748_736),
    "head.fc7": ((4096,), 16_781_312, 16_777_216),
    "head.fc8": ((1000,), 4_097_000, 4_096_000),
}
SMALL = (53, 53)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@cache
def small() -> ZFNet:
    """Five classes in the smallest pictures, for tests that change nothing in it."""
    return zfnet(classes=5, size=SMALL).eval()


def test_every_layer_is_as_in_figure_3():
    with torch.device("meta"):
        table = trace(zfnet(), (3, 224, 224))
    rows = {row.name: row for row in table.rows}
    found = {name: (rows[name].output, rows[name].parameters, rows[name].multiply_adds) for name in PAPER}
    assert found == PAPER
    assert (table.parameters, table.multiply_adds) == (62_357_608, 1_168_032_896)


def test_variant_b_is_wider():
    with torch.device("meta"):
        table = trace(zfnet_wide(), (3, 224, 224))
    rows = {row.name: row.output[0] for row in table.rows}
    assert [rows[f"features.conv{number}"] for number in (3, 4, 5)] == [512, 1024, 512]
    assert table.parameters == 107_627_624
    assert table.multiply_adds == pytest.approx(2.477e9, rel=2e-4)


def test_stages_are_the_rectified_maps_that_are_pooled():
    net, x = small(), torch.randn(2, 3, *SMALL)
    maps = net.stages(x)
    assert [tuple(m.shape[1:]) for m in maps.values()] == [(96, 25, 25), (256, 5, 5), (256, 3, 3)]
    assert net.widths == {name: m.shape[1] for name, m in maps.items()}
    assert list(net.strides.values()) == [2, 8, 16] and list(net.strides) == list(maps)
    assert all(m.min() == 0 for m in maps.values())
    assert torch.equal(net.head(maps["stage3"]), net(x))


@pytest.mark.parametrize(("size", "cells"), [((53, 53), (1, 1)), ((64, 97), (1, 2)), ((100, 60), (2, 1))])
def test_any_size_from_53_any_classes_and_channels(size, cells):
    net = zfnet(classes=1, channels=1, size=size).eval()
    assert net.head.cells == cells
    assert net(torch.randn(1, 1, *size)).shape == (1, 1)


def test_pictures_that_are_too_small_or_of_another_size_are_refused():
    with pytest.raises(DoesNotFit, match="ZF Net: pictures of 52×60 do not fit: pool5.*: 53×60"):
        zfnet(size=(52, 60))
    with pytest.raises(DoesNotFit, match="pictures of 53×53, these are 64×64"):
        small()(torch.zeros(1, 3, 64, 64))


def test_weights_start_at_a_hundredth_and_biases_at_0():
    for name, weight in small().named_parameters():
        if name.endswith("weight"):
            assert weight.std().item() == pytest.approx(0.01, rel=0.05), name
        else:
            assert not weight.any(), name
