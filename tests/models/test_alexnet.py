"""AlexNet: figure 2's counts and sizes, the switches of its ablations, and torchvision's variant of it."""

from functools import cache

import pytest
import torch
import torchvision
from torch import nn

from striate.errors import BadSetting, DoesNotFit
from striate.models.alexnet import AlexNet, alexnet, alexnet_owt, alexnet_single, response_norm
from striate.models.weights import load_weights
from striate.tracing import trace

# Figure 2 in pictures of 227x227: output, parameters, multiply-adds.
PAPER = {
    "features.conv1": ((96, 55, 55), 34_944, 105_415_200),
    "features.pool1": ((96, 27, 27), 0, 0),
    "features.conv2": ((256, 27, 27), 307_456, 223_948_800),
    "features.pool2": ((256, 13, 13), 0, 0),
    "features.conv3": ((384, 13, 13), 885_120, 149_520_384),
    "features.conv4": ((384, 13, 13), 663_936, 112_140_288),
    "features.conv5": ((256, 13, 13), 442_624, 74_760_192),
    "head.pool": ((256, 6, 6), 0, 0),
    "head.fc6": ((4096,), 37_752_832, 37_748_736),
    "head.fc7": ((4096,), 16_781_312, 16_777_216),
    "head.fc8": ((1000,), 4_097_000, 4_096_000),
}
SMALL = (67, 67)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@cache
def small(build=alexnet) -> AlexNet:
    """Five classes in the smallest pictures, for tests that change nothing in it."""
    return build(classes=5, size=SMALL).eval()


def test_every_layer_is_as_in_figure_2():
    with torch.device("meta"):
        net = alexnet()
    rows = {row.name: row for row in trace(net, (3, 227, 227)).rows}
    found = {name: (rows[name].output, rows[name].parameters, rows[name].multiply_adds) for name in PAPER}
    assert found == PAPER


def test_the_columns_meet_in_conv3_alone():
    features = small().features
    met = {}
    for name in ("conv2", "conv3", "conv4", "conv5"):
        layer = getattr(features, name)
        x = torch.randn(1, layer.groups * layer.weight.shape[1], 7, 7)
        other = x.clone()
        other[:, : x.shape[1] // 2] += 1  # the first column's half
        _, second = (layer(x) != layer(other)).chunk(2, dim=1)
        met[name] = bool(second.any())
    assert met == {"conv2": False, "conv3": True, "conv4": False, "conv5": False}


def test_response_normalisation_is_the_papers_sum():
    a = torch.rand(1, 8, 2, 2) * 100
    by_hand = torch.stack(
        [
            a[:, i] / (2 + 1e-4 * a[:, max(0, i - 2) : i + 3].square().sum(1)) ** 0.75  # 5 neighbours at most
            for i in range(8)
        ],
        1,
    )
    assert torch.allclose(response_norm()(a), by_hand, rtol=1e-5)


def test_weights_start_as_in_section_5():
    ones = []
    for name, layer in alexnet(classes=5, size=SMALL).named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05), name
            assert len(layer.bias.unique()) == 1
            ones += [name.split(".")[1]] if layer.bias[0] == 1 else []
            assert layer.bias[0] in (0, 1)
    assert ones == ["conv2", "conv4", "conv5", "fc6", "fc7"]


def test_stages_are_the_maps_that_are_pooled():
    net, x = small(), torch.randn(2, 3, *SMALL)
    maps = net.stages(x)
    assert {name: tuple(m.shape[1:]) for name, m in maps.items()} == {
        "stage1": (96, 15, 15),
        "stage2": (256, 7, 7),
        "stage3": (256, 3, 3),
    }
    assert net.widths == {name: m.shape[1] for name, m in maps.items()}
    assert list(net.strides.values()) == [4, 8, 16]
    assert torch.equal(net.head(maps["stage3"]), net(x))


