"""The files of tracks: tables, and what other programs open."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.errors import InputError
from bridge.files import write_bytes, write_text
from bridge.images.label_images import write_labels
from bridge.names import safe_name
from bridge.report.track_figures import division_sheet, lineage_figure, shown_range, track_movie
from bridge.rois.roiset import encode_roiset
from bridge.rois.trace import trace_rings
from bridge.tables import Column, empty_table, write_table
from bridge.tracking.ctc import ctc_numbers, renumbered
from bridge.tracking.follow import Followed, follow
from bridge.tracking.geff_file import write_geff
from bridge.tracking.summary import summary_columns, summary_of
from bridge.tracking.tables import DIVISIONS, DRIFT, TRACKS
from bridge.tracking.track_settings import TrackSettings
from bridge.tracking.trackastra_links import trackastra_links
from bridge.tracking.trackmate import write_trackmate

if TYPE_CHECKING:
    from bridge.labels import Labels

WITHOUT_OUTLINE = (
    Column("series_id", "str", "", "series of frames"),
    Column("frame", "int64", "", "frame in the series, from 0"),
    Column("label", "int64", "", "cell with holes or in parts: TrackMate shows it as a circle"),
)


@dataclass(frozen=True)
class Series:
    """One series of frames.

    Attributes
    ----------
    series_id : str
    field_ids : tuple of str
        Of each frame.
    labels_of : callable
        Returns the label image of a frame.
    image_of : callable or None
        Returns the image of a frame.
    image : Path or None
        File of the first frame's image.
    pixel_um : float or None
    measures : DataFrame or None
        ``frame, label`` and measured columns.
    columns : tuple of Column
        The measured ones.
    edges : DataFrame or None
        Links that a person made, in place of those that would be found.
    """

    series_id: str
    field_ids: tuple[str, ...]
    labels_of: Callable[[int], Labels]
    image_of: Callable[[int], npt.NDArray[Any]] | None = None
    image: Path | None = None
    pixel_um: float | None = None
    measures: pd.DataFrame | None = None
    columns: tuple[Column, ...] = ()
    edges: pd.DataFrame | None = None


def track_paths(folder: Path, series: Mapping[str, int]) -> list[Path]:
    """Return the files that are always written, for series of so many frames."""
    names = ("tracks", "divisions", "track_summary", "drift", "without_outline")
    found = [folder / f"{name}.csv" for name in names]
    for series_id, n_frames in series.items():
        stem = safe_name(series_id)
        found += [folder / f"{stem}{end}" for end in ("_TrackMate.xml", "_tracks_RoiSet.zip", "_tracks.gif")]
        ctc = folder / f"{stem}_CTC"
        found += [ctc / "res_track.txt", *(ctc / _ctc_mask(k, n_frames) for k in range(n_frames))]
    return found


def geff_folder(folder: Path, series_id: str) -> Path:
    """Return the folder of a series' graph."""
    return folder / f"{safe_name(series_id)}.geff"


def _ctc_mask(frame: int, n_frames: int) -> str:
    return f"mask{frame:0{max(3, len(str(n_frames - 1)))}d}.tif"


def sometimes(folder: Path, series_id: str) -> list[Path]:
    """Return the pictures that are there where a series has division candidates, or the machine ffmpeg."""
    return [folder / f"{safe_name(series_id)}{end}" for end in ("_lineages.png", "_divisions.png", "_tracks.mp4")]


