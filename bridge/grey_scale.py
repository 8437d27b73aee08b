"""The grey levels that a picture shows as black and white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def display_range(images: Sequence[npt.NDArray[Any]]) -> tuple[float, float]:
    """Return the grey levels shown as black and white: 0.1 and 99.9 % of the pixels of all images.

    One range for all fields of a channel: a range for each field would make a dim condition look like a bright one.
    """
    low = min(float(np.percentile(image, 0.1)) for image in images)
    high = max(float(np.percentile(image, 99.9)) for image in images)
    return low, max(high, low + 1.0)


def common_range(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return one range for the fields of a channel, in round numbers: one field more seldom changes it.

    Examples
    --------
    >>> common_range([(103.0, 3987.0), (96.0, 3870.0)])
    (50.0, 4000.0)
    """
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    step = 10.0 ** np.floor(np.log10(high - low)) / 20
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)
