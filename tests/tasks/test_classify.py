"""What classification promises: labels checked by name, figures as scikit-learn's, legible drawings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate import models
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData, BadSetting
from striate.matrix import shades
from striate.tasks import TASKS
from striate.tasks.classify.metric import ClassifyMetric, calibration_error, calibration_sums

TASK = TASKS["classify"]


def source(labels: Any, classes: tuple[str, ...] = ("cat", "dog"), split: str = "train") -> Source:
    files = [ImageFile(f"{split}/{i}.png", Path(f"{i}.png")) for i in range(len(labels))]
    return Source("pets", Path("pets"), "class folders", {split: Split(files, {"label": labels})}, classes)


def logits(n: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (n,), generator=chance)
    scores = torch.randn(n, classes, generator=chance)
    scores[torch.arange(n), label] += 1.5
    return scores, label


def facts(classes: int) -> dict[str, Any]:
    return {"classes": [f"c{i}" for i in range(classes)]}


def figures(scores: torch.Tensor, label: torch.Tensor) -> dict[str, Any]:
    metric = TASK.metric(facts(scores.shape[1]))
    metric.update(scores, {"label": label})
    return metric.compute()


# Labels


def test_facts_are_the_names_of_the_classes():
    assert TASK.facts(source(np.array([0, 1, 1]))) == {"classes": ["cat", "dog"]}


def test_targets_are_whole_numbers_and_need_no_fit():
    for raw in (np.array([1, 0], dtype=np.uint8), [1, np.int64(0)]):
        label = TASK.targets({"label": raw}, None)["label"]
        assert label.dtype == torch.int64 and label.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.array([0, 1, 2]), r"pets, train, train/2.png: its label is 2, but 2 classes are numbered 0 to 1"),
        (np.array([0, -1, 1]), r"train/1.png: its label is -1"),
        (np.array([1, 1, 1]), r"class 'cat' has no pictures"),
        (np.array([0.0, 1.0]), r"one whole number a picture, these are float64"),
        ([0, "dog", 1], r"these are int and str"),
    ],
)
def test_a_label_that_is_no_class_is_refused_by_name(labels: Any, says: str):
    with pytest.raises(BadData, match=says):
        TASK.facts(source(labels))


def test_a_class_may_be_absent_from_a_test_split():
    assert TASK.facts(source(np.array([1, 1]), split="test"))


def test_classes_must_be_two_or_more_and_differ():
    with pytest.raises(BadData, match="only one class"):
        TASK.facts(source(np.array([0]), ("cat",)))
    with pytest.raises(BadData, match="two classes are called 'cat'"):
        TASK.facts(source(np.array([0, 1]), ("cat", "cat")))
    unlabelled = source(np.array([0, 1]))
    unlabelled.splits["train"].targets = {"boxes": [1, 2]}
    with pytest.raises(BadData, match="a class for every picture, and these have"):
        TASK.facts(unlabelled)


# Head and loss


class Tiny(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.body = nn.Flatten()
        self.head = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def test_the_backbone_is_the_network_where_its_head_fits():
    backbone = Tiny(10)
    last = backbone.head[2]
    assert TASK.build(backbone, facts(10)) is backbone and backbone.head[2] is last


def test_a_head_that_does_not_end_in_a_linear_layer_is_left_alone():
    network = models.network("lenet5", classes=10, channels=1)
    assert TASK.build(network, facts(10)).head.f6.out_features == 84


def test_a_head_of_another_width_is_replaced_and_said_so(caplog: pytest.LogCaptureFixture):
    network = TASK.build(Tiny(1000), facts(3))
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert "head.2 gave 1000 classes" in caplog.text


def test_the_loss_is_cross_entropy_and_smoothing_makes_certainty_cost():
    scores, label = torch.tensor([[20.0, 0.0]]), torch.tensor([0])
    assert float(TASK.loss(scores, {"label": label}, 0.0)["cross_entropy"]) == pytest.approx(0, abs=1e-6)
    assert float(TASK.loss(scores, {"label": label}, 0.2)["cross_entropy"]) == pytest.approx(2.0, abs=1e-3)


def test_one_batch_is_learned_by_heart():
    torch.manual_seed(0)
    network, images, label = TASK.build(Tiny(4), facts(4)), torch.randn(16, 1, 8, 8), torch.arange(16) % 4
    for _ in range(60):
        loss = TASK.loss(TASK.forward(network, images, None), {"label": label}, 0.0)["cross_entropy"]
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(network.parameters(), gradients, strict=True):
                weight -= 0.5 * gradient
    assert float(loss.detach()) < 0.05
    assert figures(network(images), label)["accuracy"] == 1.0


# Figures


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_figures_agree_with_scikit_learn(classes: int):
    from sklearn import metrics

    scores, label = logits(2000, classes)
    found, said = figures(scores, label), scores.argmax(1)
    every = list(range(classes))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(label, said))
    assert found["confusion"] == metrics.confusion_matrix(label, said, labels=every).tolist()
    assert found["loss"] == pytest.approx(metrics.log_loss(label, scores.double().softmax(1), labels=every))
    recall = metrics.recall_score(label, said, average=None, labels=every)
    precision = metrics.precision_score(label, said, average=None, labels=every)
    assert [c["accuracy"] for c in found["per_class"].values()] == pytest.approx(recall.tolist())
    assert [c["precision"] for c in found["per_class"].values()] == pytest.approx(precision.tolist())
    assert ("top5" in found) == (classes > 5)
    if classes > 5:
        assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(label, scores, k=5, labels=every))
    assert found["images"] == 2000 and json.loads(json.dumps(found)) == found


def test_calibration_error_of_a_hand_worked_example():
    # (0.6, 0.667]: three answers of 0.65, one right: |1 - 1.95| = 0.95.   (0.933, 1]: one sure, right: 0.
    # (0.2, 0.267]: one of 0.25, wrong: 0.25.   Sum over five pictures: 1.2 / 5 = 0.24.
    confidence = torch.tensor([0.65, 0.65, 0.65, 1.0, 0.25], dtype=torch.float64)
    sums = calibration_sums(confidence, torch.tensor([True, False, False, True, False]))
    assert calibration_error(sums) == pytest.approx(0.24)
    assert sums[0].nonzero().flatten().tolist() == [3, 9, 14]


def test_figures_do_not_depend_on_the_batches_or_the_processes():
    scores, label = logits(997, 10)
    whole = figures(scores, label)
    parts = [TASK.metric(facts(10)) for _ in range(3)]
    with torch.inference_mode():
        for i, rows in enumerate(torch.arange(997).split(64)):
            parts[i % 3].update(scores[rows], {"label": label[rows]})
    parts[0].merge(parts[1])
    parts[0].merge(parts[2])
    together = parts[0].compute()
    assert together.pop("loss") == pytest.approx(whole.pop("loss"))
    assert together.pop("calibration_error") == pytest.approx(whole.pop("calibration_error"))
    assert together == whole


def test_figures_of_nothing_are_zero_and_of_nonsense_are_json():
    empty = figures(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert (empty["accuracy"], empty["images"], empty["per_class"]["c0"]["accuracy"]) == (0.0, 0, None)
    assert figures(torch.full((4, 3), torch.nan), torch.zeros(4, dtype=torch.int64))["loss"] is None


def test_a_network_of_another_width_is_refused():
    with pytest.raises(BadSetting, match=r"gives \(7,\) figures a picture for 3 classes"):
        ClassifyMetric(facts(3)).update(torch.zeros(2, 7), {"label": torch.zeros(2, dtype=torch.int64)})


# Predictions


def test_decode_gives_the_five_best_with_probabilities():
    scores, _ = logits(3, 10)
    answers = TASK.decode(scores, facts(10))
    best = scores.softmax(1).sort(descending=True)
    for answer, values, rows in zip(answers, best.values, best.indices, strict=True):
        assert [name for name, _ in answer["top"]] == [f"c{i}" for i in rows[:5].tolist()]
        assert [p for _, p in answer["top"]] == pytest.approx(values[:5].tolist())
        assert answer["label"] == answer["top"][0][0] and answer["confidence"] == answer["top"][0][1]
    assert [len(a["top"]) for a in TASK.decode(torch.zeros(1, 2), facts(2))] == [2]
    assert json.loads(json.dumps(answers)) == answers and TASK.decode(torch.zeros(0, 10), facts(10)) == []


def test_a_prediction_is_plain_json_and_equal_without_its_picture():
    answer = TASK.decode(logits(1, 3)[0], facts(3))[0]
    image = Image.new("L", (8, 6))
    said = TASK.prediction(answer, file="a.png", image=image, fit=None)
    plain = said.to_dict()
    assert set(plain) == {"file", "label", "confidence", "top"} and json.loads(json.dumps(plain)) == plain
    assert plain["top"][0] == {"class": plain["label"], "probability": plain["confidence"]}
    assert said == TASK.prediction(answer, file="a.png", image=image.copy(), fit=None)
    assert said.size == (8, 6) and "Image" not in repr(said)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (28, 28), (500, 375), (4000, 3000), (3000, 40), (40, 3000)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_of_any_shape_is_drawn_whole_at_a_size_to_look_at(size: tuple[int, int], mode: str):
    sheet = drawn(Image.new(mode, size, "red" if mode == "RGB" else 90))
    assert sheet.mode == "RGB" and 480 <= max(sheet.size) <= 1200
    grey = (90, 90, 90) if mode == "L" else (255, 0, 0)
    ys, xs = np.nonzero((np.asarray(sheet) == grey).all(2))
    shape = (xs.max() - xs.min() + 1) / (ys.max() - ys.min() + 1)
    assert shape == pytest.approx(size[0] / size[1], rel=0.1)


def test_odd_modes_are_drawn_and_small_pixels_stay_square():
    for mode in ("1", "P", "RGBA", "CMYK", "I;16"):
        assert drawn(Image.new(mode, (20, 10))).mode == "RGB"
    checks = np.indices((8, 8)).sum(0) % 2 * 255
    sheet = np.asarray(drawn(Image.fromarray(checks.astype(np.uint8))))[32:512, 32:512]
    assert set(np.unique(sheet)) == {0, 255}


def drawn(image: Image.Image) -> Image.Image:
    top = [["a name, $that_ goes\non and on " * 5, 0.98], ["ü 猫 <b>", 0.0199], ["", 0.0001]]
    answer = {"label": top[0][0], "confidence": 0.98, "top": top}
    return TASK.prediction(answer, file="folder/" * 30 + "x.png", image=image, fit=None).draw()


def test_drawing_without_a_picture_says_what_is_missing():
    with pytest.raises(BadData, match="a.png: the prediction kept no picture"):
        TASK.prediction(TASK.decode(torch.zeros(1, 2), facts(2))[0], file="a.png").draw()


# The report's pictures


@pytest.mark.parametrize("classes", [2, 10, 40, 121])
def test_pictures_of_an_evaluation(classes: int):
    scores, label = logits(400, classes)
    shown = {
        "images": torch.randint(256, (400, 3, 9, 9), dtype=torch.uint8),
        "output": scores,
        "target": {"label": label},
        "names": [f"train/{i}.png" for i in range(400)],
    }
    names = {"classes": [f"class <{i}>" for i in range(classes)]}
    metric = TASK.metric(names)
    metric.update(scores, {"label": label})
    made = TASK.pictures(metric.compute(), names, shown)
    assert [p.title for p in made] == [
        "Confusion matrix",
        "Best predictions",
        "Worst predictions",
        "Accuracy of each class",
        "Is it as sure as it should be?",
    ]
    assert all(p.png.startswith(b"\x89PNG") and p.caption for p in made)


def test_without_mistakes_there_is_no_picture_of_them():
    label = torch.arange(4) % 2
    scores = torch.nn.functional.one_hot(label).float() * 9
    shown = {
        "images": torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
        "output": scores,
        "target": {"label": label},
    }
    assert "Worst predictions" not in [
        p.title for p in TASK.pictures(figures(scores, label), facts(2), shown)
    ]


def test_one_mistake_in_a_thousand_can_be_seen():
    colours = shades(np.array([[999, 1], [0, 50]]))
    assert 255 - int(colours[0, 1].min()) > 25 and colours[1, 0].tolist() == [255, 255, 255]
