"""What is drawn over a picture is drawn whatever it is: thin, empty, at the edge."""

import numpy as np
import pytest
from PIL import Image

from striate.data.overlay import boxes


@pytest.mark.parametrize("box", [(3.0, 4.0, 3.4, 9.0), (3.0, 4.0, 9.0, 4.2), (3.0, 4.0, 3.0, 4.0)])
@pytest.mark.parametrize("text", ["", "cat"])
def test_a_box_thinner_than_a_pixel_is_seen(box: tuple[float, ...], text: str) -> None:
    image = Image.new("RGB", (40, 30))
    boxes(image, [box], [text], [(200, 30, 40)])
    assert np.asarray(image)[4, 3].tolist() == [200, 30, 40]
