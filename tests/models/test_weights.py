"""Weights learned elsewhere load by name, or by order and shape, or are refused saying why; no code runs."""

import os
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn

from striate.errors import BadWeights
from striate.models.alexnet import alexnet_owt
from striate.models.googlenet import googlenet_bn
from striate.models.lenet import LeNet5Modern
from striate.models.resnet import resnet18, resnet20, resnet32
from striate.models.vgg import vgg11_bn
from striate.models.weights import load_weights


class TheirBlock(nn.Module):
    """A CIFAR ResNet written apart from ours, with the names that published weights have."""

    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.grows = inputs != planes

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.grows:
            quarter = torch.zeros(len(x), out.shape[1] // 4, *out.shape[2:])
            x = torch.cat([quarter, x[:, :, ::2, ::2], quarter], 1)
        return F.relu(out + x)


class TheirResNet20(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        plan = ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        for number, (inputs, planes, stride) in enumerate(plan, 1):
            blocks = [TheirBlock(inputs, planes, stride), *(TheirBlock(planes, planes, 1) for _ in range(2))]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


@pytest.fixture
def theirs() -> nn.Module:
    """Random weights and random running statistics, as if trained."""
    torch.manual_seed(5)
    net = TheirResNet20()
    for name, value in net.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and value.ndim == 1:
            value.normal_(0.5, 0.3)
    return net.eval()


def quiet(_: str) -> None:
    pass


def same_answers(ours: nn.Module, theirs: nn.Module) -> bool:
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        return torch.allclose(ours.eval()(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wrapped", ["bare", "state_dict", "model", "parallel", "compiled", "old"])
def test_a_published_resnet_loads_by_order_and_shape_and_gives_its_answers(theirs, tmp_path, wrapped):
    state = theirs.state_dict()
    if wrapped == "parallel":
        state = {f"module.{name}": value for name, value in state.items()}
    if wrapped == "compiled":
        state = {f"_orig_mod.module.{name}": value for name, value in state.items()}
    if wrapped == "old":  # before PyTorch 0.4.1, batch norm did not count its batches
        state = {name: value for name, value in state.items() if "num_batches" not in name}
    content = {wrapped: state, "epoch": 200, "best": 0.9} if wrapped in ("state_dict", "model") else state
    torch.save(content, tmp_path / "resnet20.th")
    ours, said = resnet20(), []
    assert not same_answers(ours, theirs)
    loaded = load_weights(ours, tmp_path / "resnet20.th", say=said.append)
    assert same_answers(ours, theirs)
    assert loaded.by == "order" and loaded.left == ()
    assert ("head.fc.weight", "linear.weight") in loaded.pairs
    assert "order and shape" in said[0]
    assert "  head.fc.weight ← linear.weight  10×64" in said
    assert len(said) == 1 + len(loaded.pairs)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_our_own_names_load_by_name_in_any_order(tmp_path, suffix):
    before, after = resnet20(), resnet20()
    file = tmp_path / f"w{suffix}"
    state = dict(reversed(before.state_dict().items()))
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    loaded = load_weights(after, file, say=quiet)
    assert loaded.by == "name"
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in after.state_dict().items())


@pytest.mark.parametrize("by", ["name", "order"])
def test_another_number_of_classes_loads_all_but_the_classifier_and_says_so(tmp_path, by):
    source = resnet20(classes=100) if by == "name" else TheirResNet20(classes=100)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    net, said = resnet20(), []
    start = net.head.fc.weight.clone()
    loaded = load_weights(net, tmp_path / "w.pt", say=said.append)
    assert loaded.by == by and loaded.left == ("head.fc.weight", "head.fc.bias")
    assert torch.equal(net.head.fc.weight, start)
    assert torch.equal(net.layer3[2].conv2.weight, source.layer3[2].conv2.weight)
    assert "classifier keeps its random start" in said[-1]


def test_the_first_tensor_that_does_not_fit_is_named_with_both_shapes_and_nothing_changes(theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    net = resnet32()
    before = net.conv1.weight.clone()
    with pytest.raises(BadWeights) as error:
        load_weights(net, tmp_path / "w.pt", say=quiet)
    assert "layer2.0.conv1.weight (32×16×3×3) does not fit layer1.3.conv1.weight (16×16×3×3)" in str(
        error.value
    )
    assert "choose the network that the file was trained as" in str(error.value)
    assert torch.equal(net.conv1.weight, before)


def test_a_deeper_network_of_the_same_names_is_refused(tmp_path):
    torch.save(resnet32().state_dict(), tmp_path / "w.pt")
    with pytest.raises(BadWeights, match=r"no layer1\.3\.conv1\.weight \(16×16×3×3\)"):
        load_weights(resnet20(), tmp_path / "w.pt", say=quiet)


def test_other_input_channels_are_refused_saying_so(tmp_path):
    torch.save(resnet20(channels=1).state_dict(), tmp_path / "w.pt")
    with pytest.raises(BadWeights, match="for 1 input channels, this one takes 3"):
        load_weights(resnet20(), tmp_path / "w.pt", say=quiet)


def test_a_file_that_ends_early_is_refused(theirs, tmp_path):
    state = list(theirs.state_dict().items())
    torch.save({f"x.{name}": value for name, value in state[:50]}, tmp_path / "w.pt")
    with pytest.raises(BadWeights, match="the file ends before the network's layer2"):
        load_weights(resnet20(), tmp_path / "w.pt", say=quiet)


def test_weights_and_biases_of_one_shape_are_not_mixed_up(tmp_path):
    norm, ours = nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    state = {"a.bias": norm.bias, "a.weight": norm.weight, "a.running_mean": norm.running_mean}
    state |= {"a.running_var": norm.running_var, "b.weight": torch.ones(2, 3), "b.bias": torch.ones(2)}
    torch.save({name: value.detach() for name, value in state.items()}, tmp_path / "w.pt")
    with pytest.raises(BadWeights, match=r"a\.bias \(3\) does not fit 0\.weight \(3\)"):
        load_weights(ours, tmp_path / "w.pt", say=quiet)


def test_safetensors_under_other_names_are_refused_because_their_order_is_lost(theirs, tmp_path):
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(BadWeights, match=r"no head\.fc\.weight \(10×64\).*keeps no order"):
        load_weights(resnet20(), tmp_path / "w.safetensors", say=quiet)


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, how):
    proof, file = tmp_path / "proof", tmp_path / "w.pt"
    content = {"conv1.weight": Hostile(f"touch {proof}")}
    torch.save(content, file) if how == "torch" else file.write_bytes(pickle.dumps(content))
    with pytest.raises(BadWeights, match=r"w\.pt: refused: .*stranger's code"):
        load_weights(resnet20(), file, say=quiet)
    assert not proof.exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 half a zip"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadWeights) as error:
        load_weights(resnet20(), tmp_path / name, say=quiet)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_file_cut_short_is_refused(tmp_path):
    torch.save(resnet20().state_dict(), tmp_path / "w.pt")
    whole = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadWeights, match="damaged|refused"):
        load_weights(resnet20(), tmp_path / "w.pt", say=quiet)


@pytest.mark.parametrize("content", [[torch.ones(2)], {"epoch": 3}, 7])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(BadWeights, match="save a state_dict"):
        load_weights(resnet20(), tmp_path / "w.pt", say=quiet)


def test_a_file_of_another_network_altogether_is_refused(tmp_path):
    torch.save(LeNet5Modern(channels=3).state_dict(), tmp_path / "w.pt")
    with pytest.raises(BadWeights, match=r"c1\.weight \(6×3×5×5\) does not fit conv1\.weight \(16×3×3×3\)"):
        load_weights(resnet20(), tmp_path / "w.pt", say=quiet)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadWeights, match=r"gone\.pt: there is no such file"):
        load_weights(resnet20(), tmp_path / "gone.pt", say=quiet)


def test_half_precision_loads_as_float32(tmp_path):
    source = resnet20()
    torch.save({name: value.half() for name, value in source.state_dict().items()}, tmp_path / "w.pt")
    net = resnet20()
    load_weights(net, tmp_path / "w.pt", say=quiet)
    assert net.conv1.weight.dtype == torch.float32
    assert torch.allclose(net.conv1.weight, source.conv1.weight, atol=1e-3)


def torchvisions(network, net, **given):
    """Our network's tensors under torchvision's names."""
    with torch.device("meta"):
        names = getattr(torchvision.models, net)(weights=None, **given).state_dict()
    ours = network.state_dict()
    assert len(names) == len(ours)
    return {name: tensor.contiguous() for name, tensor in zip(names, ours.values(), strict=True)}


@pytest.mark.parametrize(
    ("build", "net", "given"),
    [
        (partial(resnet18, 10), "resnet18", {}),
        (partial(vgg11_bn, 10, size=(32, 32)), "vgg11_bn", {}),
        (partial(alexnet_owt, 10, size=(63, 63)), "alexnet", {}),
        (partial(googlenet_bn, 10), "googlenet", {"init_weights": False}),
    ],
)
def test_torchvisions_names_load_from_safetensors_which_keep_no_order(build, net, given, tmp_path):
    source, target = build(), build()
    save_file(torchvisions(source, net, **given), tmp_path / "w.safetensors")
    assert not load_weights(target, tmp_path / "w.safetensors", say=lambda _: None).left
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name])


