"""Designs as PyTorch layers: what they compute, how they begin, and which layers a design cannot say."""

import pytest
import torch
from torch import nn

from striate.design import NAMED, Design, from_module, parse
from striate.design.layers import FC, MaxPool
from striate.errors import BadDesign, DoesNotFit

# Published or recomputed counts: parameters, multiply-adds.
COUNTS = {
    "nielsen-shallow": (79_510, 79_400),
    "nielsen-conv1": (289_630, 577_000),
    "nielsen-conv2": (85_670, 1_633_000),
    "nielsen-conv2-relu": (85_670, 1_633_000),
    "nielsen-conv2-fc2": (95_770, 1_643_000),
    "nielsen-dropout": (1_672_570, 3_218_000),
    "convnetjs-cifar10": (22_466, 3_920_000),
    "convnetjs-mnist": (5_994, 578_560),
    "fast-mnist": (65_218, 427_008),
}


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


class TestModule:
    def test_a_teachers_example(self):
        net = parse(
            "input 3x32x32, conv5-16 stride1 pad2, relu, pool2, conv5-20 pad2, relu, softmax10"
        ).module()
        names = ["conv1", "relu1", "pool1", "conv2", "relu2", "flatten", "fc1", "softmax"]
        assert [name for name, _ in net.named_children()] == names
        assert torch.allclose(net(torch.randn(2, 3, 32, 32)).sum(1), torch.ones(2))

    def test_the_lectures_pool(self):
        x = torch.tensor([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]).view(1, 1, 4, 4)
        assert parse("pool2").module((1, 4, 4))(x).tolist() == [[[[6, 8], [3, 4]]]]

    def test_strict_names_the_layer_and_floor_drops_the_rest(self):
        design = parse("conv3-4, conv3-8 stride3, fc10")
        with pytest.raises(
            DoesNotFit, match=r"^conv2: a 3×3 filter with stride 3 does not fit a 7×7 input: "
        ):
            design.module((3, 9, 9))
        assert design.module((3, 9, 9), floor=True)(torch.zeros(1, 3, 9, 9)).shape == (1, 10)

    def test_rows_before_the_failing_layer_are_seen(self):
        seen = []
        with pytest.raises(DoesNotFit):
            for row in parse("conv3-4, relu, pool2").walk((3, 9, 9)):
                seen.append(row.name)
        assert seen == ["conv1", "relu1"]

    def test_the_input_must_be_known_and_may_be_overridden(self):
        with pytest.raises(BadDesign, match="its input is not known"):
            parse("fc10").module()
        assert parse("input 1x28x28, fc10").module((3, 8, 8)).fc1.in_features == 192

    def test_groups_must_divide_the_depth(self):
        with pytest.raises(DoesNotFit, match="conv1: 2 groups do not divide a depth of 3"):
            parse("conv3-4 groups2").module((3, 8, 8))

    def test_a_pool_after_a_vector_in_a_built_design(self):
        with pytest.raises(BadDesign, match=r"layers\[1\]: pool needs a map, but fc before it"):
            Design((FC(10), MaxPool(2)))

    def test_the_seed_fixes_the_weights_which_keep_the_variance(self):
        design = parse("input 3x32x32, conv5-64 pad2, relu, conv5-64 pad2, relu, conv5-64 pad2, relu, fc10")

        def draw(seed):
            torch.manual_seed(seed)
            return design.module()

        first, again, other = draw(0), draw(0), draw(1)
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
        assert not torch.equal(first.conv1.weight, other.conv1.weight)
        assert not first.conv1.bias.any()
        assert first.conv2.weight.std().item() == pytest.approx((2 / (25 * 64)) ** 0.5, rel=0.02)
        assert first.fc1.weight.std().item() == pytest.approx((64 * 32 * 32) ** -0.5, rel=0.02)
        x = torch.randn(4, 3, 32, 32)
        assert 0.5 < (first[:5](x).square().mean() / x.square().mean()).item() < 2

    def test_lrn_is_alexnets_sum(self):
        x = torch.rand(1, 8, 3, 3) * 100
        squares = x.square()[0]
        total = torch.stack([squares[max(i - 2, 0) : i + 3].sum(0) for i in range(8)])
        expected = x[0] / (2 + 1e-4 * total) ** 0.75
        assert torch.allclose(parse("lrn").module((8, 3, 3))(x)[0], expected, rtol=1e-5)

    @pytest.mark.parametrize("name", NAMED)
    def test_named_designs_have_their_published_counts(self, name):
        design = parse(name)
        module = design.module()
        costs = sum(row.multiply_adds for row in design.walk())
        assert (parameters(module), costs) == COUNTS[name]
        assert sum(row.parameters for row in design.walk()) == parameters(module)
        assert from_module(module, design.input) == design
        assert module(torch.zeros(2, *design.input)).shape == (2, 10)

    def test_convnetjs_layer_by_layer(self):
        weights = [row.parameters for row in parse("convnetjs-cifar10").walk() if row.parameters]
        assert weights == [1_216, 8_020, 10_020, 3_210]


