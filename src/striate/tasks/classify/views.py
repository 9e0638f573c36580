"""Several looks at one picture, averaged: crops, mirror images, scales, dense evaluation, other networks.

Ten crops are those of Krizhevsky et al. 2012, section 4.1: the corners and the centre, and their mirror
images, the ten softmax answers averaged. Six are those of Jordan 2024, section 3.5: the picture, the picture
moved by a pixel in two directions, and mirror images; as in the paper's script, the two that are not moved
count half. 144 are those of Szegedy et al. 2014, section 7: three squares of a picture at each of four
scales, of each its corners and centre and the square itself made small, and mirror images. Dense evaluation
is that of Simonyan and Zisserman 2015, section 3.2: the network runs convolutionally over the whole picture
and its mirror image, the score maps are averaged over places, the softmax over mirror images and scales.

Answers are the logarithm of the averaged probabilities, which every metric reads as logits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from striate.data.augment import centre, normalise, resize
from striate.data.picture import encoded, header
from striate.data.prepare import Prepare
from striate.data.source import Split
from striate.data.store import NoneReadable, Store, decode
from striate.errors import BadData, BadSetting
from striate.models.dense import fully_convolutional
from striate.task import Target
from striate.tasks.classify.data import targets

VOTES = ("mean", "plurality")
"""How several networks answer together; see `vote`."""

CROPS = (1, 2, 5, 6, 10, 144)
"""Centre; centre and mirror image; corners and centre; moved by a pixel; corners, centre and their mirror
images; GoogLeNet's."""
FOUR_SCALES = (256, 288, 320, 352)
"""Of the shorter side, for a network of 224."""

BATCH = 128
TINY = 1e-12
"""Below the least probability that is told from none: keeps the logarithm finite."""


def look(
    network: nn.Module,
    split: Split,
    prepare: Prepare,
    *,
    crops: int = 1,
    scales: Sequence[int] = (),
    dense: bool = False,
) -> tuple[Tensor, Target, list[str]]:
    """Every picture seen in several ways.

    Args:
        crops: one of `CROPS`; where `dense`, 1 leaves the mirror images away.
        scales: lengths of the shorter side that pictures are brought to, in pixels. Without any, the size of
            training for 1, 2 and 6 crops, 8/7 of the network's for others (256 for 224; and 9, 10, 11
            sevenths for 144), and the network's size for dense evaluation.
        dense: look at the whole of every picture, whatever its shape.

    Returns:
        Log-probabilities float32 (N, classes) on the CPU, the targets, and a line for every damaged picture.

    Raises:
        BadSetting: another number of crops, a scale below the network's size, or a black border.
        DoesNotFit: dense evaluation of a network that has no fully convolutional form.
    """
    side = min(prepare.size)
    if crops not in CROPS:
        raise BadSetting(f"views {crops}: there are {', '.join(map(str, CROPS))}.")
    fixed = crops in (1, 2, 6)
    if prepare.border and (dense or scales or not fixed):
        raise BadSetting(
            "views: this network's pictures have a black border, so there is nothing to crop; use --tta."
        )
    if dense or fixed:
        usual = [side if dense else side + 2 * prepare.margin]
    else:
        usual = [round(side * scale / 224) for scale in (FOUR_SCALES if crops == 144 else FOUR_SCALES[:1])]
    chosen = tuple(scales) or tuple(usual)
    small = [scale for scale in chosen if scale < side]
    if small:
        raise BadSetting(f"scale {small[0]} is below the network's pictures of {side}: give {side} or more.")
    one = _dense if dense else {6: _moved, 144: _squares}.get(crops, _cropped)
    total, truth, left_out = None, {}, []
    for scale in chosen:
        probabilities, truth, left_out = one(network, split, prepare, scale, crops)
        total = probabilities if total is None else total + probabilities
    assert total is not None
    return (total / len(chosen)).clamp(min=TINY).log(), truth, left_out


def vote(answers: Sequence[Tensor], how: str = "mean") -> Tensor:
    """The answers (N, classes) of several networks as one, in log-probabilities.

    "mean" averages the softmax (Krizhevsky 2012). "plurality" gives each network one vote (Nielsen, chapter
    6); what it calls a probability is a share of the votes, and the mean softmax decides between equals.
    """
    if how not in VOTES:
        raise BadSetting(f"vote {how}: there are {' and '.join(VOTES)}.")
    softmax = torch.stack([answer.float().softmax(1) for answer in answers])
    mean = softmax.mean(0)
    if how == "mean":
        return mean.clamp(min=TINY).log()
    votes = torch.zeros_like(mean)
    for one in softmax:
        votes.scatter_add_(1, one.argmax(1, keepdim=True), torch.ones_like(mean[:, :1]))
    return ((votes + mean) / (len(answers) + 1)).clamp(min=TINY).log()


