"""Memory for batches, taken again once nobody holds what lay in it.

Fresh memory costs a page fault every 4 KiB, which for a batch of photographs takes longer than to fill it.
"""

import sys
from typing import Any

import numpy as np

MOST = 8
"""Arrays that are remembered."""


def _holders(arrays: list[np.ndarray], i: int) -> int:
    """How many hold an array of a list, the list and this question included."""
    return sys.getrefcount(arrays[i])


FREE = _holders([np.empty(0)], 0)
"""What `_holders` says of an array that only the list holds: which depends on the version of Python."""


class Arrays:
    """Arrays that were handed out before, of any shape and type."""

    def __init__(self) -> None:
        self._known: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of unspecified content that nobody else holds, nor a tensor or view made of it."""
        for i in range(len(self._known)):
            free = _holders(self._known, i) == FREE
            if free and self._known[i].shape == shape and self._known[i].dtype == dtype:
                self._known.append(self._known.pop(i))
                return self._known[-1]
        self._known = self._known[-MOST + 1 :]
        self._known.append(np.empty(shape, dtype))
        return self._known[-1]
