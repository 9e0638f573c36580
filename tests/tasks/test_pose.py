"""Pose: both heads learn with every backbone, joints go where pixels go, figures are the papers'."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn

import striate
from striate import models
from striate.data import open_data
from striate.data.augment import draw_warp, warp
from striate.data.picture import cut, open_picture
from striate.data.prepare import Fit, Prepare
from striate.data.readers.coco import read
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData, BadSetting
from striate.models.folding import for_inference
from striate.tasks import TASKS
from striate.tasks.pose.data import around, facts, move, samples, targets
from striate.tasks.pose.head import DeepPose, located
from striate.tasks.pose.loss import gaussians, loss
from striate.tasks.pose.metric import PoseMetric, keep, results, sigma

TASK = TASKS["pose"]
NAMES = {
    "classes": ["person"], "joints": ["left hand", "right hand", "nose"], "bones": [[0, 2], [1, 2]],
    "mirrored": [1, 0, 2],
}  # fmt: skip
COLOURS = np.array([[230, 40, 40], [40, 220, 60], [60, 80, 240]])


def figures(count: int, side: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures uint8 (count, 3, side, side) with a coloured dot on each of three joints (count, 3, 3)."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(100, 8, (count, side, side, 3)).clip(0, 255)
    joints = rng.uniform(0.2 * side, 0.8 * side, (count, 3, 2)).round() + 0.5
    y, x = np.mgrid[:side, :side] + 0.5
    for i, k in np.ndindex(count, 3):
        near = (x - joints[i, k, 0]) ** 2 + (y - joints[i, k, 1]) ** 2 < (side / 14) ** 2
        pixels[i, near] = COLOURS[k]
    known = np.concatenate([joints, np.full((count, 3, 1), 2.0)], axis=2)
    images = torch.from_numpy(pixels.astype(np.uint8).transpose(0, 3, 1, 2).copy())
    return images, torch.from_numpy(known.astype(np.float32))


def truth(joints: Tensor, mirrored: tuple[int, ...] = (1, 0, 2)) -> dict[str, Tensor]:
    n = len(joints)
    place = torch.tensor([1.0, 1, 0, 0]).double().expand(n, 4)
    found = {"keypoints": joints, "mirrored": torch.tensor(mirrored).expand(n, -1), "place": place}
    found |= {"boxes": torch.tensor([0.0, 0, 100, 100]).expand(n, 4), "area": torch.full((n,), 5000.0)}
    return found | {"image_id": torch.arange(1, n + 1)}


ZOO = ("lenet5", "alexnet", "zfnet", "googlenet", "vgg11", "resnet18")
PAIRS = [*((net, "heatmap") for net in ZOO), *((net, "deeppose") for net in ZOO)]


@pytest.mark.parametrize(("net", "head"), PAIRS)
def test_every_backbone_learns_a_batch_by_heart(net: str, head: str) -> None:
    torch.manual_seed(0)
    images, joints = figures(4, 96 if net in ("alexnet", "zfnet") else 64)
    x, target = (images.float() - 110) / 60, truth(joints)
    x = x[:, :1] if net == "lenet5" else x
    network = TASK.build(models.network(net, classes=2, channels=x.shape[1]), {**NAMES, "head": head})
    for module in network.modules():
        if isinstance(module, nn.Dropout):  # by heart: with all that it has
            module.p = 0.0
    lr = 5e-4 if net == "googlenet" else 1e-3  # 22 layers without norms leap about at more
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=lr)
    best = 0.0
    for step in range(1, 301):
        network.train()
        terms = TASK.loss(TASK.forward(network, x, target), target, 0.0)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        if step % 10 == 0:
            metric = TASK.metric(NAMES)
            with torch.no_grad():
                metric.update(TASK.forward(network.eval(), x, None), target)
            best = max(best, metric.compute()["pck_at_0.2"])
            if best == 1:
                break
    assert best == 1


@given(st.integers(0, 10**6), st.sampled_from([1.0, 0.5]))
def test_joints_move_with_the_pixels_and_change_sides_in_a_mirror(seed: int, area: float) -> None:
    images, joints = figures(3, 64, seed)
    clean = torch.zeros_like(images)
    for i, k in np.ndindex(3, 3):
        x, y = joints[i, k, :2].tolist()
        clean[i, k, round(y) - 2 : round(y) + 2, round(x) - 2 : round(x) + 2] = 255
    prepare = Prepare((64, 64), 3, fit="pad")
    drawn = draw_warp(3, prepare, 10, True, torch.Generator().manual_seed(seed), area=area)
    seen, moved = warp(clean, drawn, prepare), move(truth(joints), drawn)["keypoints"]
    for i, k in np.ndindex(3, 3):
        where = (
            (1, 0, 2)[k] if bool(drawn.flip[i]) else k
        )  # what is painted on the left hand is a right one's
        if moved[i, where, 2] == 0:
            continue
        ys, xs = (seen[i, k] > 127).nonzero(as_tuple=True)
        if len(xs) >= 9:
            middle = torch.stack([xs.float().mean() + 0.5, ys.float().mean() + 0.5])
            assert (moved[i, where, :2] - middle).abs().max() < 2.5


def test_the_figures_by_hand() -> None:
    """A person 100 pixels tall: off by 0, 8 and 30 pixels; limbs of 100 and 60."""
    joints = torch.tensor([[[0.0, 0, 2], [60, 40, 2], [0, 100, 2]]])
    said = joints.clone()
    said[0, 1, 0] += 8
    said[0, 2, 1] += 30
    metric = PoseMetric(NAMES | {"bones": [[0, 2], [0, 1]]})
    target = truth(joints) | {"place": torch.tensor([[0.5, 0.5, 0, 0]])}
    metric.update(said[:, None], target)
    found = metric.compute()
    assert found["pck"] == pytest.approx(2 / 3) and found["pck_at_0.05"] == pytest.approx(1 / 3)
    assert found["pcp"] == 1 and found["error"] == pytest.approx((0 + 16 + 60) / 3)
    assert found["per_class"]["nose"] == {"pck": 0.0, "error": 60.0} and "pdj" not in found
    said[0, 2, 1] += 25  # 55 of 100 pixels: more than half of that limb
    metric = PoseMetric(NAMES | {"bones": [[0, 2], [0, 1]]})
    metric.update(said[:, None], target)
    assert metric.compute()["limbs"] == {"left hand – nose": 0.0, "left hand – right hand": 1.0}
    joints[0, 2, 2] = 0  # not known: it counts for nothing
    metric.update(said[:, None], truth(joints))
    assert metric.compute()["limbs"]["left hand – nose"] == 0.0


def test_lengths_come_from_the_skeleton() -> None:
    named = {
        "joints": ["left_shoulder", "right_hip", "neck", "head top"],
        "bones": [[0, 1]],
        "mirrored": [0] * 4,
    }
    joints = torch.tensor([[[0.0, 0, 2], [30, 40, 2], [10, 0, 2], [10, -20, 2]]])
    said = joints.clone()
    said[0, :, 0] += torch.tensor([0.0, 10.9, 9.9, 10.1])
    one, other = PoseMetric(named), PoseMetric(named)
    one.update(said[:, None], truth(joints, (0, 1, 2, 3)))
    other.update(joints[:, None], truth(joints, (0, 1, 2, 3)))
    found = one.compute()
    assert found["pckh"] == 0.5  # half a head is 10 pixels
    assert found["pdj_curve"][20] == 0.5 and found["pdj_curve"][21] == 0.75 and found["pdj_curve"][22] == 1.0
    one.merge(other)
    assert one.compute()["pckh"] == 0.75 and one.compute()["people"] == 2


def test_a_skeleton_without_bones_has_no_limbs_and_a_lone_joint_no_size() -> None:
    """YOLO's sets have no bones, and COCO marks people of whom one joint is to be seen."""
    joints = torch.tensor([[[0.0, 0, 2], [60, 40, 2], [0, 100, 2]], [[5, 5, 2], [0, 0, 0], [0, 0, 0]]])
    metric = PoseMetric(NAMES | {"bones": []})
    metric.update((joints + torch.tensor([1.0, 0, 0]))[:, None], truth(joints))
    found = metric.compute()
    assert found["pck"] == 1 and "pcp" not in found and found["limbs"] == {} and found["people"] == 2


