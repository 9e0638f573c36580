"""The arithmetic: a first lecture's examples, PyTorch's own sizes on random layers, the refusals."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from striate import geometry
from striate.errors import BadSetting, DoesNotFit
from striate.geometry import Field, Slide

# A busy machine is no failure.
CALM = {"deadline": None, "suppress_health_check": list(HealthCheck)}


class TestALecture:
    @pytest.mark.parametrize("stride, pad, out", [(1, 0, 5), (2, 0, 3), (1, 1, 7), (3, 1, 3)])
    def test_a_3x3_filter_on_a_7x7_input(self, stride, pad, out):
        assert geometry.output_size(7, 3, stride, pad) == out

    def test_stride_3_does_not_fit_and_the_error_says_what_would(self):
        with pytest.raises(DoesNotFit) as error:
            geometry.output_size(7, 3, 3, layer="conv2")
        assert str(error.value) == (
            "conv2: a 3×3 filter with stride 3 does not fit a 7×7 input: (7 − 3)/3 + 1 = 2.33. "
            "Padding 1 fits (3×3), or stride 1 (5×5) or 2 (3×3)."
        )

    def test_flooring_is_one_switch(self):
        assert geometry.output_size(7, 3, 3, floor=True) == 2

    def test_two_5x5_filters_shrink_32_to_28_to_24(self):
        assert [geometry.output_size(32, 5), geometry.output_size(28, 5)] == [28, 24]

    def test_same_padding_keeps_the_size(self):
        assert [geometry.same_padding(size) for size in (1, 3, 5, 7)] == [0, 1, 2, 3]
        assert geometry.same_padding(3, dilation=2) == 2
        with pytest.raises(DoesNotFit, match=r"conv1: no padding .* 4×4 filter: \(4 − 1\)/2 = 1\.5\. A 3×3"):
            geometry.same_padding(4, layer="conv1")
        with pytest.raises(
            DoesNotFit,
            match=r"filter with dilation 3: 3·\(4 − 1\)/2 = 4\.5\. A 3×3 filter takes 3, a 5×5 filter 6\.",
        ):
            geometry.same_padding(4, dilation=3)
        assert geometry.same_padding(3, 3) == 3 and geometry.same_padding(5, 3) == 6

    def test_one_dot_product_has_75_numbers(self):
        assert geometry.dot_length(5, 3) == 5 * 5 * 3 == 75

    def test_ten_filters_have_760_parameters(self):
        assert geometry.conv_parameters(5, 3, 10) == 760
        assert geometry.conv_parameters(5, 3, 10, bias=False) == 750

    def test_a_picture_of_3072_numbers_into_10(self):
        assert geometry.fc_parameters(32 * 32 * 3, 10) == 30_730
        assert geometry.fc_multiply_adds(3072, 10) == 30_720

    def test_six_filters_of_5x5x3_make_28x28x6(self):
        out = geometry.output_size(32, 5)
        assert geometry.conv_multiply_adds(5, 3, 6, out) == 28 * 28 * 6 * 75 == 352_800

    def test_alexnets_second_layer_in_two_groups(self):
        assert geometry.conv_parameters(5, 96, 256, groups=2) == 307_456
        assert geometry.conv_multiply_adds(5, 96, 256, 27, groups=2) == 223_948_800

    def test_training_holds_each_number_and_its_gradient(self):
        assert geometry.activation_bytes(28 * 28 * 6, batch=10) == (188_160, 376_320)

    def test_the_formula_is_written_out(self):
        assert geometry.formula(32, 5, 1, 2) == "(32 − 5 + 2·2)/1 + 1 = 32"
        assert geometry.formula(7, 3, 3) == "(7 − 3)/3 + 1 = 2.33"
        assert geometry.formula(7, 3, 1, 0, dilation=2) == "(7 − 5)/1 + 1 = 3"
        assert geometry.formula(1002, 1, 1000) == "(1002 − 1)/1000 + 1 = 2.001", "never rounded to look whole"


class TestRefusals:
    def message(self, *args, **settings) -> str:
        with pytest.raises(DoesNotFit) as error:
            geometry.output_map(*args, **settings)
        return str(error.value)

    def test_a_filter_larger_than_its_input(self):
        assert self.message((3, 3), 5, layer="conv3") == (
            "conv3: a 5×5 filter is larger than a 3×3 input: (3 − 5)/1 + 1 = −1. Padding 1 fits (1×1)."
        )

    def test_alexnet_is_sent_from_224_to_227(self):
        assert self.message((224, 224), 11, 4) == (
            "an 11×11 filter with stride 4 does not fit a 224×224 input: (224 − 11)/4 + 1 = 54.25. "
            "Stride 1 fits (214×214), or 3 (72×72), or a 12×12 filter (54×54), "
            "or an input of 227×227 (55×55)."
        )

    def test_a_pool_may_also_round_up(self):
        assert self.message((7, 7), 2, 2, layer="pool1", kind="window") == (
            "pool1: a 2×2 window with stride 2 does not fit a 7×7 input: (7 − 2)/2 + 1 = 3.5. Stride 1 fits "
            "(6×6), or a 3×3 window (3×3), or an input of 8×8 (4×4), or ceil (4×4)."
        )

    def test_the_side_that_fails_is_the_one_shown(self):
        assert "7×8 input: (8 − 3)/2 + 1 = 3.5" in self.message((7, 8), 3, 2)

    def test_a_dilated_filter_is_measured_across(self):
        text = self.message((8, 8), 3, 2, 1, 2)
        assert text.startswith(
            "a 3×3 filter with stride 2, padding 1 and dilation 2 (5×5 across) does not fit"
        )

    def test_a_window_padded_beyond_its_half(self):
        text = self.message((9, 9), 3, 1, 2, kind="window", layer="pool2")
        assert text == "pool2: padding 2 is more than half of a 3×3 window: at most 1"

    def test_numbers_that_are_no_sizes(self):
        with pytest.raises(BadSetting, match="conv1: stride must be 1 or more, not 0"):
            geometry.output_size(7, 3, 0, layer="conv1")
        with pytest.raises(BadSetting, match="pad must be 0 or more, not -1"):
            geometry.output_size(7, 3, pad=-1)

    def test_groups_that_do_not_divide(self):
        with pytest.raises(
            DoesNotFit, match=r"conv1: 2 groups do not divide a depth of 3: .*Groups of 1 fit"
        ):
            geometry.check_groups(3, 16, 2, "conv1")
        with pytest.raises(DoesNotFit, match=r"3 groups .* filters: 4: 4/3 = 1\.33\. Groups of 1, 2 fit"):
            geometry.conv_parameters(3, 6, 4, groups=3)

    @settings(**CALM)
    @given(
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        st.integers(1, 6),
        st.integers(0, 3),
        st.integers(1, 3),
        st.sampled_from(["filter", "window"]),
    )
    def test_whatever_is_refused_comes_with_fixes_that_really_fit(
        self, shape, size, stride, pad, dilation, kind
    ):
        if kind == "window":
            size, dilation = (size[0], size[0]), 1
            assume(pad <= size[0] // 2)
        slide = Slide(size, (stride, stride), (pad, pad), (dilation, dilation), kind)
        assume(slide.map(shape) is None)
        fixes = geometry.fixes(shape, slide)
        assert fixes, "there is always a way out"
        for fix in fixes:
            now = {"size": size, "stride": stride, "pad": pad, "ceil": False}
            edited = now | {fix.setting: True if fix.setting == "ceil" else fix.value}
            where = edited.pop("input", shape)
            assert geometry.output_map(where, **edited, dilation=dilation, kind=kind) == fix.output


class TestAgainstPyTorch:
    """Hundreds of random layers, on real numbers: for sizes like these quicker than on `meta`."""

    @settings(max_examples=150, **CALM)
    @given(
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.tuples(st.integers(1, 7), st.integers(1, 7)),
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        st.tuples(st.integers(0, 4), st.integers(0, 4)),
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
    )
    def test_convolutions(self, shape, size, stride, pad, dilation):
        layer = nn.Conv2d(2, 3, size, stride, pad, dilation)
        self.agree(layer, shape, size, stride, pad, dilation, False, "filter")

    @settings(max_examples=150, **CALM)
    @given(
        st.integers(1, 40),
        st.integers(1, 7),
        st.integers(1, 5),
        st.integers(0, 3),
        st.booleans(),
        st.booleans(),
    )
    def test_pools_rounded_down_and_up(self, n, size, stride, pad, ceil, mean):
        assume(pad <= size // 2)
        layer = (nn.AvgPool2d if mean else nn.MaxPool2d)(size, stride, pad, ceil_mode=ceil)
        self.agree(layer, (n, n + 1), size, stride, pad, 1, ceil, "window")

    def agree(self, layer, shape, size, stride, pad, dilation, ceil, kind):
        try:
            expected = tuple(layer(torch.zeros(1, 2, *shape)).shape[2:])
        except RuntimeError:
            expected = None
        try:
            found = geometry.output_map(shape, size, stride, pad, dilation, True, ceil, kind=kind)
        except DoesNotFit:
            found = None
        assert found == expected
        try:
            exact = geometry.output_map(shape, size, stride, pad, dilation, ceil=ceil, kind=kind)
        except DoesNotFit:
            return
        assert exact == expected, "what is not refused is what PyTorch computes"

    @settings(**CALM)
    @given(st.integers(1, 9), st.integers(1, 8), st.sampled_from([1, 2, 4]), st.booleans(), st.integers(1, 3))
    def test_parameters(self, size, width, groups, bias, factor):
        depth, filters = groups * width, groups * factor
        layer = nn.Conv2d(depth, filters, size, groups=groups, bias=bias, device="meta")
        assert geometry.conv_parameters(size, depth, filters, groups, bias) == count(layer)
        linear = nn.Linear(depth, filters, bias, device="meta")
        assert geometry.fc_parameters(depth, filters, bias) == count(linear)


class TestInverse:
    def test_227_to_55_with_11x11_is_stride_4(self):
        assert geometry.solve(227, 55, 11) == [(4, 0)]

    def test_224_to_55_needs_flooring(self):
        assert geometry.solve(224, 55, 11) == []
        assert (4, 2) in geometry.solve(224, 55, 11, floor=True)

    def test_one_cell_comes_of_the_smallest_stride_that_leaves_no_room_for_two(self):
        assert geometry.solve(5, 1, 3) == [] and geometry.solve(3, 1, 3) == [(1, 0)]
        assert geometry.solve(5, 1, 3, floor=True) == [(3, 0), (5, 1), (7, 2)]

    def test_same_size(self):
        assert geometry.solve(32, 32, 5) == [(1, 2)]

    @settings(**CALM)
    @given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.integers(0, 4), st.integers(1, 2))
    def test_it_finds_the_layer_that_was_taken(self, n, size, stride, pad, dilation):
        assume(pad < dilation * (size - 1) + 1)
        out = Slide((size, size), (stride, stride), (pad, pad), (dilation, dilation)).output(
            n, 0, floor=False
        )
        assume(out is not None and out > 1)
        answers = geometry.solve(n, out, size, dilation)
        assert (stride, pad) in answers
        assert all(geometry.output_size(n, size, s, p, dilation) == out for s, p in answers)

    def test_the_smallest_input_of_two_5x5_and_two_pools(self):
        chain = [(5,), (2, 2), (5,), (2, 2)]
        assert geometry.smallest_input(chain) == 16
        assert geometry.smallest_input(chain, out=4) == 28

    @settings(**CALM)
    @given(
        st.lists(
            st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), max_size=3
        ),
        st.booleans(),
    )
    def test_nothing_smaller_passes(self, chain, floor):
        assume(all(pad < dilation * (size - 1) + 1 for size, _, pad, dilation in chain))

        def passes(n):
            try:
                for size, stride, pad, dilation in chain:
                    n = geometry.output_size(n, size, stride, pad, dilation, floor)
            except DoesNotFit:
                return False
            return True

        smallest = geometry.smallest_input(chain, floor=floor)
        assert passes(smallest)
        assert not any(passes(n) for n in range(1, smallest))


class TestField:
    def test_two_3x3_see_5_and_three_see_7(self):
        twice = Field().then(3).then(3)
        assert (twice.size, twice.then(3).size) == (5, 7)

    def test_alexnets_first_pool(self):
        field = Field().then(11, 4).then(3, 2)
        assert (field.size, field.stride, field.cell(0), field.cell(1)) == (19, 8, (0, 19), (8, 27))

    def test_padding_moves_the_centre_back_to_the_first_pixel(self):
        field = Field().then(3, 1, 1).then(3, 1, 1)
        assert (field.start, field.cell(0)) == (0.5, (-2, 3))

    def test_branches_see_what_the_widest_sees(self):
        one, three, five = Field().then(1), Field().then(3, 1, 1), Field().then(5, 1, 2)
        assert Field.merge(one, three, five) == five
        assert Field.merge(Field(2, 1, 1.0), Field(2, 1, 4.0)) == Field(5, 1, 2.5)

    @settings(max_examples=40, **CALM)
    @given(
        st.lists(
            st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)),
            min_size=1,
            max_size=3,
        ),
        st.data(),
    )
    def test_gradients_reach_exactly_the_field(self, chain, data):
        """With weights of one a cell has a gradient at the pixels it sees. Exact where none is skipped."""
        chain = [(size, stride, pad, 1 if stride > 1 else dilation) for size, stride, pad, dilation in chain]
        assume(all(stride <= size and pad < size for size, stride, pad, _ in chain))
        assume(all(dilation == 1 for _, _, _, dilation in chain[1:]))
        x = torch.zeros(1, 1, 40, 40, dtype=torch.float64, requires_grad=True)
        y, field = x, Field()
        for size, stride, pad, dilation in chain:
            y = nn.functional.conv2d(y, y.new_ones(1, 1, size, size), None, stride, pad, dilation)
            field = field.then(size, stride, pad, dilation)
        index = data.draw(st.integers(0, y.shape[-1] - 1))
        y[0, 0, index, index].backward()
        seen = x.grad[0, 0].sum(1).nonzero()
        first, last = field.cell(index)
        assume(len(seen) > 0)
        assert first <= seen.min() and seen.max() + 1 <= last
        if first >= 0 and last <= 40 and chain[0][3] == 1:
            assert (seen.min(), seen.max() + 1) == (first, last)


def test_neither_arithmetic_nor_the_text_of_designs_loads_torch():
    code = (
        "import sys, striate.geometry, striate.design as d; d.parse('nielsen-conv1').rows(); "
        "d.from_json(d.parse('fc10').to_json()); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_figure_of_the_page_on_arithmetic():
    page = Path(__file__).parent.parent / "docs" / "arithmetic.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert (failed, tried > 20) == (0, True)


def count(layer: nn.Module) -> int:
    return sum(weight.numel() for weight in layer.parameters())
