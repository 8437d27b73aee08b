"""Cells followed over time: in the series of a run, or in folders of label images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from bridge.errors import BridgeError, InputError
from bridge.experiment.fields import Field
from bridge.files import new_file, write_bytes, write_text
from bridge.images.label_files import label_files
from bridge.images.label_images import read_labels
from bridge.images.reader import inspect
from bridge.labels import Labels
from bridge.names import safe_name
from bridge.pipeline.finished_run import open_run
from bridge.pipeline.graph import EXPERIMENT
from bridge.pipeline.lock import locked
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.progress import Progress
from bridge.pipeline.run import run_again
from bridge.pipeline.steps.tracks import EDGES, TRACKS, edited_file, series_of
from bridge.pipeline.track_files import Series, geff_folder, sometimes, track_paths, write_tracks
from bridge.scores.matching import match_labels
from bridge.tables import read_table, write_table
from bridge.tracking.ctc import TRACK_FILES, ctc_edges, frames_of, read_ctc
from bridge.tracking.follow import follow
from bridge.tracking.geff_file import require_geff
from bridge.tracking.tables import DIVISIONS, DRIFT
from bridge.tracking.tables import TRACKS as TRACK_COLUMNS
from bridge.tracking.track_settings import TrackSettings
from bridge.tracking.trackastra_links import model_digest
from bridge.tracking.trackmate import read_trackmate


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
    edited: Path | str | None = None,
    geff: bool = False,
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
    edited : Path or str, optional
        Tracks of one series that a person edited, which are taken as they are: TrackMate's XML, or a folder of the Cell
        Tracking Challenge. Of a run they count until `track` is called without.
    geff : bool
        Also write each series as GEFF, the exchange format of trackers.
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
        Frames of different sizes, or edited links that no tracks can have.
    MissingDependencyError
        GEFF or Trackastra is asked for, and its library is not there.
    OutputError
        A file is there already, or cannot be written.
    BridgeError
        The cells of a run could not be followed; how they were followed before counts again.

    Examples
    --------
    >>> import bridge                                                       # doctest: +SKIP
    >>> found = bridge.track("results", interval_s=600)                     # doctest: +SKIP
    >>> found.tracks["track_id"].nunique()                                  # doctest: +SKIP
    412
    """
    source, s = Path(source), settings or TrackSettings()
    if interval_s is not None and not 0 < interval_s < float("inf"):
        raise InputError(f"--interval {interval_s:g}: not a time between frames (expected more than 0 s). Correct it.")
    if geff:
        require_geff()
    say = announce or (lambda _: None)
    if (source / "run.json").is_file():
        if out is not None:
            raise InputError("track: the tracks of a run go into its folder (got --out, expected none). Leave it out.")
        return _in_run(source, s, interval_s, None if edited is None else Path(edited), geff, progress, say)
    if s.trackastra:
        raise InputError("--trackastra: the network looks at the images (got label images alone, expected the folder of a run). Make a run of them first: cellpose-fiji run IMAGES --masks MASKS")  # fmt: skip
    if out is None:
        raise InputError("track: label images need a folder for their tracks (expected --out). Name one.")
    return _of_masks(source, Path(out), s, interval_s, None if edited is None else Path(edited), geff, say)


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
    folder = run_.folder.tracking().parent
    with locked(run_.out):
        for path in [*(folder / "edited").glob("*.csv"), *(p for name in _known_series(folder) for p in sometimes(folder, name))]:  # fmt: skip
            path.unlink(missing_ok=True)
        for name in _known_series(folder):
            shutil.rmtree(geff_folder(folder, name), ignore_errors=True)
        run_.records.withdraw(EXPERIMENT, TRACKS.name)
        run_.folder.tracking().unlink()
    run_again(run_, progress, announce)


def _known_series(folder: Path) -> list[str]:
    path = folder / "drift.csv"
    return read_table(path, DRIFT)["series_id"].unique().tolist() if path.is_file() else []


