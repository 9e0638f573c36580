"""The promises that every network of the zoo keeps, and how a network is named, built and built again."""

import json

import pytest
import torch
from torch import nn

import striate.models as models
from striate.design import NAMED
from striate.errors import BadDesign, BadRun, BadSetting, DoesNotFit
from striate.models import MODELS, from_spec, native_size, network, next_size, spec

FOR_IMAGENET = {
    "alexnet": 67,
    "alexnet-owt": 63,
    "zfnet": 53,
    "vgg11": 32,
    "vgg16-bn": 32,
    "googlenet": 64,
    "googlenet-bn": 64,
    "resnet18": 64,
    "resnet50-v1": 64,
}
"""Of those with a thousand classes and large pictures, some of each kind, and the side they are tested at."""

SIDES = {
    name: m.size for name, m in MODELS.items() if m.classes == 10 and name != "resnet1202"
} | FOR_IMAGENET


def build(name: str) -> nn.Module:
    return network(name, classes=10, size=SIDES[name])


def pictures(name: str, count: int = 2) -> torch.Tensor:
    return torch.randn(count, MODELS[name].channels, SIDES[name], SIDES[name])


@pytest.fixture(params=SIDES)
def name(request: pytest.FixtureRequest) -> str:
    torch.manual_seed(0)
    return request.param


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_multiply_adds_are_those_in_the_table(name):
    from striate.tracing import trace

    model = MODELS[name]
    with torch.device("meta"):
        built = network(name)
    table = trace(built, (model.channels, model.size, model.size))
    assert (table.parameters, table.multiply_adds) == (model.parameters, model.multiply_adds)


def test_the_table_holds_the_published_counts():
    assert MODELS["lenet5"].parameters == 60_000
    assert MODELS["convnetjs-cifar10"].parameters == 22_466
    nielsen = [MODELS[f"nielsen-{name}"].parameters for name in ("shallow", "conv1", "conv2", "dropout")]
    assert nielsen == [79_510, 289_630, 85_670, 1_672_570]
    resnets = {n: MODELS[f"resnet{n}"] for n in (20, 32, 44, 56, 110)}
    assert [m.parameters for m in resnets.values()] == [269_722, 464_154, 658_586, 853_018, 1_727_962]
    assert resnets[20].multiply_adds == 40_551_040 and resnets[110].multiply_adds == 252_887_680


def test_every_named_design_is_in_the_table_with_its_own_input():
    for name, text in NAMED.items():
        model = MODELS[name]
        assert f"input {model.channels}x{model.size}x{model.size}" in text


def test_stages_are_as_wide_and_as_coarse_as_promised(name):
    net, x = build(name).eval(), pictures(name)
    maps = net.stages(x)
    assert list(maps) == list(net.widths) == list(net.strides)
    sides = [m.shape[-1] for m in maps.values()]
    assert sides == sorted(sides, reverse=True), "finest first"
    for stage, m in maps.items():
        assert m.shape[:2] == (2, net.widths[stage])
        # Without padding the rim is lost: at most one filter of 5 before every pool, measured in cells.
        assert 0 <= x.shape[-1] / net.strides[stage] - m.shape[-1] <= 6
    assert torch.allclose(net.head(list(maps.values())[-1]), net(x), atol=1e-5)


def test_gradients_reach_every_weight(name):
    net = build(name)
    x = pictures(name, 4)
    answers = net.training_logits(x) if hasattr(net, "training_logits") else [net(x)]
    sum(nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])) for logits in answers).backward()
    learned = [(key, weight) for key, weight in net.named_parameters() if weight.requires_grad]
    missing = [key for key, weight in learned if weight.grad is None or not weight.grad.any()]
    assert not missing


def test_one_picture_gives_what_it_gives_among_others(name):
    net, x = build(name).eval(), pictures(name, 3)
    with torch.no_grad():
        alone, among = net(x[:1]), net(x)
    apart = (among[0] - among[1]).abs().max()  # as little as 2e-5 as zfnet starts
    assert (alone[0] - among[0]).abs().max() < 0.1 * apart


def test_weights_survive_the_way_through_a_state_dict(name):
    before, after, x = build(name).eval(), build(name).eval(), pictures(name)
    after.load_state_dict(before.state_dict())
    assert torch.equal(before(x), after(x))


def test_other_classes_and_channels(name):
    size = SIDES[name]
    net = network(name, classes=3, channels=2, size=size).eval()
    assert net(torch.randn(1, 2, size, size)).shape == (1, 3)


def test_channels_last_changes_nothing_but_the_speed(name):
    net, x = build(name).eval(), pictures(name)
    with torch.no_grad():
        plain = net(x)
        net.to(memory_format=torch.channels_last)
        assert torch.allclose(net(x.to(memory_format=torch.channels_last)), plain, rtol=1e-3, atol=1e-4)


