"""3x3 convolutions of stride 1 with a fifth of the multiplications, in PyTorch's own matrix products.

A piece of m x m results depends on (m + 2)² pixels (a tile), and direct convolution multiplies 9 m² times for
it. Winograd's way (Lavin & Gray 2015, arXiv 1509.09308) looks at tile and filter as polynomials and
multiplies their values at (m + 2)² points: 81 times for 49 results. The transforms are small matrices, for
rows and columns, and at each point what is left is a matrix product over the channels. So it pays on CPUs
where there are many channels.

Two things make it fast. The matrices of a small map (`WHOLE`) go from all its pixels to all points of all its
tiles at once, so that nothing is padded or cut. And all that is not copying is a product of matrices whose
long side, pictures times channels, lies together in memory. As transforms are products, points need not be
small integers: POINTS are those that magnify rounding least. Results differ from direct convolution's by up
to 1e-4 of the largest, by 1.5e-5 or less in the root mean square.

Everything here is channels last: a pixel's channels lie together.
"""

from striate.winograd.convolution import Convolution, Room, convolve
from striate.winograd.layers import Instead, Winograd, before_pool, even, suits, takes
from striate.winograd.plans import Plan, pays, plan

__all__ = [
    "Convolution",
    "Instead",
    "Plan",
    "Room",
    "Winograd",
    "before_pool",
    "convolve",
    "even",
    "pays",
    "plan",
    "suits",
    "takes",
]
