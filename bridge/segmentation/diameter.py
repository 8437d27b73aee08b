"""The diameter of cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge.labels import Labels, label_areas


def median_diameter(labels: Labels) -> float | None:
    """Return the median diameter in px of the discs with the labels' areas, None where there is no label.

    Examples
    --------
    >>> round(median_diameter(np.ones((10, 10), np.uint16)), 2)
    11.28
    """
    areas = label_areas(labels)
    areas = areas[areas > 0]
    return float(2 * np.sqrt(np.median(areas) / np.pi)) if areas.size else None


def median_diameters(labels: Sequence[Labels]) -> list[float]:
    """Return the median diameter of the cells of each label image; of one without cells, the mean of the others."""
    diameters = [median_diameter(image) for image in labels]
    known = [
        max(5.0, value) for value in diameters if value is not None
    ]  # below 5 px Cellpose's own training stops, too
    mean = float(np.mean(known)) if known else 30.0
    return [mean if value is None else max(5.0, value) for value in diameters]
