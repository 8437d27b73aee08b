"""Size models: the diameter of cells from the style of an image."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import ModelError
from bridge.files import write_bytes
from bridge.npy import read_npy

_LEAST_PX = 5.0
_SQUARE_TO_DISC = 2 / np.sqrt(np.pi)  # diameter of a disc with the area of a square of side 1


@dataclass(frozen=True)
class SizeModel:
    """A ridge regression of the logarithm of the diameter on the style vector.

    Source: Stringer et al. 2021 (Cellpose), and `cellpose.train.train_size`.

    Attributes
    ----------
    weights, mean_style : ndarray of float64, shape (256,)
    mean_log : float
        Mean logarithm of the diameter over `mean_diameter_px`.
    mean_diameter_px : float
        Diameter to which the network scales cells.
    square : bool
        It was made with the sides of squares instead of the diameters of discs, as `cyto_0`'s.
    """

    weights: npt.NDArray[np.float64]
    mean_style: npt.NDArray[np.float64]
    mean_log: float
    mean_diameter_px: float
    square: bool = False

    def estimate_px(self, style: npt.NDArray[Any]) -> float:
        """Return the diameter in px that a style vector (256,) tells."""
        log = float(self.weights @ (np.asarray(style, np.float64) - self.mean_style)) + self.mean_log
        found = max(_LEAST_PX, float(np.exp(log)) * self.mean_diameter_px)
        return found * float(_SQUARE_TO_DISC) if self.square else found


def fit_size_model(styles: npt.NDArray[Any], log_diameters: npt.NDArray[Any], mean_diameter_px: float) -> SizeModel:
    """Fit a size model with Cellpose's penalty of 1.

    Parameters
    ----------
    styles : ndarray, shape (n, 256)
    log_diameters : ndarray, shape (n,)
        Logarithm of the diameter over `mean_diameter_px`.
    mean_diameter_px : float

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> styles = rng.normal(size=(400, 256))
    >>> model = fit_size_model(styles, 0.1 * styles[:, 0] + 0.2, 30.0)
    >>> bool(abs(model.estimate_px(styles[0]) / (30 * np.exp(0.1 * styles[0, 0] + 0.2)) - 1) < 0.05)
    True
    """
    mean_style, mean_log = styles.mean(axis=0, dtype=np.float64), float(log_diameters.mean())
    x = styles.astype(np.float64) - mean_style
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (log_diameters - mean_log))
    return SizeModel(weights, mean_style, mean_log, mean_diameter_px)


def read_size_model(path: Path, square: bool = False) -> SizeModel:
    """Read a size model of Cellpose (or one written here) through an allow-list, never as a plain pickle.

    Raises
    ------
    ModelError
        Not a size model.
    """
    found = read_npy(path)
    if not isinstance(found, dict) or not {"A", "smean", "diam_mean", "ymean"} <= found.keys():
        raise ModelError(f"{path}: not a size model (expected A, smean, diam_mean and ymean in it). Train it again.")
    weights, mean_style = (np.asarray(found[key], np.float64).ravel() for key in ("A", "smean"))
    if weights.shape != mean_style.shape:
        raise ModelError(f"{path}: not a size model (got {weights.size} weights for {mean_style.size} numbers). Train it again.")  # fmt: skip
    return SizeModel(weights, mean_style, float(found["ymean"]), float(found["diam_mean"]), square)


def write_size_model(path: Path, model: SizeModel) -> None:
    """Write a size model as Cellpose does: beside the model, with ``_size.npy`` at the end of its name."""
    content = io.BytesIO()
    facts = {"A": model.weights, "smean": model.mean_style, "diam_mean": model.mean_diameter_px, "ymean": model.mean_log}  # fmt: skip
    np.save(content, np.array(facts, dtype=object), allow_pickle=True)
    write_bytes(path, content.getvalue())
