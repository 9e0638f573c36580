"""Average precision: COCO's own program and VOC's description are the reference, case by case."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from striate.data.rle import encode
from striate.precision import AveragePrecision

SIGMAS = {14: np.linspace(0.03, 0.11, 14), 17: np.linspace(0.025, 0.107, 17)}
SIDE = 40


def case(rng: np.random.Generator, kind: str, joints: int = 14, classes: int = 3) -> tuple[list, list]:
    """Some random pictures: truth and answers of which a part fits."""
    truth, found = [], []
    for _ in range(rng.integers(1, 5)):
        n, m = rng.integers(0, 6, 2)
        scale = 12 if kind == "mask" else rng.choice([12, 60, 160])
        corner = rng.uniform(0, 20, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(1, scale, (n, 2))], axis=1)
        picks = rng.integers(0, max(n, 1), m)
        near = boxes[picks] if n else rng.uniform(0, 20, (m, 4)) + [0, 0, 20, 20]
        said = near + rng.normal(0, scale * rng.choice([0, 0.03, 0.2]), near.shape)
        said[:, 2:] = np.maximum(said[:, 2:], said[:, :2])
        labels = rng.integers(0, classes, n)
        names = np.where(rng.random(m) < 0.7, labels[picks] if n else 0, rng.integers(0, classes, m))
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1) * rng.uniform(0.5, 1)
        true: dict[str, Any] = {"boxes": boxes, "labels": labels, "crowd": rng.random(n) < 0.2, "area": area}
        answer: dict[str, Any] = {"boxes": said, "labels": names, "scores": rng.integers(1, 8, m) / 8}
        if kind == "mask":
            true["masks"] = [encode(filled(box)) for box in boxes]
            answer["masks"] = [encode(filled(box)) for box in said]
        if kind == "joints":
            at = boxes[:, None, :2] + rng.random((n, joints, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
            marks = rng.integers(0, 3, (n, joints, 1)) * (rng.random((n, 1, 1)) < 0.8)
            true["keypoints"] = np.concatenate([at, marks], axis=2)
            close = at[picks] if n else rng.uniform(0, 40, (m, joints, 2))
            shift = rng.normal(0, scale * rng.choice([0, 0.05, 0.3]), close.shape)
            answer["keypoints"] = np.concatenate([close + shift, np.ones((m, joints, 1))], axis=2)
        truth.append(true)
        found.append(answer)
    return truth, found


def filled(box: np.ndarray) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    x1, y1, x2, y2 = np.round(box).astype(int).clip(0, SIDE)
    mask[y1:y2, x1:x2] = True
    return mask


def reference(truth: list, found: list, kind: str, classes: int, sigmas: Any = None) -> COCOeval | None:
    """COCO's own figures; None where it takes no answers at all."""

    def wide(box: np.ndarray) -> list[float]:
        return [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]

    annotations, results = [], []
    for i, (true, said) in enumerate(zip(truth, found, strict=True)):
        for j in range(len(true["labels"])):
            one = {"id": len(annotations) + 1, "image_id": i, "category_id": int(true["labels"][j]) + 1}
            one |= {"bbox": wide(true["boxes"][j]), "area": float(true["area"][j])}
            one |= {"iscrowd": int(true["crowd"][j])}
            if kind == "mask":
                one["segmentation"] = true["masks"][j]
            if kind == "joints":
                one["keypoints"] = true["keypoints"][j].ravel().tolist()
                one["num_keypoints"] = int((true["keypoints"][j, :, 2] > 0).sum())
            annotations.append(one)
        for j in range(len(said["labels"])):
            answer = {
                "image_id": i,
                "category_id": int(said["labels"][j]) + 1,
                "score": float(said["scores"][j]),
            }
            if kind == "box":
                answer["bbox"] = wide(said["boxes"][j])
            elif kind == "mask":
                answer["segmentation"] = packed(said["masks"][j])
            else:
                answer["keypoints"] = said["keypoints"][j].ravel().tolist()
            results.append(answer)
    if not results:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": i, "height": SIDE, "width": SIDE} for i in range(len(truth))]
        categories = [{"id": k + 1} for k in range(classes)]
        coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
        coco.createIndex()
        style = {"box": "bbox", "mask": "segm", "joints": "keypoints"}[kind]
        theirs = COCOeval(coco, coco.loadRes(results), style)
        if sigmas is not None:
            theirs.params.kpt_oks_sigmas = sigmas
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    return theirs


def packed(rle: dict) -> dict:
    from pycocotools import mask

    return mask.frPyObjects(rle, *rle["size"])


BOXES = "map map50 map75 map_small map_medium map_large ar1 ar10 ar100 ar_small ar_medium ar_large".split()
JOINTS = "map map50 map75 map_medium map_large ar ar50 ar75 ar_medium ar_large".split()


def compare(truth: list, found: list, kind: Any, classes: int, joints: int = 0) -> None:
    sigmas = SIGMAS[joints] if joints else ()
    theirs = reference(truth, found, kind, classes, sigmas if joints else None)
    ours = AveragePrecision([str(k) for k in range(classes)], kind, sigmas)
    half = len(truth) // 2
    ours.update(truth[:half], found[:half])
    rest = AveragePrecision(ours.classes, kind, sigmas)
    rest.update(truth[half:], found[half:])
    ours.merge(rest)
    figures = ours.compute()
    names = JOINTS if kind == "joints" else BOXES
    if theirs is None:
        assert all(not figures[name] for name in names)
        return
    for name, value in zip(names, theirs.stats, strict=True):
        assert (-1 if figures[name] is None else figures[name]) == pytest.approx(value, abs=1e-6), name
    for k, name in enumerate(ours.classes):
        known = theirs.eval["precision"][:, :, k, 0, -1]
        mean = known[known > -1].mean() if (known > -1).any() else None
        assert figures["per_class"][name]["ap"] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("block", range(10))
