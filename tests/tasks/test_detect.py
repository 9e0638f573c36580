"""Detection: learns with every backbone, boxes go where pixels go, answers lie in the picture's pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import scene
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import box_iou

from striate import models
from striate.data.augment import draw_warp, warp
from striate.data.prepare import Fit, Prepare
from striate.data.rle import decode
from striate.data.source import Source, Split
from striate.data.things import Thing
from striate.data.things import targets as raw_targets
from striate.errors import BadData
from striate.models.folding import for_inference
from striate.tasks import TASKS
from striate.tasks.detect.assign import assign, within
from striate.tasks.detect.boxes import pairwise
from striate.tasks.detect.data import facts, move, targets, things
from striate.tasks.detect.loss import loss
from striate.tasks.detect.onestage import Dense, boxed, places
from striate.tasks.detect.predict import keep, originals

TASK = TASKS["detect"]
NAMES = {"classes": ["red", "blue"]}


def plain(n: int, side: int) -> Fit:
    """Pictures that are stored as they are."""
    return Fit(np.ones((n, 2)), np.zeros((n, 2)), np.full((n, 2), side), (side, side))


def batch(side: int, count: int = 2, channels: int = 3) -> tuple[Tensor, dict[str, Any]]:
    """Pictures float32 (count, channels, side, side) and their truth as it is stored."""
    rng = np.random.default_rng(0)
    pictures, lists = zip(*(scene(rng, side) for _ in range(count)), strict=True)
    x = (torch.from_numpy(np.stack(pictures)).float() - 120) / 60
    return x[:, :channels], targets(raw_targets(list(lists)), plain(count, side))


ZOO = ("lenet5", "alexnet", "zfnet", "googlenet", "vgg11", "resnet18")


PAIRS = [*((net, "onestage") for net in ZOO), ("alexnet", "faster"), ("resnet10-half", "faster")]


@pytest.mark.parametrize(("net", "head"), PAIRS)
def test_every_backbone_learns_a_batch_by_heart(net: str, head: str) -> None:
    torch.manual_seed(0)
    named = {**NAMES, "head": head}
    x, target = batch(96 if net in ("alexnet", "zfnet") else 64, channels=1 if net == "lenet5" else 3)
    network = TASK.build(models.network(net, classes=2, channels=x.shape[1]), named)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=2e-3)
    best = 0.0
    for step in range(1, 121):
        network.train()
        value = sum(TASK.loss(TASK.forward(network, x, target), target, 0.0).values())
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        if step % 10 == 0:
            metric = TASK.metric(named)
            with torch.no_grad():
                metric.update(TASK.forward(network.eval(), x, None), target)
            best = max(best, metric.compute()["map50"])
            if best > 0.99:
                break
    assert best > 0.99


@pytest.mark.parametrize("side", [300, 320])
def test_anchors_lie_on_their_cells(side: int) -> None:
    """Cells are as far apart as the stride says, also where the window is no multiple of it."""
    network = TASK.build(models.network("resnet20"), NAMES | {"head": "faster"}).eval()
    x, anchors = torch.rand(1, 3, side, side), []
    generator = network.propose.anchor_generator
    generator.register_forward_hook(lambda _, inputs, boxes: anchors.append((inputs[1], boxes[0])))
    with torch.no_grad():
        network(x)
    (maps, boxes), start = anchors[0], 0
    for found, stride in zip(maps, network.features.strides, strict=True):
        rows, columns = found.shape[-2:]
        mine = boxes[start : start + rows * columns * 6].view(rows, columns, 6, 4)
        middles = (mine[..., :2] + mine[..., 2:]) / 2
        assert middles[-1, -1, 0].tolist() == pytest.approx(
            [(columns - 1) * stride, (rows - 1) * stride], abs=1
        )
        start += rows * columns * 6
    assert start == len(boxes)


def test_masks_are_learned_too() -> None:
    torch.manual_seed(0)
    named = {**NAMES, "head": "mask"}
    x, target = batch(64)
    network = TASK.build(models.network("resnet10-half", classes=2), named)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(80):
        terms = TASK.loss(TASK.forward(network.train(), x, target), target, 0.0)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
    assert set(terms) == {"objectness", "rpn_box_reg", "classifier", "box_reg", "mask"}
    metric = TASK.metric(named)
    with torch.no_grad():
        metric.update(TASK.forward(network.eval(), x, None), target)
    figures = metric.compute()
    assert figures["map50"] > 0.9 and figures["mask_map50"] > 0.9


def test_cells_learn_the_thing_that_they_say_best() -> None:
    cells = places(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 32, 32))
    assert cells[0].tolist() == [4, 4, 8, 8] and cells[-1].tolist() == [28, 28, 8, 8] and len(cells) == 16
    truth = torch.tensor([[[0.0, 0, 16, 16], [20, 20, 23, 23], [0, 0, 0, 0]]])
    inside = within(truth, cells)
    assert inside[0, 0].nonzero().flatten().tolist() == [0, 1, 4, 5]
    assert inside[0, 1].any()  # narrower than a cell, between the centres
    said = boxed(torch.ones(1, 16, 4), cells)
    assert torch.allclose(pairwise(truth, said)[0], box_iou(truth[0], said[0]), atol=1e-6)
    scores, labels = torch.full((1, 16, 2), 0.5), torch.tensor([[0, 1, -1]])
    share = assign(scores, said, cells, truth, labels, labels >= 0)
    learned = share.quality[0].nonzero().flatten().tolist()
    assert set(learned[:4]) == {0, 1, 4, 5} and len(learned) == 5
    assert share.thing[0, learned].tolist() == [0, 0, 0, 0, 1]
    overlap = pairwise(truth, said)[0]
    assert share.quality[0, :6].max() == pytest.approx(float(overlap[0, [0, 1, 4, 5]].max()))


def test_crowds_teach_nothing() -> None:
    cells = places(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 32, 32))
    boxes = boxed(torch.ones(1, 16, 4), cells)
    target = {"boxes": torch.tensor([[[0.0, 0, 32, 32]]]), "labels": torch.tensor([[0]])}
    logits = torch.zeros(1, 16, 2)
    alone = loss(Dense(logits, boxes, cells), target | {"crowd": torch.tensor([[True]])})
    assert float(alone["class"]) == 0 and float(alone["box"]) == 0
    real = loss(Dense(logits, boxes, cells), target | {"crowd": torch.tensor([[False]])})
    assert float(real["class"]) > 1 and float(real["box"]) > 0


@given(st.integers(0, 10**6), st.sampled_from([1.0, 0.4]))
def test_boxes_and_outlines_move_with_the_pixels(seed: int, area: float) -> None:
    rng = np.random.default_rng(seed)
    side = 64
    clean = [(np.zeros((3, side, side), dtype=np.uint8), scene(rng, side)[1]) for _ in range(3)]
    for pixels, found in clean:
        for thing in found:
            x1, y1, x2, y2 = (int(v) for v in thing.box)
            pixels[thing.label, y1:y2, x1:x2] = 255
    images = torch.from_numpy(np.stack([pixels for pixels, _ in clean]))
    target = targets(raw_targets([found for _, found in clean]), plain(3, side))
    prepare = Prepare((side, side), 3, fit="pad")
    generator = torch.Generator().manual_seed(seed)
    drawn = draw_warp(3, prepare, 12, True, generator, area=area)
    seen, moved = warp(images, drawn, prepare), move(target, drawn)
    for i, j in np.ndindex(3, 2):
        here = seen[i, j] > 127
        if not bool(things(moved)[i, j]):
            continue
        ys, xs = here.nonzero(as_tuple=True)
        around = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).float()
        assert (moved["boxes"][i, j] - around).abs().max() <= (1e-3 if area == 1 else 1.6)
        outline = torch.from_numpy(moved["outlines"][i].masks([j], (side, side))[0]) > 0
        apart = (outline ^ here).sum() / here.sum()
        assert apart <= (0 if area == 1 else 0.35)


def test_what_is_cut_off_is_neither_right_nor_wrong() -> None:
    found = [[Thing((0, 0, 20, 20), 0), Thing((30, 30, 50, 50), 1), Thing((0, 30, 12, 40), 1)]]
    target = targets(raw_targets(found), plain(1, 64))
    prepare = Prepare((64, 64), 3, fit="pad")
    drawn = draw_warp(1, prepare, 0, False)
    from dataclasses import replace

    moved = move(target, replace(drawn, dx=torch.tensor([-15])))
    assert moved["boxes"][0, 0].tolist() == [0, 0, 5, 20] and moved["boxes"][0, 1].tolist() == [
        15,
        30,
        35,
        50,
    ]
    assert moved["crowd"].tolist() == [[True, False, False]] and moved["labels"].tolist() == [[0, 1, -1]]


def test_an_answer_lies_in_the_pixels_of_the_original() -> None:
    fit = Fit(np.array([[0.5, 0.5]]), np.array([[0.0, 8.0]]), np.array([[96, 128]]), (64, 64))
    share = torch.ones(1, 28, 28)
    found = {
        "boxes": torch.tensor([[10.0, 18, 20, 40], [-5, 8, 70, 60]]),
        "scores": torch.tensor([0.9, 0.2]),
        "labels": torch.tensor([1, 0]),
        "masks": share.expand(2, 28, 28),
    }
    decoded = TASK.decode([found], NAMES)
    answer = TASK.prediction(decoded[0], file="a.jpg", image=Image.new("RGB", (128, 96)), fit=fit)
    said = answer.to_dict()
    assert said["size"] == [96, 128] and len(said["things"]) == 1
    thing = said["things"][0]
    assert thing["class"] == "blue" and thing["box"] == [20, 20, 40, 64]
    mask = decode(thing["rle"])
    rows, columns = np.nonzero(mask)
    assert abs(rows.min() - 20) <= 1 and abs(columns.max() - 39) <= 1
    assert json.loads(json.dumps(said)) == said
    assert max(answer.draw().size) >= 360


def test_a_mask_stays_in_its_place_where_its_box_leaves_the_picture() -> None:
    """The window of a wide picture: 16 rows of grey above it. The box begins in the grey, or lies in it."""
    size = (64, 128)
    share = torch.zeros(3, 28, 28)
    share[:, 14:] = 1  # the lower half
    boxes = torch.tensor([[10.0, 0, 40, 48], [50, 2, 60, 12], [50, 90, 60, 96]])
    found = {"boxes": boxes, "scores": torch.ones(3), "labels": torch.zeros(3).long(), "masks": share}
    inside, masks = originals(found, np.array([1.0, 1.0]), np.array([0.0, 16.0]), size)
    assert inside[0].tolist() == [10, 0, 40, 32] and masks is not None
    rows = np.flatnonzero(decode(masks[0]).any(1))
    assert abs(rows.min() - 8) <= 1 and abs(rows.max() - 31) <= 1  # 24 of its 48 rows down, less the grey
    assert decode(masks[1]).sum() == 0 and decode(masks[2]).sum() == 0


def test_masks_need_outlines_to_be_judged_and_pictures_of_nothing_do_not() -> None:
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0).long()}
    nothing["masks"] = torch.zeros(0, 28, 28)
    _, things_ = scene(np.random.default_rng(0))
    for thing in things_:
        thing.outline = None
    metric = TASK.metric({**NAMES, "head": "mask"})
    metric.update([nothing], targets(raw_targets([[]]), plain(1, 64)))
    with pytest.raises(BadData, match="masks are compared with outlines"):
        metric.update([nothing], targets(raw_targets([things_]), plain(1, 64)))


def test_no_box_is_said_twice() -> None:
    cells = places(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 32, 32))
    logits = torch.full((1, 16, 2), -9.0)
    logits[0, [0, 1, 15], 0] = torch.tensor([3.0, 2.0, 1.0])
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(16, 1)
    boxes[15] = torch.tensor([20.0, 20, 30, 30])
    (found,) = keep(Dense(logits, boxes[None], cells))
    assert found["labels"].tolist() == [0, 0] and found["scores"][0] == pytest.approx(0.9526, abs=1e-3)


def test_labels_of_a_picture_of_another_size_are_refused() -> None:
    raw = raw_targets([[Thing((1, 1, 5, 5), 0)]])
    targets(raw | {"size": [(0, 0, "a.jpg")]}, plain(1, 64))
    targets(raw | {"size": [(64, 64, "a.jpg")]}, plain(1, 64))
    with pytest.raises(BadData, match="a.jpg: its labels are of 64×48 pixels, and the picture has 64×64"):
        targets(raw | {"size": [(48, 64, "a.jpg")]}, plain(1, 64))


def test_data_without_boxes_is_refused() -> None:
    images = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    with pytest.raises(BadData, match="to detect takes boxes, and these pictures have: label"):
        facts(Source("d", Path("d"), "x", {"train": Split(images, {"label": np.zeros(2, int)})}, ("a", "b")))
    empty = Split(images, raw_targets([[], []]))
    with pytest.raises(BadData, match="not one box in its 2 pictures"):
        facts(Source("d", Path("d"), "x", {"train": empty}, ("a",)))
    with pytest.raises(BadData, match="needs outlines"):
        x, target = batch(64)
        del target["outlines"]
        network = TASK.build(models.network("resnet10-half", classes=2), {**NAMES, "head": "mask"})
        TASK.forward(network.train(), x, target)


@pytest.mark.parametrize("head", ["onestage", "faster"])
def test_the_copy_that_answers_is_folded_and_equal(head: str) -> None:
    torch.manual_seed(0)
    x, _ = batch(64)
    network = TASK.build(models.network("resnet10-half", classes=2), {**NAMES, "head": head}).eval()
    twin = for_inference(network)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in twin.modules()) < sum(
        isinstance(m, nn.BatchNorm2d) for m in network.modules()
    )
    with torch.no_grad():
        ours, theirs = keep(TASK.forward(network, x, None)), keep(TASK.forward(twin, x, None))
    for one, other in zip(ours, theirs, strict=True):
        assert len(one["scores"]) == len(other["scores"])
        assert torch.allclose(one["scores"], other["scores"], atol=1e-4)
