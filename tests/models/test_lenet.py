"""LeNet-5 as published: table 1 and the counts of the paper, the fixed codes, the start, the criterion."""

import math

import pytest
import torch
import torch.nn.functional as F

from striate.errors import BadSetting, DoesNotFit
from striate.models.lenet import (
    C3,
    LeNet5,
    LeNet5Modern,
    SparseConv,
    Squash,
    Subsampling,
    codes,
    connections,
    map_loss,
    mse_loss,
)


def parameters(layer: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in layer.parameters())


def test_trainable_parameters_of_every_layer_are_the_papers():
    net = LeNet5()
    head = net.head
    layers = net.c1, net.s2, net.c3, net.s4, head.c5, head.f6, head.rbf
    assert [parameters(layer) for layer in layers] == [156, 12, 1516, 32, 48120, 10164, 0]
    assert parameters(net) == 60_000


def test_connections_of_every_layer_are_the_papers():
    found = connections(LeNet5())
    assert list(found.values()) == [122_304, 5_880, 151_600, 2_000, 48_120, 10_164, 840]
    assert sum(found.values()) == 340_908


def test_sizes_are_those_of_figure_2():
    maps = LeNet5().stages(torch.zeros(1, 1, 32, 32))
    assert {name: tuple(m.shape[1:]) for name, m in maps.items()} == {
        "stage1": (6, 14, 14),
        "stage2": (16, 5, 5),
    }


def test_table_1_has_60_links_and_every_map_of_s2_in_ten():
    rows = C3.split()
    assert len(rows) == 16 and len("".join(rows)) == 60
    assert all("".join(rows).count(str(source)) == 10 for source in range(6))


def test_a_map_of_c3_sees_only_its_inputs():
    conv, x = SparseConv([[0, 2], [1]], 3), torch.randn(1, 3, 5, 5)
    other = x.clone()
    other[:, 1] += 1
    changed = (conv(x) != conv(other)).flatten()
    assert changed.tolist() == [False, True]
    by_hand = (x[0, [0, 2]] * conv.weight[:2]).sum() + conv.bias[0]
    assert torch.allclose(conv(x)[0, 0], by_hand, atol=1e-6)


def test_subsampling_is_a_sum_a_coefficient_and_a_bias():
    layer = Subsampling(1)
    with torch.no_grad():
        layer.weight.fill_(0.5)
        layer.bias.fill_(1)
    out = layer(torch.tensor([[[[1.0, 2], [3, 4]]]]))
    assert out.item() == pytest.approx(0.5 * (1 + 2 + 3 + 4) + 1)


def test_squash_is_one_at_one():
    assert Squash()(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1, -1], abs=1e-4)


def test_weights_start_within_2_4_over_fan_in():
    net = LeNet5()
    for layer, fan_in in ((net.c1, 25), (net.head.c5, 400), (net.head.f6, 120), (net.s2, 4)):
        largest = layer.weight.abs().max().item()
        assert 0.5 * 2.4 / fan_in < largest <= 2.4 / fan_in
    assert net.c3.weight[:3].abs().max() <= 2.4 / 75  # the first map of C3 has three inputs, the last six
    assert net.c3.weight[-6:].abs().max() <= 2.4 / 150


def test_the_digits_are_drawn_on_7_by_12_in_plus_and_minus_one():
    digits = codes(10)
    assert digits.shape == (10, 84) and set(digits.unique().tolist()) == {-1.0, 1.0}
    one = digits[1].view(12, 7)
    assert one[:, 3].eq(1).all() and one[:, 6].eq(-1).all()
    assert distances(digits) >= 10


@pytest.mark.parametrize("classes", [2, 26, 128])
def test_codes_of_other_class_counts_lie_far_apart(classes):
    assert codes(classes).shape == (classes, 84)
    assert distances(codes(classes)) >= 20


def test_a_thousand_codes_are_distinct_and_the_same_every_time():
    many = codes(1000)
    assert torch.equal(many, codes(1000)) and len(many.unique(dim=0)) == 1000
    assert torch.equal(many[:128], codes(128))


def distances(rows: torch.Tensor) -> int:
    """The fewest pixels in which two codes differ."""
    differ = (rows.shape[1] - rows @ rows.T) / 2
    return int((differ + 1e6 * torch.eye(len(rows))).min())


def test_one_class_is_refused():
    with pytest.raises(BadSetting, match="2 or more"):
        LeNet5(classes=1)


def test_the_answer_is_the_nearest_code_and_logits_are_the_penalties():
    net = LeNet5()
    rbf = net.head.rbf
    x = torch.randn(3, 84)
    penalties = torch.stack([((row - rbf.codes) ** 2).sum(1) for row in x])
    assert torch.allclose(rbf.penalties(x), penalties, atol=1e-3)
    assert torch.equal(rbf(x).argmax(1), penalties.argmin(1))
    assert torch.allclose(rbf(x) * rbf.temperature, -penalties, atol=1e-3)
    assert rbf(rbf.codes).argmax(1).tolist() == list(range(10))


def test_the_first_loss_is_the_mean_penalty_of_the_right_class():
    penalties = torch.tensor([[1.0, 2, 3], [4, 5, 7]])
    assert mse_loss(penalties, torch.tensor([2, 0])).item() == pytest.approx((3 + 4) / 2)


def test_the_second_loss_by_hand_with_and_without_the_rubbish_class():
    penalties, label = torch.tensor([[1.0, 2.0]]), torch.tensor([1])
    for j, constant in ((0.5, math.exp(-0.5)), (math.inf, 0.0)):
        expected = 2 + math.log(constant + math.exp(-1) + math.exp(-2))
        assert map_loss(penalties, label, j).item() == pytest.approx(expected)


def test_the_second_loss_pushes_wrong_classes_no_further_than_the_rubbish_class():
    label = torch.tensor([0])
    near, far = (torch.tensor([[1.0, y]], requires_grad=True) for y in (2.0, 30.0))
    pushes = [torch.autograd.grad(map_loss(y, label, 5.0), y)[0][0, 1].item() for y in (near, far)]
    assert pushes[0] < -0.1 and abs(pushes[1]) < 1e-9


def test_training_minimises_the_second_loss():
    net = LeNet5()
    x, label = torch.randn(4, 84), torch.tensor([3, 1, 4, 1])
    rbf = net.head.rbf
    found = map_loss(rbf.penalties(x) / rbf.temperature, label)
    assert torch.allclose(F.cross_entropy(rbf(x), label), found, rtol=1e-4)


@pytest.mark.parametrize("net", [LeNet5(), LeNet5Modern()])
def test_other_sizes_than_32_are_refused(net):
    with pytest.raises(DoesNotFit, match="these are 4×4: give it pictures of 32×32"):
        net(torch.zeros(1, 1, 28, 28))


def test_the_modern_one_has_61706_parameters():
    assert parameters(LeNet5Modern()) == 61_706