def _cropped(
    network: nn.Module, split: Split, prepare: Prepare, scale: int, crops: int
) -> tuple[Tensor, Target, list[str]]:
    """The mean softmax of the crops of every picture, its shorter side brought to `scale`."""
    if prepare.border == 0:
        prepare = replace(prepare, margin=(scale - min(prepare.size)) // 2)
    height, width = prepare.input[1:]
    extra = 2 * prepare.margin
    corners = [(0, 0), (0, extra), (extra, 0), (extra, extra)] if crops >= 5 else []
    places = [*corners, (prepare.margin, prepare.margin)]

    def windows(images: Tensor) -> Iterator[Tensor]:
        for y, x in places:
            window = normalise(images[..., y : y + height, x : x + width], prepare, torch.channels_last)
            yield window
            if crops % 2 == 0:
                yield window.flip(-1)

    with decode(split, prepare, targets) as store:
        answers = _mean_softmax(store, windows, network)
        return answers, store.targets, store.left_out


def _moved(
    network: nn.Module, split: Split, prepare: Prepare, scale: int, _: int
) -> tuple[Tensor, Target, list[str]]:
    """The mean softmax of pictures where they are, a pixel up and left, a pixel down and right, and mirrored.

    Where they are counts half. What comes in at the edges is the reflection of the pixels beside them.
    """
    if prepare.border == 0:
        prepare = replace(prepare, margin=(scale - min(prepare.size)) // 2)
    height, width = prepare.input[1:]

    def windows(images: Tensor) -> Iterator[Tensor]:
        around = pad(normalise(centre(images, prepare), prepare), (1, 1, 1, 1), mode="reflect")
        for start in range(3):
            window = around[..., start : start + height, start : start + width]
            window = window.contiguous(memory_format=torch.channels_last)
            yield window
            yield window.flip(-1)

    with decode(split, prepare, targets) as store:
        answers = _mean_softmax(store, windows, network, shares=(1, 1, 2, 2, 1, 1))
        return answers, store.targets, store.left_out


def _dense(
    network: nn.Module, split: Split, prepare: Prepare, scale: int, crops: int
) -> tuple[Tensor, Target, list[str]]:
    """The mean softmax of whole pictures and, unless `crops` is 1, of their mirror images."""
    anywhere = nn.Sequential(fully_convolutional(network), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()

    def seen(images: Tensor, here: Prepare) -> Iterator[Tensor]:
        window = normalise(images, here, torch.channels_last)
        yield window
        if crops > 1:
            yield window.flip(-1)

    return _whole(anywhere, split, prepare, scale, seen)


def _squares(
    network: nn.Module, split: Split, prepare: Prepare, scale: int, _: int
) -> tuple[Tensor, Target, list[str]]:
    """The mean softmax of the 36 windows that Szegedy et al. 2014 take of a picture at one scale."""
    height, width = prepare.size
    if height != width:
        raise BadSetting(f"views 144: the windows are squares, but this network sees {width}×{height}.")

    def windows(images: Tensor, here: Prepare) -> Iterator[Tensor]:
        whole = normalise(images, here)
        side = min(whole.shape[2:])
        rows, columns = (extent - side for extent in whole.shape[2:])
        extra = side - width
        places = [(0, 0), (0, extra), (extra, 0), (extra, extra), (extra // 2, extra // 2)]
        for third in range(3):  # left, centre, right; of an upright picture top, centre, bottom
            y, x = rows * third // 2, columns * third // 2
            square = whole[..., y : y + side, x : x + side]
            crops = [square[..., y : y + width, x : x + width] for y, x in places]
            for crop in (*crops, resize(square, width / side)):
                window = crop.contiguous(memory_format=torch.channels_last)
                yield window
                yield window.flip(-1)

    return _whole(network, split, prepare, scale, windows)


def _whole(
    network: Callable[[Tensor], Tensor],
    split: Split,
    prepare: Prepare,
    scale: int,
    windows: Callable[[Tensor, Prepare], Iterator[Tensor]],
) -> tuple[Tensor, Target, list[str]]:
    """The mean softmax of what `windows` cuts out of uint8 pictures, those of one size together."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for i in range(len(split)):
        sizes.setdefault(_scaled(_size(split, i), scale), []).append(i)
    rows, answers, left_out = [], [], []
    for size, members in sizes.items():
        here = replace(prepare, size=size, margin=0, border=0)
        numbered = Split(split.subset(members).images, {"row": torch.tensor(members).numpy()})
        try:
            store = decode(numbered, here)
        except NoneReadable as damaged:
            left_out += damaged.why
            continue
        with store:
            answers.append(_mean_softmax(store, lambda images, here=here: windows(images, here), network))
            rows.append(store.targets["row"])
            left_out += store.left_out
    if not rows:
        raise NoneReadable(left_out)
    order = torch.cat(rows).argsort()
    kept = torch.cat(rows)[order].tolist()
    return torch.cat(answers)[order], targets(split.subset(kept).targets, None), left_out


def _size(split: Split, index: int) -> tuple[int, int]:
    """(height, width) of a picture on disk; of a damaged one any, since `decode` will leave it out."""
    if not isinstance(split.images, list):
        return split.images.shape[2], split.images.shape[3]
    try:
        found = header(encoded(split.images[index]))
    except BadData:
        found = None
    return found[:2] if found else (1, 1)


def _scaled(size: tuple[int, int], scale: int) -> tuple[int, int]:
    """(height, width) with the shorter side brought to `scale`."""
    shorter = min(size)
    return round(size[0] * scale / shorter), round(size[1] * scale / shorter)


@torch.inference_mode()
def _mean_softmax(
    store: Store,
    windows: Callable[[Tensor], Iterator[Tensor]],
    network: Callable[[Tensor], Tensor],
    shares: Sequence[float] = (),
) -> Tensor:
    """(N, classes) on the CPU: the softmax averaged over the windows of each picture, by their `shares`."""
    parts = []
    weighed = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    place = torch.device("cpu") if weighed is None else weighed.device
    for rows in torch.arange(len(store)).split(BATCH):
        images = store.images[rows].to(place)
        softmax = [network(window).float().softmax(1).cpu() for window in windows(images)]
        weights = torch.tensor(shares or [1.0] * len(softmax), dtype=torch.float32)
        parts.append(torch.tensordot(weights / weights.sum(), torch.stack(softmax), 1))
    return torch.cat(parts)
