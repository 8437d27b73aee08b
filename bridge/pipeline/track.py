"""Cells followed over time: in the series of a run, or in folders of label images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from bridge.errors import InputError
from bridge.files import new_file, write_text
from bridge.images.label_files import label_files
from bridge.images.label_images import read_labels
from bridge.labels import Labels
from bridge.pipeline.finished_run import open_run
from bridge.pipeline.graph import EXPERIMENT
from bridge.pipeline.lock import locked
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.progress import Progress
from bridge.pipeline.run import run
from bridge.pipeline.steps.tracks import TRACKS, series_of
from bridge.pipeline.track_files import Series, track_paths, write_tracks
from bridge.tables import read_table
from bridge.tracking.ctc import frames_of
from bridge.tracking.follow import TrackSettings
from bridge.tracking.tables import DIVISIONS
from bridge.tracking.tables import TRACKS as TRACK_COLUMNS


@dataclass(frozen=True)
class Tracked:
    """What came of following cells.

    Attributes
    ----------
    out : Path
        Folder of the tables and files.
    tracks, divisions : DataFrame
        `bridge.tracking.tables.TRACKS` and `DIVISIONS`.
    failures : tuple of (str, str)
        Step and message of what failed when the run's tables were made anew.
    """

    out: Path
    tracks: pd.DataFrame
    divisions: pd.DataFrame
    failures: tuple[tuple[str, str], ...] = ()


def track(
    source: Path | str,
    out: Path | str | None = None,
    settings: TrackSettings | None = None,
    interval_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Tracked:
    """Follow cells over the frames of series.

    Parameters
    ----------
    source : Path or str
        Folder of a run whose fields are frames (``{frame}`` in its pattern); or a folder of label images, one series, or one
        with a folder for each series.
    out : Path or str, optional
        For label images: where the files go. Of a run they go into its folder ``tracks``.
    settings : TrackSettings, optional
    interval_s : float, optional
        Seconds from one frame to the next.
    progress, announce : callable, optional
        As of `bridge.run`.

    Returns
    -------
    Tracked

    Raises
    ------
    InputError
        A run without series, a frame that is missing or there twice, or no label images.
    LabelError
        Frames of different sizes.
    OutputError
        A file is there already, or cannot be written.

    Examples
    --------
    >>> import bridge                                                       # doctest: +SKIP
    >>> found = bridge.track("results", interval_s=600)                     # doctest: +SKIP
    >>> found.tracks["track_id"].nunique()                                  # doctest: +SKIP
    412
    """
    source, s = Path(source), settings or TrackSettings()
    say = announce or (lambda _: None)
    if (source / "run.json").is_file():
        if out is not None:
            raise InputError("track: the tracks of a run go into its folder (got --out, expected none). Leave it out.")
        return _in_run(source, s, interval_s, progress, say)
    if out is None:
        raise InputError("track: label images need a folder for their tracks (expected --out). Name one.")
    return _of_masks(source, Path(out), s, interval_s, say)


def untrack(
    results: Path | str,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Take the tracks out of a run again: its tables are as before.

    Parameters
    ----------
    results : Path or str
        Folder of a run.
    progress, announce : callable, optional
        As of `bridge.run`.

    Raises
    ------
    InputError
        Not the folder of a run, or its cells were not followed.
    OutputError
        A file was changed by hand, or another run writes to the folder.
    """
    run_ = open_run(Path(results))
    run_.images()
    if not run_.folder.tracking().is_file():
        raise InputError(f"{results}: its cells were not followed. There is nothing to undo.")
    with locked(run_.out):
        run_.records.withdraw(EXPERIMENT, TRACKS.name)
        run_.folder.tracking().unlink()
    run(run_.plan.images, run_.out, run_.settings, progress=progress, announce=announce)


def _in_run(
    results: Path,
    s: TrackSettings,
    interval_s: float | None,
    progress: Callable[[Progress], None] | None,
    say: Callable[[str], None],
) -> Tracked:
    run_ = open_run(results)
    done = {item.field_id for item in run_.fields}
    fields = [item for item in make_plan(run_.images(), run_.settings).fields if item.field_id in done]
    series = series_of(fields)
    if not series:
        raise InputError(f"{results}: no series of frames in this run (expected {{frame}} in its --pattern). Run it again with one, e.g. --pattern '{{condition}}/{{field}}_t{{frame}}_{{channel}}.tif'.")  # fmt: skip
    for name, items in series.items():
        if len(items) < 2:
            raise InputError(f"{name}: one frame only (got {len(items)}, expected at least 2). There is nothing to follow.")  # fmt: skip
    with locked(run_.out):
        write_text(run_.folder.tracking(), json.dumps({**asdict(s), "interval_s": interval_s}, indent=1) + "\n")
    report = run(run_.plan.images, run_.out, run_.settings, progress=progress, announce=say)
    folder = run_.folder.tracking().parent
    tracks, divisions = (
        read_table(folder / "tracks.csv", TRACK_COLUMNS),
        read_table(folder / "divisions.csv", DIVISIONS),
    )
    return Tracked(folder, tracks, divisions, tuple((f.step, f.message) for f in report.failures))


def _of_masks(
    folder: Path, out: Path, s: TrackSettings, interval_s: float | None, say: Callable[[str], None]
) -> Tracked:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (expected label images of a series, or the folder of a run). Check the path.")  # fmt: skip
    by_folder: dict[Path, list[Path]] = {}
    for path in label_files(folder, seg=False):
        by_folder.setdefault(path.parent, []).append(path)
    if not by_folder:
        raise InputError(f"{folder}: no label images in it (expected .tif or .png). Check the path.")
    series = []
    for place, files in sorted(by_folder.items()):
        ordered = frames_of(files, place)
        name = place.relative_to(folder).as_posix().replace("/", "_") if place != folder else folder.resolve().name
        series.append(Series(name, tuple(path.stem for path in ordered), _reader(ordered)))
    for path in track_paths(out, [one.series_id for one in series]):
        new_file(path)
    tracks, divisions = write_tracks(out, series, s, interval_s, say)
    return Tracked(out, tracks, divisions)


def _reader(files: list[Path]) -> Callable[[int], Labels]:
    return lambda k: read_labels(files[k], foreign=True)
