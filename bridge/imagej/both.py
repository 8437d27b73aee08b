"""The `both` engine: each image by ImageJ and by the native engine, compared to the last bit."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import Any

import numpy as np

from bridge.errors import ImageJError
from bridge.imagej.engine import Engine, Measured, Task
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.native import NativeEngine
from bridge.selections import Selections

_MOST_LISTED = 20


class DoubleEntry(Engine):
    """Both engines at the same time: ImageJ in its own process, the native one here.

    Parameters
    ----------
    fiji : FijiEngine
        Started and closed with this one.
    strict : bool
        A difference is an error. Else ImageJ's numbers are kept and the differences are listed: a user's own Fiji may
        be newer and rightly differ.
    """

    def __init__(self, fiji: FijiEngine, strict: bool = True) -> None:
        self.fiji = fiji
        self._native = NativeEngine()
        self._strict = strict
        self._side = concurrent.futures.ThreadPoolExecutor(1, "native")

    @property
    def info(self) -> dict[str, Any]:
        """What runs."""
        return {**self.fiji.info, **self._native.info} if self.fiji.info else {}

    def start(self) -> None:
        """Start ImageJ; does nothing when it runs."""
        self.fiji.start()

    def close(self) -> None:
        """End ImageJ."""
        self.fiji.close()
        self._side.shutdown()

    def _measure(self, task: Task) -> Measured:
        with_pixels = dataclasses.replace(task, return_pixels=task.background is not None)
        native = self._side.submit(self._native._measure, with_pixels)
        try:
            imagej = self.fiji._measure(with_pixels)
        finally:
            concurrent.futures.wait([native])
        compared, differences = compare(imagej, native.result(), task.selections)
        if differences and self._strict:
            raise ImageJError(
                f"{task.title}: ImageJ and the native engine differ in {len(differences)} of {compared} numbers ({differences[0]}). "
                "Nothing was measured: please report this with the image and its ROI set."
            )
        kept = task.pixels if task.background is None else imagej.pixels
        return dataclasses.replace(
            imagej, pixels=kept if task.return_pixels else None, compared=compared, differences=tuple(differences[:_MOST_LISTED])
        )  # fmt: skip


def compare(imagej: Measured, native: Measured, selections: Selections) -> tuple[int, list[str]]:
    """Compare every bit of two measurements of one image.

    Parameters
    ----------
    imagej, native : Measured
        With or without `pixels`.
    selections : Selections
        What was measured.

    Returns
    -------
    compared : int
        How many numbers: cells times columns, and pixels.
    differences : list of str
        Which ROI and column, or pixel, and both values; ROIs first, in their order.
    """
    differences: list[tuple[int, str]] = []
    compared = 0
    for heading in dict.fromkeys([*imagej.columns, *native.columns]):
        if heading not in imagej.columns or heading not in native.columns:
            differences.append((-1, f"column {heading} is in one of them only"))
            continue
        a, b = imagej.columns[heading], native.columns[heading]
        compared += a.size
        same = (a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))
        differences += [
            (k, f"{selections.names[k]}, {heading}: ImageJ {a[k]!r}, native {b[k]!r}".replace("np.float64", ""))
            for k in np.flatnonzero(~same).tolist()
        ]
    texts = [text for _, text in sorted(differences, key=lambda difference: difference[0])]
    if imagej.pixels is not None and native.pixels is not None:
        compared += imagej.pixels.size
        kind = np.int32 if imagej.pixels.dtype == np.float32 else imagej.pixels.dtype
        at = np.argwhere(imagej.pixels.view(kind) != native.pixels.view(kind))
        texts += [
            f"background-subtracted pixel x={x} y={y}: ImageJ {imagej.pixels[y, x]!s}, native {native.pixels[y, x]!s}"
            for y, x in at[:_MOST_LISTED].tolist()
        ]
        texts += ["another pixel"] * (len(at) - _MOST_LISTED)
    if not texts and imagej.results_csv != native.results_csv:
        pairs = zip(imagej.results_csv.splitlines(), native.results_csv.splitlines(), strict=False)
        a_line, b_line = next(((a, b) for a, b in pairs if a != b), (b"its end", b"its end"))
        texts.append(f"Results file: ImageJ {a_line.decode()}, native {b_line.decode()}")
    return compared, texts
