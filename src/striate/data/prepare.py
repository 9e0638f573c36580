"""From a picture of any size to the pixels a network is fed: one path for training and prediction.

A picture is scaled to `Prepare.size`, the whole of the shorter side kept ("crop", for one answer a picture)
or the whole picture kept on grey ("pad", where every object must stay). `border` adds black pixels around it
(MNIST's 28×28 in LeNet-5's 32×32); `margin` keeps real pixels around it for random crops to move into.

Points are (x, y) in pixels, measured from the top left corner of the picture: the centre of the first pixel
is (0.5, 0.5), so scaling a picture scales its points and nothing else.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from striate.data.crops import scaled
from striate.data.picture import GREY_BEYOND, Picture, decode_pixels, encoded, header
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData, BadSetting

NATIVE_AT_MOST = 64
"""Pictures that all share one size up to this are used as they are; larger ones are photographs."""

PHOTOGRAPH = 96
"""The side photographs are scaled to where nobody says otherwise."""

Fitting = Literal["crop", "pad"]


@dataclass(frozen=True)
class Prepare:
    """How pictures become network input. Kept in the model's file: prediction does exactly the same."""

    size: tuple[int, int]
    """(height, width) of the picture content in the network's window."""
    channels: int
    """1 grey, 3 colour."""
    mean: tuple[float, ...] = ()
    """Per channel, of pixels in 0..1; empty means 0."""
    std: tuple[float, ...] = ()
    """Per channel, of pixels in 0..1; empty means 1."""
    fit: Fitting = "crop"
    """Scaled so that the picture covers the window, or so that the window holds the picture."""
    border: int = 0
    """Black pixels added on every side."""
    margin: int = 0
    """Pixels kept in the store around the window; evaluation takes the window in the centre."""
    scale: float = 1.0
    """Pixels of the window for one of a typical training picture: how large things were when it learned."""

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise BadSetting(f"channels {self.channels}: pictures have 1 (grey) or 3 (colour)")
        if self.fit not in ("crop", "pad"):
            raise BadSetting(f"fit {self.fit!r}: there are 'crop' and 'pad'")
        if min(self.size) < 1 or min(self.border, self.margin) < 0:
            raise BadSetting(f"size {self.size}, border {self.border}, margin {self.margin}: too small")
        if self.border and self.margin:
            raise BadSetting("border and margin: a black border leaves no room for a margin; use one of them")

    @property
    def content(self) -> tuple[int, int]:
        """(height, width) that the picture itself is scaled to: the window and its margin."""
        return self.size[0] + 2 * self.margin, self.size[1] + 2 * self.margin

    @property
    def stored(self) -> tuple[int, int, int]:
        """(channels, height, width) of one picture in the store: content and border."""
        return self.channels, self.content[0] + 2 * self.border, self.content[1] + 2 * self.border

    @property
    def input(self) -> tuple[int, int, int]:
        """(channels, height, width) of what the network is fed."""
        return self.channels, self.size[0] + 2 * self.border, self.size[1] + 2 * self.border

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, obj: dict[str, Any]) -> "Prepare":
        """The inverse of `to_json`; `BadSetting` where a field is missing or wrong."""
        try:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in obj.items()}
            return cls(**fields)
        except (TypeError, AttributeError) as why:
            raise BadSetting(f"prepare: not readable: {why}") from why


@dataclass(frozen=True)
class Fit:
    """Where n pictures' pixels went: `store_xy = original_xy * scale + offset`."""

    scale: np.ndarray
    """(n, 2) x, y: store pixels per original pixel."""
    offset: np.ndarray
    """(n, 2) x, y: the original's top left corner, in store pixels."""
    original: np.ndarray
    """(n, 2) height, width of the pictures as they are on disk, upright."""
    size: tuple[int, int] = (0, 0)
    """(height, width) of the store's pictures, the same for all."""

    def __len__(self) -> int:
        return len(self.scale)

    def apply(self, points: Any, i: int) -> np.ndarray:
        """Points (..., 2) of original `i` -> pixels of the store."""
        return np.asarray(points, dtype=np.float64) * self.scale[i] + self.offset[i]

    def undo(self, points: Any, i: int) -> np.ndarray:
        """Points (..., 2) in pixels of the store -> pixels of original `i`."""
        return (np.asarray(points, dtype=np.float64) - self.offset[i]) / self.scale[i]

    def in_window(self, prepare: Prepare) -> "Fit":
        """The same for pixels of the evaluation window, which a network's answer is in."""
        return Fit(self.scale, self.offset - prepare.margin, self.original, prepare.input[1:])

    def subset(self, rows: Any) -> "Fit":
        """The pictures at `rows`, in that order."""
        return Fit(self.scale[rows], self.offset[rows], self.original[rows], self.size)


