"""Why two figures differ: made-up cases where one cause is all of it, and sums that hold in every case."""

from typing import Any

import numpy as np
import pytest
from made_up import CLASSES, JOINTS, evaluation, explained, picture, written

from striate.cli.results import print_differences
from striate.differences.blame import blame
from striate.differences.counting import Counter
from striate.differences.walk import steps
from striate.precision import AveragePrecision, Found, Truth


def only_cause(found: dict[str, Any]) -> dict[str, Any]:
    """The one cause of all the difference."""
    assert len(found["causes"]) == 1, found["causes"]
    assert found["causes"][0]["share"] == pytest.approx(1)
    assert found["causes"][0]["change"] == pytest.approx(found["difference"], abs=1e-12) != 0
    return found["causes"][0]


def figure(truth: list[Truth], found: list[Found], kind: Any = "box") -> float:
    counted = AveragePrecision(CLASSES, kind)
    counted.update(truth, found)
    return counted.compute()["map"]


@pytest.mark.parametrize("kind", ["box", "mask", "joints"])
def test_equal_answers_have_no_causes_in_any_order(kind: str) -> None:
    ours = evaluation(kind=kind)
    found = explained(ours, written(ours)[::-1])
    assert found["causes"] == [] and found["blame"] == [] and found["difference"] == 0
    assert found["ours"]["map"] == pytest.approx(ours.compute()["map"], abs=1e-12)
    assert found["theirs"]["map50"] == pytest.approx(ours.compute()["map50"], abs=1e-12)


def test_a_score_cut_explains_everything() -> None:
    ours = evaluation()
    cause = only_cause(explained(ours, [one for one in written(ours) if one["score"] > 0.4]))
    assert "below a score of 0.4" in cause["cause"] and cause["change"] < 0


def test_rounded_scores_are_not_taken_for_a_cut() -> None:
    ours = evaluation()
    entries = [one | {"score": round(one["score"], 1)} for one in written(ours)]
    assert "scores rounded to 1 decimal" in only_cause(explained(ours, entries))["cause"]


@pytest.mark.parametrize(("exact", "said"), [(0, "whole numbers"), (1, "1 decimal")])
def test_rounding_explains_everything(exact: int, said: str) -> None:
    ours = evaluation()
    entries = [one | {"bbox": [round(v, exact) for v in one["bbox"]]} for one in written(ours)]
    assert only_cause(explained(ours, entries))["cause"] == f"coordinates rounded to {said}"


def test_rounding_of_corners_is_told_from_that_of_sizes() -> None:
    ours, rounded = evaluation(), evaluation()
    for _, found in rounded.pictures:
        found["boxes"] = np.round(found["boxes"])
    assert only_cause(explained(ours, written(rounded)))["cause"].startswith("coordinates of both corners")
    for (_, found), (_, exact) in zip(rounded.pictures, ours.pictures, strict=True):
        low = np.floor(exact["boxes"][:, :2])
        high = low + np.floor(exact["boxes"][:, 2:] - exact["boxes"][:, :2])
        found["boxes"] = np.concatenate([low, high], axis=1)
    assert only_cause(explained(ours, written(rounded)))["cause"].startswith("coordinates cut off")


def test_joints_rounded_to_whole_pixels() -> None:
    ours = evaluation(kind="joints")
    entries = [one | {"keypoints": [float(round(v)) for v in one["keypoints"]]} for one in written(ours)]
    assert only_cause(explained(ours, entries))["cause"] == "coordinates rounded to whole numbers"


def test_the_number_of_answers_a_picture_explains_everything() -> None:
    ours, fewer = evaluation(), evaluation()
    for _, found in fewer.pictures:
        kept = np.argsort(-found["scores"])[:3]
        found |= {key: value[kept] for key, value in found.items()}
    # A single low score in theirs says that nothing was cut by score.
    for one in (ours, fewer):
        truth, found = picture(np.random.default_rng(5), 999, "box")
        low = {key: value[:2] for key, value in found.items()} | {"scores": np.array([0.9, 0.004])}
        one.update([truth], [low])
    cause = only_cause(explained(ours, written(fewer)))
    assert cause["cause"] == "at most 3 answers a picture" and cause["change"] < 0


def test_pictures_that_only_one_answers() -> None:
    ours = evaluation()
    entries = [one for one in written(ours) if one["image_id"] != 33]
    cause = only_cause(explained(ours, entries))
    assert cause["cause"] == "1 picture without an answer of theirs" and cause["pictures"] == 1


