"""What every cell is, and where it goes: classify and track."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bridge.cli.console import OUT, complain, note, print_table, progress_bar, say
from bridge.cli.main import app
from bridge.cli.options import GENERAL
from bridge.names import number


@app.command(sort_key=11)
def classify(
    results: Path,
    /,
    *,
    truth: Annotated[
        Path | None,
        Parameter(
            group=GENERAL,
            help="What persons said: a CSV (field_id, label, class; or field_id, class; or condition, class), or a folder of ROI sets. Default: the column cell_type of the sample sheet.",
        ),
    ] = None,
    classifier: Annotated[
        Path | None, Parameter(group=GENERAL, help="A classifier.json that was trained before, in place of --truth.")
    ] = None,
    channels: Annotated[
        list[str] | None,
        Parameter(
            group=GENERAL,
            consume_multiple=True,
            negative=(),
            help="Channels whose light tells the classes. Default: the one in which cells were found, and the nuclei's.",
        ),
    ] = None,
    groups: Annotated[
        list[str] | None,
        Parameter(group=GENERAL, consume_multiple=True, negative=(), help="Names of ImageJ's groups 1, 2, ..."),
    ] = None,
    margin: Annotated[
        float,
        Parameter(group=GENERAL, help="Cells whose two most probable classes are nearer than this are uncertain."),
    ] = 0.2,
    features: Annotated[
        Literal["declared", "encoder"],
        Parameter(
            group=GENERAL,
            help="Shape, light and texture, which can be read; or what a Cellpose network's encoder sees.",
        ),
    ] = "declared",
    encoder: Annotated[
        str | None, Parameter(group=GENERAL, help="Model whose encoder it is. Default: the run's own.")
    ] = None,
    undo: Annotated[bool, Parameter(group=GENERAL, negative=(), help="Take the classes out again.")] = False,
) -> int:
    """Give every cell of a run a class: trained on labelled cells, validated on fields held out."""
    from bridge.pipeline import classify as work

    if undo:
        with progress_bar() as progress:
            report = work.unclassify(results, progress, say)
        text = f"Classes taken out; tables and figures are in {results}"
        for failure in report.failures:
            complain(f"[{failure.step}] {failure.message}")
        note(classes=text)
        OUT.print(text)
        return report.exit_code
    with progress_bar() as progress:
        found = work.classify(
            results, truth, classifier, channels or (), groups or (), margin, features, encoder, progress, say
        )
    for failure in found.report.failures:
        complain(f"[{failure.step}] {failure.message}")
    if found.validation is not None:
        print_table(
            found.validation.scores,
            ("validation", "features", "class", "n_cells", "n_uncertain", "recall", "precision"),
        )
    for warning in found.warnings:
        say(f"Warning: {warning}")
    text = f"{number(found.report.n_cells, 'cell')} with a class. Look at {results / 'figures' / 'classes.png'}, {results / 'classes'} and the column class of cells.csv"
    note(classes=text)
    OUT.print(text)
    return found.report.exit_code


@app.command(sort_key=11)
def track(
    source: Path,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(group=GENERAL, help="For a folder of label images: where the files go.")
    ] = None,
    max_move: Annotated[
        float | None,
        Parameter(group=GENERAL, help="No cell moves farther between two frames, in px. Default: one cell diameter."),
    ] = None,
    gap_frames: Annotated[int, Parameter(group=GENERAL, help="A cell may be missing in so many frames.")] = 2,
    min_daughter_life: Annotated[
        int, Parameter(group=GENERAL, help="Both daughters of a division are seen in so many frames.")
    ] = 3,
    division_confidence: Annotated[
        float, Parameter(group=GENERAL, help="A division candidate needs at least this, 0 to 1; 2 for no divisions.")
    ] = 0.3,
    drift: Annotated[bool, Parameter(group=GENERAL, help="Take the drift of the stage out.")] = True,
    trackastra: Annotated[
        Path | None,
        Parameter(group=GENERAL, help="Folder of a Trackastra model, whose network then links the cells."),
    ] = None,
    interval: Annotated[
        float | None, Parameter(group=GENERAL, help="Seconds from one frame to the next, for speeds.")
    ] = None,
    edited: Annotated[
        Path | None,
        Parameter(
            group=GENERAL,
            help="Edited tracks that count as they are: TrackMate's XML, or a folder of the Cell Tracking Challenge.",
        ),
    ] = None,
    geff: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="Also write GEFF, the exchange format of trackers.")
    ] = False,
    undo: Annotated[bool, Parameter(group=GENERAL, negative=(), help="Take the tracks out of a run again.")] = False,
) -> int:
    """Follow cells over the frames of a run's series, or of a folder of label images."""
    from bridge.pipeline import track as work
    from bridge.tracking.track_settings import TrackSettings

    if undo:
        with progress_bar() as progress:
            work.untrack(source, progress, say)
        OUT.print(f"Tracks taken out; tables and figures are in {source}")
        return 0
    how = TrackSettings(
        max_move,
        gap_frames,
        min_daughter_life,
        division_confidence,
        drift,
        None if trackastra is None else str(trackastra),
    )
    with progress_bar() as progress:
        found = work.track(source, out, how, interval, edited, geff, progress, say)
    for step, message in found.failures:
        complain(f"[{step}] {message}")
    n = int(found.tracks.groupby("series_id")["track_id"].nunique().sum())
    text = f"{number(n, 'track')} in {found.tracks['series_id'].nunique()} series, {number(len(found.divisions), 'division candidate')}. Look at {found.out}"
    note(tracks=text)
    OUT.print(text)
    return int(bool(found.failures))
