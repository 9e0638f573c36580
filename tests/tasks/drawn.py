"""Pictures of two rectangles, and what is in them: for the tests of detection."""

import numpy as np

from striate.data.things import Thing

COLOURS = ((210, 50, 40), (40, 80, 220))


def scene(rng: np.random.Generator, side: int = 64) -> tuple[np.ndarray, list[Thing]]:
    """A picture uint8 (3, side, side) of a red and a blue rectangle, and what they are."""
    pixels = rng.normal(120, 12, (side, side, 3)).clip(0, 255).astype(np.uint8)
    found = []
    for label, colour in enumerate(COLOURS):
        w, h = rng.integers(side // 4, side // 2 - 2, 2).tolist()
        x = int(rng.integers(0, side // 2 - w + 1)) + label * side // 2
        y = int(rng.integers(0, side - h + 1))
        pixels[y : y + h, x : x + w] = colour
        polygon = [float(v) for v in (x, y, x + w, y, x + w, y + h, x, y + h)]
        found.append(Thing((x, y, x + w, y + h), label, outline=[polygon]))
    return pixels.transpose(2, 0, 1), found
