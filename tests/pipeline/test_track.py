"""Tracks of a run and of label images: files, tables, undo, scores, and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import geff
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from roifile import roiread
from small import tree

import bridge
from bridge.errors import InputError, LabelError, OutputError
from bridge.images.label_images import read_labels, write_labels
from bridge.synthetic_movie import SyntheticMovie, synthetic_movie
from bridge.tracking.scores import score_tracks
from bridge.tracking.track_settings import TrackSettings
from bridge.tracking.trackmate import edges_of

MOVIE = synthetic_movie(21, n_frames=6, size_px=220, n_cells=22, divisions=0.02)


def masks_of(movie: SyntheticMovie, folder: Path) -> Path:
    for k, labels in enumerate(movie.labels):
        write_labels(folder / f"m_t{k}_mask.tif", labels)
    return folder


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a movie: phase in every frame, EdU in the last one alone."""
    folder = tmp_path_factory.mktemp("movie")
    rng = np.random.default_rng(0)
    for k, labels in enumerate(MOVIE.labels):
        place = folder / "images" / "DMSO"
        place.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(place / f"well_t{k:02d}_phase.tif", (900 + 40 * (labels > 0) + rng.normal(0, 5, labels.shape)).astype(np.uint16), imagej=True)  # fmt: skip
        tifffile.imwrite(place / f"well_t{k:02d}_EdU.tif", (100 + 3 * labels + rng.normal(0, 2, labels.shape)).astype(np.uint16), imagej=True)  # fmt: skip
        write_labels(folder / "masks" / f"DMSO_well_t{k:02d}_mask.tif", labels)
    bridge.run(
        folder / "images", folder / "results", pattern="{condition}/{field}_t{frame}_{channel}.tif", masks=folder / "masks",
        engine="native", positive=["none"],
    )  # fmt: skip
    return folder


@pytest.fixture
def copy(filmed: Path, tmp_path: Path) -> Path:
    shutil.copytree(filmed / "results", tmp_path / "results")
    return tmp_path / "results"


def test_series_of_a_run_and_back(copy: Path) -> None:
    fields = pd.read_csv(copy / "fields.csv", keep_default_na=False)
    assert fields["series_id"].nunique() == 1
    assert sorted(fields["frame"].astype(int)) == list(range(6))
    before = tree(copy)
    found = bridge.track(copy, interval_s=600, geff=True)
    truth = MOVIE.truth.rename(columns={"cell": "track_id", "parent": "parent_track_id"})
    assert score_tracks(truth, found.tracks).link_f1 > 0.98
    cells = pd.read_csv(copy / "cells.csv")
    both = cells.merge(found.tracks, on=["field_id", "label"], suffixes=("", "_own"))
    assert len(both) == len(cells) == len(found.tracks)
    assert (both["track_id"] == both["track_id_own"]).all()
    assert (both["frame"] == both["frame_own"]).all()
    assert both["cell_x_px"].to_numpy() == pytest.approx(both["x_px"].to_numpy())
    summary = pd.read_csv(copy / "tracks" / "track_summary.csv").set_index("track_id")
    last = cells.sort_values("frame").groupby("track_id")["cell_EdU_Mean"].last()
    np.testing.assert_array_equal(summary["cell_EdU_Mean_last"], last.loc[summary.index])
    series = fields["series_id"].iloc[0]
    rois = roiread(copy / "tracks" / f"{series}_tracks_RoiSet.zip")
    assert len(rois) == len(cells)
    assert {(roi.t_position, roi.position) for roi in rois} == {(k, 0) for k in range(1, 7)}
    assert {int(roi.name) for roi in rois} == set(summary.index)
    assert all(roi.group == int(roi.name) % 255 + 1 for roi in rois)
    with Image.open(copy / "tracks" / f"{series}_tracks.gif") as movie:
        assert movie.n_frames == 6
    film = copy / "tracks" / f"{series}_tracks.mp4"
    assert film.is_file() == (shutil.which("ffmpeg") is not None)
    if film.is_file():
        probe = [
            "ffprobe",
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=nb_read_frames,codec_name",
            "-of",
            "csv=p=0",
            str(film),
        ]
        assert subprocess.run(probe, capture_output=True, text=True, check=True).stdout.strip() == "h264,6"
    graph, _ = geff.read(copy / "tracks" / f"{series}.geff")
    assert graph.number_of_nodes() == len(cells)
    assert graph.number_of_edges() == len(edges_of(found.tracks))
    again = tree(copy)
    bridge.track(copy, interval_s=600, geff=True)
    assert tree(copy) == again
    bridge.untrack(copy)
    after = tree(copy)
    assert not [name for name in after if name.startswith("tracks/")]
    outside = ("tracks/", "records/")
    assert {k: v for k, v in after.items() if not k.startswith(outside)} == {k: v for k, v in before.items() if not k.startswith(outside)}  # fmt: skip
    with pytest.raises(InputError, match=r"its cells were not followed\. There is nothing to undo\."):
        bridge.untrack(copy)


