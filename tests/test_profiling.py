"""Where a step's time goes: every layer is there, its work is counted, and nothing is changed by looking."""

import json
from dataclasses import replace

import pytest
import torch

from striate import experiment, profiling, settings
from striate.profiling import profile
from striate.tracing import trace

NET = "conv5-16 pad2, relu, pool2, conv3-32, batchnorm, relu, fc64, relu, dropout0.5, softmax10"


@pytest.fixture(scope="module")
def setup() -> experiment.Experiment:
    todo = settings.new({"data": "digits", "net": NET}, {})
    return experiment.set_up(todo, torch.device("cpu"), experiment.silent, download=False)


@pytest.fixture(scope="module")
def found(setup: experiment.Experiment):
    before = {name: tensor.clone() for name, tensor in setup.network.state_dict().items()}
    found = profile(setup, rounds=2)
    for name, tensor in setup.network.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} changed"
    return found


def test_every_layer_is_there_with_the_work_that_the_table_counts(setup, found) -> None:
    rows = {row.name: row for row in trace(setup.network, (1, 8, 8)).rows}
    assert [layer.kind for layer in found.layers if layer.multiply_adds] == ["conv", "conv", "fc", "fc"]
    for layer in found.layers:
        assert layer.multiply_adds == rows[layer.name].multiply_adds
        assert layer.output == rows[layer.name].output
        assert layer.forward > 0
    assert [layer.passes for layer in found.layers][:2] == [2, 3]  # pictures need no gradient


def test_a_rate_is_the_work_of_the_step_over_its_time(found) -> None:
    conv = found.layers[0]
    work = 2 * found.batch * 2 * (8 * 8 * 16 * 25)
    assert found.flops(conv) == pytest.approx(work / (conv.forward + conv.backward))


def test_a_batch_larger_than_the_set_is_tried_as_it_is(setup) -> None:
    assert profiling._batches(replace(setup, recipe=replace(setup.recipe, batch=2000))) == [1000, 2000]


def test_two_layouts_and_three_batches_are_tried(found) -> None:
    assert set(found.speeds) == {"channels-last", "contiguous"}
    assert sorted(found.speeds["contiguous"]) == [32, 64, 128]
    layout, batch = found.fastest
    assert found.speeds[layout][batch] == max(max(row.values()) for row in found.speeds.values())


def test_the_command_prints_one_json_object_and_trains_nothing(striate, tmp_path) -> None:
    command = ["train", "--data", "digits", "--net", "conv3-4, relu, softmax10", "--profile", "--json"]
    done = striate(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert 0 < shown["layers"][0]["share_of_peak"] < 2
    assert shown["peak_flops"] > 1e9 and not list(tmp_path.iterdir())
