"""A design as a backbone: stages known beforehand, logits, and the classes of the data at hand."""

import pytest
import torch
from torch import nn

from striate.design import NAMED, parse
from striate.errors import BadDesign, BadSetting, DoesNotFit
from striate.models import network
from striate.models.designed import Designed, begin_as_nielsen


@pytest.mark.parametrize("name", NAMED)
def test_widths_and_strides_are_those_of_the_stages(name):
    design = parse(name)
    net = Designed(design)
    _, height, width = design.input
    stages = net.stages(torch.zeros(2, *design.input))
    assert list(stages) == list(net.widths) == list(net.strides)
    for stage, maps in stages.items():
        assert maps.shape[:2] == (2, net.widths[stage])
        assert abs(maps.shape[2] - height / net.strides[stage]) <= 6, (
            "convolutions without padding lose their rim"
        )
    assert sorted(net.strides.values()) == list(net.strides.values()), "finest first"


def test_cut_before_each_reduction():
    net = Designed(parse("convnetjs-cifar10"))
    assert net.widths == {"stage1": 16, "stage2": 20, "stage3": 20, "stage4": 20}
    assert net.strides == {"stage1": 1, "stage2": 2, "stage3": 4, "stage4": 8}
    strided = Designed(
        parse("input 3x32x32, conv4-8 stride4, relu, conv3-16 stride2 pad1, relu, fc5"), floor=True
    )
    assert (strided.widths, strided.strides) == ({"stage1": 8, "stage2": 16}, {"stage1": 4, "stage2": 8})


def test_logits_are_the_head_on_the_last_stage_without_softmax():
    torch.manual_seed(0)
    net = Designed(parse("convnetjs-mnist")).eval()
    x = torch.randn(3, 1, 24, 24)
    logits = net(x)
    assert logits.shape == (3, 10)
    assert torch.allclose(net.head(list(net.stages(x).values())[-1]), logits, atol=1e-6)
    assert not any(isinstance(layer, nn.Softmax) for layer in net.modules())
    logits.sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_stages_take_pictures_of_other_sizes():
    net = Designed(parse("convnetjs-cifar10"))
    assert net.stages(torch.zeros(1, 3, 64, 48))["stage4"].shape == (1, 20, 8, 6)


def test_without_convolutions_the_picture_is_the_one_stage():
    net = Designed(parse("nielsen-shallow"))
    assert (net.widths, net.strides) == ({"stage1": 1}, {"stage1": 1})
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(net.stages(x)["stage1"], x)


def test_pooling_to_one_cell_and_dropout_belong_to_the_head():
    text = "input 3x16x16, conv3-8 pad1, relu, pool2, conv3-8 pad1, relu, dropout0.5, {}, softmax10"
    for pool in ("globalpool", "avgpool8", "pool8"):
        net = Designed(parse(text.format(pool)))
        assert net.stages(torch.zeros(1, 3, 16, 16))["stage2"].shape == (1, 8, 8, 8)
        assert isinstance(net.head[0], nn.Dropout)


def test_the_data_decides_how_many_classes():
    net = Designed(parse("convnetjs-cifar10"), classes=2, input=(1, 16, 16))
    assert net(torch.zeros(1, 1, 16, 16)).shape == (1, 2)
    assert net.note == "the last layer has 2 outputs, one for each class, in place of 10"
    assert net.design.classes == 2
    assert Designed(parse("convnetjs-cifar10"), classes=10).note == ""


def test_refusals():
    with pytest.raises(BadDesign, match="ends in no fully connected layer: add softmax7 to it"):
        Designed(parse("input 3x8x8, conv3-4, relu"), classes=7)
    with pytest.raises(DoesNotFit, match="pool1: a 2×2 window"):
        Designed(parse("input 3x9x9, conv3-4, pool2, softmax10"))
    assert Designed(parse("input 3x9x9, conv3-4, pool2, softmax10"), floor=True)(
        torch.zeros(1, 3, 9, 9)
    ).shape == (1, 10)


def test_weights_travel_as_a_state_dict():
    net, other = Designed(parse("convnetjs-mnist")), Designed(parse("convnetjs-mnist"))
    assert "body.conv1.weight" in net.state_dict() and "head.fc1.weight" in net.state_dict()
    other.load_state_dict(net.state_dict())
    x = torch.randn(1, 1, 24, 24)
    assert torch.equal(net(x), other(x))


def test_nielsens_start_is_network3s():
    """Deviations 1/sqrt(n_out) with n_out = filters * 25/4 or units; half of it behind dropout of a half."""
    torch.manual_seed(0)
    begin_as_nielsen(net := Designed(parse("nielsen-dropout")))
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    deviations = [float(layer.weight.detach().std()) for layer in layers]
    expected = [125**-0.5, 250**-0.5, 1000**-0.5 / 2, 1000**-0.5 / 2, 0]
    assert deviations == pytest.approx(expected, rel=0.05)
    assert float(layers[2].bias.detach().std()) == pytest.approx(1, rel=0.1)
    assert not layers[-1].bias.any()


def test_nielsens_start_takes_biases_that_are_not_there_and_refuses_what_is_no_design():
    begin_as_nielsen(Designed(parse("input 3x8x8, conv3-4 pad1, bn, relu, softmax10")))
    with pytest.raises(BadSetting, match="init=nielsen: LeNet5 is no design"):
        begin_as_nielsen(network("lenet5"))
