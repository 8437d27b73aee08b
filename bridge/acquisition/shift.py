"""How far a fluorescence image lies from the phase contrast in which the cells were found."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.labels import Labels

_PART_PX, _LEAST_PX = 320, 128
_SMOOTH_PX = 2.0
_AGREE_PX = 1.5


def estimate_shift(reference: npt.NDArray[Any], other: npt.NDArray[Any], most_px: float) -> tuple[float, float] | None:
    """Return by how many pixels an image has to be moved to lie on another one, as far as that can be told.

    Both are turned into the steepness of their grey levels, so that a bright and a dark edge are alike. Two parts of the
    field are registered apart from each other: where they do not agree, there is no answer.

    Parameters
    ----------
    reference, other : ndarray, shape (Y, X)
    most_px : float
        A larger shift is not believed: one cell would lie on the next.

    Returns
    -------
    (float, float) or None
        To the right and downwards, px.

    Notes
    -----
    Guizar-Sicairos et al., Optics Letters 33 (2008) 156, in scikit-image; without its whitening of the spectrum, which
    weighs noise.

    Examples
    --------
    >>> picture = np.random.default_rng(1).random((300, 300)).astype("float32")
    >>> from scipy.ndimage import gaussian_filter
    >>> picture = gaussian_filter(picture, 4)
    >>> estimate_shift(picture, np.roll(-picture, (2, -3), (0, 1)), 20)
    (3.0, -2.0)
    """
    from scipy import ndimage
    from skimage.registration import phase_cross_correlation

    found = []
    for rows, columns in _parts(reference.shape):
        steep = [
            ndimage.gaussian_gradient_magnitude(image[rows, columns].astype(np.float32), _SMOOTH_PX)
            for image in (reference, other)
        ]
        if min(float(part.std()) for part in steep) == 0:
            return None
        shift = phase_cross_correlation(*(part - part.mean() for part in steep), normalization=None)[0]
        found.append((float(shift[1]), float(shift[0])))
    if len(found) < 2:
        return None
    (x0, y0), (x1, y1) = found
    if np.hypot(x0 - x1, y0 - y1) > _AGREE_PX or max(np.hypot(x0, y0), np.hypot(x1, y1)) > most_px:
        return None
    return (x0 + x1) / 2, (y0 + y1) / 2


def _parts(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Two parts side by side along the longer side."""
    axis = int(shape[1] >= shape[0])
    size = [min(n, _PART_PX) for n in shape]
    size[axis] = min(shape[axis] // 2, _PART_PX)
    if min(size) < _LEAST_PX:
        return []
    parts = []
    for centre in (1 / 4, 3 / 4):
        start = [(n - s) // 2 for n, s in zip(shape, size, strict=True)]
        start[axis] = int(shape[axis] * centre) - size[axis] // 2
        rows, columns = (slice(a, a + s) for a, s in zip(start, size, strict=True))
        parts.append((rows, columns))
    return parts


def effect_of_shift(pixels: npt.NDArray[Any], labels: Labels, shift: tuple[float, float], ground: float) -> float:
    """Return by which part the mean grey level in the cells, above the ground, would change if the shift were undone.

    Examples
    --------
    >>> labels = np.zeros((6, 6), np.uint16)
    >>> labels[2:4, 2:4] = 1
    >>> effect_of_shift(np.roll(labels, 1, 1).astype("uint8"), labels, (-1.0, 0.0), 0.0)
    1.0
    """
    dx, dy = (round(v) for v in shift)
    inside = labels > 0
    moved = np.roll(pixels, (dy, dx), (0, 1))
    seen = float(pixels[inside].mean()) - ground if inside.any() else 0.0
    return 0.0 if seen <= 0 else round((float(moved[inside].mean()) - ground) / seen - 1, 6)
