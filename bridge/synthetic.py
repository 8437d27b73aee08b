"""Synthetic fields with known truth: what the demo measures and what the `demo` network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatImage = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SyntheticField:
    """One simulated field of view; every array is (Y, X).

    Attributes
    ----------
    phase, edu, topro : ndarray of uint16
        Phase contrast, EdU and TO-PRO-3 as a 16-bit camera would record them, in grey levels.
    cells, nuclei : ndarray of uint16
        True label images; a nucleus has its cell's id. 0 is background.
    positive : ndarray of bool, shape (n_cells + 1,)
        Whether the cell of that id took up EdU; entry 0 is unused.
    signal : ndarray of float64
        The EdU light that comes from the cells alone: no background, no noise, in grey levels.
    """

    phase: npt.NDArray[np.uint16]
    edu: npt.NDArray[np.uint16]
    topro: npt.NDArray[np.uint16]
    cells: npt.NDArray[np.uint16]
    nuclei: npt.NDArray[np.uint16]
    positive: npt.NDArray[np.bool_]
    signal: FloatImage


def synthetic_field(
    seed: int,
    size_px: int = 768,
    n_cells: int = 130,
    positive_share: float = 0.4,
    diameter_px: float = 37.0,
) -> SyntheticField:
    """Simulate one field of adherent cells in phase contrast, EdU and TO-PRO-3.

    Cells are wavy ellipses, many of them touching, some cut by the image border. EdU and TO-PRO-3 sit in the
    nucleus; the EdU image has a background gradient and shot noise.

    Parameters
    ----------
    seed : int
        The same seed gives the same field on every machine.
    size_px : int
        Height and width of the field.
    n_cells : int
        Cells to place; fewer are placed where there is no room.
    positive_share : float
        Share of the cells that took up EdU, 0 to 1.
    diameter_px : float
        Mean diameter of a cell.

    Returns
    -------
    SyntheticField

    Examples
    --------
    >>> field = synthetic_field(seed=1, size_px=128, n_cells=5)
    >>> field.phase.shape, field.phase.dtype.name, int(field.cells.max())
    ((128, 128), 'uint16', 5)
    """
    rng = np.random.default_rng(seed)
    cells, nuclei = _place_cells(rng, size_px, n_cells, diameter_px)
    count = int(cells.max())
    positive = np.zeros(count + 1, bool)
    positive[1:] = rng.permutation(count) < round(positive_share * count)
    signal = _edu_signal(rng, cells, nuclei, positive)
    return SyntheticField(
        phase=_phase_contrast(rng, cells, nuclei),
        edu=_camera(rng, signal + _gradient(rng, size_px, low=350.0, high=650.0)),
        topro=_camera(rng, _nuclear_stain(rng, nuclei) + 220.0),
        cells=cells,
        nuclei=nuclei,
        positive=positive,
        signal=signal,
    )


@dataclass(frozen=True)
class TwoTypes:
    """A simulated field of two cell types grown together; every array is (Y, X).

    Attributes
    ----------
    cytoplasm, nucleus, edu : ndarray of uint16
        Green, blue and EdU as a 16-bit camera would record them, in grey levels.
    cells, nuclei : ndarray of uint16
        True label images; a nucleus has its cell's id. 0 is background.
    kind : ndarray of int, shape (n_cells + 1,)
        Which of the types 0 and 1 the cell of that id is; entry 0 is unused.
    positive : ndarray of bool, shape (n_cells + 1,)
        Whether the cell took up EdU: 45 % of type 0, 20 % of type 1.
    """

    cytoplasm: npt.NDArray[np.uint16]
    nucleus: npt.NDArray[np.uint16]
    edu: npt.NDArray[np.uint16]
    cells: npt.NDArray[np.uint16]
    nuclei: npt.NDArray[np.uint16]
    kind: npt.NDArray[np.int64]
    positive: npt.NDArray[np.bool_]


def two_types(
    seed: int, share: float = 0.5, size_px: int = 512, n_cells: int = 70, diameter_px: float = 37.0, hard: bool = False
) -> TwoTypes:
    """Simulate a field of two cell types in a cytoplasm stain, a nuclear stain and EdU.

    Type 1 is brighter in the cytoplasm, finer in texture and has the dimmer nucleus; `hard` leaves only the texture.

    Parameters
    ----------
    seed : int
        The same seed gives the same field on every machine.
    share : float
        Share of the cells that are of type 1, 0 to 1; 0 and 1 are pure fields.
    size_px, n_cells, diameter_px
        As in `synthetic_field`.
    hard : bool
        The types are equally bright.

    Returns
    -------
    TwoTypes

    Examples
    --------
    >>> field = two_types(seed=1, size_px=128, n_cells=6)
    >>> field.cells.shape, sorted(set(field.kind[1:].tolist()))
    ((128, 128), [0, 1])
    """
    rng = np.random.default_rng(seed)
    cells, nuclei = _place_cells(rng, size_px, n_cells, diameter_px)
    n = int(cells.max())
    kind = np.zeros(n + 1, np.int64)
    kind[1:] = rng.permutation(n) < round(share * n)
    positive = rng.random(n + 1) < np.where(kind == 1, 0.2, 0.45)
    coarse, fine = (ndimage.gaussian_filter(rng.normal(size=cells.shape), sigma) for sigma in (2.4, 1.2))
    texture = np.where(kind[cells] == 1, fine / fine.std(), coarse / coarse.std())
    day = rng.normal(1.0, 0.08, 2)  # exposure
    body = np.array([1500.0, 1500.0 if hard else 2400.0])[kind] * rng.lognormal(0.0, 0.18, n + 1)
    core = np.array([2600.0, 2600.0 if hard else 1700.0])[kind] * rng.lognormal(0.0, 0.15, n + 1)
    body[0], core[0] = 0.0, 0.0
    green = body[cells] * (1.0 + 0.16 * texture) * np.where(nuclei > 0, 0.55, 1.0)
    blue = core[nuclei] * (1.0 + 0.10 * texture)
    return TwoTypes(
        cytoplasm=_camera(rng, ndimage.gaussian_filter(green, 0.9) * day[0] + _gradient(rng, size_px, 250.0, 380.0)),
        nucleus=_camera(rng, ndimage.gaussian_filter(blue, 0.9) * day[1] + 220.0),
        edu=_camera(rng, _edu_signal(rng, cells, nuclei, positive) + _gradient(rng, size_px, 350.0, 500.0)),
        cells=cells,
        nuclei=nuclei,
        kind=kind,
        positive=positive,
    )


def _place_cells(
    rng: np.random.Generator, size: int, n_cells: int, diameter: float
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    cells = np.zeros((size, size), np.uint16)
    nuclei = np.zeros((size, size), np.uint16)
    margin = 6
    label = 0
    for _ in range(60 * n_cells):
        if label == n_cells:
            break
        radius = 0.5 * diameter * float(np.clip(rng.normal(1.0, 0.15), 0.6, 1.5))
        y0, x0 = rng.uniform(-margin, size + margin, 2)
        window, body = _wavy_ellipse(rng, size, y0, x0, radius, elongation=1.7, wobble=0.10)
        if not body.any():
            continue
        free = body & (cells[window] == 0)
        # A little is cut away by a neighbour it touches; more than that is no place for a cell.
        if free.sum() < 0.93 * body.sum():
            continue
        free = _largest_part(free)
        label += 1
        cells[window][free] = label
        jitter = rng.normal(0.0, 0.12 * radius, 2)
        inner, nucleus = _wavy_ellipse(
            rng, size, y0 + jitter[0], x0 + jitter[1], 0.5 * radius, elongation=1.3, wobble=0.04
        )
        nuclei[inner][nucleus & (cells[inner] == label)] = label
    return cells, nuclei


def _wavy_ellipse(
    rng: np.random.Generator, size: int, y0: float, x0: float, radius: float, elongation: float, wobble: float
) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
    reach = int(np.ceil(radius * elongation * (1 + 4 * wobble))) + 1
    top, left = max(0, int(y0) - reach), max(0, int(x0) - reach)
    bottom, right = min(size, int(y0) + reach + 1), min(size, int(x0) + reach + 1)
    window = (slice(top, max(top, bottom)), slice(left, max(left, right)))
    y, x = np.mgrid[window]
    angle = rng.uniform(0, np.pi)
    stretch = np.sqrt(rng.uniform(1.0, elongation))
    u = (np.cos(angle) * (x - x0) + np.sin(angle) * (y - y0)) / stretch
    v = (-np.sin(angle) * (x - x0) + np.cos(angle) * (y - y0)) * stretch
    theta = np.arctan2(v, u)
    edge = np.full(theta.shape, radius)
    for k in (2, 3, 4, 5):
        edge += radius * wobble * rng.normal() / k * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) * 2
    return window, np.hypot(u, v) < edge


def _largest_part(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    parts, n = ndimage.label(region)
    if n <= 1:
        return region
    largest: npt.NDArray[np.bool_] = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return largest


def _phase_contrast(
    rng: np.random.Generator, cells: npt.NDArray[np.uint16], nuclei: npt.NDArray[np.uint16]
) -> npt.NDArray[np.uint16]:
    inside = cells > 0
    # The rim follows each cell, also where two cells touch.
    edge = np.zeros(cells.shape, bool)
    edge[:, 1:] |= cells[:, 1:] != cells[:, :-1]
    edge[1:, :] |= cells[1:, :] != cells[:-1, :]
    to_edge = ndimage.distance_transform_edt(~edge)
    texture = ndimage.gaussian_filter(rng.normal(size=cells.shape), 1.6)
    texture /= texture.std()
    image = 9000.0 * _smooth_field(rng, cells.shape, sigma=90, amplitude=0.06)
    image = image + 90.0 * ndimage.gaussian_filter(rng.normal(size=cells.shape), 1.0)
    image += np.where(inside, 0.0, 2600.0 * np.exp(-((to_edge / 3.5) ** 2)))
    image += np.where(inside, -1300.0 - 900.0 * np.exp(-((to_edge / 2.2) ** 2)) + 420.0 * texture, 0.0)
    image += np.where(nuclei > 0, -500.0 + 250.0 * texture, 0.0)
    brightness = rng.normal(1.0, 0.03, int(cells.max()) + 1)
    brightness[0] = 1.0
    return _camera(rng, ndimage.gaussian_filter(image * brightness[cells], 0.8), gain=6.0)


def _edu_signal(
    rng: np.random.Generator,
    cells: npt.NDArray[np.uint16],
    nuclei: npt.NDArray[np.uint16],
    positive: npt.NDArray[np.bool_],
) -> FloatImage:
    nuclear = np.where(positive, 2600.0 * rng.lognormal(0.0, 0.22, positive.size), 90.0)
    nuclear[0] = 0.0
    light = nuclear[nuclei] + np.where(cells > 0, 40.0, 0.0)
    blurred: FloatImage = ndimage.gaussian_filter(light, 1.0)
    return blurred


def _nuclear_stain(rng: np.random.Generator, nuclei: npt.NDArray[np.uint16]) -> FloatImage:
    stain = 3200.0 * rng.lognormal(0.0, 0.15, int(nuclei.max()) + 1)
    stain[0] = 0.0
    texture = 1.0 + 0.12 * ndimage.gaussian_filter(rng.normal(size=nuclei.shape), 2.0) * 7
    blurred: FloatImage = ndimage.gaussian_filter(stain[nuclei] * texture, 1.1)
    return blurred


def _gradient(rng: np.random.Generator, size: int, low: float, high: float) -> FloatImage:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / max(size - 1, 1) - 0.5
    ramp = np.cos(angle) * x + np.sin(angle) * y
    ramp = (ramp - ramp.min()) / max(np.ptp(ramp), 1e-9)
    gradient: FloatImage = low + (high - low) * ramp
    return gradient


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], sigma: float, amplitude: float) -> FloatImage:
    step = 8  # coarse, then enlarged: a wide filter on the full image would cost more than all the rest
    # On a grid hardly wider than the filter the noise is nearly flat: a small field is cut out of a larger one.
    coarse = tuple(-(-(side if side >= 3 * sigma else 8 * sigma) // step) + 2 for side in shape)
    noise = ndimage.gaussian_filter(rng.normal(size=[int(side) for side in coarse]), sigma / step, mode="wrap")
    fine = ndimage.zoom(noise, step, order=1)[: shape[0], : shape[1]]
    field: FloatImage = 1.0 + amplitude * fine / max(noise.std(), 1e-12) / 2
    return field


def _camera(
    rng: np.random.Generator, light: FloatImage, gain: float = 1.6, offset: float = 100.0
) -> npt.NDArray[np.uint16]:
    """Shot noise and read noise, as a 16-bit camera records them."""
    photons = np.clip(light, 0, None) / gain
    recorded = photons + rng.normal(size=light.shape) * np.sqrt(photons + 9.0)
    image: npt.NDArray[np.uint16] = np.clip(np.rint(recorded * gain + offset), 0, 65535).astype(np.uint16)
    return image