class TestFromModule:
    def test_what_people_write_in_python(self):
        net = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            nn.MaxPool2d((2, 2)),
            nn.AdaptiveAvgPool2d((1, 1)),
            nn.Flatten(),
            nn.Linear(8, 10),
            nn.Softmax(-1),
        )
        assert from_module(net).text() == "conv3-8 pad1, batchnorm, relu, pool2, globalpool, softmax10"

    @pytest.mark.parametrize(
        "layer, message",
        [
            (
                nn.Conv2d(3, 8, (3, 5)),
                r"layer 0 \(Conv2d\): kernel_size 3×5 is not square, designs are: keep",
            ),
            (nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), r"padding_mode is 'reflect'"),
            (nn.MaxPool2d(2, return_indices=True), "return_indices is True"),
            (nn.MaxPool2d(3, dilation=2), "dilation is 2"),
            (nn.AvgPool2d(3, padding=1, count_include_pad=False), "count_include_pad is False"),
            (nn.AdaptiveAvgPool2d(7), "output_size is 7"),
            (nn.BatchNorm2d(3, eps=1e-3), "eps is 0.001"),
            (nn.GELU("tanh"), "approximate is 'tanh'"),
            (nn.Flatten(2), "start_dim is 2"),
            (nn.Softmax(2), "dim is 2"),
            (nn.Dropout(1.0), "p must be 0.999 or less"),
            (
                nn.Dropout2d(0.5),
                r"layer 0 \(Dropout2d\): a design has no layer for it: there are AdaptiveAvgPool2d",
            ),
            (nn.ConvTranspose2d(3, 8, 3), r"layer 0 \(ConvTranspose2d\): a design has no layer for it"),
        ],
    )
    def test_what_a_design_cannot_say_is_refused_by_name(self, layer, message):
        with pytest.raises(BadDesign, match=message):
            from_module(nn.Sequential(layer))

    def test_layers_that_pytorch_would_not_take_in_this_order(self):
        with pytest.raises(
            BadDesign, match=r"layer 1 \(Linear\): takes a vector, but a map comes in: put nn.Flatten"
        ):
            from_module(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 10)))
        with pytest.raises(BadDesign, match=r"layer 1 \(Conv2d\): takes 9, but 8 come in"):
            from_module(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(9, 8, 3)))

    def test_a_layer_may_stand_there_twice_but_not_its_weights(self):
        relu, conv = nn.ReLU(), nn.Conv2d(3, 3, 3)
        twice = nn.Sequential(conv, relu, nn.Conv2d(3, 3, 3), relu, nn.Sequential(relu))
        assert from_module(twice).text() == "conv3-3, relu, conv3-3, relu, relu"
        with pytest.raises(
            BadDesign, match=r"^layer 2 \(Conv2d\): shares its weights with layer 0 \(Conv2d\), in a design"
        ):
            from_module(nn.Sequential(conv, relu, conv))
        tied = nn.Conv2d(3, 3, 3)
        tied.weight = conv.weight
        with pytest.raises(BadDesign, match="shares its weights with layer 0"):
            from_module(nn.Sequential(conv, tied))

    @pytest.mark.parametrize(
        "layers, input, message",
        [
            ((nn.Conv2d(3, 10, 3),), (1, 8, 8), r"layer 0 \(Conv2d\): takes 3, but 1 come in"),
            ((nn.Linear(32, 10),), (3, 32, 32), r"layer 0 \(Linear\): takes a vector, but a map comes in"),
            ((nn.Flatten(), nn.Linear(32, 10)), (3, 32, 32), r"takes 32, but 3072 come in"),
            ((nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(99, 2)), (3, 5, 5), r"takes 99, but 36 come in"),
            ((nn.BatchNorm2d(4),), (3, 5, 5), r"takes 4, but 3 come in"),
        ],
    )
    def test_the_input_that_is_given_must_go_in(self, layers, input, message):
        with pytest.raises(BadDesign, match=message):
            from_module(nn.Sequential(*layers), input)

    def test_an_input_too_small_names_the_layer(self):
        with pytest.raises(DoesNotFit, match=r"^layer 0 \(Conv2d\): a 5×5 filter is larger"):
            from_module(nn.Sequential(nn.Conv2d(3, 10, 5)), (3, 4, 4))

    def test_softmax_over_the_last_dimension_is_over_columns_on_a_map(self):
        flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(dim=-1))
        assert from_module(flat, (3, 2, 2)).text() == "input 3x2x2, softmax3"
        with pytest.raises(BadDesign, match=r"layer 1 \(Softmax\): dim is -1, the columns of a map"):
            from_module(nn.Sequential(nn.Conv2d(3, 10, 3), nn.Softmax(dim=-1)))

    def test_only_a_sequential_has_its_order_written_down(self):
        with pytest.raises(BadDesign, match="a design is read from an nn.Sequential"):
            from_module(nn.Linear(3, 4))


class TestClasses:
    def test_the_last_width(self):
        assert parse("fc100, relu, softmax10").classes == 10
        assert parse("fc100, relu, fc7, dropout0.5").classes == 7
        assert parse("fc100, relu, batchnorm").classes is None

    def test_replaced(self):
        assert parse("fc100, relu, softmax10").with_classes(3).text() == "fc100, relu, softmax3"
        with pytest.raises(BadDesign, match="add softmax3 to it"):
            parse("conv3-4, relu").with_classes(3)