def test_a_googlenet_for_other_classes_leaves_all_three_classifiers(tmp_path):
    torch.save(torchvisions(googlenet_bn(7), "googlenet", init_weights=False), tmp_path / "w.pt")
    lines = []
    loaded = load_weights(googlenet_bn(10), tmp_path / "w.pt", say=lines.append)
    assert {name.rpartition(".")[0] for name in loaded.left} == {"head.fc", "aux1.fc2", "aux2.fc2"}
    assert "classifier keeps its random start" in lines[-1]


def test_a_googlenet_without_auxiliary_classifiers_leaves_ours_as_they_are(tmp_path):
    bare = googlenet_bn(10, auxiliaries=False)
    given = {"init_weights": False, "aux_logits": False}
    torch.save(torchvisions(bare, "googlenet", **given), tmp_path / "w.pt")
    network, lines = googlenet_bn(10), []
    loaded = load_weights(network, tmp_path / "w.pt", say=lines.append)
    assert {name.partition(".")[0] for name in loaded.left} == {"aux1", "aux2"}
    assert torch.equal(network.head.fc.weight, bare.head.fc.weight)
    assert lines[-1].endswith("has no aux1 and aux2: ours keep their random start")


def test_half_a_classifier_is_left_as_a_whole(tmp_path):
    weights = resnet20().state_dict()
    missing = list(weights)[-1]
    torch.save({name: tensor for name, tensor in weights.items() if name != missing}, tmp_path / "w.pt")
    loaded = load_weights(resnet20(), tmp_path / "w.pt", say=quiet)
    assert loaded.left == tuple(list(weights)[-2:])