@pytest.mark.parametrize(("size", "cells"), [((67, 67), (1, 1)), ((99, 131), (2, 3)), ((67, 99), (1, 2))])
def test_any_size_that_divides_any_classes_and_channels(size, cells):
    net = alexnet(classes=1, channels=2, size=size).eval()
    assert net.head.fc6.in_features == 256 * cells[0] * cells[1]
    assert net(torch.randn(1, 2, *size)).shape == (1, 1)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((224, 224), r"conv1: \(224 − 11\)/4 \+ 1 = 54\.25; the nearest that do: 195×195 and 227×227"),
        ((227, 240), r"\(240 − 11\)/4 \+ 1 = 58\.25; the nearest that do: 227×227 and 227×259"),
        ((231, 231), r"pool1: \(56 − 3\)/2 \+ 1 = 27\.5"),
        ((32, 32), r"6\.25; the nearest that do: 67×67$"),
    ],
)
def test_sizes_that_do_not_divide_are_refused_with_those_that_do(size, message):
    for build in (alexnet, alexnet_single):
        with pytest.raises(DoesNotFit, match=message):
            build(size=size)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(DoesNotFit, match=r"pictures of 67×67, these are 99×99: .*size=\(99, 99\)"):
        small()(torch.zeros(1, 3, 99, 99))


def test_the_variant_of_2014_takes_any_picture_from_63():
    net = alexnet_owt(classes=3).eval()
    for size in ((63, 63), (64, 100)):
        assert net(torch.zeros(1, 3, *size)).shape == (1, 3)
    with pytest.raises(DoesNotFit, match="pictures of 62×80 do not fit: .*: 63×80"):
        net(torch.zeros(1, 3, 62, 80))
    with pytest.raises(DoesNotFit, match="the smallest that do: 63×63"):
        alexnet_owt(size=(32, 32))


def test_the_switches_of_the_papers_ablations():
    plain = alexnet(5, 3, SMALL, norm=False, overlap=False, dropout=0)
    kinds = [type(layer) for layer in plain.modules()]
    assert nn.LocalResponseNorm not in kinds
    assert {m.kernel_size for m in plain.modules() if isinstance(m, nn.MaxPool2d)} == {2}
    assert [m.shape for m in plain.stages(torch.zeros(1, 3, *SMALL)).values()] == [
        m.shape for m in small().stages(torch.zeros(1, 3, *SMALL)).values()
    ]
    assert plain.head.cells == small().head.cells
    x = torch.randn(2, 3, *SMALL)
    assert torch.equal(plain.train()(x), plain.eval()(x)), "no dropout"
    with torch.device("meta"):
        assert trace(alexnet(overlap=False), (3, 227, 227)).multiply_adds == 724_406_816


def test_dropout_falls_on_the_outputs_of_fc6_and_fc7():
    net = alexnet(5, 3, SMALL, dropout=1.0).train()
    assert torch.equal(net(torch.randn(2, 3, *SMALL)), net.head.fc8.bias.expand(2, 5))
    names = list(dict(net.head.named_children()))
    assert names == ["pool", "flatten", "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"]


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_share_beyond_0_to_1_is_refused(rate):
    with pytest.raises(BadSetting, match="from 0 to 1"):
        alexnet(5, 3, SMALL, dropout=rate)


def test_three_columns_are_refused():
    with pytest.raises(BadSetting, match="1 or 2, not 3"):
        AlexNet(columns=3)


def test_the_variant_of_2014_is_torchvisions(tmp_path):
    theirs, ours = torchvision.models.alexnet(), alexnet_owt()
    for weight in theirs.parameters():  # so large that every layer tells in the output
        nn.init.normal_(weight, std=(2 / weight[0].numel()) ** 0.5 if weight.dim() > 1 else 0.1)
    torch.save(theirs.state_dict(), tmp_path / "alexnet.pt")
    said: list[str] = []
    loaded = load_weights(ours, tmp_path / "alexnet.pt", said.append)
    assert loaded.by == "order" and len(loaded.pairs) == 16 and not loaded.left
    for size in ((224, 224), (70, 100)):
        x = torch.randn(2, 3, *size)
        with torch.no_grad():
            assert torch.allclose(ours.eval()(x), theirs.eval()(x), atol=1e-5)
            torch.manual_seed(3)
            dropped = theirs.train()(x)
            torch.manual_seed(3)
            assert torch.allclose(ours.train()(x), dropped, atol=1e-5)
            assert not torch.allclose(dropped, theirs.eval()(x), atol=0.1)
