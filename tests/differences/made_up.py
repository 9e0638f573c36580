"""Made-up truths and answers, as the metric holds them and as a result file has them."""

from typing import Any

import numpy as np

from striate.data.rle import encode, text
from striate.differences import compare
from striate.precision import AveragePrecision, Found, Truth

CLASSES, NUMBERS = ["a", "b", "c"], [1, 5, 9]
JOINTS, SIDE = 5, 120


def filled(box: np.ndarray) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    x1, y1, x2, y2 = np.round(box).astype(int).clip(0, SIDE)
    mask[y1:y2, x1:x2] = True
    return mask


def picture(rng: np.random.Generator, number: int, kind: str) -> tuple[Truth, Found]:
    """Some things, each found more or less well, and some mistakes; scores of 0.005 and more."""
    n, m = int(rng.integers(1, 6)), int(rng.integers(2, 12))
    corner = rng.uniform(0, 60, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(12, 50, (n, 2))], axis=1)
    picks = rng.integers(0, n, m)
    said = boxes[picks] + rng.normal(0, rng.choice([1, 3, 12], (m, 1)), (m, 4))
    said[:, 2:] = np.maximum(said[:, 2:], said[:, :2] + 1)
    labels = rng.integers(0, 1 if kind == "joints" else len(CLASSES), n)
    names = np.where(rng.random(m) < 0.8, labels[picks], 0)
    truth: Truth = {"image_id": number, "boxes": boxes, "labels": labels, "crowd": rng.random(n) < 0.1}
    truth["area"] = (boxes[:, 2:] - boxes[:, :2]).prod(1) * 0.7
    found: Found = {"boxes": said, "labels": names, "scores": rng.uniform(0.005, 1, m)}
    if kind == "mask":
        truth["masks"], found["masks"] = ([encode(filled(box)) for box in some] for some in (boxes, said))
    if kind == "joints":
        at = boxes[:, None, :2] + rng.random((n, JOINTS, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
        truth["keypoints"] = np.concatenate([at, np.full((n, JOINTS, 1), 2.0)], axis=2)
        near = at[picks] + rng.normal(0, 2, (m, JOINTS, 2))
        found = {"labels": names, "scores": found["scores"]}
        found["keypoints"] = np.concatenate([near, np.ones((m, JOINTS, 1))], axis=2)
    return truth, found


def evaluation(seed: int = 0, kind: Any = "box", count: int = 12) -> AveragePrecision:
    rng = np.random.default_rng(seed)
    sigmas = np.full(JOINTS, 0.07) if kind == "joints" else ()
    classes = CLASSES[:1] if kind == "joints" else CLASSES
    ours = AveragePrecision(classes, kind, sigmas)
    ours.update(*zip(*(picture(rng, 10 * i + 3, kind) for i in range(count)), strict=True))
    return ours


def written(ours: AveragePrecision) -> list[dict[str, Any]]:
    """Answers as a file has them, unchanged."""
    entries = []
    for truth, found in ours.pictures:
        for i, label in enumerate(found["labels"]):
            one = {"image_id": truth["image_id"], "category_id": NUMBERS[label]}
            one["score"] = float(found["scores"][i])
            if "boxes" in found:
                x1, y1, x2, y2 = found["boxes"][i].tolist()
                one["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            if "masks" in found:
                rle = found["masks"][i]
                one["segmentation"] = {"size": rle["size"], "counts": text(rle["counts"])}
            if "keypoints" in found:
                one["keypoints"] = found["keypoints"][i].ravel().tolist()
            entries.append(one)
    return entries


def names(ours: AveragePrecision) -> dict[int, str]:
    return {truth["image_id"]: f"val/{truth['image_id']:04}.png" for truth, _ in ours.pictures}


def explained(ours: AveragePrecision, entries: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return compare(ours, entries, NUMBERS, names(ours), **more)
