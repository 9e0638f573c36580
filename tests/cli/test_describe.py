"""`striate describe`, as a person and as a program use it."""

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from striate import models
from striate.cli.describe import describe
from striate.data.prepare import Prepare
from striate.errors import BadDesign, BadSetting
from striate.run import save
from striate.tasks import TASKS
from striate.tracing import BrokenNetwork

app = typer.Typer()
app.command()(describe)


def run(*words: str, columns: int = 80):
    torch.set_num_threads(1)
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": str(columns)})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("net", ["convnetjs-cifar10", "resnet20"])
def test_the_table_is_legible_in_a_narrow_terminal(net, columns):
    lines = run(net, columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= columns and not any("…" in line for line in lines)
    assert lines[0] == f"{net}, input 3×32×32" and lines[-1].startswith("total")


def test_totals_and_formulas():
    out = run("convnetjs-cifar10").stdout
    assert "(32 − 5 + 2·2)/1 + 1 = 32" in out and "22,466" in out and "3,920,000" in out


def test_json_is_one_object():
    table = json.loads(run("nielsen-conv1", "--json").stdout)
    assert table["network"] == "nielsen-conv1" and table["parameters"] == 289_630
    assert table["input"] == [1, 28, 28] and table["multiply_adds"] == 577_000
    assert table["layers"][0]["receptive_field"] == 5


def test_a_designs_own_input_gives_way_to_the_one_asked_for():
    design = "input 3x8x8, conv3-4, relu, fc10"
    assert json.loads(run(design, "--json").stdout)["input"] == [3, 8, 8]
    assert json.loads(run(design, "--input", "1x9x9", "--json").stdout)["input"] == [1, 9, 9]
    assert json.loads(run("conv3-4, relu", "--json").stdout)["input"] == [3, 32, 32]


def test_classes_change_the_last_layer_alone():
    def parameters(*words: str) -> int:
        return json.loads(run(*words, "--json").stdout)["parameters"]

    assert parameters("resnet18", "--classes", "10") == 11_689_512 - 990 * (512 + 1)
    assert parameters("resnet18", "--classes", "1000") == 11_689_512
    assert parameters("nielsen-conv1", "--classes", "26") == parameters("nielsen-conv1") + 16 * (100 + 1)
    with pytest.raises(BadDesign, match="add softmax26"):
        run("conv3-4, relu", "--classes", "26")


def test_designs_are_strict_and_can_be_rounded():
    with pytest.raises(BrokenNetwork, match="does not fit a 31×31 input"):
        run("conv3-4 pad1, pool2, fc10", "--input", "3x31x31")
    assert json.loads(run("conv3-4, pool2", "--input", "3x31x31", "--floor", "--json").stdout)["output"] == [
        4,
        14,
        14,
    ]
    with pytest.raises(BrokenNetwork):
        run("resnet20", "--strict")


def test_a_broken_design_prints_its_table_first():
    result = CliRunner().invoke(app, ["conv3-4 pad1, pool2, fc10", "--input", "3x31x31"])
    assert "conv1" in result.stdout and isinstance(result.exception, BrokenNetwork)
    result = CliRunner().invoke(app, ["conv3-4 pad1, pool2, fc10", "--input", "3x31x31", "--json"])
    plain = json.loads(result.stdout)
    assert plain["error"].endswith("(31 − 2)/2 + 1 = 15.5.") and plain["fixes"]


def test_a_design_may_be_longer_than_the_name_of_a_file():
    long = ", ".join(["conv3-4 pad1, relu"] * 20)
    assert len(long) > 255 and len(json.loads(run(long, "--json").stdout)["layers"]) == 40


def test_a_detector_shows_the_part_before_it_looks_at_values(tmp_path):
    facts = {"classes": ["red", "blue"], "head": "mask"}
    network = TASKS["detect"].build(models.network("resnet10-half", classes=2), facts)
    info = {"task": "detect", "network": models.spec("resnet10-half", classes=2), "facts": facts}
    save(tmp_path / "run", network, info | {"prepare": Prepare((64, 64), 3).to_json()})
    table = json.loads(run(str(tmp_path / "run"), "--json").stdout)
    assert table["network"] == "run" and table["input"] == [3, 64, 64] and len(table["layers"]) > 10


def test_questions_run_backwards():
    assert run("--solve", "227:55:11").stdout == "stride 4, padding 0: (227 − 11)/4 + 1 = 55\n"
    answers = json.loads(run("convnetjs-cifar10", "--smallest", "--memory", "0.5", "--json").stdout)
    assert answers["smallest_input"] == [3, 32, 32] and answers["largest_batch"] > 1000
    assert "smallest input: 3×" in run("resnet20", "--smallest").stdout
    assert "smallest input: 3×67×67" in run("alexnet", "--smallest").stdout  # built for 227, as the paper's


def test_bad_arguments_say_what_is_right():
    with pytest.raises(BadSetting, match="such as 3x32x32"):
        run("resnet20", "--input", "32x32")
    with pytest.raises(BadSetting, match="such as 227:55:11"):
        run("--solve", "227")
    with pytest.raises(BadSetting, match="which network"):
        run()
    with pytest.raises(BadDesign):
        run("conv3-8, relo")


def test_a_narrow_terminal_is_told_what_it_does_not_show():
    shown = run("convnetjs-cifar10")
    assert "left out, for a wider terminal or --json: centre, stride" in shown.stderr
    assert "centre" not in shown.stdout and "kind" not in shown.stderr