Placed = tuple[np.ndarray, tuple[float, float], tuple[float, float], tuple[int, int]]
"""Pixels uint8 (C, H, W), scale (x, y), offset (x, y), original (height, width)."""


def to_pixels(picture: Picture, prepare: Prepare, name: str | None = None) -> Placed:
    """One picture -> (uint8 (C, H, W) of `prepare.stored`, scale, offset, original) as `Fit` holds them.

    Give it the file, not an open picture, where there is one: large JPEGs are then decoded at reduced scale.
    A picture that already has the right size is not resampled. `BadData` names one that cannot be read.
    """
    seen, original = decode_pixels(picture, name, need=2 * max(prepare.content))
    seen = _in_channels(seen, prepare.channels)
    place = _crop if prepare.fit == "crop" else _pad
    content, scale, offset = place(seen, *prepare.content)
    reduced = seen.shape[1] / original[1], seen.shape[0] / original[0]
    pixels = _channels_first(content, prepare.channels)
    border = prepare.border
    if border:
        pixels = np.pad(pixels, ((0, 0), (border, border), (border, border)))
    scale = scale[0] * reduced[0], scale[1] * reduced[1]
    return pixels, scale, (offset[0] + border, offset[1] + border), original


def to_window(
    picture: Picture,
    prepare: Prepare,
    box: tuple[float, float, float, float],
    flip: bool,
    name: str | None = None,
) -> Placed:
    """What a box of a stored picture shows, straight from the file and scaled once, mirrored or not.

    `box` is x, y, width, height in store pixels, taken to the nearest whole pixels of the file. Comes back as
    from `to_pixels`, the pixels (C, H, W) of the network's window; where they went is said of the whole
    store. Only for `fit` "crop" without a border.
    """
    (height, width), (rows, columns), (x, y, wide, high) = prepare.size, prepare.content, box
    zoom = max(height / high, width / wide)
    seen, original = decode_pixels(picture, name, need=math.ceil(2 * max(prepare.content) * zoom))
    seen = _in_channels(seen, prepare.channels)
    scale = max(rows / seen.shape[0], columns / seen.shape[1])
    left, top = (seen.shape[1] - columns / scale) / 2, (seen.shape[0] - rows / scale) / 2
    x, y, wide, high = left + x / scale, top + y / scale, wide / scale, high / scale
    part = _part(seen, _whole_pixels(seen, x, y, wide, high, prepare.size)[0])
    pixels = resized(part[:, ::-1] if flip else part, height, width)
    reduced = seen.shape[1] / original[1], seen.shape[0] / original[0]
    scales, offset = (scale * reduced[0], scale * reduced[1]), (-left * scale, -top * scale)
    return _channels_first(pixels, prepare.channels), scales, offset, original


Scaled = tuple[np.ndarray, tuple[float, float], tuple[float, float]]
"""Pixels (H, W[, 3]), scale (x, y) and offset (x, y)."""


def _crop(seen: np.ndarray, height: int, width: int) -> Scaled:
    """The largest centred part of the window's shape, scaled to the window in one step."""
    high, wide = seen.shape[:2]
    if (high, wide) == (height, width):
        return seen, (1.0, 1.0), (0.0, 0.0)
    scale = max(height / high, width / wide)
    left, top = (wide - width / scale) / 2, (high - height / scale) / 2
    if scale == 1:
        left, top = int(left), int(top)
        seen = seen[top : top + height, left : left + width]
    elif scale < 1 and seen.ndim == 3:
        box, scales = _whole_pixels(seen, left, top, width / scale, height / scale, (height, width))
        offset = -box[0] * scales[0], -box[1] * scales[1]
        return resized(_part(seen, box), height, width), scales, offset
    else:
        right, bottom = min(left + width / scale, wide), min(top + height / scale, high)
        seen = _pillows(seen, height, width, (max(left, 0), max(top, 0), right, bottom))
    return seen, (scale, scale), (-left * scale, -top * scale)


def _whole_pixels(
    seen: np.ndarray, left: float, top: float, wide: float, high: float, window: tuple[int, int]
) -> tuple[tuple[int, int, int, int], tuple[float, float]]:
    """(a box left, top, right, bottom of whole pixels inside the picture, what scales it to the window)."""
    x, y = max(0, min(round(left), seen.shape[1] - 1)), max(0, min(round(top), seen.shape[0] - 1))
    right = max(x + 1, min(round(left + wide), seen.shape[1]))
    bottom = max(y + 1, min(round(top + high), seen.shape[0]))
    return (x, y, right, bottom), (window[1] / (right - x), window[0] / (bottom - y))


def _part(seen: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return seen[top:bottom, left:right]


def resized(seen: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (H, W[, 3]) -> (height, width[, 3]): bilinear, smoothed where that is smaller.

    PyTorch's resampling of colour is twice as fast as Pillow's, and lets threads run as that does.
    """
    if seen.ndim == 2:
        return _pillows(seen, height, width)
    return scaled(np.ascontiguousarray(seen), height, width)


def _pillows(
    seen: np.ndarray, height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Pillow's resampling: of a box of fractions of pixels too."""
    image = Image.fromarray(seen)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))