@pytest.mark.parametrize("kind", ["box", "mask", "joints"])
def test_the_blamed_picture_is_the_one_that_differs(kind: str) -> None:
    ours, other = evaluation(kind=kind), evaluation(kind=kind)
    truth, found = other.pictures[4]
    worse = np.random.default_rng(1).uniform(0.3, 1, len(found["scores"]))
    other.pictures[4] = truth, found | {"scores": worse}
    result = explained(ours, written(other))
    assert only_cause(result)["cause"] == "other answers"
    (blamed,) = result["blame"]
    assert blamed["image_id"] == 43 and blamed["file"] == "val/0043.png" and result["blame_tried"] == 1
    assert blamed["change"] == pytest.approx(result["difference"], abs=1e-12)


def one_picture(boxes: list, labels: list, scores: list | None = None, number: int = 1) -> dict[str, Any]:
    found = {"boxes": np.array(boxes, dtype=float).reshape(-1, 4), "labels": np.array(labels, dtype=int)}
    if scores is not None:
        return found | {"scores": np.array(scores)}
    crowd, area = np.zeros(len(labels), dtype=bool), (found["boxes"][:, 2:] - found["boxes"][:, :2]).prod(1)
    return found | {"crowd": crowd, "area": area, "image_id": number}


def test_why_says_what_became_of_the_things() -> None:
    boxes = [[0, 0, 20, 20], [40, 0, 60, 20], [80, 0, 100, 20], [0, 40, 20, 60]]
    ours = AveragePrecision(CLASSES)
    ours.update([one_picture(boxes, [0] * 4)], [one_picture(boxes[:3], [0] * 3, [0.9, 0.8, 0.7])])
    theirs = AveragePrecision(CLASSES)
    said = [boxes[0], boxes[1], [0.0, 40, 20, 58]]
    theirs.update([one_picture(boxes, [0] * 4)], [one_picture(said, [0, 1, 0], [0.5, 0.8, 0.7])])
    (blamed,) = explained(ours, written(theirs))["blame"] or [None]
    assert blamed["why"] == "missed 1, 1 of another class, found 1 more, 1 mistake more, 1 less sure"


def test_changes_add_up_to_the_difference_whatever_differs() -> None:
    for seed in range(40):
        kind = ("box", "mask", "joints")[seed % 3]
        ours, other = evaluation(seed, kind, 6), evaluation(seed, kind, 6)
        rng = np.random.default_rng(seed)
        for place, (truth, found) in enumerate(other.pictures):
            if rng.random() < 0.3:
                other.pictures[place] = truth, picture(rng, truth["image_id"], kind)[1]
            elif rng.random() < 0.3:
                kept = np.flatnonzero(rng.random(len(found["scores"])) < 0.5)
                other.pictures[place] = (
                    truth,
                    {key: [v[i] for i in kept] if key == "masks" else v[kept] for key, v in found.items()},
                )
        entries = [one for one in written(other) if one["score"] > 0.2 * (seed % 2)]
        if seed % 4 > 1:
            entries = [one | {"score": round(one["score"], 2)} for one in entries]
        found = explained(ours, entries)
        total = sum(cause["change"] for cause in found["causes"])
        assert total == pytest.approx(found["difference"], abs=1e-12)
        if found["difference"]:
            assert sum(cause["share"] for cause in found["causes"]) == pytest.approx(1)
        assert found["difference"] == pytest.approx(found["theirs"]["map"] - found["ours"]["map"], abs=1e-12)


def test_a_picture_exchanged_alone_is_counted_as_if_anew() -> None:
    for kind in ("box", "mask"):
        ours, other = evaluation(1, kind), evaluation(2, kind)
        truth, before = [list(part) for part in zip(*ours.pictures, strict=True)]
        after = [found for _, found in other.pictures]
        counter = Counter(AveragePrecision(CLASSES, kind))
        ranking = counter.ranking(ours.pictures)
        for i in range(len(truth)):
            mixed = [*before[:i], after[i], *before[i + 1 :]]
            exchanged = ranking.exchanged(i, counter.matched(truth[i], after[i]))
            assert exchanged == pytest.approx(figure(truth, mixed, kind), abs=1e-12)
        worst, tried = blame(counter, truth, before, after, [""] * len(truth))
        assert tried == len(truth) and len(worst) <= 10
        assert all(a["change"] * b["change"] > 0 for a in worst for b in worst)


def test_the_last_step_is_theirs() -> None:
    ours, other = ([found for _, found in evaluation(seed).pictures] for seed in (1, 2))
    walked = steps(ours, other, "box")
    assert walked[-1].found == other and all(step.cause for step in walked)


