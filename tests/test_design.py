"""Designs: one line of text, JSON and Python layers say the same network, and errors point at the place."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from striate.design import Design, from_json, from_module, parse
from striate.design.layers import (
    ACTIVATIONS,
    FC,
    LRN,
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    Softmax,
)
from striate.errors import BadDesign, DoesNotFit

# A busy machine is no failure.
CALM = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def refusal(text: str) -> str:
    with pytest.raises(BadDesign) as error:
        parse(text)
    return str(error.value)


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@st.composite
def convolutions(draw) -> Conv:
    groups = draw(st.integers(1, 4))
    size, dilation = draw(st.integers(1, 11)), draw(st.integers(1, 3))
    filters = groups * draw(st.integers(1, 16))
    return Conv(
        size, filters, draw(st.integers(1, 4)), draw(st.integers(0, 5)), groups, dilation, draw(st.booleans())
    )


@st.composite
def pools(draw) -> Layer:
    size = draw(st.integers(1, 7))
    kind = draw(st.sampled_from([MaxPool, AvgPool]))
    stride = draw(st.none() | st.integers(1, 4))
    settings = {"pad": draw(st.integers(0, size // 2)), "ceil": draw(st.booleans())}
    return kind(size, **settings) if stride is None else kind(size, stride, **settings)


decimals = st.decimals(0, 2, places=4, allow_nan=False).map(float)
pointwise = st.one_of(
    st.sampled_from([name for name, slope in ACTIVATIONS.items() if slope is None]).map(Activation),
    st.builds(Activation, st.sampled_from(["leakyrelu", "elu"]), decimals),
    st.builds(Dropout, st.decimals(0, "0.9", places=3).map(float)),
    st.just(BatchNorm()),
)
lrns = st.builds(LRN, st.integers(1, 9), decimals, decimals, st.decimals("0.1", 3, places=3).map(float))
maps = st.lists(st.one_of(convolutions(), pools(), pointwise, lrns), max_size=6)
flats = st.lists(st.one_of(pointwise, st.builds(FC, st.integers(1, 2000), st.booleans())), max_size=5)
ends = st.one_of(
    st.just([]),
    st.just([Softmax()]),
    st.builds(lambda n, b: [Softmax(n, b)], st.integers(1, 1000), st.booleans()),
)
inputs = st.none() | st.tuples(st.integers(1, 4), st.integers(1, 300), st.integers(1, 300))


@st.composite
def designs(draw) -> Design:
    """Any layers that may follow one another, whether or not they would fit an input."""
    layers = [
        *draw(maps),
        *draw(st.sampled_from([[], [Flatten()], [GlobalPool()]])),
        *draw(flats),
        *draw(ends),
    ]
    return Design(tuple(layers) or (Activation("relu"),), draw(inputs))


@st.composite
def small_nets(draw) -> Design:
    """Designs that fit a 4-channel input of 24x24 when what is left over is dropped."""
    layers: list[Layer] = []
    for layer in draw(maps):
        try:
            Design((*layers, layer)).rows((4, 24, 24), floor=True)
        except DoesNotFit:
            continue
        layers.append(layer)
    flats = st.lists(st.one_of(pointwise, st.builds(FC, st.integers(1, 60), st.booleans())), max_size=4)
    tail = [*draw(st.sampled_from([[], [Flatten()], [GlobalPool()]])), *draw(flats), *draw(ends)]
    return Design((*layers, *tail) or (Activation("relu"),), (4, 24, 24))


class TestThreeForms:
    @settings(**CALM)
    @given(designs())
    def test_text_and_json_lose_nothing(self, design):
        assert parse(design.text()) == design
        assert from_json(json.loads(json.dumps(design.to_json()))) == design
        assert parse(design.text()).text() == design.text(), "canonical text stays as it is"

    @settings(max_examples=60, **CALM)
    @given(small_nets())
    def test_python_layers_lose_nothing(self, design):
        with torch.device("meta"):
            module = design.module(floor=True)
        assert from_module(module, design.input) == design

    @settings(max_examples=60, **CALM)
    @given(small_nets())
    def test_every_row_is_what_pytorch_computes(self, design):
        rows = design.rows(floor=True)
        module, x = design.module(floor=True).eval(), torch.zeros(2, *design.input)
        assert [name for name, _ in module.named_children()] == [row.name for row in rows]
        for row, child in zip(rows, module, strict=True):
            assert tuple(x.shape[1:]) == row.input
            x = child(x)
            assert tuple(x.shape[1:]) == row.output
            assert parameters(child) == row.parameters

    def test_defaults_are_left_out_of_json(self):
        design = parse("input 3x32x32, conv5-16 stride1 pad2, relu, pool2, softmax10")
        assert design.to_json() == {
            "input": [3, 32, 32],
            "layers": [
                {"layer": "conv", "size": 5, "filters": 16, "pad": 2},
                {"layer": "relu"},
                {"layer": "pool", "size": 2},
                {"layer": "softmax", "outputs": 10},
            ],
        }
        full = {"layer": "conv", "size": 5, "filters": 16, "stride": 1, "pad": 2}
        full |= {"groups": 1, "dilation": 1, "bias": True}
        assert from_json({"layers": [full]}) == parse("conv5-16 pad2")


class TestText:
    @pytest.mark.parametrize(
        "typed, canonical",
        [
            ("conv5-16 stride1 pad2", "conv5-16 pad2"),
            ("CONV 5×5 - 16  Stride=1 PADDING 2", "conv5-16 pad2"),
            ("conv5x5-16 pad same", "conv5-16 pad2"),
            ("conv3-8 dilation2 padsame", "conv3-8 pad2 dilation2"),
            ("conv3-8 nobias groups 2", "conv3-8 groups2 nobias"),
            ("pool2 stride2", "pool2"),
            ("Max Pool 3 stride2 pad1 ceil", "pool3 stride2 pad1 ceil"),
            ("bn, batch norm, BatchNorm", "batchnorm, batchnorm, batchnorm"),
            ("fc10, softmax", "softmax10"),
            ("flatten, fc10 nobias , softmax", "softmax10 nobias"),
            ("dropout, dropout.25", "dropout0.5, dropout0.25"),
            ("leaky relu 0.2, leakyrelu0.01, elu, relu6", "leakyrelu0.2, leakyrelu, elu, relu6"),
            ("lrn, lrn3 alpha1e-3 k1", "lrn5, lrn3 alpha0.001 k1"),
            ("input 3 × 32 × 32, relu", "input 3x32x32, relu"),
            ("conv5-16,\n  relu", "conv5-16, relu"),
            (" Nielsen-Shallow ", "input 1x28x28, fc100, sigmoid, softmax10"),
        ],
    )
    def test_what_people_write(self, typed, canonical):
        assert parse(typed).text() == canonical

    @pytest.mark.parametrize(
        "typed, message",
        [
            ("conv5-16, relu, covn5-16", "character 17: 'covn5-16' is not a layer: did you mean conv5-16?"),
            (
                "conv5-16 strid2",
                "character 10: 'strid2' is not an option of conv: did you mean stride2? there are ",
            ),
            (
                "conv5-16 relu",
                "character 10: 'relu' is not an option of conv: put a comma before another layer",
            ),
            ("conv5-16 stride0", "character 10: stride must be 1 or more, not 0"),
            ("conv5-0", "character 7: filters must be 1 or more, not 0"),
            ("conv5.5-3", "character 5: size must be a whole number, not 5.5"),
            ("conv5-99999999999999999999", "character 7: filters must be 1,000,000 or less"),
            ("conv5", "character 1: conv needs a number of filters: conv5-16 is 16 filters of 5×5"),
            ("conv5-", "character 5: the number of filters is missing after the dash"),
            ("conv5x3-16", "character 5: filters and windows are square in a design"),
            ("conv5-6 groups4", "character 9: 4 groups do not divide 6 filters"),
            ("conv4-16 pad same", "character 10: no padding keeps the size under a 4×4 filter"),
            ("conv5-16 pad2 pad3", "character 15: pad is given twice"),
            ("conv5-16 stride", "character 10: stride needs a number: stride1"),
            ("pool2 pad2", "character 7: pad must be at most half of a 2×2 window, 1, not 2"),
            ("dropout1", "character 8: p must be 0.999 or less, not 1"),
            ("relu3", "character 5: relu takes no number"),
            ("softmax nobias", "character 9: softmax without a number has no weights"),
            ("conv5-16,,relu", "character 10: a layer is missing at this comma"),
            ("conv5-16,", "character 9: a layer is missing at this comma"),
            ("conv5-16 @", "character 10: '@' means nothing here"),
            ("5conv", "character 1: '5conv' does not begin with a layer's name"),
            ("fc10, conv3-4", "character 7: conv needs a map, but fc before it makes a vector"),
            ("softmax10, fc10", "character 12: nothing can follow softmax"),
            ("input 32x32, fc10", "character 1: 'input 32x32' is not channels×height×width"),
            ("fc10, input 3x32x32", "character 7: the input comes first"),
            ("xyz", "character 1: 'xyz' is not a layer: there are conv, pool, "),
        ],
    )
    def test_errors_point_at_the_character(self, typed, message):
        assert refusal(typed).startswith(f"design, {message}")
        assert "\n" not in refusal(typed)

    def test_nothing_at_all(self):
        assert refusal("  ").startswith("design: no layers: write for example 'conv5-16")

    @settings(**CALM)
    @given(st.text("covnpl fxtmas5210.,-=×x\n", max_size=40) | st.text(max_size=20))
    def test_any_text_is_a_design_or_refused(self, text):
        try:
            parse(text).text()
        except BadDesign:
            pass


class TestJson:
    @pytest.mark.parametrize(
        "layers, message",
        [
            (
                [{"layer": "relu"}, {"layer": "covn"}],
                "layers[1].layer: 'covn' is not a layer: did you mean 'conv'?",
            ),
            ([{"layer": "conv", "filters": 5}], "layers[0].size: conv needs its size"),
            (
                [{"layer": "pool", "size": 2, "stride": 0}],
                "layers[0].stride: stride must be 1 or more, not 0",
            ),
            ([{"layer": "pool", "size": "2"}], "layers[0].size: size must be a number, not '2'"),
            (
                [{"layer": "conv", "size": 3, "filters": 10**400}],
                "layers[0].filters: filters must be 1,000,000 or less",
            ),
            ([{"layer": "dropout", "p": -(10**400)}], "layers[0].p: p must be 0 or more"),
            ([{"layer": "dropout", "p": float("nan")}], "layers[0].p: p must be a number, not nan"),
            ([{"layer": "pool", "size": True}], "layers[0].size: size must be a number, not True"),
            ([{"layer": "pool", "size": None}], "layers[0].size: must not be null"),
            ([{"layer": "fc", "outputs": 5, "bias": 0}], "layers[0].bias: bias must be true or false, not 0"),
            (
                [{"layer": "pool", "size": 2, "strid": 2}],
                "layers[0].strid: not a field of pool: did you mean stride?",
            ),
            ([{"layer": "relu", "slope": 1}], "layers[0].slope: not a field of relu: relu has no fields"),
            ([{"layer": "softmax"}, {"layer": "relu"}], "layers[1]: nothing can follow softmax"),
            ([3], "layers[0]: must be an object"),
        ],
    )
    def test_errors_point_at_the_field(self, layers, message):
        with pytest.raises(BadDesign) as error:
            from_json({"layers": layers})
        assert str(error.value).startswith(f"design, {message}")

    @pytest.mark.parametrize("obj", [{}, [], None, {"layers": {}}, {"layers": []}, {"layers": [], "name": 1}])
    def test_what_is_no_design(self, obj):
        with pytest.raises(BadDesign, match="^design"):
            from_json(obj)

    @pytest.mark.parametrize("shape", [[3, 32], "3x32x32", [3, 0, 32], [3, 32, "a"], [3, 32.5, 32], 3])
    def test_a_bad_input(self, shape):
        with pytest.raises(BadDesign, match="^design, input: "):
            from_json({"input": shape, "layers": [{"layer": "relu"}]})
