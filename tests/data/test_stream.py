"""A streamed set gives the batches of a stored one, holds no pictures, and says which are damaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data import stream as streaming
from striate.data.loader import Loader
from striate.data.prepare import Prepare, to_window
from striate.data.source import ImageFile, Split
from striate.data.store import Store, decode
from striate.data.stream import LEAD, Stream, fits, hold
from striate.errors import BadData

PREPARE = Prepare((16, 16), 3, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), margin=2)


def photographs(folder, n=23, broken=()) -> Split:
    """n smooth JPEGs of 48×40, the `broken` ones cut in half, with labels 0..n-1."""
    files, y, x = [], *np.mgrid[:40, :48]
    for i in range(n):
        pixels = np.stack([(x * 3 + 9 * i) % 256, (y * 5) % 256, np.full_like(x, 11 * i % 256)], axis=-1)
        file = folder / f"{i}.jpg"
        Image.fromarray(pixels.astype(np.uint8)).save(file, quality=95)
        if i in broken:
            file.write_bytes(file.read_bytes()[:300])
        files.append(ImageFile(file.name, file))
    return Split(files, {"label": np.arange(n)})


def epoch(loader: Loader, which: int = 0) -> list[tuple[torch.Tensor, list[int]]]:
    order = loader.order(which)
    made = [loader.batch(order, which, number) for number in range(loader.per_epoch)]
    return [(images, target["label"].tolist()) for images, target in made]


def same(one, other) -> bool:
    return all(torch.equal(a, b) and p == q for (a, p), (b, q) in zip(one, other, strict=True))


def test_pictures_and_targets_are_those_of_the_store(tmp_path):
    split = photographs(tmp_path)
    store, rows = decode(split, PREPARE), torch.tensor([22, 3, 3, 0])
    with Stream(split, PREPARE) as stream:
        images, target = stream.batch(rows)
        assert torch.equal(images, store.batch(rows)[0]) and target["label"].tolist() == rows.tolist()
        assert len(stream) == 23 and stream.names == store.names and not stream.left_out
        assert torch.equal(stream.sample(), store.sample())


def test_decoded_arrays_stream_too():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    split, prepare = Split(pixels, {"label": np.arange(9)}), Prepare((8, 8), 1, border=2)
    with Stream(split, prepare) as stream:
        assert torch.equal(stream.batch(torch.arange(9))[0], decode(split, prepare).images)


@pytest.mark.parametrize("world", [1, 2])
def test_moved_batches_are_those_of_the_store(tmp_path, world):
    split = photographs(tmp_path)
    store = decode(split, PREPARE)
    with Stream(split, PREPARE) as stream:
        for rank in range(world):
            how = {"size": 8, "seed": 3, "shift": 2, "flip": True, "rank": rank, "world": world}
            for which in (0, 1):
                assert same(
                    epoch(Loader(store, PREPARE, **how), which), epoch(Loader(stream, PREPARE, **how), which)
                )


def test_each_process_decodes_its_part_alone(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        streaming, "read_picture", lambda s, i, p, was=streaming.read_picture: read.append(i) or was(s, i, p)
    )
    with Stream(photographs(tmp_path, n=16), PREPARE) as stream:
        loader = Loader(stream, PREPARE, 4, 0, rank=1, world=2)
        labels = [label for _, labels in epoch(loader) for label in labels]
        ahead = [row for number in range(LEAD) for row in loader._rows(loader.order(1), number).tolist()]
    assert len(labels) == 8 and set(read) <= set(labels) | set(ahead)


def test_crops_are_a_function_of_seed_epoch_and_number(tmp_path):
    """The batches of a run that begins in the middle are those of one that came there step by step."""
    split = photographs(tmp_path)
    how = {"size": 8, "seed": 3, "area": 0.3, "flip": True}
    with Stream(split, PREPARE) as stream, Stream(split, PREPARE) as fresh:
        loader, resumed = Loader(stream, PREPARE, **how), Loader(fresh, PREPARE, **how)
        first, second = epoch(loader, 0), epoch(loader, 1)
        order = resumed.order(1)
        images, target = resumed.batch(order, 1, 2)
        assert torch.equal(images, second[2][0]) and target["label"].tolist() == second[2][1]
        assert not same(first, second) and images.shape == (len(images), 3, 16, 16)


def test_a_crop_comes_straight_from_the_file_and_shows_what_the_store_would(tmp_path):
    split = photographs(tmp_path)
    how = {"size": 8, "seed": 3, "area": 0.3, "flip": True}
    with Stream(split, PREPARE) as stream:
        straight, twice = (epoch(Loader(held, PREPARE, **how)) for held in (stream, decode(split, PREPARE)))
    for (a, labels), (b, others) in zip(straight, twice, strict=True):
        assert labels == others
        assert (a - b).abs().median() * 0.2 * 255 < 8  # grey levels; the two scale once and twice


def test_a_window_is_the_box_mirrored_and_its_fit_the_stores(tmp_path):
    split = photographs(tmp_path, n=1)
    pixels, scale, offset, original = to_window(split.images[0], PREPARE, (0, 0, 20, 20), False)
    mirrored = to_window(split.images[0], PREPARE, (0, 0, 20, 20), True)[0]
    assert pixels.shape == (3, 16, 16) and original == (40, 48)
    assert np.abs(pixels.astype(int) - mirrored[:, :, ::-1]).max() <= 1
    assert scale == pytest.approx((0.5, 0.5)) and offset == pytest.approx((-2, 0))


def test_damaged_pictures_are_replaced_where_batches_are_filled(tmp_path):
    split = photographs(tmp_path, n=6, broken=(1, 5))
    with Stream(split, PREPARE, fill=True) as stream:
        images, target = stream.batch(torch.arange(6))
        assert target["label"].tolist() == [0, 2, 2, 3, 4, 0]
        assert torch.equal(images[1], images[2]) and torch.equal(images[5], images[0])
        assert [line.split(":")[0] for line in stream.left_out] == ["1.jpg", "5.jpg"]
        stream.batch(torch.arange(6))
        assert len(stream.left_out) == 2
        others, target = stream.batch(torch.tensor([1, 5]))  # nothing of a batch: what follows in the split
        assert target["label"].tolist() == [2, 2] and torch.equal(others[0], images[2])
    with Stream(photographs(tmp_path, n=2, broken=(0, 1)), PREPARE, fill=True) as stream:
        with pytest.raises(BadData, match="not one of 2 pictures can be read; the first: 1.jpg"):
            stream.batch(torch.tensor([1, 0]))


def test_damaged_pictures_are_left_out_where_they_are_judged(tmp_path):
    with Stream(photographs(tmp_path, n=6, broken=(1, 5)), PREPARE) as stream:
        images, target = stream.batch(torch.arange(6))
        assert len(images) == 4 and target["label"].tolist() == [0, 2, 3, 4]
        assert len(stream.batch(torch.tensor([1]))[0]) == 0
        readable = stream.readable()
        assert readable.names == ["0.jpg", "2.jpg", "3.jpg", "4.jpg"]


def test_what_was_announced_and_never_fetched_is_forgotten(tmp_path):
    with Stream(photographs(tmp_path), PREPARE) as stream:
        for start in range(10):
            stream.ahead(torch.arange(start, start + 4))
        assert len(stream._waiting) == LEAD + 1
        assert stream.batch(torch.arange(4))[1]["label"].tolist() == [0, 1, 2, 3]


def test_what_fits_is_stored_and_what_does_not_is_streamed(tmp_path, monkeypatch):
    split = photographs(tmp_path, n=3)
    assert fits([split], PREPARE) and isinstance(hold(split, PREPARE), Store)
    monkeypatch.setattr(streaming, "free_memory", lambda: 4000)
    assert fits([split], PREPARE) and not fits([split], replace(PREPARE, size=(1_000_000, 1_000_000)))
    monkeypatch.setattr(streaming.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 4000}))
    assert not fits([split], PREPARE) and isinstance(hold(split, PREPARE), Stream)
    assert isinstance(hold(split, PREPARE, stream=False), Store)


def test_an_empty_split_is_refused():
    with pytest.raises(BadData, match="holds no pictures"):
        Stream(Split([], {"label": np.arange(0)}), PREPARE)
