"""Cells followed over made movies with known tracks, and the files of other trackers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage.draw import polygon2mask

from bridge.errors import InputError, LabelError
from bridge.rois.trace import trace_rings
from bridge.synthetic_movie import SyntheticMovie, synthetic_movie
from bridge.tracking.ctc import ctc_numbers, frames_of, read_ctc
from bridge.tracking.follow import Followed, follow
from bridge.tracking.link import cells_of, drift
from bridge.tracking.scores import TrackScores, score_tracks
from bridge.tracking.summary import summary_of
from bridge.tracking.track_settings import TrackSettings
from bridge.tracking.trackmate import edges_of, read_trackmate, write_trackmate


def truth_of(movie: SyntheticMovie) -> pd.DataFrame:
    return movie.truth.rename(columns={"cell": "track_id", "parent": "parent_track_id"})


def followed(movie: SyntheticMovie, **settings: object) -> Followed:
    return follow(len(movie.labels), movie.labels.__getitem__, TrackSettings(**settings))  # type: ignore[arg-type]


def scored(movie: SyntheticMovie, **settings: object) -> TrackScores:
    return score_tracks(truth_of(movie), followed(movie, **settings).tracks)


def test_touching_cells_are_followed() -> None:
    found = scored(synthetic_movie(3, n_frames=16, size_px=420, n_cells=75))
    assert found.link_f1 > 0.995
    assert found.divisions_true >= 4
    assert found.divisions_right >= found.divisions_true - 1
    assert found.divisions_found <= found.divisions_true + 1


def test_drift_is_taken_out() -> None:
    movie = synthetic_movie(4, n_frames=12, size_px=420, n_cells=75, drift_px=14.0, divisions=0.0)
    found, without = followed(movie), scored(movie, drift=False)
    steps = np.diff(movie.drift_px, axis=0)
    large = np.linalg.norm(steps, axis=1) > 10
    assert large.sum() >= 5
    measured = found.drift[["drift_y_px", "drift_x_px"]].to_numpy()[1:]
    assert np.abs(measured[large] - steps[large]).max() < 4  # cells wander by 4 px themselves
    with_it = score_tracks(truth_of(movie), found.tracks)
    assert with_it.link_f1 > 0.97
    assert with_it.link_f1 > without.link_f1 + 0.1


def test_errors_of_the_segmentation() -> None:
    movie = synthetic_movie(5, n_frames=20, size_px=420, n_cells=75, errors=True)
    found = scored(movie)
    assert found.link_f1 > 0.95
    # A split or merged label looks like a division: candidates, of which most are right.
    assert found.divisions_found <= 2 * found.divisions_true + 2


@pytest.mark.parametrize("kind", [{}, {"errors": True}])
def test_as_good_as_laptrack(kind: dict[str, bool]) -> None:
    from laptrack import LapTrack

    movie = synthetic_movie(6, n_frames=12, size_px=420, n_cells=75, **kind)  # type: ignore[arg-type]
    cells = [cells_of(labels) for labels in movie.labels]
    table = pd.concat([pd.DataFrame({"frame": k, "label": c.label, "y": c.y_px, "x": c.x_px}) for k, c in enumerate(cells)], ignore_index=True)  # fmt: skip
    reach = float(np.median([2 * np.sqrt(np.median(c.area_px) / np.pi) for c in cells]))
    tracker = LapTrack(cutoff=reach**2, gap_closing_cutoff=reach**2, gap_closing_max_frame_count=2, splitting_cutoff=(1.5 * reach) ** 2)  # fmt: skip
    tracks, splits, _ = tracker.predict_dataframe(table, ["y", "x"], frame_col="frame", only_coordinate_cols=False)
    parents = dict(zip(splits["child_track_id"] + 1, splits["parent_track_id"] + 1, strict=True)) if len(splits) else {}
    theirs = tracks.reset_index(drop=True)
    theirs["frame"] = theirs["frame"] if "frame" in theirs else theirs["frame_y"]
    theirs["track_id"] += 1
    theirs["parent_track_id"] = theirs["track_id"].map(parents).fillna(0).astype(int)
    ours, others = scored(movie), score_tracks(truth_of(movie), theirs)
    assert ours.link_f1 >= others.link_f1 - 0.002
    assert ours.divisions_found - ours.divisions_right <= others.divisions_found - others.divisions_right


def test_the_same_movie_gives_the_same_tracks_and_numbers_tell_nothing() -> None:
    movie = synthetic_movie(7, n_frames=8, size_px=300, n_cells=35)
    one, again = followed(movie), followed(movie)
    pd.testing.assert_frame_equal(one.tracks, again.tracks)
    rng = np.random.default_rng(0)
    shuffles = [np.r_[0, 1 + rng.permutation(int(labels.max()))].astype(np.uint16) for labels in movie.labels]
    other = follow(8, lambda k: shuffles[k][movie.labels[k]]).tracks
    other["label"] = [
        int(np.flatnonzero(shuffles[f] == k)[0]) for f, k in zip(other["frame"], other["label"], strict=True)
    ]
    assert score_tracks(one.tracks, other).link_f1 == 1
    assert one.tracks["track_id"].drop_duplicates().is_monotonic_increasing


def test_gaps_empty_frames_and_borders() -> None:
    frames = np.zeros((5, 60, 60), np.uint16)
    for k in range(5):
        frames[k, 20:32, 10 + 3 * k : 22 + 3 * k] = k + 1
        frames[k, 45:57, 40:52] = 30 - k
    frames[2] = 0
    found = follow(5, list(frames).__getitem__, TrackSettings(max_move_px=12, gap_frames=2))
    assert found.tracks["track_id"].nunique() == 2
    assert found.tracks.groupby("frame")["gap_frames"].max().tolist() == [0, 0, 1, 0]
    assert (
        follow(5, list(frames).__getitem__, TrackSettings(max_move_px=12, gap_frames=0)).tracks["track_id"].nunique()
        == 4
    )
    nothing = follow(3, lambda _: np.zeros((9, 9), np.uint16))
    assert nothing.tracks.empty
    assert nothing.divisions.empty


def test_what_cannot_be_followed() -> None:
    with pytest.raises(LabelError) as refused:
        follow(1, lambda _: np.zeros((4, 4), np.uint16), series_id="s1")
    assert str(refused.value) == "s1: one frame only (got 1, expected at least 2). There is nothing to follow."
    with pytest.raises(LabelError) as refused:
        follow(2, lambda k: np.zeros((4 + k, 4), np.uint16), series_id="s1")
    assert str(refused.value) == "s1: frames of different sizes (got 5 x 4 px in frame 1, expected 4 x 4). Use frames of one size."  # fmt: skip


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a_t1.tif"], "one frame only (got 1 label images, expected at least 2). There is nothing to follow."),
        (["a_t1.tif", "a_t2.tif", "a_t4.tif", "a_t5.tif"], "frame 3 is missing (got frames 1 to 5 in steps of 1, expected each of them). Add it, or follow the parts one by one."),
        (["a_t1.tif", "b_t1.tif", "a_t2.tif"], "frame 1 is there twice (got a_t1.tif and b_t1.tif, expected one). Remove one."),
        (["a.tif", "b.tif"], "names that tell no order of frames (got a.tif and b.tif, expected a number that counts). Rename them."),
    ],
)  # fmt: skip
def test_frames_by_their_names(names: list[str], said: str) -> None:
    with pytest.raises(InputError) as refused:
        frames_of([Path(name) for name in names], Path("movie"))
    assert str(refused.value) == f"movie: {said}"


def test_frames_in_steps() -> None:
    names = [Path(f"xy2_t{k:03d}_mask.tif") for k in (0, 10, 20, 30)]
    assert frames_of(list(reversed(names)), Path()) == names


def test_no_drift_where_cells_stand_still() -> None:
    movie = synthetic_movie(8, n_frames=2, size_px=300, n_cells=35, step_px=1.0, divisions=0.0)
    one, other = (cells_of(labels) for labels in movie.labels)
    assert drift(one, other, 100.0, 8.0) == (0.0, 0.0)


def test_trackmate_takes_it_and_gives_the_links_back(tmp_path: Path) -> None:
    movie = synthetic_movie(9, n_frames=6, size_px=260, n_cells=28, divisions=0.03)
    found = followed(movie, min_daughter_life=1)
    tracks, pixel = found.tracks, 0.65
    outlines = {}
    for frame, labels in enumerate(movie.labels):
        rings = trace_rings(labels)
        for k, label in enumerate(rings.label.tolist()):
            if np.count_nonzero(rings.label == label) == 1:
                at = slice(rings.start[k], rings.start[k + 1])
                outlines[frame, label] = np.column_stack([rings.x[at], rings.y[at]]).astype(float)
    measures = tracks.set_index(["frame", "label"])[["area_px2"]].astype(float)
    path = tmp_path / "a.xml"
    write_trackmate(path, tracks, outlines, measures, Path("movie.tif"), (260, 260), pixel, "µm", 600.0)
    edges = edges_of(tracks)
    pd.testing.assert_frame_equal(read_trackmate(path), edges[["frame", "label", "to_frame", "to_label"]].sort_values(["frame", "label", "to_frame", "to_label"], ignore_index=True))  # fmt: skip
    assert len(edges) == len(tracks) - (tracks.groupby("track_id")["parent_track_id"].first() == 0).sum()
    # TrackMate's reader: every attribute but ID, name and point count is a double; text is split at blanks, untrimmed.
    from xml.etree import ElementTree

    root = ElementTree.parse(path).getroot()
    declared = {f.attrib["feature"] for f in root.iter("Feature")}
    spots = {}
    for spot in root.iter("Spot"):
        values = {k: float(v) for k, v in spot.attrib.items() if k not in ("ID", "name", "ROI_N_POINTS")}
        assert values.keys() <= declared
        spots[spot.attrib["ID"]] = values
        words = (spot.text or "").split(" ")
        assert len(words) == 2 * int(spot.attrib["ROI_N_POINTS"])
        x, y = np.array(words, float).reshape(-1, 2).T / pixel
        corners = np.column_stack([y + values["POSITION_Y"] / pixel, x + values["POSITION_X"] / pixel])
        shown = polygon2mask((260, 260), corners - 0.5)
        labels = movie.labels[int(values["FRAME"])]
        np.testing.assert_array_equal(shown, labels == int(values["LABEL"]))
        assert values["M0"] == np.count_nonzero(labels == int(values["LABEL"]))
    pairs = [(e.attrib["SPOT_SOURCE_ID"], e.attrib["SPOT_TARGET_ID"]) for e in root.iter("Edge")]
    assert len(set(pairs)) == len(pairs)
    assert all(a in spots and b in spots and a != b for a, b in pairs)
    kept = [t.attrib["TRACK_ID"] for t in root.iter("TrackID")]
    assert kept == [t.attrib["TRACK_ID"] for t in root.iter("Track")]


def test_odd_trackmate_files(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    for text, what in (
        ("<a/>", "the root is a"),
        ("<TrackMate>", "no element found: line 1, column 11"),
        ('<TrackMate><Spot ID="1" FRAME="0" LABEL="2"/><Edge SPOT_SOURCE_ID="1" SPOT_TARGET_ID="9"/></TrackMate>', "no spot or attribute '9'"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InputError) as refused:
            read_trackmate(path)
        assert str(refused.value) == f"{path}: not a TrackMate file ({what}). Save it from TrackMate again."


def test_ctc_tracks_are_without_gaps() -> None:
    table = pd.DataFrame(
        [(0, 1, 1, 0, 0), (1, 1, 1, 0, 0), (3, 2, 1, 0, 1), (4, 1, 2, 1, 0), (4, 3, 3, 1, 0), (5, 1, 3, 1, 0)],
        columns=["frame", "label", "track_id", "parent_track_id", "gap_frames"],
    )
    numbers, text = ctc_numbers(table)
    assert text == "1 0 1 0\n2 3 3 1\n3 4 4 2\n4 4 5 2\n"
    assert numbers["number"].tolist() == [1, 1, 2, 3, 4, 4]


def test_odd_ctc_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder of the Cell Tracking Challenge \(expected res_track.txt or man_track.txt in it\)"):  # fmt: skip
        read_ctc(tmp_path)
    (tmp_path / "res_track.txt").write_text("1 0 1\n")
    with pytest.raises(
        InputError, match=r"not the tracks of a CTC folder \(a line of another number of words; expected"
    ):
        read_ctc(tmp_path)


def test_a_row_for_each_track() -> None:
    tracks = pd.DataFrame(
        {
            "series_id": "s", "frame": [0, 1, 2, 2], "label": 1, "track_id": [1, 1, 1, 2], "parent_track_id": 0,
            "y_px": [0.0, 3.0, 3.0, 9.0], "x_px": [0.0, 4.0, 4.0, 9.0], "touches_border": [False, True, False, False],
            "m": [1.0, 3.0, 5.0, 7.0],
        }
    )  # fmt: skip
    still = pd.DataFrame({"frame": [0, 1, 2], "drift_y_px": 0.0, "drift_x_px": 0.0})
    from bridge.tables import Column

    found = summary_of(tracks, still, [Column("m", "float64", "", "m")], 0.5, 10.0).set_index("track_id")
    assert found.loc[1, ["path_px", "net_um", "speed_px", "m_slope", "m_mean"]].tolist() == pytest.approx(
        [5, 2.5, 2.5, 2, 3]
    )
    assert found.loc[1, "speed_um_s"] == pytest.approx(2.5 / 20)
    assert np.isnan(found.loc[2, "speed_px"])
    moved = still.assign(drift_y_px=[0.0, 3.0, 0.0], drift_x_px=[0.0, 4.0, 0.0])
    assert summary_of(tracks, moved, [], None, None)["path_px"].tolist() == [0.0, 0.0]