def test_the_same_seed_gives_the_same_weights(name):
    def drawn() -> dict[str, torch.Tensor]:
        torch.manual_seed(7)
        return build(name).state_dict()

    assert all(torch.equal(a, b) for a, b in zip(drawn().values(), drawn().values(), strict=True))


def test_a_network_is_rebuilt_from_plain_json(name):
    net, x = network(name, classes=4, size=SIDES[name]).eval(), pictures(name)
    plain = json.loads(json.dumps(spec(name, classes=4, size=SIDES[name])))
    again = from_spec(plain).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(net(x), again(x))


def test_a_run_keeps_its_design_when_the_name_comes_to_mean_another():
    plain = spec("convnetjs-mnist")
    assert plain["net"] == "convnetjs-mnist" and plain["design"]["layers"][0]["filters"] == 8


DESIGN = "input 1x12x12, conv3-4, relu, pool2, softmax5"


def test_a_design_is_built_for_the_data_at_hand():
    assert network(DESIGN)(torch.zeros(2, 1, 12, 12)).shape == (2, 5)
    assert network(DESIGN, classes=3, channels=3, size=(20, 16))(torch.zeros(2, 3, 20, 16)).shape == (2, 3)
    assert from_spec(spec(DESIGN, classes=3))(torch.zeros(1, 1, 12, 12)).shape == (1, 3)


def test_a_design_in_a_json_file(tmp_path):
    file = tmp_path / "net.json"
    file.write_text(json.dumps(models.design.parse(DESIGN).to_json()))
    assert network(str(file))(torch.zeros(1, 1, 12, 12)).shape == (1, 5)
    assert native_size(file) == 12
    assert "design" in spec(file)


@pytest.mark.parametrize("content", ["{", '{"layers": 3}', '{"layers": [{"layer": "konv"}]}', "\x00"])
def test_a_bad_json_file_is_named(tmp_path, content):
    (tmp_path / "net.json").write_text(content)
    with pytest.raises(BadDesign, match=r"net\.json: "):
        network(tmp_path / "net.json")
    with pytest.raises(BadDesign, match="no such file"):
        network(tmp_path / "gone.json")


def test_floor_allows_what_does_not_divide():
    text = "conv3-4 stride3, relu, softmax2"
    with pytest.raises(DoesNotFit):
        network(text, channels=1, size=7)
    assert network(text, channels=1, size=7, floor=True)(torch.zeros(1, 1, 7, 7)).shape == (1, 2)
    assert from_spec(spec(text, channels=1, size=7, floor=True)).widths
    with pytest.raises(DoesNotFit):
        network("convnetjs-mnist", size=28)
    for net in (
        network("convnetjs-mnist", size=28, floor=True),
        from_spec(spec("convnetjs-mnist", size=28, floor=True)),
    ):
        assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_a_module_passes_through_and_is_named_in_the_run():
    own = nn.Linear(2, 2)
    assert network(own) is own and native_size(own) is None
    assert spec(own) == {"module": "Linear"}
    with pytest.raises(BadRun, match=r"Linear.*network="):
        from_spec(spec(own))


def test_native_sizes():
    sizes = [
        native_size(net) for net in ("lenet5", "resnet20", "convnetjs-mnist", DESIGN, "conv3-8, softmax10")
    ]
    assert sizes == [32, None, 24, 12, None]


def test_the_next_size_that_fits():
    asked = [("alexnet", 32), ("alexnet", 67), ("alexnet", 68), ("vgg11", 28), ("vgg11", 33), ("resnet20", 7)]
    assert [next_size(*one) for one in asked] == [67, 67, 99, 32, 33, 7]


def test_an_unknown_name_lists_the_zoo():
    with pytest.raises(
        BadSetting, match=r"network 'resnet-20' is not known: did you mean resnet20\?.*lenet5"
    ):
        network("resnet-20")


@pytest.mark.parametrize("text", ["conv5-16 pad2, rlu", "conv", "conv5-x", "softmax10,"])
def test_what_looks_like_a_design_gets_the_designs_error(text):
    with pytest.raises(BadDesign, match="character"):
        network(text)


def test_lenet_refuses_other_sizes_before_any_picture_is_read():
    with pytest.raises(DoesNotFit, match="32×32, not 28×28"):
        network("lenet5", size=28)


def test_no_classes_are_refused():
    with pytest.raises(BadSetting, match="0 classes"):
        network("resnet20", classes=0)


def test_an_incomplete_description_is_refused():
    with pytest.raises(BadRun, match="incomplete"):
        from_spec({"net": "resnet20"})
