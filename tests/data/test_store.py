"""The store holds exactly the pixels that prediction sees; damaged pictures are named, not fatal."""

import gc
import zipfile
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data import open_data
from striate.data.prepare import Fit, Prepare, choose_prepare, to_pixels
from striate.data.source import ImageFile, Split
from striate.data.store import decode, free_memory
from striate.errors import BadData


def pictures(folder, n=10, size=(20, 14)) -> Split:
    """n files of noise, told apart by their first pixels, with labels 0..n-1."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(n):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        files.append(ImageFile(f"{i}.png", folder / f"{i}.png"))
    return Split(files, {"label": np.arange(n)})


def array(n=6, channels=1, size=8) -> Split:
    rng = np.random.default_rng(1)
    return Split(rng.integers(0, 256, (n, channels, size, size), dtype=np.uint8), {"label": np.arange(n)})


def test_files_become_pixels_in_order(tmp_path):
    split = pictures(tmp_path, n=200)
    prepare = Prepare((10, 10), 3, margin=1)
    store = decode(split, prepare)
    assert store.images.shape == (200, 3, 12, 12) and store.images.dtype == torch.uint8
    assert store.targets["label"].tolist() == list(range(200)) and store.names[7] == "7.png"
    assert len(store) == len(store.fit) == 200 and not store.left_out
    for i in (0, 63, 64, 199):
        pixels, scale, offset, original = to_pixels(split.images[i], prepare)
        assert np.array_equal(store.images[i].numpy(), pixels)
        assert (*store.fit.scale[i], *store.fit.offset[i], *store.fit.original[i]) == (
            *scale,
            *offset,
            *original,
        )


@pytest.mark.parametrize("channels_there", [1, 3])
@pytest.mark.parametrize(
    "prepare",
    [
        Prepare((8, 8), 1),
        Prepare((8, 8), 3),
        Prepare((8, 8), 1, border=2),
        Prepare((13, 11), 3),
        Prepare((5, 5), 1, fit="pad", margin=1),
    ],
)
def test_decoded_arrays_give_the_pixels_that_prediction_sees(channels_there, prepare):
    split = array(channels=channels_there)
    store = decode(split, prepare)
    for i, image in enumerate(split.images):
        picture = Image.fromarray(image[0] if channels_there == 1 else image.transpose(1, 2, 0))
        pixels, scale, offset, original = to_pixels(picture, prepare)
        assert np.array_equal(store.images[i].numpy(), pixels)
        assert np.allclose(store.fit.scale[i], scale) and np.allclose(store.fit.offset[i], offset)
        assert store.fit.original[i].tolist() == list(original)


def test_arrays_of_the_right_size_are_not_copied():
    split = array()
    assert decode(split, Prepare((8, 8), 1)).images.data_ptr() == split.images.ctypes.data
    split.images.flags.writeable = False  # torch must not be handed what it could not write to
    assert np.array_equal(decode(split, Prepare((8, 8), 1)).images.numpy(), split.images)


def test_batch_takes_rows_of_everything():
    split = array()
    split.targets["boxes"] = [np.zeros((i, 4)) for i in range(6)]
    images, target = decode(split, Prepare((8, 8), 1)).batch(torch.tensor([4, 1]))
    assert np.array_equal(images.numpy(), split.images[[4, 1]])
    assert target["label"].tolist() == [4, 1] and [len(boxes) for boxes in target["boxes"]] == [4, 1]


def test_targets_are_made_with_the_fit_of_the_pictures_kept(tmp_path):
    split = pictures(tmp_path, n=4)
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])

    def make(raw, fit: Fit):
        assert len(fit) == 3 and fit.original.tolist() == [[14, 20]] * 3
        return {"label": torch.as_tensor(raw["label"]) * 10}

    assert decode(split, Prepare((7, 7), 1), targets=make).targets["label"].tolist() == [0, 20, 30]


@pytest.mark.parametrize("limit", [None, 0])
def test_damaged_pictures_are_left_out_and_named(tmp_path, limit):
    split = pictures(tmp_path, n=9)
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "5.png").unlink()
    store = decode(split, Prepare((14, 20), 3), limit_bytes=limit)
    assert store.names == [f"{i}.png" for i in (1, 2, 3, 4, 6, 7, 8)]
    assert store.targets["label"].tolist() == [1, 2, 3, 4, 6, 7, 8]
    assert store.left_out[0].startswith("0.png: cannot be read: ") and store.left_out[1].startswith("5.png: ")
    for row, i in enumerate((1, 2, 3, 4, 6, 7, 8)):
        assert np.array_equal(store.images[row].numpy(), to_pixels(split.images[i], Prepare((14, 20), 3))[0])
    store.close()


def test_none_left_is_an_error(tmp_path):
    split = pictures(tmp_path, n=2)
    for file in split.images:
        file.path.write_bytes(b"x")
    with pytest.raises(BadData, match="none of the 2 pictures can be read; the first: 0.png: cannot be read"):
        decode(split, Prepare((8, 8), 1))
    with pytest.raises(BadData, match="no pictures"):
        decode(Split([], {"label": []}), Prepare((8, 8), 1))


def test_larger_than_the_limit_goes_to_a_file_that_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    prepare = Prepare((8, 8), 3)
    split = array(n=50)
    in_memory = decode(split, prepare)
    with decode(split, prepare, limit_bytes=1000) as store:
        assert store.file and store.file.stat().st_size == 50 * 3 * 64
        assert torch.equal(store.images, in_memory.images)
        assert torch.equal(store.batch(torch.tensor([49, 3]))[0], in_memory.images[[49, 3]])
    assert not list(tmp_path.iterdir())
    forgotten = decode(split, prepare, limit_bytes=1000)
    assert len(list(tmp_path.iterdir())) == 1
    del forgotten
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode(array(), Prepare((5, 5), 1), limit_bytes=0, progress=interrupt)
    with pytest.raises(ZeroDivisionError):
        decode(array(), Prepare((8, 8), 3), targets=lambda raw, fit: {"x": 1 // 0}, limit_bytes=0)
    monkeypatch.setattr("striate.data.store.read_picture", lambda *_: interrupt(0, 0))
    with pytest.raises(KeyboardInterrupt):
        decode(array(), Prepare((5, 5), 1), limit_bytes=0)
    assert not list(tmp_path.iterdir())


def test_progress_ends_at_the_total(tmp_path):
    seen = []
    decode(
        pictures(tmp_path, n=130), Prepare((8, 8), 1), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen) and len(seen) > 2 and seen[-1] == (130, 130)


def test_zip_members_are_read_by_many_threads(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (300, 6, 6), dtype=np.uint8)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i, pixels in enumerate(truth):
            stream = BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            archive.writestr(f"{i}.png", stream.getvalue())
    files = [ImageFile(f"{i}.png", tmp_path / "a.zip", f"{i}.png") for i in range(300)]
    store = decode(Split(files, {"label": np.zeros(300)}), Prepare((6, 6), 1))
    assert np.array_equal(store.images[:, 0].numpy(), truth)


def test_free_memory_is_plausible():
    assert 1 << 20 < free_memory() < 1 << 50


def test_real_photographs(data_root):
    source = open_data(data_root / "hymenoptera")
    prepare = choose_prepare(source)
    split = source.splits["val"]
    store = decode(split.subset(range(0, len(split), 10)), prepare)
    assert store.images.shape[1:] == (3, 120, 120) and prepare.input == (3, 96, 96)
    assert store.images.float().std() > 30


@pytest.mark.slow
def test_cifar10_is_decoded_in_time(data_root):
    import time

    source = open_data(data_root / "cifar10.zip")
    start = time.process_time()
    sizes = {name: len(decode(split, Prepare((32, 32), 3))) for name, split in source.splits.items()}
    assert sizes == {"train": 50_000, "test": 10_000}
    assert time.process_time() - start < 40  # about 10 on an idle machine
