"""`striate data`: its report, its JSON, its picture, its exit codes."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from striate.cli import main


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def striate(monkeypatch, capsys):
    """Runs the command line as the console script does, in a folder of its own."""

    def run(*arguments: object, cwd: Path) -> Done:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["striate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def colours(tmp_path) -> Path:
    """Two classes of pictures, one of them stored twice, one damaged."""
    for name, shade in (("blue", 200), ("[red]", 90)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(8):
            picture = Image.linear_gradient("L").resize((40, 30)).rotate(11 * i + shade)
            picture.save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "data/blue/torn.png").write_bytes(b"\x89PNG")
    copy = (tmp_path / "data/blue/3.png").read_bytes()
    (tmp_path / "data/blue/3 again.png").write_bytes(copy)
    return tmp_path


def test_the_report_and_the_mended_copy(striate, colours):
    done = striate("data", "data", "--fix", "out", "--mosaic", "m.png", cwd=colours)
    assert done.returncode == 0, done.stderr
    assert "val was held out" in done.stdout and "[red]" in done.stdout
    assert "torn.png" in done.stdout and "3.png = " in done.stdout.replace("3 again.png = ", "3.png = ")
    assert "mended    out" in done.stdout and (colours / "out/review.csv").is_file()
    with Image.open(colours / "m.png") as sheet:
        assert sheet.format == "PNG"


def test_one_json_object(striate, colours):
    done = striate("data", "data", "--json", cwd=colours)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["mosaic"] == "runs/data/data.png" and (colours / told["mosaic"]).is_file()
    assert told["pictures"] == 18 and told["fixed"] is None
    assert "unreadable" in {finding["kind"] for finding in told["findings"]}


def test_quick_draws_nothing(striate, colours):
    done = striate("data", "data", "--quick", "--json", cwd=colours)
    assert done.returncode == 0 and json.loads(done.stdout)["mosaic"] is None
    assert not (colours / "runs").exists()


def test_bad_input_ends_with_2(striate, colours):
    done = striate("data", "nowhere", cwd=colours)
    assert done.returncode == 2 and done.stderr.startswith("error: nowhere: ")
    done = striate("data", "data", "--fix", "data", cwd=colours)
    assert done.returncode == 2 and "name a folder that is new or empty" in done.stderr
