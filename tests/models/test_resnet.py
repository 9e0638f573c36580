"""ResNets: the counts of the paper, torchvision's answers, every kind of shortcut, any size of picture."""

import pytest
import torch
import torchvision
from torch import nn

from striate.errors import BadSetting
from striate.models import resnet
from striate.models.resnet import CifarResNet, PadShortcut
from striate.models.weights import load_weights
from striate.tracing import trace

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


# Table 1: blocks a stage, layers with weights, parameters and multiply-adds at 224x224.
IMAGENET = {
    "resnet18": ((2, 2, 2, 2), 18, 11_689_512, 1_814_073_344),
    "resnet34": ((3, 4, 6, 3), 34, 21_797_672, 3_663_761_408),
    "resnet50": ((3, 4, 6, 3), 50, 25_557_032, 4_089_184_256),
    "resnet101": ((3, 4, 23, 3), 101, 44_549_160, 7_801_405_440),
    "resnet152": ((3, 8, 36, 3), 152, 60_192_808, 11_513_626_624),
}


@pytest.mark.parametrize("name", IMAGENET)
def test_table_1(name):
    blocks, layers, parameters, multiply_adds = IMAGENET[name]
    with torch.device("meta"):
        net = getattr(resnet, name)()
        theirs = getattr(torchvision.models, name)()
    table = trace(net, (3, 224, 224))
    assert (table.parameters, table.multiply_adds) == (parameters, multiply_adds)
    assert tuple(len(net.get_submodule(f"layer{i}")) for i in range(1, 5)) == blocks
    weighty = [n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum("shortcut" not in n for n in weighty) == layers
    maps = net.stages(torch.zeros(1, 3, 224, 224, device="meta"))
    assert [m.shape[-1] for m in maps.values()] == [56, 28, 14, 7]
    shapes = [[value.shape for value in n.state_dict().values()] for n in (net, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", IMAGENET)
def test_torchvisions_weights_give_torchvisions_answers(name, tmp_path):
    """In evaluation and in training, where the batch's statistics are used and kept."""
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)()
    for key, value in theirs.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif key.endswith("running_mean"):
            value.normal_(0, 0.1)
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    ours = getattr(resnet, name)()
    loaded = load_weights(ours, tmp_path / "weights.pt", lambda line: None)
    (tmp_path / "weights.pt").unlink()
    assert loaded.by == "name" and not loaded.left
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        for training in (False, True):
            assert torch.allclose(ours.train(training)(x), theirs.train(training)(x), rtol=1e-5, atol=1e-5)
    for mine, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-5)


def parameters(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize(("name", "a"), [("resnet18", 11_515_688), ("resnet34", 21_623_848)])
def test_shortcut_a_is_free_and_c_projects_in_every_block(name, a):
    with torch.device("meta"):
        nets = {option: getattr(resnet, name)(shortcut=option) for option in ("A", "B", "C", "none")}
    assert parameters(nets["A"]) == parameters(nets["none"]) == a
    blocks = {option: sum(isinstance(m, resnet.Block) for m in net.modules()) for option, net in nets.items()}
    projections = {
        option: sum(isinstance(m, nn.Sequential) for n, m in net.named_modules() if n.endswith("shortcut"))
        for option, net in nets.items()
    }
    assert projections == {"A": 0, "B": 3, "C": blocks["C"], "none": 0}


def test_v1_halves_the_size_in_the_first_convolution_and_so_costs_less():
    with torch.device("meta"):
        early, late = resnet.resnet50_v1(), resnet.resnet50()
    costs = [trace(net, (3, 224, 224)).multiply_adds for net in (early, late)]
    assert costs == [3_857_973_248, 4_089_184_256]
    strides = [[net.layer2[0].conv1.stride[0], net.layer2[0].conv2.stride[0]] for net in (early, late)]
    assert strides == [[2, 1], [1, 2]]
    assert [v.shape for v in early.state_dict().values()] == [v.shape for v in late.state_dict().values()]


def test_a_plain_net_is_the_residual_one_without_its_sum():
    torch.manual_seed(0)
    plain, residual, x = resnet.plain20().eval(), resnet.resnet20().eval(), torch.randn(2, 3, 32, 32)
    residual.load_state_dict(plain.state_dict())
    assert not torch.allclose(plain(x), residual(x), atol=1e-3)
    block = plain.layer1[0]
    assert torch.equal(block(x_ := torch.randn(1, 16, 8, 8)), block.change(x_).relu())
