"""Verbs for the steps alone: segment, rois, labels, compare, measure, summarize, plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from bridge.cli.console import AS_IT_IS, OUT, each, say, say_if_compiling
from bridge.cli.main import app
from bridge.cli.options import GENERAL, AcceptLabels, AllSettings, OutFolder
from bridge.errors import InputError
from bridge.names import number
from bridge.settings import Settings


@app.command(sort_key=4)
def segment(
    *images: Path,
    out: OutFolder,
    channel: Annotated[str | None, Parameter(group=GENERAL, help="Channel of files with several.")] = None,
    settings: AllSettings = Settings(),
) -> int:
    """Find the cells of single images: IMAGE -> IMAGE_mask.tif."""
    from bridge.pipeline.verbs import segment as work

    return each(images, lambda path: work(path, out, settings, channel))


@app.command(sort_key=5)
def rois(
    *masks: Path,
    out: OutFolder,
    accept_labels: AcceptLabels = False,
    program: Annotated[
        Literal["fiji", "qupath"], Parameter(name="--for", group=GENERAL, help="QuPath gets GeoJSON: NAME.geojson.")
    ] = "fiji",
) -> int:
    """Make the ROI sets of label images: NAME_mask.tif -> NAME_RoiSet.zip."""
    from bridge.pipeline.roiset_verbs import trace

    say_if_compiling()
    return each(masks, lambda path: trace(path, out, accept_labels, program))


@app.command(sort_key=6)
def labels(
    *roisets: Path,
    like: Annotated[Path, Parameter(group=GENERAL, help="The image the ROI sets belong to: gives size and scale.")],
    out: OutFolder,
) -> int:
    """Make the label images of ROI sets, also of those drawn in Fiji, QuPath or saved by Cellpose: NAME_RoiSet.zip -> NAME_mask.tif."""
    from bridge.pipeline.roiset_verbs import rasterize

    say_if_compiling()
    return each(roisets, lambda path: rasterize(path, like, out))


@app.command(sort_key=7)
def compare(before: Path, after: Path, /) -> int:
    """Which cells of two ROI sets differ, and by how many pixels."""
    from bridge.pipeline.roiset_verbs import compare as work

    say_if_compiling()
    rows = work(before, after)
    different = [row for row in rows if row.different_px]
    if different:
        from rich.table import Table

        table = Table(before.name, after.name, "px", "px", "different px", "IoU")
        for column in table.columns[2:]:
            column.justify = "right"
        for row in different:
            cells = (row.before or "-", row.after or "-", row.before_px, row.after_px, row.different_px)
            table.add_row(*map(str, cells), f"{row.iou:.3f}")
        (OUT if OUT.is_terminal else Console(width=200, **AS_IT_IS)).print(table)
    OUT.print(
        f"{number(len(rows) - len(different), 'cell')} equal, {len(different)} different ({sum(row.different_px for row in different)} px)"
    )
    return 0


@app.command(sort_key=8)
def measure(
    image: Path,
    cells: Path,
    /,
    *,
    out: OutFolder,
    overlay_tiff: Annotated[
        bool,
        Parameter(
            group=GENERAL, negative=(), help="Also write the image with the ROIs as its overlay, for headless macros."
        ),
    ] = False,
    channel: Annotated[str | None, Parameter(group=GENERAL, help="Channel of a file with several.")] = None,
    settings: AllSettings = Settings(),
) -> int:
    """Measure one image as ImageJ does: IMAGE and CELLS (ROI set or label image) -> IMAGE_Results.csv."""
    from bridge.pipeline.verbs import measure as work

    say_if_compiling()
    return each([image], lambda path: work(path, cells, out, settings, channel, overlay_tiff))


@app.command(name="flat-field", sort_key=8)
def flat_field(images: Path, *, out: OutFolder, settings: AllSettings = Settings()) -> int:
    """Estimate the uneven light of each measured channel from all fields, for run --flat-field."""
    from bridge.pipeline.flat_fields import flat_field as work

    for path in work(images, out, settings):
        OUT.print(str(path))
    return 0


@app.command(sort_key=9)
def summarize(results: Path, /) -> int:
    """Make the tables of a run's folder again."""
    from bridge.pipeline.verbs import summarize as work

    OUT.print(f"{len(work(results))} cells in {results / 'conditions'}")
    return 0