def test_boxes_are_counted_as_coco_counts_them(block: int) -> None:
    for seed in range(50):
        compare(*case(np.random.default_rng((block, seed)), "box"), "box", 3)


@pytest.mark.parametrize("block", range(5))
def test_masks_are_counted_as_coco_counts_them(block: int) -> None:
    for seed in range(50):
        compare(*case(np.random.default_rng((1, block, seed)), "mask"), "mask", 3)


@pytest.mark.parametrize("joints", [14, 17])
def test_joints_are_counted_as_coco_counts_them(joints: int) -> None:
    for seed in range(125):
        compare(*case(np.random.default_rng((2, joints, seed)), "joints", joints, 1), "joints", 1, joints)


def nothing(n: int = 0) -> dict[str, Any]:
    return {"boxes": np.zeros((n, 4)), "labels": np.zeros(n, int), "scores": np.zeros(n)}


def one(crowd: bool = False) -> dict[str, Any]:
    return {
        "boxes": np.array([[0.0, 0, 50, 50]]), "labels": np.array([0]), "crowd": np.array([crowd]),
        "area": np.array([2500.0]),
    }  # fmt: skip


def test_the_ends_of_what_can_happen() -> None:
    empty = {**nothing(), "crowd": np.zeros(0, bool), "area": np.zeros(0)}
    hit = {"boxes": np.array([[0.0, 0, 50, 50]]), "labels": np.array([0]), "scores": np.array([0.5])}
    flat = {**hit, "boxes": np.array([[5.0, 5, 5, 20]])}
    many = {key: np.repeat(value, 150, axis=0) for key, value in hit.items()}
    for truth, found, value in (
        ([one()], [nothing()], 0.0),
        ([empty], [hit], None),
        ([one(crowd=True)], [hit], None),
        ([one()], [hit], 1.0),
        ([one()], [flat], 0.0),
        ([one(), empty], [many, hit], 1.0),
        ([one(), one(crowd=True)], [hit, many], 1.0),
    ):
        compare(truth, found, "box", 1)
        figures = AveragePrecision(["a"])
        figures.update(truth, found)
        assert figures.compute()["map"] == (None if value is None else pytest.approx(value))


def slow_voc(truth: list, found: list, k: int, points: int) -> float | None:
    """The development kit's description, step by step."""
    total = sum(int(((t["labels"] == k) & ~t["crowd"]).sum()) for t in truth)
    if not total:
        return None
    everything = [
        (-s["scores"][j], i, j)
        for i, s in enumerate(found)
        for j in range(len(s["scores"]))
        if s["labels"][j] == k
    ]
    seen, right, wrong, curve = set(), 0, 0, []
    for _, i, j in sorted(everything):
        best, which = 0.0, None
        a = found[i]["boxes"][j]
        for g in np.flatnonzero(truth[i]["labels"] == k):
            b = truth[i]["boxes"][g]
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            if w > 0 and h > 0:
                union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
                if w * h / union > best:
                    best, which = w * h / union, g
        if best > 0.5:
            if truth[i]["crowd"][which]:
                continue
            if (i, which) in seen:
                wrong += 1
            else:
                right += 1
                seen.add((i, which))
        else:
            wrong += 1
        curve.append((right / total, right / (right + wrong)))
    if points:
        steps = [t / (points - 1) for t in range(points)]
        return float(np.mean([max([p for r, p in curve if r >= t - 1e-12], default=0.0) for t in steps]))
    area, last = 0.0, 0.0
    for place, (r, _) in enumerate(curve):
        area += (r - last) * max(p for _, p in curve[place:])
        last = r
    return area


@pytest.mark.parametrize("points", [11, 0])
def test_voc_is_the_development_kits(points: int) -> None:
    for seed in range(60):
        rng = np.random.default_rng((3, seed))
        truth, found = case(rng, "box")
        for said in found:  # equal scores have no order that is written anywhere
            said["scores"] = rng.random(len(said["scores"]))
        ours = AveragePrecision(["0", "1", "2"])
        ours.update(truth, found)
        for k in range(3):
            assert ours.voc(points)["per_class"][str(k)] == pytest.approx(slow_voc(truth, found, k, points))


def test_voc_by_hand() -> None:
    """Two things; the answers are right, wrong, right: 1 up to recall ½, then ⅔."""
    boxes = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    truth = {
        "boxes": boxes,
        "labels": np.zeros(2, int),
        "crowd": np.zeros(2, bool),
        "area": np.full(2, 100.0),
    }
    said = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 30, 30]])
    found = {"boxes": said, "labels": np.zeros(3, int), "scores": np.array([0.9, 0.8, 0.7])}
    ours = AveragePrecision(["a"])
    ours.update([truth], [found])
    assert ours.voc(11)["map"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert ours.voc(0)["map"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert ours.confusion(0.75).tolist() == [[1, 1], [1, 0]]
    assert ours.confusion(0.1).tolist() == [[2, 0], [1, 0]]
