"""Pictures of any shape meet the window as promised, and points follow the pixels both ways."""

import json
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.data.picture import open_picture
from striate.data.prepare import Fit, Prepare, choose_prepare, to_pixels
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData, BadSetting


def source_of(images) -> Source:
    return Source(
        "set", None, "test", {"train": Split(images, {"label": np.zeros(len(images), dtype=np.int64)})}
    )


def placed(image: Image.Image, prepare: Prepare) -> tuple[np.ndarray, Fit]:
    pixels, scale, offset, original = to_pixels(image, prepare)
    return pixels, Fit(np.array([scale]), np.array([offset]), np.array([original]))


def test_a_picture_of_the_right_size_is_not_touched():
    colours = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pixels, fit = placed(Image.fromarray(colours), Prepare((32, 32), 3))
    assert np.array_equal(pixels, colours.transpose(2, 0, 1))
    assert (
        fit.scale.tolist() == [[1, 1]]
        and fit.offset.tolist() == [[0, 0]]
        and fit.original.tolist() == [[32, 32]]
    )


def test_sizes_add_up():
    prepare = Prepare((28, 28), 1, border=2)
    assert prepare.input == prepare.stored == (1, 32, 32)
    prepare = Prepare((96, 80), 3, margin=12)
    assert prepare.input == (3, 96, 80) and prepare.stored == (3, 120, 104)
    assert to_pixels(Image.new("L", (500, 300)), prepare)[0].shape == prepare.stored


def test_border_is_black():
    pixels, fit = placed(Image.new("L", (28, 28), 255), Prepare((28, 28), 1, border=2))
    assert pixels[0, 2:30, 2:30].min() == 255 and pixels.sum() == 255 * 28 * 28
    assert fit.apply([[0, 0]], 0).tolist() == [[2, 2]]


def test_crop_keeps_the_centre_and_pad_keeps_everything():
    wide = Image.new("L", (300, 100), 200)
    wide.paste(0, (0, 0, 100, 100))
    wide.paste(0, (200, 0, 300, 100))
    assert to_pixels(wide, Prepare((50, 50), 1))[0][:, :, 1:-1].min() == 200  # the edge sees its neighbours
    padded, fit = placed(wide, Prepare((60, 60), 1, fit="pad"))
    assert set(np.unique(padded[0, :20])) == {114} and set(np.unique(padded[0, 40:])) == {114}
    assert padded[0, 30, 5] == 0 and padded[0, 30, 30] == 200
    assert fit.apply([[0, 0], [300, 100]], 0).tolist() == [[0, 20], [60, 40]]


def test_channels_are_made_to_fit():
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    assert to_pixels(red, Prepare((8, 8), 1))[0].tolist() == np.full((1, 8, 8), 76).tolist()
    assert (
        to_pixels(Image.new("L", (8, 8), 9), Prepare((8, 8), 3))[0].tolist() == np.full((3, 8, 8), 9).tolist()
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 64),
    st.integers(1, 64),
    st.sampled_from(["crop", "pad"]),
    st.integers(0, 5),
)
def test_points_go_there_and_back_for_any_shape(width, height, rows, columns, fit, extra):
    prepare = Prepare(
        (rows, columns), 1, fit=fit, border=extra if rows % 2 else 0, margin=0 if rows % 2 else extra
    )
    pixels, found = placed(Image.new("L", (width, height)), prepare)
    assert pixels.shape == prepare.stored and pixels.dtype == np.uint8 and pixels.flags.writeable
    assert found.original.tolist() == [[height, width]]
    points = np.array([[0, 0], [width, height], [width / 3, height / 2]])
    assert np.allclose(found.undo(found.apply(points, 0), 0), points)
    middle = found.apply([[width / 2, height / 2]], 0)[0]
    assert np.abs(middle - np.array(prepare.stored[:0:-1]) / 2).max() <= 1


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(640, 480), (300, 500), (1600, 1200)])
def test_a_dot_lands_where_its_point_does(fit, size):
    """Through a JPEG too, which is decoded at reduced scale where it is large."""
    image = Image.new("L", size, 0)
    x, y = size[0] * 0.55, size[1] * 0.45
    image.paste(255, (round(x) - 16, round(y) - 16, round(x) + 16, round(y) + 16))
    stream = BytesIO()
    image.save(stream, "JPEG")
    prepare = Prepare((96, 96), 1, fit=fit, margin=12)
    for picture in (image, stream.getvalue()):
        pixels, fitted = placed(picture, prepare)
        weight = np.clip(pixels[0].astype(float) - 150, 0, None)
        rows, columns = np.indices(weight.shape) + 0.5
        seen = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        assert np.allclose(fitted.apply([[round(x), round(y)]], 0)[0], seen, atol=0.35)
        inside = fitted.in_window(prepare).apply([[round(x), round(y)]], 0)[0]
        assert np.allclose(inside, np.array(seen) - 12, atol=0.35)