@app.command(sort_key=10)
def plot(
    results: Path,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(name="--out", group=GENERAL, help="Folder for figures that differ from the run's own.")
    ] = None,
    measure: Annotated[str | None, Parameter(group=GENERAL, help="A column of cells.csv or nuclei.csv alone.")] = None,
    kind: Annotated[
        Literal["dots", "violin", "box", "both"], Parameter(group=GENERAL, help="How all cells are drawn.")
    ] = "dots",
    log: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="A scale that is linear around zero and logarithmic above.")
    ] = False,
    order: Annotated[
        list[str] | None,
        Parameter(group=GENERAL, consume_multiple=True, negative=(), help="Conditions in their order."),
    ] = None,
    control: Annotated[str | None, Parameter(group=GENERAL, help="Condition that comes first.")] = None,
    cells: Annotated[
        Path | None, Parameter(group=GENERAL, help="A filtered cells.csv (field_id, label): these cells alone.")
    ] = None,
    area: Annotated[
        tuple[float, float] | None, Parameter(group=GENERAL, help="Smallest and largest cell in px.")
    ] = None,
    without_border: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="Leave out cells that the image's edge cuts.")
    ] = False,
    cell_class: Annotated[
        str | None, Parameter(name="--class", group=GENERAL, help="The cells of this class alone (after classify).")
    ] = None,
    width: Annotated[float, Parameter(group=GENERAL, help="Width in mm: 85 for one column, 180 for two.")] = 180.0,
    font: Annotated[float, Parameter(group=GENERAL, help="Size of the letters in pt.")] = 7.0,
    dpi: Annotated[int, Parameter(group=GENERAL, help="Of PNG.")] = 300,
    formats: Annotated[
        list[Literal["png", "svg", "pdf"]] | None,
        Parameter(name="--format", group=GENERAL, consume_multiple=True, negative=(), help="Default: png svg."),
    ] = None,
) -> int:
    """Draw the figures of a run's folder again, or others of the same cells into a folder of their own."""
    from bridge.pipeline.verbs import plot as work

    other = any((measure, log, order, control, cells, area, without_border, cell_class, formats)) or (kind, width, font, dpi) != (
        "dots", 180.0, 7.0, 300,
    )  # fmt: skip
    if other and out is None:
        raise InputError(
            "plot: these figures differ from the run's own (expected a folder for them). Name one with --out."
        )
    for path in work(
        results, out, measure=measure, order=order or (), control=control, cells=cells, area_px=area,
        border=not without_border, cell_class=cell_class, width_mm=width, font_pt=font, dpi=dpi, formats=tuple(formats or ("png", "svg")),
        log=log, kind=kind,
    ):  # fmt: skip
        OUT.print(str(path))
    return 0


@app.command(sort_key=11)
def robustness(
    results: Path,
    /,
    *,
    control: Annotated[
        str | None, Parameter(group=GENERAL, help="Condition that the others are compared with.")
    ] = None,
    flow_threshold: Annotated[
        list[float] | None,
        Parameter(group=GENERAL, consume_multiple=True, negative=(), help="Also segment again, at these."),
    ] = None,
) -> int:
    """Show whether the conclusion survives another rolling ball, gate, compartment, border or size of cells."""
    from bridge.pipeline.robustness import robustness as work

    found = work(results, control, flow_threshold or (), say)
    OUT.print(found.sentence)
    for path in found.files:
        OUT.print(str(path))
    return 0