def _pad(seen: np.ndarray, height: int, width: int) -> Scaled:
    """The whole picture, scaled to touch the window's sides, centred on grey."""
    if seen.shape[:2] == (height, width):
        return seen, (1.0, 1.0), (0.0, 0.0)
    scale = min(height / seen.shape[0], width / seen.shape[1])
    high, wide = max(1, round(seen.shape[0] * scale)), max(1, round(seen.shape[1] * scale))
    scales = wide / seen.shape[1], high / seen.shape[0]
    if (high, wide) != seen.shape[:2]:
        seen = _pillows(seen, high, wide)
    left, top = (width - wide) // 2, (height - high) // 2
    window = np.full((height, width, *seen.shape[2:]), GREY_BEYOND, np.uint8)
    window[top : top + high, left : left + wide] = seen
    return window, scales, (float(left), float(top))


def _in_channels(seen: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) -> (H, W) where one channel is wanted. Three are made of one at the end."""
    return np.array(Image.fromarray(seen).convert("L")) if channels == 1 and seen.ndim == 3 else seen


def _channels_first(seen: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) -> (channels, H, W)."""
    return np.repeat(seen[None], channels, axis=0) if seen.ndim == 2 else seen.transpose(2, 0, 1)


def choose_prepare(
    source: Source,
    channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    fit: Fitting = "crop",
    net_size: int | None = None,
) -> Prepare:
    """What suits these pictures, from the size and mode of up to 64 of them (none is decoded).

    `size` is the user's word; `net_size` the only size a network takes. Without either: pictures of one
    small size keep it, photographs become 96×96. Photographs get a margin of an eighth to crop in; small
    pictures up to 8 pixels short of `net_size` a black border. To "pad" photographs of one shape the window
    has that shape, `size` being its longer side, and there is no margin. Mean and std wait for the training
    store.

    Raises:
        BadData: there is no training split, or no picture in it that can be read.
    """
    split = source.splits.get("train")
    if split is None:
        raise BadData(
            f"{source.name}: has no train split to learn from, only {', '.join(source.splits) or 'nothing'}"
        )
    if not len(split):
        raise BadData(f"{source.name}: holds no pictures")
    native, typical, shape, colour = _look_at(split, source.name)
    channels = channels or (3 if colour else 1)
    if size is None and net_size is not None and native is not None:
        missing = net_size - native[0]
        if native[0] == native[1] and missing % 2 == 0 and 0 < missing <= 8:
            return Prepare(native, channels, fit=fit, border=missing // 2)  # scale 1: as they are
    side = size or net_size or native or PHOTOGRAPH
    if isinstance(side, int) and fit == "pad" and shape is not None:
        side = _of_shape(shape, side)
    window = side if isinstance(side, tuple) else (side, side)
    margin = 0 if native or fit == "pad" else min(window) // 8
    sides = [(side + 2 * margin) / one for side, one in zip(window, typical, strict=True)]
    scale = max(sides) if fit == "crop" else min(sides)
    return Prepare(window, channels, fit=fit, margin=margin, scale=round(scale, 4))


def _of_shape(shape: tuple[int, int], longer: int) -> tuple[int, int]:
    """(height, width) of pictures of `shape` whose longer side is `longer`."""
    scale = longer / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


Shape = tuple[int, int] | None


def _look_at(split: Split, name: str, most: int = 64) -> tuple[Shape, tuple[int, int], Shape, bool]:
    """The size that all pictures share where it is a small one; the median size; the size that all share,
    whatever it is; whether any has colour."""
    if isinstance(split.images, np.ndarray):
        _, channels, height, width = split.images.shape
        sizes, colour = [(height, width)], channels == 3
    else:
        some = split.images[:: max(1, len(split) // most)][:most]
        found = [seen for file in some if (seen := _peek(file))]
        if not found:
            raise BadData(
                f"{name}: none of the {len(some)} pictures looked at can be read ({some[0].name}, ...)"
            )
        sizes = [(height, width) for height, width, _ in found]
        colour = any(has_colour for *_, has_colour in found)
    shape = sizes[0] if len(set(sizes)) == 1 else None
    native = shape if shape is not None and max(shape) <= NATIVE_AT_MOST else None
    heights, widths = zip(*sizes, strict=True)
    typical = int(np.median(heights)), int(np.median(widths))
    return native, typical, shape, colour


def _peek(file: ImageFile) -> tuple[int, int, bool] | None:
    try:
        seen = header(encoded(file))
    except BadData:
        return None
    if seen is None or file.box is None:
        return seen
    x1, y1, x2, y2 = file.box
    return y2 - y1, x2 - x1, seen[2]
