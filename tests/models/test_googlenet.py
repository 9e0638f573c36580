"""GoogLeNet: table 1's sizes and counts, and the same outputs as torchvision's network."""

import pytest
import torch
import torchvision
from torch import nn

from striate.models import published
from striate.models.googlenet import Auxiliary, GoogLeNet, Inception, googlenet, googlenet_bn
from striate.models.weights import load_weights
from striate.tasks.classify.loss import forward, loss
from striate.tracing import trace

# Table 1: module, maps, side, parameters (weights and biases; the table prints thousands of weights).
TABLE = {
    "inception3a": (256, 28, 163_696),
    "inception3b": (480, 28, 388_736),
    "inception4a": (512, 14, 376_176),
    "inception4b": (512, 14, 449_160),
    "inception4c": (512, 14, 510_104),
    "inception4d": (528, 14, 605_376),
    "inception4e": (832, 14, 868_352),
    "inception5a": (832, 7, 1_043_456),
    "inception5b": (1024, 7, 1_444_080),
}


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_every_module_has_the_tables_maps_sides_and_parameters():
    with torch.device("meta"):
        net = googlenet()
    sides = {}
    for name in TABLE:
        net.get_submodule(name).register_forward_hook(
            lambda module, given, out, name=name: sides.update({name: tuple(out.shape[1:3])})
        )
    net(torch.zeros(1, 3, 224, 224, device="meta"))
    for name, (maps, side, parameters) in TABLE.items():
        assert sides[name] == (maps, side), name
        assert count(net.get_submodule(name)) == parameters, name
    assert [count(part) for part in (net.conv1, net.conv2, net.conv3, net.head)] == [
        9_472,
        4_160,
        110_784,
        1_025_000,
    ]


@pytest.mark.parametrize(
    ("build", "without", "with_them", "multiply_adds"),
    [(googlenet, 6_998_552, 13_378_280, 1_582_671_872), (googlenet_bn, 6_624_904, 13_004_888, 1_498_376_192)],
)
def test_counts_of_the_whole(build, without, with_them, multiply_adds):
    with torch.device("meta"):
        bare, full = build(auxiliaries=False), build()
    assert (count(bare), count(full)) == (without, with_them)
    assert trace(full, (3, 224, 224)).multiply_adds == multiply_adds, "auxiliaries cost nothing at test"


def test_two_layers_of_response_normalisation_and_22_with_weights_in_depth():
    with torch.device("meta"):
        net = googlenet(auxiliaries=False)
    assert type(net.norm1) is type(net.norm2) is not nn.Identity
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    deep = 3 + 2 * sum(isinstance(m, Inception) for m in net.modules()) + 1
    assert (deep, len(convolutions)) == (22, 3 + 9 * 6)


def spread(module: nn.Module) -> None:
    """Random weights and statistics under which neither maps nor gradients vanish."""
    torch.manual_seed(0)
    for name, value in module.state_dict().items():
        if value.dim() > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
        elif name.endswith(("var", "weight")):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            value.normal_(0, 0.1)


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[GoogLeNet, nn.Module]:
    """Ours, loaded from a file of torchvision's weights, and torchvision's."""
    file = tmp_path_factory.mktemp("googlenet") / "googlenet.pt"
    theirs = torchvision.models.googlenet(init_weights=False, aux_logits=True)
    spread(theirs)
    torch.save(theirs.state_dict(), file)
    ours = googlenet_bn()
    loaded = load_weights(ours, file, lambda line: None)
    assert loaded.by == "name" and not loaded.left
    return ours, theirs


def test_torchvisions_weights_give_torchvisions_answers(both):
    ours, theirs = both
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)


def test_pictures_are_normalised_as_torchvision_does_it_inside(both, monkeypatch):
    ours, theirs = both
    monkeypatch.setattr(theirs, "transform_input", True)  # as googlenet(weights=...) sets it
    pixels = torch.rand(2, 3, 64, 64)

    def fed(name: str) -> torch.Tensor:
        mean, std = (torch.tensor(values)[:, None, None] for values in published.normalisation(name))
        return (pixels - mean) / std

    with torch.no_grad():
        expected = theirs.eval()(fed("resnet18"))
        assert torch.allclose(ours.eval()(fed("googlenet-bn")), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(ours(fed("resnet18")), expected, rtol=1e-2, atol=1e-3)
    assert published.normalisation("vgg16") == (published.MEAN, published.STD)


def test_in_training_too_with_auxiliary_answers_and_statistics(both):
    ours, theirs = both
    x = torch.randn(4, 3, 96, 96)
    for net in both:
        net.train()
        for m in net.modules():
            if isinstance(m, nn.Dropout):
                m.p = 0.0  # they draw in another order
    with torch.no_grad():
        main, aux1, aux2 = ours.training_logits(x)
        expected = theirs(x)
    for mine, other in ((main, expected.logits), (aux1, expected.aux_logits1), (aux2, expected.aux_logits2)):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-5)
    for name in ("conv1", "inception5b"):
        mine, other = (net.get_submodule(name).state_dict().values() for net in both)
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(mine, other, strict=True))


def test_auxiliary_classifiers_count_for_0_3_in_training_and_are_absent_at_test():
    net, x, target = googlenet(classes=3), torch.randn(2, 3, 64, 64), {"label": torch.tensor([0, 2])}
    answers = forward(net.train(), x, target)
    terms = loss(answers, target)
    assert list(terms) == ["cross_entropy", "auxiliary1", "auxiliary2"]
    for part, logits in zip(list(terms.values())[1:], answers[1:], strict=True):
        assert torch.allclose(part, 0.3 * nn.functional.cross_entropy(logits, target["label"]))
    assert forward(net, x, None).shape == forward(net.eval(), x, target).shape == (2, 3)


@pytest.mark.parametrize("size", [(31, 31), (32, 48), (225, 191)])
def test_any_size_of_picture(size):
    net = googlenet(classes=5, channels=1).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 1, *size)).shape == (1, 5)


def test_the_papers_auxiliaries_average_five_by_five_with_stride_three():
    maps = torch.randn(2, 512, 14, 14)
    one = Auxiliary(512, 10, norm=False)
    assert torch.equal(one.pool(maps), torch.nn.functional.avg_pool2d(maps, 5, 3))
    assert one.pool(maps[..., :7]).shape == (2, 512, 4, 4)
