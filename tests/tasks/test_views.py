"""Ten crops, scales, dense evaluation and votes, against the same done by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate import models
from striate.data.prepare import Prepare
from striate.data.source import ImageFile, Split
from striate.errors import BadData, BadSetting
from striate.models.dense import fully_convolutional
from striate.tasks.classify.views import look, vote

PREPARE = Prepare((16, 16), 3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))


@pytest.fixture
def split() -> Split:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 3, 20, 20), dtype=np.uint8)
    return Split(pixels, {"label": np.array([0, 1, 2, 0, 1])})


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)).eval()


def normal(images: np.ndarray) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (PREPARE.mean, PREPARE.std))
    return (torch.from_numpy(images).float() / 255 - mean) / std


@torch.no_grad()
def test_ten_crops_are_the_corners_the_centre_and_their_mirror_images(split) -> None:
    net = network()
    answers, truth, left_out = look(net, split, PREPARE, crops=10, scales=[20])
    x = normal(split.images)
    windows = [x[..., t : t + 16, s : s + 16] for t, s in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))]
    windows += [w.flip(-1) for w in windows]
    by_hand = torch.stack([net(w).softmax(1) for w in windows]).mean(0)
    torch.testing.assert_close(answers.exp(), by_hand, rtol=1e-4, atol=1e-6)
    assert truth["label"].tolist() == [0, 1, 2, 0, 1] and left_out == []


@torch.no_grad()
def test_scales_are_averaged_and_one_view_is_plain(split) -> None:
    net = network()
    both = look(net, split, PREPARE, crops=2, scales=[16, 20])[0]
    each = [look(net, split, PREPARE, crops=2, scales=[scale])[0].exp() for scale in (16, 20)]
    torch.testing.assert_close(both.exp(), (each[0] + each[1]) / 2)
    small = Split(split.images[..., :16, :16].copy(), split.targets)
    plain = look(net, small, PREPARE)[0]
    torch.testing.assert_close(plain.exp(), net(normal(small.images)).softmax(1), rtol=1e-4, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("border", [0, 2])
def test_six_views_are_moves_by_a_pixel_and_mirror_images(split, border) -> None:
    net, x = network(), normal(split.images[..., 2:-2, 2:-2])
    prepare = replace(PREPARE, size=(16 - 2 * border,) * 2, border=border)
    pictures = Split(
        split.images[..., 2 + border : -2 - border, 2 + border : -2 - border].copy(), split.targets
    )
    if border:
        sides = (border, border)
        x = normal(np.pad(pictures.images, ((0, 0), (0, 0), sides, sides)))
    upper = torch.cat([x[..., 1:2, :], x[..., :-1, :]], dim=2)  # what was above row 0 is a reflection: row 1
    lower = torch.cat([x[..., 1:, :], x[..., -2:-1, :]], dim=2)
    down_right = torch.cat([upper[..., 1:2], upper[..., :-1]], dim=3)
    up_left = torch.cat([lower[..., 1:], lower[..., -2:-1]], dim=3)
    windows = [w for one in (x, down_right, up_left) for w in (one, one.flip(-1))]
    weights = torch.tensor([2, 2, 1, 1, 1, 1])[:, None, None] / 8  # where it is counts as much as both moves
    by_hand = (weights * torch.stack([net(w).softmax(1) for w in windows])).sum(0)
    answers = look(net, pictures, prepare, crops=6)[0]
    torch.testing.assert_close(answers.exp(), by_hand, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_googlenets_crops_are_three_squares_and_what_they_hold() -> None:
    wide = np.random.default_rng(1).integers(0, 255, (2, 3, 20, 29), dtype=np.uint8)
    net, label = network(), {"label": np.array([0, 1])}
    windows = []
    x = normal(wide)
    for left in (0, 4, 9):
        square = x[..., left : left + 20]
        windows += [square[..., t : t + 16, s : s + 16] for t, s in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))]
        windows.append(nn.functional.interpolate(square, 16, mode="bilinear", antialias=True))
    windows += [w.flip(-1) for w in windows]
    assert len(windows) == 36
    by_hand = torch.stack([net(w).softmax(1) for w in windows]).mean(0)
    answers = look(net, Split(wide, label), PREPARE, crops=144, scales=[20])[0]
    torch.testing.assert_close(answers.exp(), by_hand, rtol=1e-4, atol=1e-6)
    upright = Split(wide.transpose(0, 1, 3, 2).copy(), label)
    seen = []
    look(lambda w: seen.append(w) or net(w), upright, PREPARE, crops=144)
    assert len(seen) == 144 and {w.shape for w in seen} == {(2, 3, 16, 16)}


def test_a_damaged_picture_alone_in_its_size_is_left_out(tmp_path) -> None:
    files, rng = [], np.random.default_rng(0)
    for name, size in (("a", (24, 20)), ("b", (20, 20)), ("c", (30, 20))):
        file = tmp_path / f"{name}.png"
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(file)
        files.append(ImageFile(file.name, file))
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:200])
    pictures = Split(files, {"label": np.array([0, 1, 2])})
    answers, truth, left_out = look(network(), pictures, PREPARE, crops=144)
    assert len(answers) == 2 and truth["label"].tolist() == [0, 1] and left_out[0].startswith("c.png")
    with pytest.raises(BadData, match="none of the 1 pictures can be read"):
        look(network(), pictures.subset([2]), PREPARE, crops=144)


def test_what_cannot_be_looked_at_is_refused(split) -> None:
    with pytest.raises(BadSetting, match="views 3: there are 1, 2, 5, 6, 10, 144"):
        look(network(), split, PREPARE, crops=3)
    with pytest.raises(BadSetting, match="scale 12 is below the network's pictures of 16"):
        look(network(), split, PREPARE, crops=5, scales=[12])
    with pytest.raises(BadSetting, match="black border"):
        look(network(), split, Prepare((12, 12), 3, border=2), crops=10)


def test_a_vote_of_three_by_hand() -> None:
    """Two networks say class 1 faintly, one says class 0 with conviction."""
    answers = [torch.tensor([p]).log() for p in ([0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.3, 0.5, 0.2])]
    assert vote(answers, "plurality").argmax().item() == 1
    assert vote(answers, "mean").argmax().item() == 0
    torch.testing.assert_close(vote(answers, "mean").exp(), torch.tensor([[1.6, 1.2, 0.2]]) / 3)
    torch.testing.assert_close(vote(answers, "plurality").exp().sum(), torch.tensor(1.0))
    with pytest.raises(BadSetting, match="vote most: there are mean and plurality"):
        vote(answers, "most")


def test_equal_votes_go_to_the_more_probable() -> None:
    answers = [torch.tensor([p]).log() for p in ([0.9, 0.1], [0.2, 0.8])]
    assert vote(answers, "plurality").argmax().item() == 0


@torch.no_grad()
def test_dense_with_and_without_mirror_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 3, 40, 40), dtype=np.uint8)
    pictures, prepare = Split(pixels, {"label": np.array([0, 1])}), replace(PREPARE, size=(32, 32))
    net, x = models.network("vgg11", classes=3, size=32).eval(), normal(pixels)
    plain, mirrored = (fully_convolutional(net)(one).mean((2, 3)).softmax(1) for one in (x, x.flip(-1)))
    for crops, by_hand in ((1, plain), (2, (plain + mirrored) / 2)):
        answers = look(net, pictures, prepare, crops=crops, dense=True, scales=[40])[0]
        torch.testing.assert_close(answers.exp(), by_hand, rtol=1e-4, atol=1e-6)