def _in_run(
    results: Path,
    s: TrackSettings,
    interval_s: float | None,
    edited: Path | None,
    geff: bool,
    progress: Callable[[Progress], None] | None,
    say: Callable[[str], None],
) -> Tracked:
    run_ = open_run(results)
    done = {item.field_id for item in run_.fields}
    fields = [item for item in make_plan(run_.images(), run_.settings).fields if item.field_id in done]
    series = series_of(fields)
    if not series:
        raise InputError(f"{results}: no series of frames in this run (expected {{frame}} in its --pattern). Run it again with one, e.g. --pattern '{{condition}}/{{field}}_t{{frame}}_{{channel}}.tif'.")  # fmt: skip
    interval_s = interval_s or _interval_of(fields, say)
    links: dict[str, pd.DataFrame] = {}
    if edited is not None and edited.resolve().is_relative_to(run_.folder.tracking().parent.resolve()):
        raise InputError(f"{edited}: lies among the run's own tracks, which are not changed by hand (expected a copy elsewhere). Save it under another folder, put the run's own file back, and give that.")  # fmt: skip
    if edited is not None:
        name = _edited_series(edited, list(series))
        labels = [read_labels(run_.folder.mask(item)) for item in series[name]]
        links[name] = _edges(edited, labels)
        follow(len(labels), labels.__getitem__, s, name, edges=links[name])  # refuses what no tracks can have
    told = {**asdict(s), "interval_s": interval_s, "geff": geff}
    if s.trackastra:
        told |= {"trackastra": str(Path(s.trackastra).resolve()), "trackastra_sha256": model_digest(Path(s.trackastra))}
    state = [run_.folder.tracking(), *(edited_file(run_.folder.tracking(), name) for name in series)]
    before = {path: path.read_bytes() if path.is_file() else None for path in state}
    with locked(run_.out):
        for name in series if edited is None else ():
            edited_file(run_.folder.tracking(), name).unlink(missing_ok=True)
        for name, table in links.items():
            write_table(edited_file(run_.folder.tracking(), name), table, EDGES)
        write_text(run_.folder.tracking(), json.dumps(told, indent=1) + "\n")
    report = run_again(run_, progress, say)
    for failure in report.failures:
        if failure.step == TRACKS.name:
            with locked(run_.out):
                for path, content in before.items():
                    write_bytes(path, content) if content is not None else path.unlink(missing_ok=True)
            raise BridgeError(failure.message)
    folder = run_.folder.tracking().parent
    tracks, divisions = (
        read_table(folder / "tracks.csv", TRACK_COLUMNS),
        read_table(folder / "divisions.csv", DIVISIONS),
    )
    return Tracked(folder, tracks, divisions, tuple((f.step, f.message) for f in report.failures))


def _interval_of(fields: Sequence[Field], say: Callable[[str], None]) -> float | None:
    """Return the time between frames that the images' files give, where all give one."""
    files = [file for item in fields if (file := item.segment or next(iter(item.measure.values()), None)) is not None]
    found = {inspect(file).interval_s for file in files}
    interval_s = found.pop() if len(found) == 1 else None
    if interval_s is not None:
        say(f"{interval_s:g} s from frame to frame, as the images say")
    return interval_s


def _edited_series(edited: Path, names: Sequence[str]) -> str:
    """Return the series whose tracks were edited: the only one, or the one that the file is named by."""
    fitting = [n for n in names if edited.name.startswith(s := safe_name(n)) and not edited.name[len(s) : len(s) + 1].isalnum()]  # fmt: skip
    if len(names) == 1:
        return names[0]
    if not fitting:
        raise InputError(f"{edited}: names no series (expected the name of one of {', '.join(names[:5])} at its beginning). Rename it.")  # fmt: skip
    return max(fitting, key=len)


def _edges(edited: Path, labels: list[Labels]) -> pd.DataFrame:
    if not edited.is_dir():
        return read_trackmate(edited)
    files, table = read_ctc(edited)
    if len(files) != len(labels):
        raise InputError(f"{edited}: another number of frames than the series (got {len(files)}, expected {len(labels)}). Edit the tracks of this series.")  # fmt: skip
    numbers = [read_labels(path) for path in files]
    partner = []
    for number, label in zip(numbers, labels, strict=True):
        same = match_labels(number, label)
        partner.append(dict(zip(same.true.tolist(), same.predicted.tolist(), strict=True)))
    return ctc_edges(numbers, table, partner)


def _of_masks(
    folder: Path,
    out: Path,
    s: TrackSettings,
    interval_s: float | None,
    edited: Path | None,
    geff: bool,
    say: Callable[[str], None],
) -> Tracked:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (expected label images of a series, or the folder of a run). Check the path.")  # fmt: skip
    by_folder: dict[Path, list[Path]] = {}
    for path in label_files(folder, seg=False):
        if path.parent != folder and any((path.parent / name).is_file() for name in TRACK_FILES):
            continue  # tracks that were written below: no series of their own
        by_folder.setdefault(path.parent, []).append(path)
    if not by_folder:
        raise InputError(f"{folder}: no label images in it (expected .tif or .png). Check the path.")
    series = []
    for place, files in sorted(by_folder.items()):
        ordered = frames_of(files, place)
        name = place.relative_to(folder).as_posix().replace("/", "_") if place != folder else folder.resolve().name
        series.append(Series(name, tuple(path.stem for path in ordered), _reader(ordered)))
    names = [safe_name(one.series_id).casefold() for one in series]
    for k, one in enumerate(series):
        if names.index(names[k]) < k:
            raise InputError(f"{folder}: two series of nearly one name (got {series[names.index(names[k])].series_id} and {one.series_id}, expected names that differ as file names). Rename one.")  # fmt: skip
    if edited is not None:
        chosen = _edited_series(edited, [one.series_id for one in series])
        series = [
            replace(one, edges=_edges(edited, [one.labels_of(k) for k in range(len(one.field_ids))]))
            if one.series_id == chosen
            else one
            for one in series
        ]
    for path in track_paths(out, {one.series_id: len(one.field_ids) for one in series}):
        new_file(path)
    tracks, divisions = write_tracks(out, series, s, interval_s, say, geff)
    return Tracked(out, tracks, divisions)


def _reader(files: list[Path]) -> Callable[[int], Labels]:
    return lambda k: read_labels(files[k], foreign=True)
