"""Scenes: pictures made up from real handwritten digits and a jointed figure, with every kind of truth.

On cluttered ground lie one to three plates, each with a digit that somebody wrote, and mostly a figure
stands there that moves its arms and legs. A scene knows its boxes, its masks (one of classes for all pixels,
one for each thing), the figure's joints, and sentences about it. It is for demonstrations and quick tests of
detection, segmentation, pose and captions: nothing is fetched, and the same number gives the same scene.

Joints are the fourteen of the Leeds Sports Pose set, in its order; the figure faces us, so that its right
hand is on our left unless it crosses over.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from striate.data.rle import encode
from striate.data.source import Source, Split

SIDE = 96
COUNTS = {"train": 1200, "val": 240}

CLASSES = (*"0123456789", "person")
GROUND = "ground"
PERSON = CLASSES.index("person")

JOINTS = (
    "right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "right wrist",
    "right elbow", "right shoulder", "left shoulder", "left elbow", "left wrist", "neck", "head top",
)  # fmt: skip
BONES = ((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (2, 3), (8, 9), (12, 13))
MIRRORED = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13)
"""The joint that each becomes in a mirror."""

COLOURS = {
    "red": (206, 52, 48), "orange": (232, 134, 34), "yellow": (236, 205, 62), "green": (64, 152, 74),
    "blue": (48, 98, 196), "purple": (130, 72, 168), "white": (238, 238, 234),
}  # fmt: skip
SKINS = ((92, 60, 40), (150, 104, 74), (214, 168, 134), (240, 208, 180))
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

Box = tuple[int, int, int, int]


@dataclass
class Scene:
    """One picture and the truth about it; things in the order in which they were laid down."""

    pixels: np.ndarray
    """uint8 (3, SIDE, SIDE)."""
    boxes: np.ndarray
    """float32 (n, 4) x1, y1, x2, y2 in pixels: the smallest around what is seen of each thing."""
    labels: np.ndarray
    """int64 (n,): numbers of `CLASSES`."""
    instances: np.ndarray
    """bool (n, SIDE, SIDE): the pixels of each thing that nothing covers."""
    keypoints: np.ndarray
    """float32 (n, 14, 3) x, y, 2 for seen, 1 for covered; zeros for plates, which have no joints."""
    captions: list[str]

    @property
    def mask(self) -> np.ndarray:
        """uint8 (SIDE, SIDE): 0 the ground, else 1 more than the class."""
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        for label, where in zip(self.labels, self.instances, strict=True):
            mask[where] = label + 1
        return mask


def scenes(digits: Source) -> Source:
    """The set, made from handwritten digits: those of each split appear in that split alone."""
    splits = {}
    for number, (name, count) in enumerate(COUNTS.items()):
        written = digits.splits[name]
        images, labels = np.asarray(written.images)[:, 0], np.asarray(written.targets["label"])
        made = [scene(np.random.default_rng((number, i)), images, labels) for i in range(count)]
        splits[name] = Split(np.stack([one.pixels for one in made]), targets(made))
    notes = {"background": GROUND, "joints": list(JOINTS), "bones": BONES, "mirrored": list(MIRRORED)}
    notes["mirror"] = False  # digits are not digits in a mirror
    return Source(
        "scenes", digits.path, "scenes (made up)", splits, CLASSES, licence=digits.licence, notes=notes
    )


def targets(made: list[Scene]) -> dict[str, Any]:
    """The raw targets of some scenes, one value a picture under each name."""
    fields = ("boxes", "labels", "keypoints", "mask", "captions")
    found: dict[str, Any] = {field: [getattr(one, field) for one in made] for field in fields}
    found["crowd"] = [np.zeros(len(one.labels), dtype=bool) for one in made]
    found["area"] = [one.instances.sum((1, 2)).astype(np.float32) for one in made]
    found["outlines"] = [[encode(where) for where in one.instances] for one in made]
    found["image_id"] = list(range(1, len(made) + 1))
    return found


def scene(rng: np.random.Generator, images: np.ndarray, labels: np.ndarray) -> Scene:
    """One scene; `images` uint8 (N, 8, 8) and `labels` (N,) are what can be written on plates."""
    canvas = ground(rng)
    layers: list[tuple[int, Image.Image, np.ndarray, str]] = []
    taken: list[Box] = []
    figure = _figure(rng, taken) if rng.random() < 0.8 else None
    if figure is not None:
        layers.append((PERSON, *figure))
    for _ in range(rng.integers(1, 4)):
        which = int(rng.integers(len(images)))
        plate = _plate(rng, images[which], taken)
        if plate is not None:
            drawn, colour = plate
            said = f"{colour} {NUMBERS[labels[which]]}"
            layers.append((int(labels[which]), drawn, np.zeros((len(JOINTS), 3), dtype=np.float32), said))
    return _laid(canvas, layers, rng)


def ground(rng: np.random.Generator) -> Image.Image:
    """Smooth colours, blotches, and lines that could be limbs but are not."""
    low = rng.integers(40, 200, 3) + rng.integers(-30, 31, (5, 5, 3))
    canvas = Image.fromarray(low.clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(4, 12)):
        colour = tuple(rng.integers(20, 230, 3).tolist())
        x, y, w, h = rng.integers(0, SIDE, 4).tolist()
        if rng.random() < 0.5:
            pen.line((x, y, w, h), colour, int(rng.integers(1, 4)))
        else:
            pen.ellipse((x, y, x + w // 8 + 2, y + h // 8 + 2), colour)
    return canvas


def _plate(rng: np.random.Generator, digit: np.ndarray, taken: list[Box]) -> tuple[Image.Image, str] | None:
    """(the plate on an empty sheet, its colour), where there is room for one."""
    side = int(rng.integers(20, 35))
    place = _free(rng, side, side, taken)
    if place is None:
        return None
    name = str(rng.choice(list(COLOURS)))
    sheet = Image.new("RGBA", (SIDE, SIDE))
    x, y = place
    pen, box = ImageDraw.Draw(sheet), (x, y, x + side - 1, y + side - 1)
    if rng.random() < 0.5:
        pen.ellipse(box, (*COLOURS[name], 255))
    else:
        pen.rounded_rectangle(box, side // 5, (*COLOURS[name], 255))
    inner = int(side * 0.72)
    ink = (20, 20, 24) if sum(COLOURS[name]) > 330 else (250, 250, 246)
    written = Image.fromarray(digit).resize((inner, inner), Image.Resampling.BICUBIC)
    written = written.rotate(float(rng.uniform(-12, 12)), Image.Resampling.BILINEAR)
    start = x + (side - inner) // 2, y + (side - inner) // 2
    sheet.paste(Image.new("RGBA", (inner, inner), (*ink, 255)), start, written)
    taken.append((x, y, x + side, y + side))
    return sheet, name


def _free(rng: np.random.Generator, width: int, height: int, taken: list[Box]) -> tuple[int, int] | None:
    """A corner (x, y) for a box that covers at most a tenth of itself with what is already there."""
    for _ in range(20):
        x, y = int(rng.integers(0, SIDE - width + 1)), int(rng.integers(0, SIDE - height + 1))
        covered = sum(
            max(0, min(x + width, r) - max(x, left)) * max(0, min(y + height, b) - max(y, top))
            for left, top, r, b in taken
        )
        if covered <= 0.1 * width * height:
            return x, y
    return None


def _figure(rng: np.random.Generator, taken: list[Box]) -> tuple[Image.Image, np.ndarray, str] | None:
    """(the figure on an empty sheet, its joints (14, 3), what it does)."""
    height = float(rng.uniform(46, 72))
    joints = pose(rng, height)
    low, high = joints.min(0) - height * 0.07, joints.max(0) + height * 0.07
    size = np.ceil(high - low).astype(int)
    if size.max() > SIDE:
        return None
    corner = rng.integers(0, SIDE - size + 1)
    joints = joints - low + corner
    taken.append((*corner.tolist(), *(corner + size).tolist()))
    sheet = Image.new("RGBA", (SIDE, SIDE))
    thick, skin = max(4, round(height * 0.085)), SKINS[rng.integers(len(SKINS))]
    shirt, legs = (tuple(rng.integers(30, 240, 3).tolist()) for _ in range(2))
    _limbs(sheet, joints, thick, shirt, legs, skin)
    action = _action(joints)
    known = np.concatenate([joints, np.full((len(joints), 1), 2.0)], axis=1).astype(np.float32)
    return sheet, known, action


def pose(rng: np.random.Generator, height: float) -> np.ndarray:
    """Joints (14, 2) of a figure, `height` pixels tall when it stands: lengths are fixed, angles drawn."""
    unit = height / 8  # a head
    lean = rng.uniform(-0.15, 0.15)
    spine = np.array([math.sin(lean), -math.cos(lean)])
    across = np.array([-spine[1], spine[0]])  # from its right to its left, which is to our right
    hip = np.zeros(2)
    neck = hip + 2.6 * unit * spine
    head = neck + 1.5 * unit * spine
    shoulders = [neck - 0.95 * unit * across, neck + 0.95 * unit * across]
    hips = [hip - 0.6 * unit * across, hip + 0.6 * unit * across]
    joints = np.zeros((14, 2))
    joints[12], joints[13], joints[8], joints[9], joints[2], joints[3] = neck, head, *shoulders, *hips
    for side, shoulder, (elbow, wrist) in ((-1, 8, (7, 6)), (1, 9, (10, 11))):
        upper = side * rng.uniform(0.2, 2.8)
        lower = upper + side * rng.uniform(-0.3, 1.6)
        joints[elbow] = joints[shoulder] + 1.4 * unit * _down(upper)
        joints[wrist] = joints[elbow] + 1.3 * unit * _down(lower)
    for side, top, (knee, ankle) in ((-1, 2, (1, 0)), (1, 3, (4, 5))):
        upper = side * rng.uniform(0.0, 0.7)
        lower = upper - side * rng.uniform(0.0, 0.6)
        joints[knee] = joints[top] + 1.8 * unit * _down(upper)
        joints[ankle] = joints[knee] + 1.8 * unit * _down(lower)
    return joints


def _down(angle: float) -> np.ndarray:
    """A step of length 1 downwards, turned by `angle` towards our right."""
    return np.array([math.sin(angle), math.cos(angle)])


def _limbs(
    sheet: Image.Image, joints: np.ndarray, thick: int, shirt: tuple, legs: tuple, skin: tuple
) -> None:
    """Legs, trunk, arms and head, in that order."""
    pen = ImageDraw.Draw(sheet)
    at = [tuple(joint) for joint in joints.tolist()]

    def limb(points: list, colour: tuple, width: int) -> None:
        pen.line(points, (*colour, 255), width)
        for x, y in points:
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), (*colour, 255))

    limb([at[2], at[1], at[0]], legs, thick)
    limb([at[3], at[4], at[5]], legs, thick)
    pen.polygon([at[8], at[9], at[3], at[2]], (*shirt, 255))
    limb([at[8], at[9]], shirt, thick)
    limb([at[2], at[3]], shirt, thick)
    limb([at[8], at[7], at[6]], skin, thick)
    limb([at[9], at[10], at[11]], skin, thick)
    (x, y), (top_x, top_y) = at[12], at[13]
    middle, radius = ((x + top_x) / 2, (y + top_y) / 2), math.hypot(top_x - x, top_y - y) / 2
    pen.ellipse(
        (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), (*skin, 255)
    )


def _action(joints: np.ndarray) -> str:
    """What the arms do."""
    raised = [joints[wrist, 1] < joints[12, 1] for wrist in (6, 11)]
    if all(raised):
        return "with both arms raised"
    if any(raised):
        return f"with the {'right' if raised[0] else 'left'} arm raised"
    return "with the arms down"


Layer = tuple[int, Image.Image, np.ndarray, str]


def _laid(canvas: Image.Image, layers: list[Layer], rng: np.random.Generator) -> Scene:
    """Lay the sheets on the ground, one over the other, and note what is seen of each."""
    owner = np.full((SIDE, SIDE), -1)
    for number, (_, sheet, _, _) in enumerate(layers):
        canvas.paste(sheet, (0, 0), sheet)
        owner[np.asarray(sheet)[:, :, 3] > 127] = number
    noisy = np.asarray(canvas, dtype=np.float32) + rng.normal(0, 5, (SIDE, SIDE, 3))
    pixels = noisy.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
    seen = [number for number in range(len(layers)) if (owner == number).sum() >= 16]
    instances = np.stack([owner == number for number in seen]) if seen else np.zeros((0, SIDE, SIDE), bool)
    keypoints = [_covered(layers[number][2].copy(), owner, number) for number in seen]
    return Scene(
        np.ascontiguousarray(pixels),
        np.array([_around(where) for where in instances], dtype=np.float32).reshape(-1, 4),
        np.array([layers[number][0] for number in seen], dtype=np.int64),
        instances,
        np.array(keypoints, dtype=np.float32).reshape(-1, len(JOINTS), 3),
        sentences([layers[number] for number in seen]),
    )


def _around(where: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2: the smallest box around the pixels."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _covered(joints: np.ndarray, owner: np.ndarray, number: int) -> np.ndarray:
    """Joints that something lies over are marked 1 in place of 2."""
    x, y = (joints[:, axis].astype(int).clip(0, SIDE - 1) for axis in (0, 1))
    joints[(joints[:, 2] > 0) & (owner[y, x] > number), 2] = 1
    return joints


def sentences(layers: list[Layer]) -> list[str]:
    """Five ways to say what is there."""
    plates = [said for label, _, _, said in layers if label != PERSON]
    actions = [said for label, _, _, said in layers if label == PERSON]
    listed = " and ".join(f"a {plate}" for plate in plates)
    if actions and plates:
        who = f"a person {actions[0]}"
        return [
            f"{who} near {listed}",
            f"{listed} near a person",
            f"{who}",
            f"a person stands by {listed}",
            f"there is {who} and {listed}",
        ]
    if actions:
        who = f"a person {actions[0]}"
        return [who, f"there is {who}", f"{who} stands alone", f"only {who}", f"one person {actions[0]}"]
    listed = listed or "nothing"
    return [listed, f"there is {listed}", f"{listed} on the ground", f"only {listed}", f"{listed} and nobody"]
