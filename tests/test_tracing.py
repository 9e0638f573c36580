"""The table says what PyTorch computes, of any network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from striate.design import parse
from striate.errors import BadSetting, DoesNotFit
from striate.tracing import BrokenNetwork, receptive, smallest_input, trace, trace_design


class Residual(nn.Module):
    """x + F(x), with a projection where the stride is not 1; the sum and the activation are functional."""

    def __init__(self, depth: int, size: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(depth, depth, size, stride, size // 2)
        self.norm = nn.BatchNorm2d(depth)
        self.short = nn.Conv2d(depth, depth, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)) + self.short(x))


class Branches(nn.Module):
    """Two filters of different size beside each other, joined along the channels."""

    def __init__(self, depth: int, size: int):
        super().__init__()
        self.small = nn.Conv2d(depth, 2, 1)
        self.large = nn.Conv2d(depth, 3, size, padding=size // 2)

    def forward(self, x):
        return torch.cat([self.small(x), self.large(x), x], 1)


def piece(draw, depth: int) -> nn.Module:
    """One random part of a network on a map of this depth."""
    size, stride = draw(some.integers(1, 4)), draw(some.integers(1, 3))
    pad = draw(some.integers(0, min(size - 1, 2)))  # more would make cells that see nothing
    wide = draw(some.sampled_from([2, 4, 6]))
    return draw(
        some.sampled_from(
            [
                lambda: nn.Conv2d(depth, wide, size, stride, pad, draw(some.integers(1, 2)), bias=wide > 2),
                lambda: nn.Conv2d(depth, 2 * depth, (size, 1), (1, stride), (pad, 0), groups=depth),
                lambda: nn.MaxPool2d(size, stride, min(pad, size // 2)),
                lambda: nn.AvgPool2d(size, stride),
                lambda: nn.Sequential(nn.BatchNorm2d(depth), nn.ReLU(inplace=True)),
                lambda: Residual(depth, draw(some.sampled_from([1, 3, 5])), min(stride, 2)),
                lambda: Branches(depth, draw(some.sampled_from([3, 5]))),
                lambda: nn.LocalResponseNorm(3),
                lambda: nn.Dropout(0.5),
            ]
        )
    )()


@some.composite
def networks(draw) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """A random network and an input it takes; parts that PyTorch refuses on the way are left out."""
    shape = (draw(some.integers(1, 3)), draw(some.integers(12, 40)), draw(some.integers(12, 40)))
    x, parts = torch.zeros(1, *shape), []
    for _ in range(draw(some.integers(1, 6))):
        part = piece(draw, x.shape[1]).eval()
        try:
            x = part(x)
        except RuntimeError:
            continue
        parts.append(part)
    end = draw(some.sampled_from(["map", "fc", "global"]))
    if end == "global":
        parts.append(nn.AdaptiveAvgPool2d(1))
        x = x[:, :, :1, :1]
    if end != "map":
        parts += [nn.Flatten(), nn.Linear(x[0].numel(), 5)]
    return nn.Sequential(*parts), shape


def real_outputs(net: nn.Module, x: torch.Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """(name, output) of every layer that is a module, from a real forward pass."""
    seen: list[tuple[str, tuple[int, ...]]] = []
    for name, part in net.named_modules():
        if not list(part.children()) and not isinstance(part, nn.Identity):
            part.register_forward_hook(lambda m, a, out, name=name: seen.append((name, tuple(out.shape[1:]))))
    with torch.no_grad():
        net(x)
    return seen


def seen_from_centre(net: nn.Module, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """First and one past the last pixel, per axis, whose change changes the centre cell: by its gradient."""
    net = copy.deepcopy(net).double().eval()
    for part in list(net.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.MaxPool2d):  # whose gradient names only the winner
                setattr(part, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    for weight in net.parameters():
        nn.init.constant_(weight, 0.1)
    x = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    y = net(x)
    centre = y[0, :, y.shape[2] // 2, y.shape[3] // 2] if y.dim() == 4 else y
    (slope,) = torch.autograd.grad(centre.sum(), x)
    touched = slope[0].abs().sum(0) > 0
    ends = []
    for axis in (0, 1):
        index = touched.any(1 - axis).nonzero()
        ends.append((int(index.min()), int(index.max()) + 1))
    return tuple(ends)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_agrees_with_pytorch_on_random_networks(drawn):
    net, shape = drawn
    net.eval()
    table = trace(net, shape)
    assert_fields_are_those_of_the_gradient(table, net)
    x = torch.randn(1, *shape)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        y = net(x)
    assert table.output == tuple(y.shape[1:])
    assert (
        table.multiply_adds == counter.get_total_flops() // 2 == sum(row.multiply_adds for row in table.rows)
    )
    assert (
        table.parameters
        == sum(p.numel() for p in net.parameters())
        == sum(row.parameters for row in table.rows)
    )
    real = real_outputs(net, x)
    names = {name for name, _ in real}
    assert [(row.name, row.output) for row in table.rows if row.name in names] == real


def assert_fields_are_those_of_the_gradient(table, net):
    shape = table.input
    if not table.rows:
        return
    last = table.rows[-1]
    for axis, (first, end) in enumerate(seen_from_centre(net, shape)):
        size, stride, centre = last.receptive_field[axis], last.stride[axis], last.centre[axis]
        middle = centre + stride * (last.output[1 + axis] // 2 if len(last.output) == 3 else 0)
        low, high = middle - size / 2, middle + size / 2
        if low >= 0 and high <= shape[1 + axis] and size < shape[1 + axis]:
            assert (first, end) == (low, high)
        else:  # part of it lies in the padding, or it is all of the picture
            assert low <= first and end <= high or size == shape[1 + axis]


def test_a_row_holds_the_arithmetic_of_a_first_lecture():
    row = trace(nn.Sequential(nn.Conv2d(3, 10, 5, padding=2))).rows[0]
    assert row.formula == "(32 − 5 + 2·2)/1 + 1 = 32"
    assert row.dot_product == "5·5·3 = 75 + bias"
    assert (row.output, row.parameters, row.multiply_adds) == ((10, 32, 32), 760, 768_000)
    assert (row.forward_bytes, row.receptive_field, row.stride, row.centre) == (
        40_960,
        (5, 5),
        (1, 1),
        (0.5, 0.5),
    )


def test_rounding_is_shown():
    assert trace(nn.Conv2d(3, 1, 11, 4), (3, 224, 224)).rows[0].formula == "(224 − 11)/4 + 1 = 54.25 → 54"


def test_bytes_are_of_the_batch_and_multiply_adds_of_one_picture():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    one, many = trace(net), trace(net, batch=16)
    assert many.multiply_adds == one.multiply_adds
    assert many.rows[0].forward_bytes == 16 * one.rows[0].forward_bytes
    assert many.rows[1].backward_bytes == 16 * one.rows[1].backward_bytes > 0


def test_what_works_in_place_or_only_rearranges_takes_no_memory():
    rows = trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten())).rows
    assert [row.forward_bytes > 0 for row in rows] == [True, False, False]


def test_functional_code_and_branches_have_rows():
    names = [row.name for row in trace(nn.Sequential(Residual(3, 3, 2), Branches(3, 5))).rows]
    assert names == ["0.conv", "0.norm", "0.short", "0.add", "0.relu", "1.small", "1.large", "1.cat"]


def test_shared_weights_count_once_and_unused_ones_are_named():
    shared = nn.Conv2d(3, 3, 3, padding=1)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert [row.parameters for row in trace(net).rows] == [84, 0, 0]

    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.aux = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 5, 1)

        def forward(self, x):
            return self.main(x)

    table = trace(Auxiliary())
    assert table.idle == ("aux",) and table.parameters == 28 and sum(r.parameters for r in table.rows) == 8


def test_layers_that_mix_everything_see_the_whole_picture():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert [row.receptive_field for row in trace(net).rows][::3] == [(3, 3), (32, 32)]


def test_channels_last_blocks_are_followed():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc, self.norm = nn.Conv2d(3, 6, 7), nn.Linear(6, 4), nn.LayerNorm(6)

        def forward(self, x):
            return self.fc(self.norm(self.conv(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)

    table = trace(nn.Sequential(Block(), nn.Conv2d(4, 4, 3, 2)))
    assert table.rows[-1].receptive_field == (9, 9) and table.rows[-1].stride == (2, 2)


def test_a_sequence_made_of_a_map_is_followed():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(2), nn.Conv1d(8, 4, 3, padding=1), nn.Flatten())
    assert trace(net, (3, 6, 6)).output == (4 * 16,)
    rows = trace(nn.Sequential(nn.Flatten(1, 2), nn.Conv1d(24, 4, 3, padding=1)), (3, 8, 32)).rows
    assert rows[-1].output == (4, 32) and rows[-1].receptive_field == (8, 3)


def test_a_receptive_field_that_is_lost_fails_no_network(monkeypatch):
    def broken(*_):
        raise IndexError("tuple index out of range")

    monkeypatch.setattr(receptive, "_window", broken)
    assert trace(nn.Conv2d(3, 4, 3), (3, 8, 8)).rows[0].receptive_field == (8, 8)


class Keeps(nn.Module):
    """Keeps its last maps, as people do who look at them."""

    def __init__(self):
        super().__init__()
        self.conv, self.maps = nn.Conv2d(3, 4, 3), {}

    def forward(self, x):
        self.last = self.maps["conv"] = self.conv(x)
        return self.last.relu()


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        Keeps,
        lambda: nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3))),
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
        lambda: nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 4, 3))),
    ],
)
def test_networks_that_keep_what_they_computed(make):
    net = make()
    net(torch.zeros(1, 3, 8, 8))
    table = trace(net, (3, 8, 8))
    assert table.output == (4, 6, 6) and table.rows[0].kind in ("conv", "parametrizedconv2d")
    assert table.rows[0].receptive_field == (3, 3) and table.multiply_adds == 27 * 4 * 36


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype):
    row = trace(nn.Sequential(nn.Conv2d(3, 4, 3)).to(dtype), (3, 8, 8)).rows[0]
    assert row.forward_bytes == 4 * 36 * dtype.itemsize


def test_layers_without_a_size_are_refused_in_words():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(10))
    with pytest.raises(BadSetting, match=r"^2.weight has no size yet: run the network once on a picture"):
        trace(net, (3, 8, 8))
    net(torch.zeros(1, 3, 8, 8))
    assert trace(net, (3, 8, 8)).output == (10,)


def test_the_module_is_left_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    before = copy.deepcopy(net.state_dict())
    trace(net)
    assert net.training and next(net.parameters()).device.type == "cpu"
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not net[0]._forward_hooks


def test_json_has_the_published_keys():
    plain = trace(nn.Sequential(nn.Conv2d(3, 4, 3)), name="tiny").to_dict()
    assert {"network", "input", "output", "parameters", "multiply_adds", "layers"} <= plain.keys()
    layer = plain["layers"][0]
    assert {"name", "kind", "output", "parameters", "multiply_adds", "receptive_field"} <= layer.keys()
    assert plain["network"] == "tiny" and layer["output"] == [4, 30, 30] and layer["receptive_field"] == 3


def test_the_blackboard_refuses_what_is_not_whole():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 3))
    assert trace(net, (3, 7, 7)).output == (4, 2, 2)
    with pytest.raises(DoesNotFit, match=r"0: a 3×3 filter with stride 3 .* \(7 − 3\)/3 \+ 1 = 2.33"):
        trace(net, (3, 7, 7), floor=False)


@pytest.mark.parametrize("name, parameters", [("convnetjs-cifar10", 22_466), ("nielsen-conv2", 85_670)])
def test_designs_are_traced_layer_by_layer(name, parameters):
    design = parse(name)
    table = trace_design(design)
    assert table.parameters == parameters
    assert [row.name for row in table.rows] == [row.name for row in design.rows()]
    assert [row.output for row in table.rows] == [row.output for row in design.rows()]
    assert [row.multiply_adds for row in table.rows] == [row.multiply_adds for row in design.rows()]


def test_a_design_that_does_not_fit_gives_its_table_so_far():
    with pytest.raises(BrokenNetwork) as caught:
        trace_design(parse("input 3x34x34, conv5-16, relu, pool2, conv5-20, relu, pool2, softmax10"))
    assert [row.name for row in caught.value.table.rows] == ["conv1", "relu1", "pool1", "conv2", "relu2"]
    assert caught.value.reason.endswith("(11 − 2)/2 + 1 = 5.5.")


def test_the_smallest_input():
    pooled = nn.Sequential(nn.Conv2d(3, 4, 7, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1))
    assert smallest_input(pooled) == 13  # (13 − 7)/3 + 1 = 3
    lenet = nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 14 * 14, 10))
    assert smallest_input(lenet, channels=1) == 32
    halved = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(4))
    assert smallest_input(halved, channels=1, floor=False) == 4
    with pytest.raises(DoesNotFit, match="expects 100 features"):
        smallest_input(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(100, 2)))