def test_results_name_the_class_that_has_the_joints(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    categories: list[dict[str, Any]] = [{"id": 3, "name": "car"}, {"id": 7, "name": "person"}]
    categories[1] |= {"keypoints": ["nose", "tail"]}
    person = {
        "id": 1,
        "image_id": 5,
        "category_id": 7,
        "bbox": [2, 2, 30, 30],
        "keypoints": [4, 4, 2, 20, 9, 2],
    }
    images = [{"id": 5, "file_name": "a.png", "width": 40, "height": 40}]
    whole = {"images": images, "annotations": [person], "categories": categories}
    (tmp_path / "people.json").write_text(json.dumps(whole))
    source = samples(read(tmp_path / "people.json"))
    assert source.class_numbers == [7]


def test_maps_say_where_a_joint_is_between_the_cells() -> None:
    points = torch.tensor([[[20.3, 41.9], [60.0, 7.5]]])
    maps = gaussians(points, (24, 24), (96, 96))
    assert maps.sum((2, 3)) == pytest.approx(torch.ones(1, 2))
    found = located(maps.clamp(min=1e-12).log(), torch.zeros(1, 3, 96, 96))
    assert (found.points[:, 0] - points).abs().max() < 0.6  # a cell is 4 pixels
    exact = {"keypoints": torch.cat([points, torch.ones(1, 2, 1)], 2)}
    assert float(loss(found, exact)["maps"]) == pytest.approx(0, abs=1e-5)
    with pytest.raises(BadSetting, match="label_smoothing"):
        loss(found, exact, 0.1)


def test_later_stages_start_where_the_ones_before_err() -> None:
    torch.manual_seed(0)
    network = DeepPose(models.network("resnet10-half", classes=1), 3).train()
    images, joints = figures(4, 64)
    x = (images.float() - 110) / 60
    for _ in range(3):
        network.learn(x, joints)
    mean, square = network.errors[0]
    assert (square > 0).all() and (mean.abs() < 1).all()
    network.eval()
    with torch.no_grad():
        alone = network(x).points
    assert alone.shape == (4, 3, 3, 2) and torch.equal(alone, network(x).points.detach())


def test_people_are_cut_out_with_joints_in_pixels_of_the_square(tmp_path: Path) -> None:
    picture = np.zeros((60, 90, 3), dtype=np.uint8)
    picture[30, 10] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    person = np.array([[10.5, 30.5, 2], [0, 0, 0], [12, 40, 1]], dtype=np.float32)
    raw = {
        "boxes": [np.array([[4.0, 20, 20, 52], [0, 0, 10, 10], [0, 0, 9, 9]])],
        "area": [np.array([300.0, 1, 1])], "image_id": [1],
        "crowd": [np.array([False, False, True])], "keypoints": [np.stack([person, 0 * person, person])],
    }  # fmt: skip
    notes = {"joints": NAMES["joints"], "bones": NAMES["bones"], "mirrored": NAMES["mirrored"]}
    files: Any = [ImageFile("a.png", tmp_path / "a.png")]
    source = Source("d", tmp_path, "x", {"train": Split(files, raw)}, ("person",), notes=notes)
    found = samples(source)
    split = found.splits["train"]
    assert around(raw["boxes"][0][0]) == (-8, 16, 32, 56) == split.images[0].box and len(split) == 1
    seen = open_picture(split.images[0])
    assert seen.size == (40, 40) and seen.getpixel((18, 14)) == (255, 255, 255)
    assert seen.getpixel((3, 3)) == (114, 114, 114)
    assert split.targets["keypoints"][0, 0].tolist() == [18.5, 14.5, 2]
    stored = targets(
        split.targets, Fit(np.array([[2.0, 2]]), np.array([[0.0, 5]]), np.array([[40, 40]]), (80, 90))
    )
    assert stored["keypoints"][0, 0].tolist() == [37, 34, 2]
    scale, offset = stored["place"][0].split(2)
    assert (person[0, :2] * scale.numpy() + offset.numpy()).tolist() == [37, 34]
    assert facts(found)["joints"] == NAMES["joints"]
    assert cut(Image.new("L", (4, 4)), (2, 2, 6, 6)).getpixel((3, 3)) == 114


def test_data_without_joints_is_refused() -> None:
    images = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    source = Source("d", Path("d"), "x", {"train": Split(images, {"label": np.zeros(2, int)})}, ("a",))
    with pytest.raises(BadData, match="takes joints, and these pictures have: label"):
        samples(source)


def test_people_of_scenes_and_of_photographs_are_found(data_root: Path) -> None:
    scenes = samples(open_data("scenes")).splits["train"]
    assert scenes.images.shape == (952, 3, 64, 64)
    joints = scenes.targets["keypoints"]
    assert ((joints[..., :2] > 0) & (joints[..., :2] < 64)).all()
    lsp = samples(open_data(data_root / "lsp"))
    assert lsp.notes["joints"][0] == "right_ankle" and {k: len(v) for k, v in lsp.splits.items()} == {
        "train": 240,
        "val": 60,
    }


def test_people_are_counted_as_cocos_own_program_counts_them(data_root: Path, tmp_path: Path) -> None:
    """Answers are the truth, each person's moved more than the last one's, in pictures of any size."""
    source = samples(open_data(data_root / "lsp" / "person_keypoints_val.json"))
    split = next(iter(source.splits.values()))
    n, rng = len(split), np.random.default_rng(0)
    fit = Fit(rng.uniform(0.3, 2, (n, 1)).repeat(2, 1), rng.uniform(0, 9, (n, 2)), np.full((n, 2), 99))
    target = targets(split.targets, fit)
    said = target["keypoints"].clone()
    said[..., :2] += torch.from_numpy(rng.normal(0, np.linspace(0, 12, n)[:, None, None], (n, 14, 2)))
    said[..., 2] = torch.rand(n, 14, generator=torch.Generator().manual_seed(0))
    metric = PoseMetric(facts(source))
    metric.update(said[:, None], target)
    found = metric.compute()
    (tmp_path / "said.json").write_text(json.dumps(results(said[:, None], target, [1])))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data_root / "lsp" / "person_keypoints_val.json"))
        judge = COCOeval(truth, truth.loadRes(str(tmp_path / "said.json")), "keypoints")
        judge.params.kpt_oks_sigmas = np.array([sigma(joint) for joint in facts(source)["joints"]])
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    ours = [found[key] for key in ("oks_map", "oks_map50", "oks_map75")]
    assert 0.1 < ours[0] < 0.9 and ours == pytest.approx(judge.stats[:3].tolist(), abs=1e-6)
    assert sigma("left_shoulder") == 0.079 and sigma("Head top") == 0.079 and sigma("l_eye") == 0.025


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> striate.Run:
    out = tmp_path_factory.mktemp("pose") / "run"
    return striate.train("pose", data="scenes", epochs=1, out=out, progress=False, changes={"evaluate": 1})


