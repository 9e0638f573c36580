"""Segmentation: learns with every backbone, measures as the papers do, answers in the picture's pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import striate
from striate import models
from striate.data.masks import IGNORED
from striate.data.overlay import palette
from striate.data.prepare import Fit
from striate.data.source import Source, Split
from striate.errors import BadData, BadSetting
from striate.models.folding import for_inference
from striate.tasks import TASKS
from striate.tasks.segment.data import facts
from striate.tasks.segment.head import laplacian, normalised
from striate.tasks.segment.loss import loss
from striate.tasks.segment.metric import SegmentMetric
from striate.tasks.segment.predict import to_original
from striate.tasks.segment.superpixels import refine, superpixels
from striate.tasks.segment.tiles import spans

TASK = TASKS["segment"]
NAMES = {"classes": ["sky", "road", "car"]}


def scene(rng: np.random.Generator, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A picture of three kinds of ground, uint8 (3, side, side), and its mask."""
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[rng.integers(side // 3, side // 2) :] = 1
    x, y = rng.integers(0, side // 2, 2)
    mask[y + side // 4 : y + side // 2, x : x + side // 3] = 2
    colours = np.array([[90, 140, 220], [110, 100, 90], [200, 40, 40]])
    pixels = colours[mask] + rng.normal(0, 12, (side, side, 3))
    return pixels.clip(0, 255).astype(np.uint8).transpose(2, 0, 1), mask


def scenes(folder: Path, count: int = 12, side: int = 48) -> Path:
    """A data set of pictures and masks on disk, with val."""
    rng = np.random.default_rng(0)
    for split, n in {"train": count, "val": 4}.items():
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
        for i in range(n):
            pixels, mask = scene(rng, side)
            Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / split / "images" / f"{i}.png")
            Image.fromarray(mask).save(folder / split / "masks" / f"{i}.png")
    (folder / "classes.txt").write_text("sky\nroad\ncar\n")
    return folder


ZOO = ("lenet5", "alexnet", "zfnet", "googlenet", "vgg11", "resnet18")


@pytest.mark.parametrize(("net", "head"), [*((net, "light") for net in ZOO), ("farabet", "multiscale")])
def test_every_backbone_learns_a_batch_by_heart(net: str, head: str) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    side = 96 if net in ("alexnet", "zfnet") else 64
    pixels, masks = (np.stack(part) for part in zip(*(scene(rng, side) for _ in range(2)), strict=True))
    x = (torch.from_numpy(pixels).float() - 110) / 60
    target = {"mask": torch.from_numpy(masks)}
    channels = 1 if net == "lenet5" else 3
    network = TASK.build(models.network(net, classes=3, channels=channels), {**NAMES, "head": head})
    x = x[:, :channels]
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=2e-3)
    for _ in range(60):
        value = sum(TASK.loss(TASK.forward(network, x, target), target, 0.0).values())
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if value < 0.15:
            break
    # Coarse maps cannot follow outlines: what is left is on them.
    assert value < 0.3
    metric = TASK.metric(NAMES)
    metric.update(TASK.forward(network, x, None), target)
    assert metric.compute()["miou"] > 0.75


def by_hand(said: np.ndarray, true: np.ndarray, classes: int) -> tuple[float, float, float]:
    """Mean IoU, pixel accuracy and class accuracy, class by class from sets of pixels."""
    known = true != IGNORED
    ious, accuracies = [], []
    for k in range(classes):
        a, b = (said == k) & known, (true == k) & known
        if (a | b).any():
            ious.append((a & b).sum() / (a | b).sum())
        if b.any():
            accuracies.append((a & b).sum() / b.sum())
    right = (said == true)[known].mean() if known.any() else 0.0
    return float(np.mean(ious or [0])), float(right), float(np.mean(accuracies or [0]))


@given(st.integers(0, 10**6))
def test_the_figures_are_those_of_sets_of_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said, true = rng.integers(0, 3, (2, 4, 5, 6)).astype(np.uint8)
    true[rng.random(true.shape) < 0.2] = IGNORED
    metric, other = SegmentMetric(NAMES), SegmentMetric(NAMES)
    metric.update(torch.from_numpy(said[:1]), {"mask": torch.from_numpy(true[:1])})
    other.update(torch.from_numpy(said[1:]), {"mask": torch.from_numpy(true[1:])})
    metric.merge(other)
    found = metric.compute()
    figures = found["miou"], found["pixel_accuracy"], found["class_accuracy"]
    assert figures == pytest.approx(by_hand(said, true, 3), abs=1e-12)
    assert found["images"] == 4


def test_an_example_worked_by_hand() -> None:
    """Three pixels of sky, one called road; two of road, both right; one without a class."""
    metric = SegmentMetric(NAMES)
    said, true = torch.tensor([[[0, 0, 1, 1, 1, 2]]]), torch.tensor([[[0, 0, 0, 1, 1, IGNORED]]])
    metric.update(said.to(torch.uint8), {"mask": true.to(torch.uint8)})
    found = metric.compute()
    assert found["per_class"]["sky"] == {
        "iou": pytest.approx(2 / 3),
        "accuracy": pytest.approx(2 / 3),
        "share": 0.6,
    }
    assert found["per_class"]["road"]["iou"] == pytest.approx(2 / 3)
    assert found["per_class"]["car"] == {"iou": None, "accuracy": None, "share": 0.0}
    assert found["miou"] == pytest.approx(2 / 3) and found["pixel_accuracy"] == 0.8
    assert found["class_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    json.dumps(found)


def test_logits_and_classes_are_measured_alike() -> None:
    logits = torch.randn(2, 3, 5, 4)
    target = {"mask": torch.randint(0, 3, (2, 5, 4), dtype=torch.uint8)}
    one, other = SegmentMetric(NAMES), SegmentMetric(NAMES)
    one.update(logits, target)
    other.update(TASK.keep(logits), target)
    assert one.compute() == other.compute()


def test_pixels_without_a_class_teach_nothing_and_rare_classes_can_count_more() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    mask = torch.tensor([[0, 0, 1, IGNORED]]).repeat(4, 1)[None].to(torch.uint8)
    value = loss(logits, {"mask": mask})["cross_entropy"]
    value.backward()
    assert (logits.grad[..., 3] == 0).all() and (logits.grad[..., :3] != 0).all()
    plain = nn.functional.cross_entropy(logits[..., :3], mask[..., :3].long())
    assert torch.allclose(value, plain)
    weights = torch.tensor([0.5, 2.0, 1.0])
    value = loss((logits, weights), {"mask": mask})["cross_entropy"]
    assert torch.allclose(value, nn.functional.cross_entropy(logits[..., :3], mask[..., :3].long(), weights))
    empty = {"mask": torch.full((1, 4, 4), IGNORED, dtype=torch.uint8)}
    assert loss(logits, empty)["cross_entropy"] == 0


def test_balance_makes_every_class_count_the_same() -> None:
    known = {**NAMES, "frequencies": [0.7, 0.2, 0.1], "balance": 1.0}
    network = TASK.build(models.network("resnet20", classes=3), known)
    assert network.weights.tolist() == pytest.approx([1 / 2.1, 1 / 0.6, 1 / 0.3])
    assert not any("weights" in name for name in network.state_dict())
    assert TASK.build(models.network("resnet20", classes=3), NAMES).weights is None


def test_every_octave_is_normalised_in_windows() -> None:
    x = torch.rand(1, 3, 40, 60)
    levels = laplacian(x, 3)
    assert [tuple(level.shape[2:]) for level in levels] == [(40, 60), (20, 30), (10, 15)]
    middle = normalised(x, 15)[..., 15:25, 15:45]
    assert abs(middle.mean()) < 0.05 and abs(middle.std() - 1) < 0.05


def test_an_answer_lies_in_the_pixels_of_the_original() -> None:
    """A window twice as coarse, padded left and right: outlines come back where they were, to a pixel."""
    true = np.zeros((40, 60), dtype=np.uint8)
    true[10:30, 20:44] = 1
    logits = torch.full((2, 20, 34), 0.0)
    small = torch.from_numpy(true[::2, ::2].astype(np.float32))
    logits[0, :, 2:32], logits[1, :, 2:32] = 1 - small, small
    fit = Fit(np.array([[0.5, 0.5]]), np.array([[2.0, 0.0]]), np.array([[40, 60]]), (20, 34))
    found = to_original(logits, fit)
    assert found.shape == true.shape
    assert (found != true).mean() < 0.03


def test_superpixels_have_one_class_each_and_follow_outlines() -> None:
    pixels, mask = scene(np.random.default_rng(3))
    logits = nn.functional.one_hot(torch.from_numpy(mask).long(), 3).permute(2, 0, 1).float() * 2
    generator = torch.Generator().manual_seed(0)
    noisy = logits + 1.5 * torch.randn(logits.shape, generator=generator)
    found = refine(noisy[None], torch.from_numpy(pixels)[None])[0].argmax(0).numpy()
    assert (noisy.argmax(0).numpy() == mask).mean() < 0.85
    assert (found == mask).mean() > 0.97
    where = superpixels(pixels)
    assert all(len(np.unique(found[where == number])) == 1 for number in np.unique(where))


def test_a_set_without_masks_or_with_one_class_is_refused() -> None:
    pictures = np.zeros((4, 3, 8, 8), dtype=np.uint8)
    source = Source("s", Path("s"), "", {"train": Split(pictures, {"label": np.zeros(4)})}, ("a", "b"))
    with pytest.raises(BadData, match="to segment takes a mask a picture, and these have: label"):
        facts(source)
    source = Source("s", Path("s"), "", {"train": Split(pictures, {"mask": [pictures[0, 0]] * 4})}, ("a",))
    with pytest.raises(BadData, match="two classes or more, here are 1. In masks 255 is no class"):
        facts(source)


def test_colours_are_many_and_different() -> None:
    assert len(set(palette(60))) == 60


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> striate.Run:
    folder = tmp_path_factory.mktemp("segment")
    changes = {"flip": True, "shift": 4, "tta": True}
    return striate.train(
        "segment",
        data=scenes(folder / "scenes"),
        net="conv3-16 pad1, bn, relu, pool2, conv3-32 pad1, bn, relu, pool2, softmax10",
        epochs=12,
        batch=4,
        lr=1e-2,
        out=folder / "run",
        changes=changes,
        progress=False,
    )


def test_it_learns_from_files_to_a_run(trained: striate.Run) -> None:
    assert trained.figures["miou"] > 0.8
    assert (trained.path / "report.html").is_file()
    again = striate.load(trained.path)
    found = again.evaluate()
    assert found["miou"] == pytest.approx(trained.figures["miou"], abs=1e-6)
    assert found["split"] == "val" and set(found["per_class"]) == {"sky", "road", "car"}


def test_a_prediction_is_printed_drawn_and_saved(command_line, trained: striate.Run, tmp_path: Path) -> None:
    pixels, mask = scene(np.random.default_rng(9), 96)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "big.png")
    (answer,) = trained.predict(tmp_path / "big.png")
    assert answer.mask.shape == (96, 96) and (answer.mask == mask).mean() > 0.85
    told = json.loads(json.dumps(answer.to_dict()))
    assert told["size"] == [96, 96]
    assert sum(region["share"] for region in told["classes"]) == pytest.approx(1)
    assert answer.draw().width > 96
    done = command_line("predict", trained.path, "big.png", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sky" in done.stdout and "%" in done.stdout
    saved = Image.open(tmp_path / "out" / "big.mask.png")
    assert saved.mode == "P" and np.array_equal(np.array(saved), answer.mask)
    assert (tmp_path / "out" / "big.png").is_file()
    done = command_line("predict", trained.path, "big.png", "--csv", "a.csv", cwd=tmp_path)
    assert done.returncode == 2 and "write these answers with --json" in done.stderr


@given(st.integers(1, 3000), st.integers(8, 400), st.floats(0.1, 3))
def test_windows_answer_for_every_pixel_once(length: int, window: int, scale: float) -> None:
    found = list(spans(length, window, scale))
    assert [span[0] for _, span in found] == [0, *(span[1] for _, span in found[:-1])]
    assert found[-1][1][1] == length
    for begin, (first, last) in found:
        assert begin <= first < last <= max(begin + round(window / scale) + 1, first + 1)
    seen = window / scale
    assert len(found) <= max(1, -(-length // max(1, int(seen * 3 / 4) - 1))) + 1


def test_the_last_window_is_known_as_the_last() -> None:
    assert len(list(spans(1920, 240, 0.3429))) == 4


def test_a_large_picture_is_answered_piece_by_piece(trained: striate.Run, tmp_path: Path) -> None:
    """A sheet of scenes, each as large as the pictures it was trained on: scaled down nothing is left."""
    rng = np.random.default_rng(5)
    parts = [[scene(rng) for _ in range(7)] for _ in range(5)]
    pixels = np.concatenate([np.concatenate([p for p, _ in row], axis=2) for row in parts], axis=1)
    mask = np.concatenate([np.concatenate([m for _, m in row], axis=1) for row in parts], axis=0)
    Image.fromarray(pixels[:, :230, :330].transpose(1, 2, 0)).save(tmp_path / "sheet.png")
    whole = trained.predict(tmp_path / "sheet.png")[0].mask
    tiled = trained.predict(tmp_path / "sheet.png", tile=True)[0].mask
    assert tiled.shape == (230, 330)
    right, right_whole = ((found == mask[:230, :330]).mean() for found in (tiled, whole))
    assert right > 0.9 and right > right_whole + 0.05


def test_wishes_that_make_no_sense_are_refused(trained: striate.Run, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="views, scales and dense are for whole pictures"):
        trained.evaluate(views=10)
    with pytest.raises(BadSetting, match="head 'tall' is not known.*light, multiscale"):
        striate.train(
            "segment", data=trained.info["data"]["source"], head="tall", out=tmp_path / "a", progress=False
        )
    with pytest.raises(BadSetting, match="classify has one head only"):
        striate.train("classify", data="digits", head="light", out=tmp_path / "b", progress=False)
    with pytest.raises(BadSetting, match="balance: the loss of classify has no weights"):
        striate.train("classify", data="digits", changes={"balance": 1}, out=tmp_path / "c", progress=False)


@pytest.mark.parametrize(("net", "head"), [("resnet18", "light"), ("farabet", "multiscale")])
def test_the_copy_that_answers_is_folded_and_equal(
    net: str, head: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    network = TASK.build(models.network(net, classes=3), {**NAMES, "head": head}).eval()
    x = torch.randn(1, 3, 48, 64)
    folded = for_inference(network)
    assert not caplog.records
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), rtol=1e-4, atol=1e-4)