def write_tracks(
    folder: Path, series: Sequence[Series], settings: TrackSettings, interval_s: float | None,
    announce: Callable[[str], None], geff: bool = False, device: str = "cpu",
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Follow each series and write all files; return tracks and divisions of all of them.

    Parameters
    ----------
    folder : Path
    series : sequence of Series
    settings : TrackSettings
    interval_s : float or None
        From one frame to the next.
    announce : callable
    geff : bool
        Also write GEFF.
    device : {"cpu", "cuda", "mps"}
        Of a network that links the cells.

    Raises
    ------
    LabelError
        One frame, or frames of different sizes.
    InputError
        A network shall link cells without images.
    OutputError
        A file cannot be written.
    """
    followed, summaries, odd = [], [], []
    columns = tuple(dict.fromkeys(c for one in series for c in one.columns))
    for one in series:
        announce(f"{one.series_id}: {len(one.field_ids)} frames")
        edges = (
            _by_network(one, settings.trackastra, device) if one.edges is None and settings.trackastra else one.edges
        )
        found = follow(len(one.field_ids), one.labels_of, settings, one.series_id, one.field_ids, edges)
        followed.append(found)
        measured = found.tracks
        if one.measures is not None:
            measured = measured.merge(one.measures, how="left", on=["frame", "label"])
        summaries.append(summary_of(measured.assign(**{c.name: np.nan for c in columns if c.name not in measured}), found.drift, columns, one.pixel_um, interval_s))  # fmt: skip
        shutil.rmtree(geff_folder(folder, one.series_id), ignore_errors=True)
        if geff:
            unit = "micrometer" if one.pixel_um else None
            write_geff(geff_folder(folder, one.series_id), found.tracks, one.pixel_um or 1.0, unit, interval_s)
        odd += [(one.series_id, *key) for key in _write_series(folder, one, found, interval_s)]
    tracks = _together([found.tracks for found in followed], TRACKS)
    divisions = _together([found.divisions for found in followed], DIVISIONS)
    drift = _together([found.drift for found in followed], DRIFT)
    write_table(folder / "tracks.csv", tracks, TRACKS)
    write_table(folder / "divisions.csv", divisions, DIVISIONS)
    write_table(folder / "drift.csv", drift, DRIFT)
    write_table(folder / "without_outline.csv", pd.DataFrame(odd, columns=[c.name for c in WITHOUT_OUTLINE]), WITHOUT_OUTLINE)  # fmt: skip
    summary = _together(summaries, summary_columns(columns))
    write_table(folder / "track_summary.csv", summary, summary_columns(columns))
    return tracks, divisions


def _by_network(one: Series, folder: str, device: str) -> pd.DataFrame:
    if one.image_of is None:
        raise InputError(f"{one.series_id}: Trackastra looks at the images (got frames without one, expected an image each). Leave out --trackastra.")  # fmt: skip
    frames = range(len(one.field_ids))
    return trackastra_links([one.image_of(k) for k in frames], [one.labels_of(k) for k in frames], Path(folder), device)


def _together(parts: list[pd.DataFrame], columns: Sequence[Column]) -> pd.DataFrame:
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else empty_table(columns)


def _write_series(folder: Path, one: Series, found: Followed, interval_s: float | None) -> list[tuple[int, int]]:
    """Write the files of a series; return frame and label of cells with holes or parts, which TrackMate cannot hold."""
    name = safe_name(one.series_id)
    numbers, text = ctc_numbers(found.tracks)
    rois, archive = io.BytesIO(), {}
    rings: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
    shape = (0, 0)
    for frame in range(len(one.field_ids)):
        labels = one.labels_of(frame)
        shape = (labels.shape[0], labels.shape[1])
        own, of_ctc = found.tracks[found.tracks["frame"] == frame], numbers[numbers["frame"] == frame]
        label = own["label"].tolist()
        write_labels(folder / f"{name}_CTC" / _ctc_mask(frame, len(one.field_ids)), renumbered(labels, of_ctc["label"].tolist(), of_ctc["number"].tolist()))  # fmt: skip
        of_track = renumbered(labels, label, own["track_id"].tolist())
        group = (np.arange(int(of_track.max(initial=0)) + 1) % 255 + 1).astype(np.uint8)
        with zipfile.ZipFile(io.BytesIO(encode_roiset(of_track, group, frame + 1))) as content:
            for entry in content.namelist():
                archive[f"{entry.removesuffix('.roi')}_t{frame + 1:04d}.roi"] = content.read(entry)
        traced = trace_rings(labels)
        whole, n = np.unique(traced.label, return_counts=True)
        simple = set(whole[n == 1].tolist())
        for k, at in enumerate(traced.label.tolist()):
            if at in simple:
                span = slice(traced.start[k], traced.start[k + 1])
                rings[frame, at] = np.column_stack([traced.x[span], traced.y[span]]).astype(np.float64)
    write_text(folder / f"{name}_CTC" / "res_track.txt", text)
    with zipfile.ZipFile(rois, "w") as zipped:
        for entry, content_of in archive.items():
            zipped.writestr(zipfile.ZipInfo(entry), content_of)
    write_bytes(folder / f"{name}_tracks_RoiSet.zip", rois.getvalue())
    measures = pd.DataFrame(index=pd.MultiIndex.from_frame(found.tracks[["frame", "label"]]))
    if one.measures is not None:
        measures = one.measures.set_index(["frame", "label"])[[c.name for c in one.columns]]
    write_trackmate(
        folder / f"{name}_TrackMate.xml", found.tracks, rings, measures, one.image, shape, one.pixel_um or 1.0,
        "µm" if one.pixel_um else "pixel", interval_s,
    )  # fmt: skip
    some = [0, len(one.field_ids) // 2, len(one.field_ids) - 1]
    shown = shown_range([one.image_of(k) for k in some]) if one.image_of is not None else (0.0, 1.0)
    for path in sometimes(folder, one.series_id):
        path.unlink(missing_ok=True)
    track_movie(folder / f"{name}_tracks.gif", found.tracks, one.labels_of, one.image_of, shown)
    if len(found.divisions):
        lineage_figure(folder / f"{name}_lineages", found.tracks, found.divisions, one.series_id)
        division_sheet(folder / f"{name}_divisions.png", found.tracks, found.divisions, one.labels_of, one.image_of, shown)  # fmt: skip
    keys = zip(found.tracks["frame"].tolist(), found.tracks["label"].tolist(), strict=True)
    return [key for key in keys if key not in rings]