def test_it_learns_from_scenes_to_a_run(command_line, trained: striate.Run, tmp_path: Path) -> None:
    assert trained.figures["pck"] > 0.5 and trained.figures["split"] == "val"
    assert trained.evaluate()["pck"] == pytest.approx(trained.figures["pck"], abs=2e-3)
    report = (trained.path / "report.html").read_text()
    assert all(title in report for title in ("Joints", "Detected joints", "Examples"))
    split = samples(open_data("scenes")).splits["val"]
    Image.fromarray(split.images[0].transpose(1, 2, 0)).resize((128, 128)).save(tmp_path / "a.png")
    done = command_line("predict", trained.path, "a.png", "--json", "--out", "drawn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["predictions"]
    said = np.array(list(answer["joints"].values()))
    assert said.shape == (14, 3) and (said[:, 2] > 0).all()
    apart = np.linalg.norm(said[:, :2] / 2 - split.targets["keypoints"][0, :, :2], axis=1)
    assert np.median(apart) < 8  # in pixels of a square of 64
    assert (tmp_path / "drawn" / "a.png").is_file()


@pytest.mark.parametrize("head", ["heatmap", "deeppose"])
def test_the_copy_that_answers_is_folded_and_equal(head: str) -> None:
    torch.manual_seed(0)
    network = TASK.build(models.network("resnet10-half", classes=1), {**NAMES, "head": head}).eval()
    twin = for_inference(network)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in twin.modules())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert (keep(network(x)) - keep(twin(x))).abs().max() < 0.01
