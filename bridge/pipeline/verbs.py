"""The steps alone, on files or on a run's folder, for scripts and for the command line."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.calibration import Calibration, imagej_calibration, size_of
from bridge.errors import InputError
from bridge.experiment.fields import Plan
from bridge.files import new_file, write_bytes
from bridge.images.image import Plane
from bridge.images.label_files import find_region
from bridge.images.label_images import read_labels, write_labels
from bridge.images.reader import read_plane
from bridge.images.write import write_image
from bridge.names import is_roiset, rois_that
from bridge.pipeline.preflight import make_plan
from bridge.settings import Settings
from bridge.settings_file import settings_from
from bridge.settings_file import write_settings as as_file
from bridge.source import ChannelFile

if TYPE_CHECKING:
    import pandas as pd

    from bridge.segmentation.kept import Segmented
    from bridge.segmentation.segmenter import Segmenter
    from bridge.selections import Selections

_log = logging.getLogger(__name__)


def plan(
    images: Path | str,
    settings: Settings | None = None,
    check_pixels: bool = False,
    template: Path | str | None = None,
    write_settings: Path | str | None = None,
    **options: Any,
) -> Plan:
    """Find every field, its condition and its channels; no work is done.

    Parameters
    ----------
    images : Path or str
    settings : Settings, optional
        Or give the options by name.
    check_pixels : bool
        Also decode every image, and say what only its pixels tell; else headers alone are read.
    template : Path or str, optional
        Write a plate map (``*.xlsx``) of the wells that were found, to be filled in.
    write_settings : Path or str, optional
        Write the settings (``*.toml``), channels and naming as they were found among them.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        Nothing can be run before the user has decided something.
    OutputError
        A file to be written is there already.
    """
    settings = settings or settings_from(options, "plan")
    for name in (settings.model if settings.masks is None else None, settings.count_model):
        if name is not None:
            from bridge.segmentation.models import require_known

            require_known(name)
    found = make_plan(Path(images), settings)
    if template is not None:
        from bridge.experiment.template import write_template

        write_template(Path(template), found)
    if write_settings is not None:
        known = replace(
            settings, segment=found.segment_channel, measure=found.measure_channels or ("none",),
            count=found.count_channel or "none", layout=settings.layout or found.layout or None,
        )  # fmt: skip
        as_file(Path(write_settings), known, Path(images))
    if not check_pixels:
        return found
    from bridge.pipeline.pixel_checks import check_pixels as work

    return work(found, settings)


def segment(
    image: Path | str, out: Path | str, settings: Settings | None = None, channel: str | None = None, **options: Any
) -> Path:
    """Find the cells of one image with Cellpose.

    Parameters
    ----------
    image : Path or str
    out : Path or str
        Folder for ``<image>_mask.tif``.
    settings : Settings, optional
        Or give the options by name.
    channel : str, optional
        Channel of a file with several.

    Returns
    -------
    Path
        The label image.

    Raises
    ------
    InputError, OutputError, SegmentationError, MissingDependencyError
    """
    from bridge.segmentation.segmenter import Segmenter

    s = settings or settings_from(options, "segment")
    image = Path(image)
    plane = read_segmented(image, s, channel)
    keep = Path(out) / "network" if s.keep_network else None
    labels = find_cells(image, plane, s, Segmenter(s.model, s.device, s.inference, s.precision, keep)).labels
    path = new_file(Path(out) / f"{image.stem}_mask.tif")
    write_labels(path, labels, plane.calibration)
    return path


def read_segmented(image: Path, s: Settings, channel: str | None = None) -> Plane:
    """Read what Cellpose shall look at."""
    file = ChannelFile(image, channel or s.segment, z=s.z).seen_with(s.segment_with)
    return read_plane(file, s.rgb_channel, measured=False, colour=s.colour)


def find_cells(image: Path, plane: Plane, s: Settings, segmenter: Segmenter, **watch: Any) -> Segmented:
    """Find the cells of one image, and log a warning for what was left out or is odd.

    Parameters
    ----------
    image : Path
        Named in messages, and for its region of interest.
    plane : Plane
    s : Settings
    segmenter : Segmenter
    **watch : Any
        ``progress`` and ``stop`` of `Segmenter.segment`.
    """
    from bridge.pipeline.cell_filters import filter_cells
    from bridge.pipeline.steps.network import predict_cells

    found = predict_cells(segmenter, plane, s, image.name, **watch)()
    labels, dropped = filter_cells(found.labels, plane, s, find_region(s.regions, [image.stem]), image.name)
    if dropped:
        _log.warning("%s: cells left out: %s", image, ", ".join(f"{n} {why}" for why, n in dropped.items()))
    if found.large:
        _log.warning(
            "%s: a cell covers more than 0.4 of the image (label %s): kept, where Cellpose itself drops it",
            image, ", ".join(map(str, found.large)),
        )  # fmt: skip
    return replace(found, labels=labels)


def measure(
    image: Path | str,
    cells: Path | str,
    out: Path | str,
    settings: Settings | None = None,
    channel: str | None = None,
    overlay_tiff: bool = False,
    **options: Any,
) -> Path:
    """Subtract the background of one image and measure every cell, as ImageJ does.

    Parameters
    ----------
    image : Path or str
    cells : Path or str
        ROI set (zip) or label image.
    out : Path or str
        Folder for ``<image>_Results.csv``.
    settings : Settings, optional
        Or give the options by name.
    channel : str, optional
        Channel of a file with several.
    overlay_tiff : bool
        Also write ``overlay/<image>``: the image as it was, with the ROIs as its overlay, which a headless macro
        measures (`Measure_with_RoiSets.ijm`).

    Returns
    -------
    Path
        The Results file, as ImageJ itself would save it.

    Raises
    ------
    InputError, OutputError, RoiError, ImageJError, MissingDependencyError
    """
    from bridge.pipeline.engines import background_of, calibration_of, engine_of, source_of
    from bridge.pipeline.prepared import prepared, require_known_shifts
    from bridge.rois.roiset import read_roiset, selections_of

    s = settings or settings_from(options, "measure")
    image, cells = Path(image), Path(cells)
    name = channel or (s.measure[0] if s.measure else None)
    require_known_shifts(s, [name] if name else [])
    plane = prepared(read_plane(ChannelFile(image, name, z=s.z), s.rgb_channel), name or "", s)
    height, width = plane.pixels.shape
    if is_roiset(cells):
        selections = read_roiset(cells, (height, width))
        if selections.without_pixels and not selections.problems:
            _log.warning(
                "%s: %s",
                cells,
                rois_that("select no pixel of the image, so their rows hold no number", selections.without_pixels),
            )
    else:
        labels = read_labels(cells, foreign=not s.accept_labels)
        if labels.shape != plane.pixels.shape:
            raise InputError(
                f"{cells}: not the size of {image.name} (got {labels.shape[0]} x {labels.shape[1]}, expected {height} x {width} px). Use the label image of this field."
            )
        selections = selections_of(labels)
    with engine_of(s) as engine:
        measured = engine.measure(
            plane.pixels,
            selections,
            plane.title,
            background_of(s),
            calibration_of(s, plane.calibration),
            s.measurements,
            s.decimals,
            source=source_of(s, plane),
        )
    if measured.unwitnessed:
        _log.warning("%s: was read by this program alone: %s", image, measured.unwitnessed)
    for difference in measured.differences:
        _log.warning("%s: this Fiji and the native engine differ: %s", image, difference)
    path = new_file(Path(out) / f"{image.stem}_Results.csv")
    if overlay_tiff:
        # Its name is the image's, whatever the format: ImageJ puts it into the column Label.
        _write_overlay(
            new_file(Path(out) / "overlay" / plane.title), plane, calibration_of(s, plane.calibration), selections
        )
    write_bytes(path, measured.results_csv)
    return path


def _write_overlay(path: Path, plane: Plane, calibration: Calibration, selections: Selections) -> None:
    offset = selections.offset.tolist()
    rois = [selections.encoded[a:b] for a, b in itertools.pairwise(offset)]
    _, how = imagej_calibration(calibration)
    for (pixels, units), size in zip(how.get("resolution", ()), (calibration.width, calibration.height), strict=False):
        if (held := size_of(pixels, units)) != size:
            _log.warning(
                "%s: a TIFF cannot hold this pixel size (%r becomes %r); measured in it, the last printed digit may differ",
                path, size, held,
            )  # fmt: skip
    write_image(path, plane.pixels, calibration, overlay=rois)


def summarize(results: Path | str) -> pd.DataFrame:
    """Make the tables, workbooks and the page of a run's folder again, from its finished fields.

    Parameters
    ----------
    results : Path or str

    Returns
    -------
    DataFrame
        All cells.

    Raises
    ------
    InputError
        It is not the folder of a run.
    OutputError
        A table was changed by hand.
    """
    from bridge.pipeline.finished_run import open_run
    from bridge.pipeline.page import write_report

    run = open_run(Path(results))
    run.make("tables")
    write_report(run)
    return run.rows()


def plot(
    results: Path | str,
    out: Path | str | None = None,
    *,
    measure: str | None = None,
    order: Sequence[str] = (),
    control: str | None = None,
    cells: Path | str | None = None,
    area_px: tuple[float, float] | None = None,
    border: bool = True,
    cell_class: str | None = None,
    **look: Any,
) -> list[Path]:
    """Draw the figures of a run's folder again, from its finished fields.

    Parameters
    ----------
    results : Path or str
    out : Path or str or None
        Folder for figures that differ from the run's own; these are drawn again in their place without it.
    measure : str or None
        A column of `cells.csv` or `nuclei.csv`: that figure alone.
    order : sequence of str
        Conditions in their order.
    control : str or None
        Condition that comes first.
    cells : Path or str or None
        A filtered `cells.csv`: these cells alone.
    area_px : (float, float) or None
        Smallest and largest cell in px.
    border : bool
        False leaves out cells that are cut by the edge of the image.
    cell_class : str or None
        The cells of this class alone, of a run that was classified.
    **look : Any
        Of `bridge.report.style.Look`: ``width_mm``, ``font_pt``, ``dpi``, ``formats``, ``log``, ``kind``.

    Returns
    -------
    list of Path
        PNG and SVG files.

    Raises
    ------
    InputError
        It is not the folder of a run; no such column or condition; no cell is left.
    OutputError
        A figure was changed by hand.
    """
    from bridge.pipeline.finished_run import open_run
    from bridge.pipeline.plots import plots
    from bridge.report.style import Look

    run = open_run(Path(results))
    if out is None:
        return run.make("figures")
    table = None if cells is None else Path(cells)
    return plots(run, Path(out), Look(**look), measure, order, control, table, area_px, border, cell_class)