def test_a_frame_that_fails_later(filmed: Path, tmp_path: Path) -> None:
    shutil.copytree(filmed / "images", tmp_path / "images")
    options = {
        "pattern": "{condition}/{field}_t{frame}_{channel}.tif",
        "masks": filmed / "masks",
        "engine": "native",
        "positive": ["none"],
    }
    bridge.run(tmp_path / "images", tmp_path / "out", **options)
    bridge.track(tmp_path / "out")
    broken = tmp_path / "images" / "DMSO" / "well_t03_EdU.tif"
    broken.write_bytes(broken.read_bytes()[:5000])
    report = bridge.run(tmp_path / "images", tmp_path / "out", update=True, **options)
    assert report.exit_code == 1
    assert "DMSO_well_t: frame 3 is missing (got frames 0 to 5 in steps of 1, expected each of them). Add it, or follow the parts one by one." in report.warnings  # fmt: skip
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert cells["track_id"].isna().all()
    assert len(cells) == sum(len(np.unique(labels)) - 1 for k, labels in enumerate(MOVIE.labels) if k != 3)


def test_label_images_alone_and_scores(tmp_path: Path) -> None:
    masks = masks_of(MOVIE, tmp_path / "masks")
    found = bridge.track(masks, tmp_path / "out")
    ctc = tmp_path / "out" / "masks_CTC"
    truth = tmp_path / "truth"
    numbers = MOVIE.truth.groupby("cell").agg(begin=("frame", "min"), end=("frame", "max"), parent=("parent", "first"))
    seen = set(numbers.index)
    truth.mkdir()
    (truth / "man_track.txt").write_text("".join(f"{c} {r.begin} {r.end} {r.parent if r.parent in seen else 0}\n" for c, r in numbers.iterrows()))  # fmt: skip
    for k, labels in enumerate(MOVIE.labels):
        own = MOVIE.truth[MOVIE.truth["frame"] == k]
        new = np.zeros(int(labels.max()) + 1, np.uint16)
        new[own["label"]] = own["cell"]
        write_labels(truth / f"man_track{k:03d}.tif", new[labels])
    scores = bridge.evaluate_tracks(truth, ctc, tmp_path / "scores", ctc=True).table.iloc[0]
    direct = score_tracks(MOVIE.truth.rename(columns={"cell": "track_id", "parent": "parent_track_id"}), found.tracks)
    assert (scores["links_right"], scores["links_wrong"]) == (direct.links_right, direct.links_wrong)
    assert scores["divisions_right"] == direct.divisions_right
    assert scores["tra"] > 0.98
    assert scores["det"] == 1
    assert scores["chota"] > 0.95
    perfect = bridge.evaluate_tracks(truth, truth, tmp_path / "same").table.iloc[0]
    assert (perfect["link_f1"], perfect["division_f1"]) == (1, 1)
    with pytest.raises(OutputError, match=r"is there already"):
        bridge.track(masks, tmp_path / "out")
    labels = read_labels(ctc / "mask002.tif")
    assert np.array_equal(labels > 0, MOVIE.labels[2] > 0)


