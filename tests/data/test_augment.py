"""Batches move as drawn, points move with them, and the network sees normalised pixels."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.data.augment import (
    Warp,
    centre,
    components,
    draw_colours,
    draw_warp,
    normalise,
    resize,
    statistics,
    warp,
)
from striate.data.prepare import Prepare


def still(n: int, prepare: Prepare, dx=0, dy=0, flip=False) -> Warp:
    moves = torch.full((n,), dx), torch.full((n,), dy), torch.full((n,), flip)
    return Warp(*moves, prepare.input[1:], prepare.margin, max(abs(dx), abs(dy)), flip)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 12),
    st.integers(3, 12),
    st.integers(0, 4),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 999),
)
def test_a_dot_moves_as_its_point_does(height, width, margin, shift, flip, seed):
    prepare = Prepare((height, width), 3, margin=margin)
    generator = torch.Generator().manual_seed(seed)
    n, (_, rows, columns) = 16, prepare.stored
    x, y = torch.randint(columns, (n,), generator=generator), torch.randint(rows, (n,), generator=generator)
    images = torch.zeros(n, 3, rows, columns, dtype=torch.uint8)
    images[torch.arange(n), :, y, x] = torch.tensor([50, 100, 150], dtype=torch.uint8)
    drawn = draw_warp(n, prepare, shift, flip, generator)
    moved = warp(images, drawn, prepare)
    assert moved.shape == (n, *prepare.input) and moved.dtype == torch.uint8
    points = drawn.move_points(torch.stack([x, y], dim=-1) + 0.5)
    for i, (px, py) in enumerate(points.tolist()):
        if 0 <= px < width and 0 <= py < height:
            assert moved[i, :, int(py), int(px)].tolist() == [50, 100, 150]
            assert moved[i].sum() == 300
        else:
            assert moved[i].sum() == 0
        one = drawn.move_points(torch.tensor([[x[i] + 0.5, y[i] + 0.5]]), picture=i)
        assert one.tolist() == [[px, py]]


def test_shifts_reach_what_was_asked_and_no_further():
    drawn = draw_warp(5000, Prepare((32, 32), 3), shift=2, flip=True)
    assert set(drawn.dx.tolist()) == set(drawn.dy.tolist()) == {-2, -1, 0, 1, 2}
    assert 0.45 < drawn.flip.float().mean() < 0.55 and len(drawn) == 5000
    photographs = draw_warp(5000, Prepare((32, 32), 3, margin=4), shift=2, flip=False)
    assert photographs.dx.min() == -4 and photographs.dx.max() == 4 and not photographs.flip.any()
    assert draw_warp(9, Prepare((32, 32), 3, margin=4), shift=0, flip=False).dx.abs().sum() == 0


def test_same_seed_same_warp():
    draw = lambda: draw_warp(64, Prepare((8, 8), 1), 2, True, torch.Generator().manual_seed(5))  # noqa: E731
    first, second = draw(), draw()
    assert torch.equal(first.dx, second.dx) and torch.equal(first.flip, second.flip)
    torch.manual_seed(3)
    one = draw_warp(64, Prepare((8, 8), 1), 2, True)
    torch.manual_seed(3)
    assert torch.equal(one.dy, draw_warp(64, Prepare((8, 8), 1), 2, True).dy)


def test_a_margin_shows_real_pixels_and_no_margin_the_fill():
    ones = torch.ones(4, 1, 12, 12, dtype=torch.uint8)
    prepare = Prepare((8, 8), 1, margin=2)
    assert warp(ones, still(4, prepare, dx=2, dy=-2), prepare).min() == 1
    plain = Prepare((12, 12), 1)
    moved = warp(ones, still(4, plain, dx=3), plain, fill=7)
    assert (moved[..., :3] == 7).all() and (moved[..., 3:] == 1).all()


def test_flipping_twice_is_nothing_and_standing_still_is_the_centre():
    prepare = Prepare((8, 8), 3)
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    flip = still(5, prepare, flip=True)
    once = warp(images, flip, prepare)
    assert torch.equal(once, images.flip(-1)) and torch.equal(warp(once, flip, prepare), images)
    with_margin = Prepare((4, 4), 3, margin=2)
    assert torch.equal(warp(images, still(5, with_margin), with_margin), images[..., 2:6, 2:6])
    assert torch.equal(centre(images, with_margin), images[..., 2:6, 2:6])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalise_is_the_formula(memory_format):
    prepare = Prepare((6, 6), 3, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), margin=1)
    images = centre(torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8), prepare)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (prepare.mean, prepare.std))
    x = normalise(images, prepare, memory_format)
    assert x.dtype == torch.float32 and x.is_contiguous(memory_format=memory_format)
    assert torch.allclose(x, (images / 255 - mean) / std, rtol=1e-5, atol=1e-6)
    plain = normalise(images, Prepare((6, 6), 3))
    assert torch.allclose(plain, images / 255)


def test_statistics_make_the_store_standard():
    images = torch.randint(0, 200, (300, 3, 8, 8), dtype=torch.uint8)
    images[:, 2] = 51
    mean, std = statistics(images)
    reference = images[:, :2].double() / 255
    assert mean[:2] == pytest.approx(reference.mean(dim=(0, 2, 3)).tolist(), abs=1e-7)
    assert std[:2] == pytest.approx(reference.std(dim=(0, 2, 3), correction=0).tolist(), abs=1e-7)
    assert mean[2] == pytest.approx(0.2) and std[2] == pytest.approx(1 / 255)


def test_points_shrink_with_their_picture():
    prepare = Prepare((16, 24), 1)
    images = torch.zeros(1, 1, 16, 24)
    images[..., 4:8, 12:16] = 1
    small = resize(images, 0.5)
    assert small.shape == (1, 1, 8, 12)
    drawn = replace(still(1, prepare), scale=0.5)
    x, y = drawn.move_points(torch.tensor([[14.0, 6.0]]))[0].tolist()
    weight = small[0, 0] / small.sum()
    rows, columns = torch.arange(8) + 0.5, torch.arange(12) + 0.5
    assert (weight.sum(1) @ rows).item() == pytest.approx(y, abs=0.01)
    assert (weight.sum(0) @ columns).item() == pytest.approx(x, abs=0.01)
    assert resize(images, 1.0) is images


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_are_resized_as_numbers_are(channels: int) -> None:
    images = torch.randint(0, 256, (5, channels, 32, 24), dtype=torch.uint8)
    for scale in (0.5, 0.75, 1.5):
        resized = resize(images, scale)
        off = (resized - resize(images.float(), scale)).abs().max()
        assert resized.dtype == torch.uint8 and off < 1.1  # rounded after rows and after columns


@settings(max_examples=40, deadline=None)
@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 6), st.booleans(), st.integers(0, 999))
def test_a_crop_moves_a_dot_as_its_point(height, width, margin, flip, seed):
    prepare = Prepare((height, width), 1, margin=margin)
    generator = torch.Generator().manual_seed(seed)
    n, (_, rows, columns) = 16, prepare.stored
    drawn = draw_warp(n, prepare, 3, flip, generator, area=0.3)
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    middle = torch.stack([drawn.box[:, 0] + drawn.box[:, 2] / 2, drawn.box[:, 1] + drawn.box[:, 3] / 2], 1)
    far = (x - middle[:, 0, None, None]) ** 2 + (y - middle[:, 1, None, None]) ** 2
    images = (250 * torch.exp(-far / 8))[:, None].to(torch.uint8)
    moved = warp(images, drawn, prepare)[:, 0].float()
    assert moved.shape == (n, height, width)
    down, across = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    weight = moved / moved.sum((1, 2), keepdim=True)
    found = torch.stack([weight.sum(1) @ across, weight.sum(2) @ down], dim=1)
    assert torch.allclose(found, drawn.move_points(middle), atol=0.3)
    for i in range(n):
        assert torch.allclose(drawn.move_points(middle[i : i + 1], picture=i), drawn.move_points(middle)[i])


def test_crops_show_the_areas_and_shapes_of_the_paper():
    prepare = Prepare((224, 224), 3, margin=28)
    box = draw_warp(20_000, prepare, 0, False, area=0.08).box
    share = box[:, 2] * box[:, 3] / 280**2
    shape = box[:, 2] / box[:, 3]
    assert torch.equal(box, box.round())  # whole pixels, so the bounds are met to half a pixel
    assert 0.079 <= share.min() < 0.085 and 0.98 < share.max() <= 1 and 0.50 < share.mean() < 0.54
    assert 0.745 <= shape.min() and shape.max() <= 1.345
    assert (box[:, :2] >= 0).all() and (box[:, :2] + box[:, 2:] <= 280).all()


def test_crops_are_the_same_however_the_pictures_lie_in_memory():
    prepare = Prepare((12, 12), 3, margin=2)
    images = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    drawn = draw_warp(6, prepare, 0, True, torch.Generator().manual_seed(1), area=0.2)
    other = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(warp(images, drawn, prepare), warp(other, drawn, prepare))


def test_a_crop_of_everything_is_the_picture():
    prepare = Prepare((9, 7), 3)
    images = torch.randint(0, 256, (4, 3, 9, 7), dtype=torch.uint8)
    all_of_it = replace(still(4, prepare, flip=True), box=torch.tensor([[0.0, 0.0, 7.0, 9.0]] * 4))
    assert torch.equal(warp(images, all_of_it, prepare), images.flip(-1))


def test_components_are_those_of_the_covariance():
    generator = torch.Generator().manual_seed(0)
    grey = torch.randint(0, 256, (500, 1, 6, 6), generator=generator)
    images = (grey * torch.tensor([1.0, 0.5, 0.2]).view(1, 3, 1, 1)).to(torch.uint8)
    found = components(images, chunk=64)
    pixels = images.transpose(0, 1).flatten(1).double() / 255
    covariance = torch.cov(pixels, correction=0)
    lengths = found.double().norm(dim=0)
    assert torch.allclose(lengths.sort().values, torch.linalg.eigvalsh(covariance), atol=1e-6)
    torch.manual_seed(0)
    colours = draw_colours(4000, found, 0.1)
    assert colours.shape == (4000, 3)
    # One number for the brightness of grey pictures: the channels move together, by the largest eigenvalue.
    assert torch.corrcoef(colours.T).min() > 0.99
    assert colours.norm(dim=1).pow(2).mean().sqrt() == pytest.approx(0.1 * lengths.max().item(), rel=0.05)
