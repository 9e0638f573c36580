"""A copy for inference answers as the network does: it folds plain pairs and leaves all else alone."""

import copy
import logging

import pytest
import torch
import torchvision
from torch import nn

from striate.errors import DoesNotFit
from striate.models import MODELS, network
from striate.models.folding import fold, for_inference, weights_seen
from striate.models.fused import FusedConv, fuse

SIDES = {
    name: m.size for name, m in MODELS.items() if m.classes == 10 and name != "resnet1202"
} | {
    "alexnet": 67, "alexnet-owt": 63, "zfnet": 53, "vgg11": 32, "vgg16-bn": 32,
    "googlenet": 64, "googlenet-bn": 64, "resnet18": 64, "resnet50-v1": 64,
}  # fmt: skip
"""Every kind of network, and the side it is tested at."""


def with_statistics(net: nn.Module) -> nn.Module:
    """In evaluation mode, its norms as if after training."""
    torch.manual_seed(0)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.running_mean is not None:
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0, 0.1)
    return net.eval().to(memory_format=torch.channels_last)


def equal(net: nn.Module, x: torch.Tensor) -> nn.Module:
    """The copy of a network, once it has been seen to answer the same to 1e-4 and to leave it untouched."""
    before = copy.deepcopy(net.state_dict())
    quick = for_inference(net)
    with torch.inference_mode():
        expected = net(x)
        for _ in range(2):  # the second time with filters that are reordered already
            assert (quick(x) - expected).abs().max() <= 1e-4 * expected.abs().max()
        assert (quick(x[:1]) - net(x[:1])).abs().max() <= 1e-4 * expected.abs().max()
        assert torch.equal(net(x), expected)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    return quick


def count(net: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(layer, kind) for layer in net.modules())


@pytest.mark.parametrize("name", SIDES)
def test_every_network_answers_the_same_and_none_keeps_a_norm(name, caplog):
    net = with_statistics(network(name, classes=10, size=SIDES[name]))
    x = torch.randn(2, MODELS[name].channels, SIDES[name], SIDES[name])
    with caplog.at_level(logging.WARNING):
        quick = equal(net, x)
    assert not caplog.records, "read as a graph, not copied as it is"
    assert count(quick, nn.BatchNorm2d) == 0


def test_torchvisions_resnet18():
    net = with_statistics(torchvision.models.resnet18())
    quick = equal(net, torch.randn(2, 3, 64, 64))
    assert count(quick, nn.BatchNorm2d) == 0 and count(quick, FusedConv) == 20
    assert count(net, nn.BatchNorm2d) == 20


def test_many_maps_of_a_few_cells_are_multiplied_as_by_a_fully_connected_layer():
    net = with_statistics(network("resnet18", size=32))
    quick = equal(net, torch.randn(16, 3, 32, 32))
    quick(torch.randn(16, 3, 32, 32))
    fused = [layer for layer in quick.modules() if isinstance(layer, FusedConv)]
    shapes = [tuple(layer.connected[1].shape) for layer in fused if layer.connected]
    square, shrinking = (4 * 256, 4 * 256), (4 * 256, 512)
    assert shapes == [square] * 3 + [shrinking] + [(512, 512)] * 3


@pytest.mark.parametrize(
    "kernel,stride,padding,dilation", [(3, 1, 1, 1), (3, 2, 1, 1), (5, 1, 4, 2), (2, 2, 0, 1), (7, 3, 3, 1)]
)
@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_convolution_of_tiny_maps_is_the_same_as_a_fully_connected_layer(
    kernel, stride, padding, dilation, side
):
    conv = nn.Conv2d(5, 6, kernel, stride, padding, dilation)
    if side + 2 * padding > dilation * (kernel - 1):
        equal(with_statistics(nn.Sequential(conv, nn.ReLU())), torch.randn(20, 5, side, side))


class Sums(nn.Module):
    """A sum, and what else is made of its second term."""

    def __init__(self, after):
        super().__init__()
        self.after = after
        self.first, self.second, self.third = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, x):
        a = self.first(x)
        return self.after(self, a, self.second(self.first(a)) + a)


@pytest.mark.parametrize(
    "after,over",
    [
        (lambda net, a, b: b.relu(), True),
        (lambda net, a, b: net.third(b) + b, True),
        (lambda net, a, b: b + a.sum(), False),
        (lambda net, a, b: net.third(b) * a, False),
        (lambda net, a, b: b * net.third(a), False),
        (lambda net, a, b: b * a[:, :1], False),
    ],
)
def test_a_sum_is_written_over_what_nobody_looks_at_again(after, over):
    quick = equal(with_statistics(Sums(after)), torch.randn(2, 4, 9, 8))
    assert any(layer.over for layer in quick.modules() if isinstance(layer, FusedConv)) == over


class Around(nn.Module):
    """A residual block."""

    def __init__(self):
        super().__init__()
        self.one, self.two = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return self.two(self.one(x)) + x


def test_what_a_hook_looks_at_is_not_written_over():
    pool, seen = nn.Sequential(nn.MaxPool2d(2), Around()).eval(), []
    pool[0].register_forward_hook(lambda layer, inputs, output: seen.append(output))
    quick = for_inference(pool)
    quick(x := torch.randn(2, 4, 8, 8))
    assert torch.equal(seen[0], nn.functional.max_pool2d(x, 2))


