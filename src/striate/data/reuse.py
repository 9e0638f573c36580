"""Memory for batches, taken again once nobody holds what lay in it.

Fresh memory costs a page fault every 4 KiB, which for a batch of photographs takes longer than to fill it.
"""

import sys
from typing import Any

import numpy as np

MOST = 8
"""Arrays that are remembered."""


class Arrays:
    """Arrays that were handed out before, of any shape and type."""

    def __init__(self) -> None:
        self._known: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of unspecified content that nobody else holds, nor a tensor or view made of it."""
        for i in range(len(self._known)):
            array = self._known[i]
            # Held by the list, by `array` and by the question itself: by nobody else.
            if array.shape == shape and array.dtype == dtype and sys.getrefcount(array) == 3:
                self._known.append(self._known.pop(i))
                return array
        self._known = self._known[-MOST + 1 :]
        self._known.append(np.empty(shape, dtype))
        return self._known[-1]
