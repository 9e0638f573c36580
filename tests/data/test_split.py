"""What is held out is stratified, the same for the same seed, and never what the set's authors held out."""

import numpy as np
import pytest

from striate.data import Source, Split, hold_out, split
from striate.data.split import to_judge
from striate.errors import BadData, BadSetting


def source(**sizes: list[int]) -> Source:
    """Splits with so many pictures of each class; a picture's only pixel is its number."""
    splits = {}
    for name, counts in sizes.items():
        labels = np.repeat(np.arange(len(counts)), counts)
        images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
        splits[name] = Split(images, {"label": labels, "caption": [f"{i}" for i in range(len(labels))]})
    return Source("set", None, "test", splits, licence="MIT")


@pytest.mark.parametrize("name", ["all", "train"])
def test_a_set_without_splits_gets_a_fifth_of_each_class(name):
    made = split(source(**{name: [50, 10, 100]}), seed=3)
    train, val = made.splits["train"], made.splits["val"]
    assert list(made.splits) == ["train", "val"] and made.licence == "MIT"
    assert np.bincount(train.targets["label"]).tolist() == [40, 8, 80]
    assert np.bincount(val.targets["label"]).tolist() == [10, 2, 20]
    together = np.concatenate([train.images, val.images]).ravel()
    assert sorted(together.tolist()) == list(range(160))
    assert [int(c) for c in val.targets["caption"]] == val.images.ravel().tolist()


def test_the_seed_decides():
    held = [split(source(all=[90, 90]), seed).splits["val"].images.tobytes() for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize("names", [("train", "test"), ("train", "val"), ("train", "val", "test"), ("test",)])
def test_published_splits_stay(names):
    given = source(**{name: [5, 5] for name in names})
    assert split(given).splits == given.splits


def test_what_is_called_nothing_is_trained_on():
    made = split(source(all=[5, 5], test=[3]))
    assert {name: len(part) for name, part in made.splits.items()} == {"train": 10, "test": 3}


def test_hold_out_leaves_test_alone():
    given = source(train=[30, 30], test=[7, 7])
    made = hold_out(given, 0.1, seed=0)
    assert {name: len(part) for name, part in made.splits.items()} == {"train": 54, "val": 6, "test": 14}
    assert made.splits["test"] is given.splits["test"]
    assert hold_out(made, 0.5, seed=0) is made


def test_rare_classes_keep_a_picture_to_learn_from():
    made = split(source(all=[1, 2, 3]))
    assert np.bincount(made.splits["train"].targets["label"], minlength=3).tolist() == [1, 1, 2]
    assert np.bincount(made.splits["val"].targets["label"], minlength=3).tolist() == [0, 1, 1]


def test_without_labels():
    given = source(all=[10])
    del given.splits["all"].targets["label"]
    assert len(split(given).splits["val"]) == 2


def test_what_cannot_be_split():
    with pytest.raises(BadData, match="set: 2 pictures are too few"):
        split(source(all=[1, 1]))
    with pytest.raises(BadData, match="set: has no train split"):
        hold_out(source(test=[5]), 0.2, 0)
    with pytest.raises(BadSetting, match="fraction 1.5"):
        hold_out(source(train=[5]), 1.5, 0)


def test_a_model_is_judged_on_all_of_a_set_that_it_did_not_learn_from():
    mine = source(all=[50, 10])
    learned = split(mine, 3).unchanged(None, "")
    assert (
        to_judge(mine, 3, learned).splits["val"].images.tobytes()
        == split(mine, 3).splits["val"].images.tobytes()
    )
    assert list(to_judge(source(all=[9, 1]), 3, learned).splits) == ["all"]
    assert list(to_judge(source(all=[1, 1]), 3, learned).splits) == ["all"], "too few to hold any out"
    assert list(to_judge(source(all=[9, 9], test=[4, 4]), 3, learned).splits) == ["train", "test"]
