"""What every engine takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bridge.calibration import PIXELS, Calibration
from bridge.errors import InputError, RoiError
from bridge.imagej.background import FIFTY_PX, Background, require_rollable
from bridge.measurements import DEFAULT_WORDS
from bridge.selections import Selections
from bridge.source import Source


@dataclass(frozen=True)
class Measured:
    """What an engine measured in one image.

    Attributes
    ----------
    results_csv : bytes
        What ImageJ's Results window would save.
    columns : dict of str to ndarray of float64, shape (n_rois,)
        ImageJ's headings and numbers in full precision, in the image's calibration.
    pixels : ndarray or None
        The background-subtracted image, where asked for.
    compared : int
        Numbers and pixels that both engines computed and that were compared, bit by bit; 0 for one engine alone.
    differences : tuple of str
        Where they differed.
    unwitnessed : str
        Why ImageJ could not open the image's file itself, to confirm what was decoded here; empty where it did.
    """

    results_csv: bytes
    columns: dict[str, npt.NDArray[np.float64]]
    pixels: npt.NDArray[Any] | None = None
    compared: int = 0
    differences: tuple[str, ...] = ()
    unwitnessed: str = ""


@dataclass(frozen=True)
class Task:
    """What an engine is asked for: the parameters of `Engine.measure`."""

    pixels: npt.NDArray[Any]
    selections: Selections
    title: str
    background: Background | None
    calibration: Calibration
    measurements: tuple[str, ...]
    decimals: int
    return_pixels: bool
    source: Source | None = None


class Engine(ABC):
    """Who does the arithmetic: `FijiEngine`, `NativeEngine`, or `DoubleEntry`, which is both."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    @abstractmethod
    def info(self) -> dict[str, Any]:
        """What runs, with versions; empty before the start."""

    @abstractmethod
    def start(self) -> None:
        """Get ready; does nothing when it is."""

    @abstractmethod
    def close(self) -> None:
        """End what was started."""

    def measure(
        self,
        pixels: npt.NDArray[Any],
        selections: Selections,
        title: str,
        background: Background | None = FIFTY_PX,
        calibration: Calibration = PIXELS,
        measurements: tuple[str, ...] = DEFAULT_WORDS,
        decimals: int = 3,
        return_pixels: bool = False,
        source: Source | None = None,
    ) -> Measured:
        """Subtract the background and measure every ROI, as ImageJ's menu commands do.

        Parameters
        ----------
        pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
        selections : Selections
            The ROIs, of an image of this shape.
        title : str
            Title of the image in the Label column.
        background : Background or None
            None measures the image as it is.
        calibration : Calibration
        measurements : tuple of str
            ImageJ's key words, of `bridge.measurements.WORDS`.
        decimals : int
            Decimal places in `results_csv`.
        return_pixels : bool
            Also return the background-subtracted image.
        source : Source, optional
            The file the pixels are from. ImageJ, where it takes part, opens it as well, and must find the same pixels and
            the same calibration; the label of a slice of a stack stands in the Label column.

        Returns
        -------
        Measured

        Raises
        ------
        InputError
            An image that is not measured: its type, its size, or a side not larger than the ball's shrink factor,
            where ImageJ has no defined answer; or ImageJ opens its file otherwise.
        RoiError
            A ROI the engine cannot measure.
        ImageJError
            ImageJ failed, or died, hung or ran out of memory twice; or the two engines differ.
        """
        task = Task(pixels, selections, title, background, calibration, measurements, decimals, return_pixels, source)
        _require_measurable(task)
        return self._measure(task)

    @abstractmethod
    def _measure(self, task: Task) -> Measured: ...


def _require_measurable(task: Task) -> None:
    """Refuse, in all engines alike, what has no defined answer."""
    height, width = task.pixels.shape
    if task.pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(
            f"{task.title}: pixels of type {task.pixels.dtype} (expected uint8, uint16 or float32). Save it as 8-, 16- or 32-bit."
        )
    if (height, width) != task.selections.shape:
        raise RoiError(
            f"{task.title}: not the size of the image its ROIs were made for (got {height} x {width}, "
            f"expected {task.selections.shape[0]} x {task.selections.shape[1]} px). Use the ROI set of this image."
        )
    if task.background is not None:
        require_rollable((height, width), task.background.radius, task.title)
