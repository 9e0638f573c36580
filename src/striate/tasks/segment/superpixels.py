"""Answers that follow the outlines of the picture: every superpixel gets one class.

Farabet et al. 2013, section 3.2.1: the picture is cut into superpixels by Felzenszwalb and Huttenlocher's
graph method (2004), the distributions over classes are averaged in each, and the best of the mean counts.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.errors import BadSetting

SCALE, SIGMA, LEAST = 100.0, 0.8, 20
"""How large superpixels tend to be, how much the picture is smoothed first, the fewest pixels of one."""


def refine(output: Any, pixels: Tensor) -> Tensor:
    """Logits (B, classes, H, W) and uint8 pictures (B, C, H, W) -> log-probabilities, equal in a superpixel.

    Raises:
        BadSetting: scikit-image is not installed.
    """
    shares = output.float().softmax(1)
    return torch.stack([_averaged(one, picture) for one, picture in zip(shares, pixels, strict=True)]).log()


def _averaged(shares: Tensor, picture: Tensor) -> Tensor:
    """Probabilities (classes, H, W) -> their mean over each superpixel of uint8 (C, H, W)."""
    where = torch.from_numpy(superpixels(picture.cpu().numpy())).to(shares.device).view(-1)
    flat = shares.flatten(1)
    sums = flat.new_zeros(len(flat), int(where.max()) + 1).index_add_(1, where, flat)
    counts = torch.bincount(where).clamp(min=1)
    return (sums / counts)[:, where].view_as(shares).clamp(min=1e-12)


def superpixels(picture: np.ndarray) -> np.ndarray:
    """uint8 (C, H, W) -> int64 (H, W): the number of each pixel's superpixel."""
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise BadSetting("refine: scikit-image is not installed: pip install 'striate[segment]'.") from error
    image = picture.transpose(1, 2, 0).astype(np.float64) / 255
    return felzenszwalb(image, scale=SCALE, sigma=SIGMA, min_size=LEAST, channel_axis=-1).astype(np.int64)
