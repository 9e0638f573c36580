"""VGG: table 1's counts and depths, and the same outputs as torchvision's eight networks."""

from functools import cache

import pytest
import torch
import torchvision
from torch import Tensor, nn

from striate.errors import BadSetting, DoesNotFit
from striate.models import vgg
from striate.models.vgg import VGG
from striate.models.weights import load_weights
from striate.tracing import trace

# Network: layers with weights, parameters, multiply-adds.
PAPER = {
    "vgg11": (11, 132_863_336, 7_609_090_048),
    "vgg11_lrn": (11, 132_863_336, 7_609_090_048),
    "vgg13": (13, 133_047_848, 11_308_466_176),
    "vgg16_c": (16, 133_638_952, 11_770_888_192),
    "vgg16": (16, 138_357_544, 15_470_264_320),
    "vgg19": (19, 143_667_240, 19_632_062_464),
    "vgg11_bn": (11, 132_868_840, 7_609_090_048),
    "vgg13_bn": (13, 133_053_736, 11_308_466_176),
    "vgg16_bn": (16, 138_365_992, 15_470_264_320),
    "vgg19_bn": (19, 143_678_248, 19_632_062_464),
}
IN_TORCHVISION = [name for name in PAPER if name not in ("vgg11_lrn", "vgg16_c")]
SMALL = (32, 32)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@cache
def small() -> VGG:
    """Five classes in the smallest pictures, for tests that change nothing in it."""
    return vgg.vgg11(classes=5, size=SMALL).eval()


@pytest.mark.parametrize("name", PAPER)
def test_counts_are_the_papers(name):
    layers, parameters, multiply_adds = PAPER[name]
    with torch.device("meta"):
        net = getattr(vgg, name)()
    table = trace(net, (3, 224, 224))
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == layers
    assert (table.parameters, table.multiply_adds, table.output) == (parameters, multiply_adds, (1000,))
    if name in IN_TORCHVISION:
        with torch.device("meta"):
            theirs = getattr(torchvision.models, name)(init_weights=False)
        shapes = [[value.shape for value in n.state_dict().values()] for n in (net, theirs)]
        assert shapes[0] == shapes[1]


def test_the_maps_of_every_block_halve_and_the_last_pool_leaves_7():
    with torch.device("meta"):
        rows = trace(vgg.vgg16(), (3, 224, 224)).rows
    last = {row.name.removeprefix("features."): row.output for row in rows}
    ends = [last[name] for name in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")]
    assert ends == [(64, 224, 224), (128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14)]
    assert last["head.pool"] == (512, 7, 7)


def test_c_ends_its_last_three_blocks_with_filters_of_one_cell():
    with torch.device("meta"):
        net = vgg.vgg16_c()
    ones = [name for name, m in net.features.named_children() if getattr(m, "kernel_size", 0) == (1, 1)]
    assert ones == ["conv3_3", "conv4_3", "conv5_3"]


def test_a_lrn_normalises_once_behind_conv1():
    with torch.device("meta"):
        names = list(dict(vgg.vgg11_lrn().features.named_children()))
    assert names[:4] == ["conv1_1", "relu1_1", "norm1", "pool1"]
    assert sum(name.startswith("norm") for name in names) == 1


@pytest.mark.parametrize("name", IN_TORCHVISION)
def test_convolutions_give_what_torchvisions_give(name):
    """In evaluation, and in training, where batch norm takes the batch's statistics and keeps their mean."""
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(init_weights=False).features
        ours = getattr(vgg, name)()
    theirs, layers = theirs.to_empty(device="cpu"), ours.features.to_empty(device="cpu")
    values = {key: start(key, value) for key, value in theirs.state_dict().items()}
    theirs.load_state_dict(values)
    layers.load_state_dict(dict(zip(layers.state_dict(), values.values(), strict=True)))
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        for training in (False, True):
            for m in (theirs, layers):
                m.train(training)
            maps = ours.head.pool(ours.stages(x)["stage5"])
            assert torch.allclose(maps, theirs(x), rtol=1e-4, atol=1e-5)
    for mine, other in zip(layers.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-5)


def start(key: str, like: Tensor) -> Tensor:
    """Values under which neither maps nor variances vanish."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros_like(like)
    if like.dim() > 1:
        return torch.randn_like(like) * (2 / like[0].numel()) ** 0.5
    return torch.rand_like(like) + 0.5 if key.endswith(("var", "weight")) else torch.randn_like(like) * 0.1


def test_vgg11_loads_torchvisions_weights_and_says_the_same(tmp_path):
    x = torch.randn(1, 3, 224, 224)
    with torch.device("meta"):
        theirs = torchvision.models.vgg11(init_weights=False)
    theirs = theirs.to_empty(device="cpu")
    for key, weight in theirs.named_parameters():
        weight.data.copy_(start(key, weight))
    torch.save(theirs.state_dict(), tmp_path / "vgg11.pt")
    with torch.no_grad():
        expected = theirs.eval()(x)
        torch.manual_seed(3)
        dropped = theirs.train()(x)
    del theirs
    with torch.device("meta"):
        ours = vgg.vgg11()
    ours = ours.to_empty(device="cpu")
    loaded = load_weights(ours, tmp_path / "vgg11.pt", lambda line: None)
    (tmp_path / "vgg11.pt").unlink()
    assert loaded.by == "order" and len(loaded.pairs) == 22 and not loaded.left
    with torch.no_grad():
        assert torch.allclose(ours.eval()(x), expected, atol=1e-5)
        assert not torch.allclose(expected, dropped, atol=0.1)
        torch.manual_seed(3)
        assert torch.allclose(ours.train()(x), dropped, atol=1e-5)


def test_stages_are_the_maps_that_are_pooled():
    net, x = small(), torch.randn(2, 3, *SMALL)
    maps = net.stages(x)
    assert [m.shape[-1] for m in maps.values()] == [32, 16, 8, 4, 2]
    assert net.widths == {name: m.shape[1] for name, m in maps.items()}
    assert net.strides == {name: 32 // m.shape[-1] for name, m in maps.items()}
    assert torch.equal(net.head(maps["stage5"]), net(x))


@pytest.mark.parametrize(("size", "cells"), [((32, 64), (1, 2)), ((63, 33), (1, 1)), ((96, 32), (3, 1))])
def test_any_size_from_32_any_classes_and_channels(size, cells):
    net = VGG("A", classes=1, channels=4, size=size).eval()
    assert net.head.cells == cells
    assert net(torch.randn(1, 4, *size)).shape == (1, 1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(DoesNotFit, match="VGG D: pictures of 31×40 do not fit: pool5.*: 32×40"):
        vgg.vgg16(size=(31, 40))
    with pytest.raises(DoesNotFit, match="pictures of 32×32, these are 224×224"):
        small()(torch.zeros(1, 3, 224, 224))
    with pytest.raises(BadSetting, match="configuration 'F' is not known"):
        VGG("F")
    with pytest.raises(BadSetting, match="has a normalisation already"):
        VGG("A-LRN", batch_norm=True)


def test_weights_start_as_glorot_says():
    for name, layer in small().named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            area = layer.weight[0, 0].numel()
            fans = sum(layer.weight.shape[:2]) * area
            assert layer.weight.std().item() == pytest.approx((2 / fans) ** 0.5, rel=0.1), name
            assert not layer.bias.any()


def test_gradients_reach_every_weight_of_the_deepest():
    net = vgg.vgg19(classes=5, size=SMALL).train()
    nn.functional.cross_entropy(net(torch.randn(1, 3, *SMALL)), torch.tensor([2])).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in net.parameters())
