"""Why two figures differ: made-up cases where one cause is all of it, and sums that hold in every case."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from striate.cli.results import print_differences
from striate.data.rle import encode, text
from striate.differences import compare
from striate.differences.answers import decimals, read, understand
from striate.differences.blame import blame
from striate.differences.counting import Counter
from striate.differences.walk import steps
from striate.errors import BadData
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


def test_what_the_split_does_not_have_is_left_out_and_said() -> None:
    ours = evaluation()
    one = written(ours)[0]
    found = explained(ours, [*written(ours), one | {"image_id": 4000}, one | {"category_id": 2}])
    assert found["difference"] == 0
    assert [cause["cause"] for cause in found["causes"]] == [
        "1 answer for pictures that are not in this split, left out",
        "1 answer of classes that the data does not have, left out",
    ]
    assert "answers for other pictures counted as mistakes" in found["rules"]


def test_pictures_may_be_named_by_their_files() -> None:
    ours = evaluation()
    for name in ("val/{:04}.png", "{:04}.png", "{:04}"):
        entries = [one | {"image_id": name.format(one["image_id"])} for one in written(ours)]
        assert explained(ours, entries)["causes"] == []


def test_classes_counted_from_another_number_are_noticed() -> None:
    ours = evaluation()
    numbered = [one | {"category_id": NUMBERS.index(one["category_id"])} for one in written(ours)]
    found = explained(ours, numbered, reported=ours.compute()["map"])
    assert found["difference"] < 0 and found["nearest"] == ["classes numbered from 0 in order"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": None}, r"theirs, \[1\], score: None is not made of finite numbers"),
        ({"score": float("nan")}, r"\[1\], score: nan is not made of finite"),
        ({"score": [0.5]}, r"\[1\], score: \[0.5\] is not one number"),
        ({"bbox": [1, 2, 3]}, r"\[1\], bbox: \[1, 2, 3\] is not 4 numbers"),
        ({"bbox": [1, 2, -3, 4]}, r"\[1\], bbox: -3×4 is no size"),
        ({"image_id": [3]}, r"\[1\], image_id: \[3\] is not a number or a name"),
        ({"category_id": None}, r"\[1\], category_id: None is not a number"),
    ],
)
def test_a_wrong_entry_is_named(change: dict[str, Any], said: str) -> None:
    ours = evaluation()
    entries = written(ours)
    entries[1] = entries[1] | change
    with pytest.raises(BadData, match=said):
        explained(ours, entries)


def test_a_missing_field_is_named() -> None:
    ours = evaluation(kind="mask")
    for name in ("image_id", "category_id", "score", "segmentation"):
        entries = written(ours)
        del entries[7][name]
        with pytest.raises(BadData, match=rf"theirs, \[7\]: has no field '{name}'"):
            explained(ours, entries)
    entries = written(ours)
    entries[2]["segmentation"] = {"size": [4, 4], "counts": [16]}
    with pytest.raises(
        BadData, match=r"\[2\], segmentation: size \[4, 4\] is not the picture's \[120, 120\]"
    ):
        explained(ours, entries)
    entries[2]["segmentation"] = {"size": [4, 4], "counts": [15]}
    with pytest.raises(BadData, match=r"\[2\], segmentation: a mask in run lengths has 15 pixels"):
        explained(ours, entries)


def test_numbers_that_have_nothing_in_common_are_shown() -> None:
    ours = evaluation()
    for name, said in (
        ("image_id", "900, .*the data's 3, 13, 23"),
        ("category_id", "900, .* data's 1, 5, 9"),
    ):
        entries = [one | {name: 900} for one in written(ours)]
        with pytest.raises(BadData, match=f"theirs, {name}: the numbers differ: theirs are {said}"):
            explained(ours, entries)


def test_no_answers_are_answers_too() -> None:
    found = explained(evaluation(), [])
    assert found["theirs"]["map"] == 0
    assert [cause["cause"] for cause in found["causes"]] == ["12 pictures without an answer of theirs"]


def test_files_that_are_no_results_are_refused(tmp_path: Path) -> None:
    for content, said in {
        "{": "cannot be read as JSON",
        '{"images": []}': "are a list of answers, and this is an object with images",
        "[3]": r"\[0\]: 3 is not an object",
    }.items():
        file = tmp_path / "theirs.json"
        file.write_text(content)
        with pytest.raises(BadData, match=said) as error:
            read(file)
        assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)
    with pytest.raises(BadData, match="nowhere.json: cannot be read"):
        read(tmp_path / "nowhere.json")


def test_decimals_are_counted() -> None:
    assert [decimals(np.array(some)) for some in ([1.0, 250.0], [0.5, 1], [0.125], [1 / 3])] == [
        0,
        1,
        3,
        None,
    ]


def test_answers_keep_the_order_of_the_file() -> None:
    entries = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": s} for s in (0.1, 0.9, 0.5)]
    assert understand(entries, "box", [1], {1: "a"}).pictures[1]["scores"].tolist() == [0.1, 0.9, 0.5]


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    ours = evaluation(8)
    entries = [one | {"bbox": [round(v) for v in one["bbox"]]} for one in written(evaluation(7))]
    print_differences(explained(ours, entries, reported=0.3), "test split of shapes", "theirs.json")
    said = capsys.readouterr().out
    assert said.startswith("0.3000 was reported: ") and "test split of shapes: boxes of 12 pictures" in said
    for part in ("rounded to whole numbers", "other answers", "val/0", "COCO's rules", "difference"):
        assert part in said
