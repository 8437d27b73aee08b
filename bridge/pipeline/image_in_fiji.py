"""The image that is open in Fiji: its Results are checked, and its cells called by their nuclei, as in a run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bridge.assay.nuclei import cell_of_nuclei
from bridge.imagej.native import NativeEngine
from bridge.images.reader import read_plane
from bridge.labels import label_ids
from bridge.pipeline.engines import background_of
from bridge.rois.draw import selections_to_labels
from bridge.rois.roiset import read_roiset
from bridge.settings import Settings
from bridge.source import Source


def difference_to_native(
    image: Path,
    roiset: Path,
    results: Path,
    s: Settings,
    title: str,
    scale: tuple[float, float, str],
    stack: tuple[int, int, str] | None = None,
) -> str:
    """Measure by the native engine, and compare every byte with what ImageJ saved.

    Parameters
    ----------
    image, roiset : Path
        The image holds one plane.
    results : Path
        The Results that ImageJ saved.
    s : Settings
    title : str
        Of the image's window.
    scale : (float, float, str)
        Width and height of a pixel, and their unit, as ImageJ has them: a TIFF holds them rounded.
    stack : (int, int, str), optional
        Of a plane from a stack: its number (from 0), how many there are, its label.

    Returns
    -------
    str
        The first line that differs, as ImageJ and as the native engine has it; empty where they agree.
    """
    plane = read_plane(image, s.rgb_channel)
    height, width = plane.pixels.shape
    measured = NativeEngine().measure(
        plane.pixels,
        read_roiset(roiset, (height, width)),
        title,
        background_of(s),
        replace(plane.calibration, width=float(scale[0]), height=float(scale[1]), unit=scale[2]),
        s.measurements,
        s.decimals,
        source=Source(image, *stack) if stack else None,
    )
    imagej, native = results.read_bytes(), measured.results_csv
    # Without a cell ImageJ saves an empty file, and the native engine its headings.
    if imagej == native or not (imagej.splitlines()[1:] or native.splitlines()[1:]):
        return ""
    lines = itertools.zip_longest(imagej.splitlines(True), native.splitlines(True), fillvalue=b"no such line")
    mine, other = next((a.rstrip(b"\n"), b.rstrip(b"\n")) for a, b in lines if a != b)
    return f"ImageJ: {mine.decode('utf-8', 'replace')}; native: {other.decode('utf-8', 'replace')}"


def calls_of_cells(
    cells: Path, nuclei: Path, values: Sequence[float], threshold: float, shape: tuple[int, int]
) -> tuple[list[str], int]:
    """Say which cells are positive by their nuclei, as a run with a gate given by hand says it.

    Parameters
    ----------
    cells, nuclei : Path
        ROI sets.
    values : sequence of float
        What each nucleus measures, in the order of its set.
    threshold : float
        A nucleus above it is positive; a cell is where one of its nuclei is.
    shape : (int, int)
        Height and width of the image, in px.

    Returns
    -------
    calls : list of {'positive', 'negative', 'none'}
        For each cell; none where it has no nucleus.
    orphans : int
        Nuclei in no cell.
    """
    of, inside = (selections_to_labels(read_roiset(path, shape), path.name).labels for path in (cells, nuclei))
    owner = cell_of_nuclei(inside, of)
    above = np.asarray(values, np.float64) > threshold
    with_nucleus, positive = set(owner.tolist()), set(owner[above].tolist())
    calls = [
        "positive" if cell in positive else "negative" if cell in with_nucleus else "none"
        for cell in label_ids(of).tolist()
    ]
    return calls, int((owner == 0).sum())