def test_a_file_and_the_open_picture_give_the_same_pixels(data_root):
    for file in sorted((data_root / "hymenoptera/val/bees").iterdir())[:5]:
        prepare = Prepare((96, 96), 3, margin=12)
        assert np.array_equal(to_pixels(file, prepare)[0], to_pixels(open_picture(file), prepare)[0])


def test_json_round_trip():
    prepare = Prepare((28, 28), 1, (0.13,), (0.3,), border=2)
    assert Prepare.from_json(json.loads(json.dumps(prepare.to_json()))) == prepare
    with pytest.raises(BadSetting, match="prepare: not readable: .*colour"):
        Prepare.from_json({"size": [1, 1], "channels": 3, "colour": 1})


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 2}, {"fit": "stretch"}, {"size": (0, 3)}, {"border": 1, "margin": 1}, {"margin": -1}],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(BadSetting):
        Prepare(**{"size": (8, 8), "channels": 3} | wrong)


def test_choice_for_small_pictures():
    mnist = source_of(np.zeros((3, 1, 28, 28), dtype=np.uint8))
    assert choose_prepare(mnist) == Prepare((28, 28), 1)
    assert choose_prepare(mnist, net_size=32) == Prepare((28, 28), 1, border=2)
    assert choose_prepare(mnist, net_size=224) == Prepare((224, 224), 1, scale=8.0)
    assert choose_prepare(mnist, channels=3, size=16) == Prepare((16, 16), 3, scale=0.5714)
    assert choose_prepare(source_of(np.zeros((3, 3, 20, 28), dtype=np.uint8))).size == (20, 28)


def test_choice_for_photographs(tmp_path):
    files = []
    for i, size in enumerate([(200, 100), (90, 300)]):
        Image.new("RGB" if i else "L", size).save(tmp_path / f"{i}.png")
        files.append(ImageFile(f"{i}.png", tmp_path / f"{i}.png"))
    assert choose_prepare(source_of(files)) == Prepare((96, 96), 3, margin=12, scale=0.8276)
    pad = choose_prepare(source_of(files), fit="pad", size=64)
    assert pad == Prepare((64, 64), 3, fit="pad", scale=0.32)
    assert choose_prepare(source_of(files[:1])).channels == 1
    (tmp_path / "0.png").write_bytes(b"no")
    with pytest.raises(BadData, match=r"set: none of the 1 pictures looked at can be read \(0.png"):
        choose_prepare(source_of(files[:1]))
    with pytest.raises(BadData, match="set: holds no pictures"):
        choose_prepare(source_of([]))


def test_without_a_train_split_there_is_nothing_to_learn_from():
    source = source_of(np.zeros((3, 1, 28, 28), dtype=np.uint8))
    source.splits = {"val": source.splits["train"], "test": source.splits["train"]}
    with pytest.raises(BadData, match="set: has no train split to learn from, only val, test"):
        choose_prepare(source)
