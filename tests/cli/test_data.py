"""`striate data`: its report, its JSON, its picture, its exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import mosaic, open_data
from striate.data.doctor import examine


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


def test_what_cannot_be_read_is_named_and_not_counted(striate, colours):
    for i in range(5):
        (colours / f"data/blue/no {i}.png").write_text("no picture")
    source = open_data(colours / "data")
    found = examine(source, quick=True)
    done = striate("data", "data", "--quick", cwd=colours)
    assert all(f"blue/no {i}.png" in done.stdout for i in range(5))
    assert ", 6 of them unreadable (val was held out" in done.stdout
    counts: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mosaic, "_sheet", lambda _, rows: counts.extend(count for _, count, _ in rows))
        mosaic.mosaic(source, 0, found.unreadable)
    assert counts == found.balance["train"]


def test_near_duplicates_are_shown_in_pairs(striate, tmp_path):
    noise = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            picture = Image.fromarray(noise.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((160, 120))
            picture.save(tmp_path / "data" / name / f"{i}.png")
            if i < 2:
                picture.resize((120, 90)).save(tmp_path / "data" / name / f"{i} again.jpg", quality=80)
    told = striate("data", "data", "--seed", "1", cwd=tmp_path).stdout
    pairs = [line for line in told.splitlines() if line.startswith("    ") and " ≈ " in line]
    assert pairs and all(line.count("/") == 2 and " again.jpg" in line for line in pairs)


def test_one_class_alone_is_no_data_set_to_learn_from(striate, tmp_path):
    (tmp_path / "data/cats").mkdir(parents=True)
    for i in range(6):
        Image.linear_gradient("L").rotate(20 * i).save(tmp_path / f"data/cats/{i}.png")
    assert "1 class alone in train: cats" in striate("data", "data", cwd=tmp_path).stdout


def test_quick_draws_nothing(striate, colours):
    done = striate("data", "data", "--quick", "--json", cwd=colours)
    assert done.returncode == 0 and json.loads(done.stdout)["mosaic"] is None
    assert not (colours / "runs").exists()


def test_bad_input_ends_with_2(striate, colours):
    done = striate("data", "nowhere", cwd=colours)
    assert done.returncode == 2 and done.stderr.startswith("error: nowhere: ")
    done = striate("data", "data", "--fix", "data", cwd=colours)
    assert done.returncode == 2 and "name a folder that is new or empty" in done.stderr
