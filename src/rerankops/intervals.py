"""How sure a share is that was counted on n answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


def wilson(share: ArrayLike, n: ArrayLike, z: float = Z95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(low, high): the score interval of shares (Wilson, 1927), nan where n is 0 or the share nan.

    share, n: numbers or arrays that broadcast together; n may be an effective sample size, and infinite. z: the point
    of the distribution that goes with the confidence.
    """
    shares, counts = np.asarray(share, np.float64), np.asarray(n, np.float64)
    of = np.where(counts > 0, counts, np.nan)
    middle = (shares + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * np.sqrt(shares * (1 - shares) / of + z * z / (4 * of * of))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
