"""People found by one network and answered by another: joints lie where they are in the whole picture."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import striate
from striate.cli.predict import _line, predict
from striate.data.prepare import Prepare
from striate.data.video import Writer, open_video
from striate.errors import BadSetting
from striate.parts import in_parts
from striate.run import Run
from striate.task import Task
from striate.tasks import TASKS
from striate.tasks.pose.head import Joints
from striate.tasks.pose.predict import People

NAMES = ["left hand", "right hand", "nose"]
SKELETON = {"joints": NAMES, "bones": [[0, 2], [1, 2]], "mirrored": [1, 0, 2]}
DOTS = ((220, 30, 30), (30, 210, 30), (30, 30, 240))
BODY, GROUND = (200, 0, 200), (110, 110, 110)

Person = tuple[tuple[int, int, int, int], list[tuple[float, float]]]
"""Box, and the places of the three joints."""

LEFT: Person = ((0, 20, 34, 70), [(8.5, 30.5), (26.5, 33.5), (17.5, 60.5)])
RIGHT: Person = ((120, 60, 180, 96), [(130.5, 70.5), (170.5, 75.5), (150.5, 88.5)])


def painted(people: list[Person], size: tuple[int, int] = (200, 120), scale: int = 1) -> Image.Image:
    """A picture of people: a body over the whole box, a dot on each joint."""
    pixels = np.zeros((size[1] * scale, size[0] * scale, 3), dtype=np.uint8) + np.uint8(GROUND)
    y, x = np.mgrid[: size[1] * scale, : size[0] * scale] + 0.5
    for box, joints in people:
        x1, y1, x2, y2 = (scale * side for side in box)
        pixels[y1:y2, x1:x2] = BODY
        for (px, py), colour in zip(joints, DOTS, strict=True):
            pixels[(x - scale * px) ** 2 + (y - scale * py) ** 2 < (4 * scale) ** 2] = colour
    return Image.fromarray(pixels)


class Bodies(nn.Module):
    """A finder of bodies that stand side by side: columns that differ from the ground, and their rows."""

    def __init__(self, label: int = 1) -> None:
        super().__init__()
        self.label, self.weight = label, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        found = []
        for picture in x:
            there = (picture.amax(0) - picture.amin(0)) > 0.3
            edges = torch.diff(there.any(0).int(), prepend=torch.zeros(1), append=torch.zeros(1))
            boxes = []
            for x1, x2 in zip((edges > 0).nonzero().flatten(), (edges < 0).nonzero().flatten(), strict=True):
                rows = there[:, x1:x2].any(1).nonzero().flatten()
                boxes.append([float(x1), float(rows[0]), float(x2), float(rows[-1]) + 1])
            n = len(boxes)
            found.append(
                {
                    "boxes": torch.tensor(boxes).view(n, 4),
                    "scores": torch.linspace(0.9, 0.8, max(n, 1))[:n],
                    "labels": torch.full((n,), self.label),
                }
            )
        return found


class Colours(nn.Module):
    """Joints are where the three colours are: their centres of mass. Counts how many windows it sees."""

    batches: list[int] = []

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Joints:
        self.batches.append(len(x))
        height, width = x.shape[2:]
        y, x_ = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        points = []
        for k in range(3):
            others = x[:, [c for c in range(3) if c != k]].amax(1)
            mass = (x[:, k] - others).clamp(min=0.1) - 0.1
            total = mass.sum((1, 2)).clamp(min=1e-6)
            points.append(torch.stack([(mass * at).sum((1, 2)) / total for at in (x_, y)], dim=-1))
        stacked = torch.stack(points, dim=1)
        return Joints(stacked[:, None], torch.full((len(x), 3), 0.75), None, (height, width))


def stub(network: nn.Module, task: Task, facts: dict[str, Any], size: tuple[int, int]) -> Run:
    prepare = Prepare(size, 3, fit="pad")
    return Run(Path("runs") / task.name, network.eval(), task, facts, prepare, {"figures": {}, "network": {}})


@pytest.fixture
def finder() -> Run:
    return stub(Bodies(), TASKS["detect"], {"classes": ["cat", "person"]}, (96, 128))


@pytest.fixture
def poser() -> Run:
    Colours.batches.clear()
    return stub(Colours(), TASKS["pose"], {"classes": ["person"], **SKELETON}, (64, 64))


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("opened", [False, True])
def test_joints_lie_in_pixels_of_the_whole_picture(
    finder: Run, poser: Run, tmp_path: Path, scale: int, opened: bool
) -> None:
    image = painted([LEFT, RIGHT], scale=scale)
    image.save(tmp_path / "two.png")
    (found,) = in_parts(poser, finder, image if opened else tmp_path / "two.png")
    assert isinstance(found, People) and found.size == (120 * scale, 200 * scale)
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    for (box, joints), said_box, said in zip((LEFT, RIGHT), found.boxes, found.joints, strict=True):
        assert np.abs(said_box - scale * np.array(box)).max() < 3 * scale
        assert np.abs(said[:, :2] - scale * np.array(joints)).max() < 0.75 * scale
        assert said[:, 2].tolist() == [0.75] * 3


def test_the_answer_is_plain_and_drawn(finder: Run, poser: Run) -> None:
    (found,) = in_parts(poser, finder, painted([LEFT, RIGHT]))
    answer = json.loads(json.dumps(found.to_dict()))
    assert answer["file"] == "picture 1" and answer["size"] == [120, 200] and len(answer["people"]) == 2
    one = answer["people"][1]
    assert set(one) == {"box", "score", "joints"} and list(one["joints"]) == NAMES
    assert len(one["box"]) == 4 and len(one["joints"]["nose"]) == 3
    drawn, plain = (
        np.asarray(found.draw()),
        painted([LEFT, RIGHT]).resize((480, 288), Image.Resampling.LANCZOS),
    )
    changed = (np.abs(drawn.astype(int) - np.asarray(plain)) > 60).any(2)
    assert drawn.shape == (288, 480, 3) and found.files() == {}
    for x, y in LEFT[1] + RIGHT[1]:
        near = changed[int(2.4 * y) - 4 : int(2.4 * y) + 5, int(2.4 * x) - 4 : int(2.4 * x) + 5]
        assert near.any()
    assert not changed[:, 110:280].any()  # nobody is between them
    with pytest.raises(FrozenInstanceError):
        found.file = "x"  # ty: ignore[invalid-assignment]


def test_a_picture_of_nobody_has_an_answer_too(finder: Run, poser: Run) -> None:
    pictures = [painted([]), painted([RIGHT]), painted([])]
    found = [one.to_dict() for one in in_parts(poser, finder, pictures)]
    assert [len(one["people"]) for one in found] == [0, 1, 0] and Colours.batches == [1]
    (alone,) = in_parts(poser, finder, painted([]))
    assert alone.to_dict() == {"file": "picture 1", "size": [120, 200], "people": []}
    assert np.asarray(alone.draw()).std() == 0


def test_people_of_many_pictures_are_answered_together(finder: Run, poser: Run, tmp_path: Path) -> None:
    for number in range(5):
        painted([LEFT, RIGHT][: 1 + number % 2]).save(tmp_path / f"{number}.png")
    (tmp_path / "3a.png").write_bytes(b"words")
    found = list(in_parts(poser, finder, tmp_path, batch=4))
    assert [Path(one.file).name for one in found] == [f"{number}.png" for number in range(5)]
    assert [len(one.joints) for one in found] == [1, 2, 1, 2, 1]
    assert "3a.png: cannot be read" in poser.left_out[0] and len(poser.left_out) == 1
    assert Colours.batches == [4, 2, 1]  # of four pictures six people, of the fifth one


def test_things_of_other_classes_are_nobody(poser: Run) -> None:
    cats = stub(Bodies(label=0), TASKS["detect"], {"classes": ["cat", "person"]}, (96, 128))
    (found,) = in_parts(poser, cats, painted([LEFT, RIGHT]))
    assert not found.to_dict()["people"]


def test_films_are_answered_frame_by_frame(finder: Run, poser: Run, tmp_path: Path) -> None:
    writer = Writer(tmp_path / "clip.mp4", 10.0)
    for people in ([LEFT], [LEFT, RIGHT], []):
        writer.write(painted(people))
    writer.close()
    found = list(in_parts(poser, finder, open_video(tmp_path / "clip.mp4")))
    assert [len(one.joints) for one in found] == [1, 2, 0] and found[2].file.endswith("clip.mp4#2")


def test_what_cannot_be_put_together_is_refused(finder: Run, poser: Run) -> None:
    with pytest.raises(BadSetting, match="detect looks at whole pictures, not at people one by one"):
        in_parts(finder, finder, painted([LEFT]))
    blind = stub(Bodies(), TASKS["detect"], {"classes": ["cat", "dog"]}, (96, 128))
    with pytest.raises(BadSetting, match="runs/detect: does not find person: it knows cat, dog"):
        in_parts(poser, blind, painted([LEFT]))
    with pytest.raises(BadSetting, match="runs/pose: pose does not say where things are"):
        list(in_parts(poser, poser, painted([LEFT])))
    with pytest.raises(BadSetting, match="--people: answers about people are neither refined nor tiled"):
        predict("runs/pose", ["a.png"], refine=False, tile=True, people="runs/detect")


def people_on_disk(folder: Path) -> Path:
    """A small set in COCO's JSON of pictures with one or two people, boxes and joints."""
    rng, images, annotations = np.random.default_rng(0), [], []
    folder.mkdir()
    for i in range(40):
        people: list[Person] = []
        for left in (2, 50)[: 1 + i % 2]:
            x, y = left + int(rng.integers(0, 14)), int(rng.integers(2, 26))
            joints = [(x + 4.5, y + rng.integers(5, 30) + 0.5) for x in (x, x + 19)]
            people.append(((x, y, x + 28, y + 36), [*joints, (x + 14.5, y + rng.integers(5, 30) + 0.5)]))
        painted(people, (96, 64)).save(folder / f"{i:02}.png")
        images.append({"id": i, "file_name": f"{i:02}.png", "width": 96, "height": 64})
        for (x1, y1, x2, y2), joints in people:
            one = {"id": len(annotations) + 1, "image_id": i, "category_id": 1, "iscrowd": 0}
            one |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            annotations.append(one | {"keypoints": [float(v) for xy in joints for v in (*xy, 2)]})
    person = {"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 3], [2, 3]]}
    whole = {"images": images, "annotations": annotations, "categories": [person]}
    (folder / "train.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """(a run of pose, a run of detect)."""
    folder = tmp_path_factory.mktemp("people")
    data = people_on_disk(folder / "set")
    changes = {"evaluate": 50, "area": 1.0, "shift": 4}
    pose, detect = (
        striate.train(
            task, data, epochs=epochs, batch=8, seed=1, out=folder / task, progress=False, changes=changes
        )
        for task, epochs in (("pose", 4), ("detect", 9))
    )
    return pose, detect


def test_trained_runs_on_the_command_line(command_line, trained: tuple[Run, Run], tmp_path: Path) -> None:
    pose, detect = trained
    people: list[Person] = [
        ((10, 12, 38, 48), [(14.5, 22.5), (33.5, 30.5), (24.5, 40.5)]),
        ((60, 20, 88, 56), [(64.5, 40.5), (83.5, 32.5), (74.5, 27.5)]),
    ]
    painted(people, (96, 64), scale=2).save(tmp_path / "two.png")
    command = ["predict", pose.path, "two.png", "--people", detect.path, "--json", "--out", "drawn"]
    done = command_line(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["predictions"]
    found = sorted(answer["people"], key=lambda one: one["box"][0])
    assert answer["size"] == [128, 192] and len(found) == 2 and (tmp_path / answer["drawn"]).is_file()
    for (_, joints), one in zip(people, found, strict=True):
        said = np.array(list(one["joints"].values()))
        assert np.linalg.norm(said[:, :2] - 2 * np.array(joints), axis=1).max() < 10


def test_an_answer_is_one_line_of_text(finder: Run, poser: Run) -> None:
    pictures = [painted([LEFT, RIGHT]), painted([RIGHT]), painted([])]
    lines = [_line(one.to_dict()) for one in in_parts(poser, finder, pictures)]
    assert lines == [
        "picture 1  2 people: 0.90 (joints 0.75), 0.80 (joints 0.75)",
        "picture 2  1 person: 0.90 (joints 0.75)",
        "picture 3  nobody",
    ]
