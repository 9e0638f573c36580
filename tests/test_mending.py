"""A network that fails says where, shows the arithmetic, and offers edits that were tried."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.design import parse
from striate.tracing import BrokenNetwork, trace, trace_design


class LeNet(nn.Module):
    """Functional, as the PyTorch tutorial writes it; `features` and `depth` are where people go wrong."""

    def __init__(self, features: int = 400, depth: int = 6):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(depth, 16, 5)
        self.fc1, self.fc2 = nn.Linear(features, 120), nn.Linear(120, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Sum(nn.Module):
    def __init__(self, width: int, pad: int):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, width, 3, padding=pad)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return self.a(x) + self.norm(self.b(x))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(3, 3, 2, 2)

    def forward(self, x):
        return torch.cat([x, self.up(self.down(x))], 1)


def broken(net: nn.Module, shape=(3, 32, 32), floor: bool = True) -> BrokenNetwork:
    with pytest.raises(BrokenNetwork) as caught:
        trace(net, shape, floor=floor)
    return caught.value


def test_a_fully_connected_layer_that_gets_other_features():
    error = broken(LeNet(), (3, 36, 36))
    assert error.reason == "fc1: expects 400 features, gets 576 = 16×6×6."
    assert error.fixes[:2] == ("fc1: make it Linear(576, 120)", "input 35×35 instead of 36×36")
    assert [row.name for row in error.table.rows] == ["conv1", "relu", "pool", "conv2", "relu2", "pool2"]
    assert str(error).startswith(error.reason) and "\n" not in str(error)


def test_filters_of_another_depth():
    error = broken(LeNet(depth=8))
    assert error.reason == "conv2: its filters have a depth of 8, the input has 6 channels (6×14×14)."
    assert error.fixes == ("conv2: make it Conv2d(6, 16, 5)", "conv1: 8 filters instead of 6")


def test_a_picture_with_other_channels():
    assert broken(LeNet(), (1, 32, 32)).fixes == (
        "conv1: make it Conv2d(1, 6, 5)",
        "input with 3 channels instead of 1",
    )


def test_a_filter_larger_than_its_map():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 5))
    error = broken(net, (3, 8, 8))
    assert error.reason == "1: a 5×5 filter is larger than a 3×3 input: (3 − 5)/1 + 1 = −1."
    assert "1: padding 1 → 1×1" in error.fixes and "input 11×11 instead of 8×8" in error.fixes


def test_strictness_is_kept_when_edits_are_tried():
    error = broken(nn.Sequential(nn.Conv2d(3, 4, 3, 3)), (3, 7, 7), floor=False)
    assert error.reason == "0: a 3×3 filter with stride 3 does not fit a 7×7 input: (7 − 3)/3 + 1 = 2.33."
    assert error.fixes[0] == "0: padding 1 → 3×3"
    assert "input 6×6 instead of 7×7" in error.fixes


@pytest.mark.parametrize(
    "net, shape, reason, fix",
    [
        (
            Sum(16, 0), (3, 32, 32), "add: 16×32×32 and 16×30×30 cannot be added: their sizes differ.",
            "b: padding 1 instead of 0 → 32×32",
        ),
        (
            Sum(8, 1), (3, 32, 32), "add: 16×32×32 and 8×32×32 cannot be added: their sizes differ.",
            "b: 16 filters instead of 8, and its batch norm",
        ),
        (
            UNet(), (3, 33, 33), "cat: 3×33×33 and 3×32×32 cannot be joined: their sizes differ.",
            "input 32×32 instead of 33×33",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(4)), (3, 9, 9),
            "1: normalises 4 channels, gets 8.", "1: make it BatchNorm2d(8)",
        ),
    ],
)  # fmt: skip
def test_branches_and_norms(net, shape, reason, fix):
    error = broken(net, shape)
    assert error.reason == reason and fix in error.fixes


def test_a_view_that_would_mix_pictures_is_no_mending():
    class Viewed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(800, 10)

        def forward(self, x):
            return self.fc(self.conv(x).view(-1, 800))

    error = broken(Viewed(), (3, 13, 13))
    assert error.reason == "view: 1×8×11×11 = 968 numbers cannot be arranged as [-1, 800]."
    assert error.fixes[0] == "input 12×12 instead of 13×13" and not any("22×22" in fix for fix in error.fixes)


def test_any_other_failure_names_its_layer():
    error = broken(nn.Sequential(nn.Flatten(), nn.Conv2d(3, 4, 3)))
    assert error.reason.startswith("1, fed 3072: Expected 3D")

    class Picky(nn.Module):
        def forward(self, x):
            assert x.shape[-1] == 224, "wrong height"
            return x

    assert broken(Picky()).fixes == ("input 224×224 instead of 32×32",)


def test_networks_that_look_at_values_are_told_so():
    class Looks(nn.Module):
        def forward(self, x):
            return x if x.sum().item() > 0 else -x

    assert "values" in broken(Looks()).reason


def test_edits_leave_the_network_as_it_was():
    net = LeNet()
    broken(net, (3, 36, 36))
    assert net.fc1.in_features == 400 and trace(net).output == (10,)


@pytest.mark.parametrize(
    "text, fix",
    [
        (
            "input 3x7x7, conv3-8 stride3, fc10",
            "conv1: conv3-8 stride3 pad1 instead of conv3-8 stride3 → 3×3",
        ),
        ("input 3x7x7, conv3-8, pool2, fc10", "pool1: pool2 ceil instead of pool2 → 3×3"),
        ("input 3x224x224, conv11-96 stride4, fc10", "input 3x227x227 instead of 3x224x224"),
        ("input 3x8x8, conv3-8 groups2, fc10", "conv1: conv3-8 instead of conv3-8 groups2 → 6×6"),
    ],
)
def test_designs_are_mended_in_their_own_words(text, fix):
    with pytest.raises(BrokenNetwork) as caught:
        trace_design(parse(text))
    assert fix in caught.value.fixes and len(caught.value.fixes) <= 5


def test_a_design_with_response_normalisation_is_mended_too():
    error = pytest.raises(
        BrokenNetwork, trace_design, parse("conv5-16, lrn5, pool2, fc10"), (3, 33, 33)
    ).value
    assert "pool1" in str(error) and error.fixes