def test_the_rule_that_a_reported_figure_was_counted_by() -> None:
    ours = evaluation(3)
    truth, found = [list(part) for part in zip(*ours.pictures, strict=True)]
    things = [one | {"crowd": np.zeros_like(one["crowd"])} for one in truth]
    reported = round(figure(things, found), 4)
    result = explained(ours, written(ours), reported=reported)
    assert result["nearest"] == ["crowds counted as things"] and result["reported"] == reported
    assert result["rules"]["crowds counted as things"] == pytest.approx(figure(things, found), abs=1e-12)


def test_rules_are_what_they_say() -> None:
    ours = evaluation(4)
    truth, found = [list(part) for part in zip(*ours.pictures, strict=True)]
    rules = explained(ours, written(ours))["rules"]
    figures, no_crowds = ours.compute(), []
    for one in truth:
        kept = ~one["crowd"]
        no_crowds.append({k: v if k == "image_id" else v[kept] for k, v in one.items()})
    best = [{k: v[np.argsort(-one["scores"])[:1]] for k, v in one.items()} for one in found]
    areas = [one | {"area": (one["boxes"][:, 2:] - one["boxes"][:, :2]).prod(1)} for one in truth]
    by_boxes = AveragePrecision(CLASSES)
    by_boxes.update(areas, found)
    for rule, value in {
        "COCO's rules": figures["map"],
        "overlap of 0.5 alone (map50)": figures["map50"],
        "overlap of 0.75 alone (map75)": figures["map75"],
        "crowds dropped, answers on them mistakes": figure(no_crowds, found),
        "1 answer a picture": figure(truth, best),
        "VOC's 11 points, overlap 0.5": ours.voc(11)["map"],
        "VOC's area under the curve, overlap 0.5": ours.voc(0)["map"],
        "medium things (map_medium)": figures["map_medium"],
        "medium things by the areas of boxes": by_boxes.compute()["map_medium"],
    }.items():
        assert rules[rule] == pytest.approx(value, abs=1e-12), rule


def test_more_answers_than_coco_looks_at() -> None:
    rng = np.random.default_rng(0)
    truth = one_picture([[0, 0, 20, 20]], [0])
    boxes = np.concatenate([rng.uniform(50, 60, (120, 2)), rng.uniform(70, 90, (120, 2))], axis=1)
    boxes[-1] = 0, 0, 20, 20
    ours = AveragePrecision(CLASSES)
    ours.update([truth], [one_picture(boxes.tolist(), [0] * 120, np.linspace(1, 0.1, 120).tolist())])
    rules = explained(ours, written(ours))["rules"]
    assert rules["COCO's rules"] == 0 and rules["any number of answers"] == pytest.approx(1 / 120)


def test_masks_and_joints_have_rules_of_their_own() -> None:
    ours = evaluation(5, "mask")
    truth, found = [list(part) for part in zip(*ours.pictures, strict=True)]
    rules = explained(ours, written(ours))["rules"]
    assert rules["overlap of boxes in place of masks"] == pytest.approx(figure(truth, found), abs=1e-12)
    joints = evaluation(5, "joints")
    rules = explained(joints, written(joints))["rules"]
    same = AveragePrecision(CLASSES[:1], "joints", [0.05] * JOINTS)
    same.pictures = joints.pictures
    assert rules["every joint's sigma 0.05"] == pytest.approx(same.compute()["map"], abs=1e-12)
    assert rules["sigmas not doubled"] < rules["every joint's sigma 0.05"] < rules["COCO's rules"]
    assert rules["areas of boxes in place of outlines"] > rules["COCO's rules"]


def test_boxes_are_compared_where_theirs_have_no_masks() -> None:
    ours = evaluation(6, "mask")
    entries = [{k: v for k, v in one.items() if k != "segmentation"} for one in written(ours)]
    found = explained(ours, entries)
    assert found["kind"] == "box" and found["causes"] == []
    truth, said = zip(*ours.pictures, strict=True)
    assert found["ours"]["map"] == pytest.approx(figure(list(truth), list(said)), abs=1e-12)
    without = [{k: v for k, v in one.items() if k != "bbox"} for one in written(ours)]
    assert explained(ours, without)["kind"] == "mask"


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    ours = evaluation(8)
    entries = [one | {"bbox": [round(v) for v in one["bbox"]]} for one in written(evaluation(7))]
    print_differences(explained(ours, entries, reported=0.3), "test split of shapes", "theirs.json")
    said = capsys.readouterr().out
    assert said.startswith("0.3000 was reported: ") and "test split of shapes: boxes of 12 pictures" in said
    for part in ("rounded to whole numbers", "other answers", "val/0", "COCO's rules", "difference"):
        assert part in said