def traced(net: nn.Module) -> torch.fx.GraphModule:
    return torch.fx.symbolic_trace(copy.deepcopy(net).eval())


def test_pairs_are_counted():
    assert fold(traced(with_statistics(network("resnet20")))) == 19
    assert fold(traced(with_statistics(network("resnet50", size=64)))) == 53
    assert fold(traced(network("convnetjs-cifar10"))) == 0
    layers = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Conv1d(6, 6, 1), nn.BatchNorm1d(6)
    )
    assert fold(traced(layers)) == 2


class Unclear(nn.Module):
    """A convolution, and what is done with it."""

    def __init__(self, how, norm: nn.Module | None = None, conv: nn.Module | None = None):
        super().__init__()
        self.how = how
        self.norm, self.conv = norm or nn.BatchNorm2d(4), conv or nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.how(self, x)


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda module, given, output: output * 2)
    return layer


LEFT_ALONE = {
    "shared convolution": Unclear(lambda m, x: m.norm(m.conv(m.conv(x)))),
    "shared norm": Unclear(lambda m, x: m.norm(m.conv(m.norm(x)))),
    "output used elsewhere": Unclear(lambda m, x: m.norm(y := m.conv(x)) * y),
    "something between": Unclear(lambda m, x: m.norm(m.conv(x).abs())),
    "norm first": Unclear(lambda m, x: m.conv(m.norm(x))),
    "no running statistics": Unclear(
        lambda m, x: m.norm(m.conv(x)), norm=nn.BatchNorm2d(4, track_running_stats=False)
    ),
    "hook": Unclear(lambda m, x: m.norm(m.conv(x)), conv=hooked(nn.Conv2d(4, 4, 3, padding=1))),
    "weight norm": Unclear(
        lambda m, x: m.norm(m.conv(x)),
        conv=nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1)),
    ),
}


@pytest.mark.parametrize("why", LEFT_ALONE)
def test_what_is_no_plain_pair_is_left_alone(why):
    net = with_statistics(LEFT_ALONE[why])
    assert fold(traced(net)) == 0
    equal(net, torch.randn(2, 4, 8, 8))


SUMS = {
    "broadcasts": lambda m, x: m.relu(x.mean((2, 3), keepdim=True) + m.conv(x)),
    "changed in between": lambda m, x: (y := x * 1, z := m.conv(y), y.relu_(), z + y)[-1],
    "in place": lambda m, x: m.relu(m.conv(x).add_(x)),
    "into what others see": lambda m, x: (y := x * 1, z := y.__iadd__(m.conv(x)), y * z)[-1],
    "with itself": lambda m, x: (y := m.conv(x)) + y,
    "scaled": lambda m, x: torch.add(x, m.conv(x), alpha=2),
    "a number": lambda m, x: m.conv(x) + 1,
    "sum used twice": lambda m, x: (y := m.conv(x) + x) * torch.relu(y),
}


@pytest.mark.parametrize("how", SUMS)
def test_sums_of_every_kind(how):
    equal(with_statistics(Unclear(SUMS[how])), torch.randn(2, 4, 8, 8))


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, padding="same"),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 6, (3, 1), stride=2, dilation=(2, 1), groups=2, bias=False),
    ],
)
def test_convolutions_of_every_kind(conv):
    net = with_statistics(nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU()))
    assert count(equal(net, torch.randn(2, 4, 9, 8)), nn.BatchNorm2d) == 0


def test_a_norm_behind_a_max_pool_is_folded_where_it_keeps_the_order():
    conv, pool, norm = nn.Conv2d(4, 6, 3, padding=1), nn.MaxPool2d(3, 2, padding=1), nn.BatchNorm2d(6)
    net, x = with_statistics(nn.Sequential(conv, pool, norm)), torch.randn(2, 4, 9, 8)
    assert count(equal(net, x), nn.BatchNorm2d) == 0
    norm.weight.data[2] = -1
    assert count(equal(net, x), nn.BatchNorm2d) == 1


def test_other_types_and_shapes_are_computed_step_by_step():
    quick = for_inference(net := with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())))
    assert torch.allclose(quick(torch.ones(3, 8, 8)), net(torch.ones(3, 8, 8)), atol=1e-5)
    assert quick(torch.ones(0, 3, 8, 8)).shape == (0, 4, 6, 6)
    double = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).double()
    equal(double, torch.randn(2, 3, 8, 8, dtype=torch.float64))


def test_without_onednn_convolutions_stay(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert fuse(traced(network("resnet20"))) == 0


def test_a_wrong_size_is_still_refused():
    quick = for_inference(network("vgg11", size=32))
    with pytest.raises(DoesNotFit, match="built for pictures of 32×32"):
        quick(torch.zeros(1, 3, 64, 64))


class Asks(nn.Module):
    """Asks for a value: no graph."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


def test_a_forward_that_is_no_graph_is_copied_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        equal(Asks().eval(), torch.ones(2, 3, 4, 4))
    assert "Asks: answers unfolded" in caplog.text


def test_changed_weights_are_noticed():
    net = network("resnet20")
    before = weights_seen(net)
    assert weights_seen(net) == before
    with torch.no_grad():
        next(net.parameters()).mul_(2)
    assert weights_seen(net) != before
    before = weights_seen(net)
    net.load_state_dict(copy.deepcopy(net.state_dict()))
    assert weights_seen(net) != before
