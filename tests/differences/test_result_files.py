"""Another tool's answers as they come: other numbers, other names, and what is wrong with a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import NUMBERS, evaluation, explained, written

from striate.differences.answers import decimals, read, understand
from striate.errors import BadData


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


def test_numbers_may_be_those_that_files_are_called_by() -> None:
    """As tools write them of data whose pictures have no numbers: 000000000009.jpg is 9, here the second."""
    files = {1: "000000000003.jpg", 2: "000000000009.jpg", 3: "000000000025.jpg"}
    said = {"category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}
    theirs = [said | {"image_id": number} for number in (3, 9, 25)]
    assert set(understand(theirs, "box", [1], files).pictures) == {1, 2, 3}
    ours = [said | {"image_id": number} for number in (1, 2, 3)]
    assert set(understand(ours, "box", [1], files).pictures) == {1, 2, 3}


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
