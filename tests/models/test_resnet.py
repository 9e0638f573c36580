"""CIFAR ResNets: the counts of the paper, both shortcuts, any size of picture."""

import pytest
import torch
from torch import nn

from striate.errors import BadSetting
from striate.models import resnet
from striate.models.resnet import CifarResNet, PadShortcut

FAMILY = {
    resnet.resnet20: (269_722, 272_474),
    resnet.resnet32: (464_154, 466_906),
    resnet.resnet44: (658_586, 661_338),
    resnet.resnet56: (853_018, 855_770),
    resnet.resnet110: (1_727_962, 1_730_714),
}


@pytest.mark.parametrize(("build", "counts"), FAMILY.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_parameters_are_the_papers(build, counts):
    for shortcut, count in zip("AB", counts, strict=True):
        assert sum(weight.numel() for weight in build(shortcut=shortcut).parameters()) == count


def test_depth_counts_the_layers_with_weights_but_the_shortcuts():
    layers = [m for m in resnet.resnet32().modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 32


def test_shortcut_a_drops_every_second_pixel_and_pads_channels_on_both_sides():
    x = torch.randn(2, 16, 9, 8)
    out = PadShortcut(16, 2)(x)
    assert out.shape == (2, 32, 5, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert out[:, :8].eq(0).all() and out[:, 24:].eq(0).all()


def test_shortcut_a_keeps_the_memory_order():
    x = torch.randn(2, 16, 8, 8).to(memory_format=torch.channels_last)
    assert PadShortcut(16, 2)(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (45, 31), (4, 4), (96, 64)])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_any_size_of_picture(size, shortcut):
    net = CifarResNet(1, classes=7, channels=1, shortcut=shortcut).eval()
    maps = net.stages(torch.randn(1, 1, *size))
    height, width = (-(-side // 4) for side in size)
    assert maps["stage3"].shape == (1, 64, height, width)
    assert net(torch.randn(1, 1, *size)).shape == (1, 7)


def test_convolutions_start_as_he_says():
    conv = resnet.resnet20().layer3[0].conv2
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


def test_weights_are_named_and_ordered_as_in_published_ones():
    names = list(resnet.resnet20(shortcut="B").state_dict())
    assert names[:2] == ["conv1.weight", "bn1.weight"]
    assert names[6] == "layer1.0.conv1.weight"
    first = [name for name in names if name.startswith("layer2.0") and name.endswith(".weight")]
    parts = ("conv1", "bn1", "conv2", "bn2", "shortcut.0", "shortcut.1")
    assert first == [f"layer2.0.{part}.weight" for part in parts]
    assert names[-2:] == ["head.fc.weight", "head.fc.bias"]


def test_another_shortcut_is_refused():
    with pytest.raises(BadSetting, match="A, B"):
        resnet.resnet20(shortcut="D")
