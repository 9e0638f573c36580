"""Run lengths equal pycocotools', as numbers and as text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from striate.data import rle
from striate.errors import BadData

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(masks)
def test_what_is_encoded_is_decoded(mask: np.ndarray) -> None:
    found = rle.encode(mask)
    assert sum(found["counts"]) == mask.size
    assert np.array_equal(rle.decode(found), mask)


@given(masks)
def test_the_text_is_cocos(mask: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle.text(rle.encode(mask)["counts"]) == theirs["counts"].decode()
    assert np.array_equal(rle.decode(theirs), mask)


@given(st.integers(1, 300), st.integers(1, 300), st.randoms(use_true_random=False))
def test_long_runs_too(height: int, width: int, random) -> None:
    mask = np.zeros((height, width), dtype=bool)
    mask[random.randrange(height) :, random.randrange(width) :] = True
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle.text(rle.encode(mask)["counts"]) == theirs["counts"].decode()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, "has 3 pixels, its size 2×2"),
        ({"size": [2, 2], "counts": [5, -1]}, "has 4 pixels"),
        ({"size": [2, 2], "counts": "\x01"}, "none of COCO's"),
        ({"size": [2, 2]}, "cannot be read"),
        ({"counts": [4]}, "cannot be read"),
        ({"size": [2, 2], "counts": "P"}, "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict, says: str) -> None:
    with pytest.raises(BadData, match=says):
        rle.decode(wrong)