def test_edited_tracks_come_back(copy: Path, tmp_path: Path) -> None:
    found = bridge.track(copy)
    series = found.tracks["series_id"].iloc[0]
    xml, ctc = tmp_path / f"{series}_edited.xml", tmp_path / "ctc"
    text = (copy / "tracks" / f"{series}_TrackMate.xml").read_text("utf-8")
    edges = re.findall("<Edge [^>]*/>", text)
    xml.write_text(text.replace(edges[3], ""), "utf-8")
    shutil.copytree(copy / "tracks" / f"{series}_CTC", ctc)
    edited = bridge.track(copy, edited=xml)
    before, after = edges_of(found.tracks), edges_of(edited.tracks)
    assert len(after) == len(before) - 1
    assert len(after.merge(before, on=["frame", "label", "to_frame", "to_label"])) == len(after)
    assert pd.read_csv(copy / "cells.csv")["track_id"].nunique() == edited.tracks["track_id"].nunique()
    again = bridge.track(copy, edited=ctc)
    names = ["frame", "label", "track_id", "parent_track_id", "gap_frames"]
    pd.testing.assert_frame_equal(again.tracks[names], found.tracks[names])
    anew = bridge.track(copy)
    pd.testing.assert_frame_equal(anew.tracks, found.tracks)
    xml.write_text(text.replace('LABEL="1"', 'LABEL="999"'), "utf-8")
    with pytest.raises(LabelError, match=r"an edited link of a cell that is not there \(got label 999 in frame \d, expected one of its label image\)"):  # fmt: skip
        bridge.track(masks_of(MOVIE, tmp_path / "masks"), tmp_path / "out", edited=xml)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 0 5 0\n2 3 5 1\n", r"an edited link that does not go forward in time \(got frame 5 to 3, expected a later one\)"),
        ("1 0 5 2\n2 0 5 1\n", r"a track that begins before its parent \(got track 1 in frame 0, parent 2 in frame 0; expected a later one\)"),
    ],
)  # fmt: skip
def test_edited_tracks_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    frames = np.zeros((6, 40, 40), np.uint16)
    frames[:, 5:15, 5:15] = 1
    frames[3:, 25:35, 25:35] = 2
    for folder in ("masks", "ctc"):
        for k, labels in enumerate(frames):
            write_labels(tmp_path / folder / f"m_t{k}.tif", labels)
    (tmp_path / "ctc" / "res_track.txt").write_text(text)
    with pytest.raises((InputError, LabelError), match=said):
        bridge.track(tmp_path / "masks", tmp_path / "out", edited=tmp_path / "ctc")


def test_names_and_numbers_that_are_refused(copy: Path, tmp_path: Path) -> None:
    for name in ("x y", "x_y"):
        masks_of(MOVIE, tmp_path / "m" / name)
    with pytest.raises(InputError, match=r"two series of nearly one name \(got x y and x_y, expected names that differ as file names\)"):  # fmt: skip
        bridge.track(tmp_path / "m", tmp_path / "out")
    shutil.rmtree(tmp_path / "m" / "x y")
    bridge.track(tmp_path / "m", tmp_path / "m" / "tracks")
    again = bridge.track(tmp_path / "m", tmp_path / "again")
    assert again.tracks["series_id"].unique().tolist() == ["x_y"]
    for settings, interval, said in (
        ({"gap_frames": -1}, None, "--gap-frames -1: not a number of frames"),
        ({"max_move_px": -3.0}, None, "--max-move -3: not a way a cell can go"),
        ({}, float("nan"), "--interval nan: not a time between frames"),
        ({}, 0.0, "--interval 0: not a time between frames"),
    ):
        with pytest.raises(InputError, match=said):
            bridge.track(tmp_path / "m" / "x_y", tmp_path / "o", TrackSettings(**settings), interval)
    series = bridge.track(copy, geff=True).tracks["series_id"].iloc[0]
    own = copy / "tracks" / f"{series}_TrackMate.xml"
    with pytest.raises(InputError, match=r"lies among the run's own tracks, which are not changed by hand"):
        bridge.track(copy, edited=own)
    bridge.track(copy)
    assert not (copy / "tracks" / f"{series}.geff").exists()


def test_what_is_refused(filmed: Path, tmp_path: Path) -> None:
    still = tmp_path / "still"
    bridge.run(
        filmed / "images", still, masks=filmed / "masks", engine="native", positive=["none"],
        pattern="{condition}/{field}_{channel}.tif",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"no series of frames in this run \(expected \{frame\} in its --pattern\)"):
        bridge.track(still)
    with pytest.raises(InputError, match=r"label images need a folder for their tracks \(expected --out\)"):
        bridge.track(filmed / "masks")
    with pytest.raises(InputError, match=r"the tracks of a run go into its folder \(got --out, expected none\)"):
        bridge.track(filmed / "results", tmp_path / "elsewhere")
    masks = masks_of(MOVIE, tmp_path / "masks")
    (masks / "m_t3_mask.tif").unlink()
    with pytest.raises(InputError) as refused:
        bridge.track(masks, tmp_path / "out")
    assert str(refused.value) == f"{masks}: frame 3 is missing (got frames 0 to 5 in steps of 1, expected each of them). Add it, or follow the parts one by one."  # fmt: skip
    with pytest.raises(InputError, match=r"\{frame\} is no number \(got well, expected e\.g\. 3 or 007\)"):
        bridge.plan(filmed / "images", pattern="{condition}/{frame}_{field}_{channel}.tif")
