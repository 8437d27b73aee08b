"""Trackastra's network in place of our linker: a small one, trained here, whose links become our tracks."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import tifffile
import torch

import bridge
from bridge.errors import BridgeError, InputError, MissingDependencyError
from bridge.images.label_images import write_labels
from bridge.synthetic_movie import SyntheticMovie, synthetic_movie
from bridge.tracking import trackastra_links
from bridge.tracking.follow import follow
from bridge.tracking.scores import score_tracks
from bridge.tracking.track_settings import TrackSettings

needs_trackastra = pytest.mark.skipif(
    trackastra_links.importlib.util.find_spec("trackastra") is None,
    reason="Trackastra is not installed here; it is tested in an environment of its own",
)
# Trackastra leaves files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
SMALL = {"size_px": 160, "n_cells": 6, "step_px": 2.0, "divisions": 0.02}


def images_of(movie: SyntheticMovie) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return np.stack([900 + 40 * (labels > 0) + rng.normal(0, 5, labels.shape) for labels in movie.labels]).astype(np.float32)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of Trackastra's kind that has seen eighty small movies."""
    import yaml
    from trackastra.data import build_windows, get_features
    from trackastra.model import TrackingTransformer
    from trackastra.utils import normalize

    torch.manual_seed(0)
    net = TrackingTransformer(
        coord_dim=2, feat_dim=7, d_model=64, nhead=4, num_encoder_layers=1, num_decoder_layers=1, window=3,
        spatial_pos_cutoff=64, dropout=0.0, causal_norm="none",
    )  # fmt: skip
    examples = []
    for seed in range(80):
        movie = synthetic_movie(seed, n_frames=6, **SMALL)
        features = get_features(np.stack(movie.labels).astype(np.int64), normalize(images_of(movie)), ndim=2, progbar_class=lambda x, **_: x)  # fmt: skip
        cell = movie.truth.set_index(["frame", "label"])
        for window in build_windows(features, 3, as_torch=True, progbar_class=lambda x, **_: x):
            keys = list(zip(window["timepoints"].tolist(), window["labels"].tolist(), strict=True))
            own, parent = (np.array([cell[c].get(key, -1) for key in keys]) for c in ("cell", "parent"))
            time = np.array([key[0] for key in keys])
            born = np.array([not ((own == o) & (time == t - 1)).any() for o, t in zip(own, time, strict=True)])
            truth = (own[:, None] == own) | ((own[:, None] == parent) & born)
            examples.append((window, torch.from_numpy(truth.astype(np.float32)), torch.from_numpy(time - time[:, None] == 1)))  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        window, truth, counts = examples[int(rng.integers(len(examples)))]
        coords = torch.cat([window["timepoints"][:, None], window["coords"][:, -2:]], 1)[None].float()
        logits = net(coords, window["features"][None].float())[0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[counts], truth[counts])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("trackastra") / "small"
    net.save(folder)
    (folder / "train_config.yaml").write_text(yaml.safe_dump({"features": "wrfeat"}))
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SyntheticMovie]:
    """A run of a movie the network has not seen, with a division."""
    folder, movie = tmp_path_factory.mktemp("film"), synthetic_movie(103, n_frames=12, **SMALL)
    for k, (labels, image) in enumerate(zip(movie.labels, images_of(movie), strict=True)):
        place = folder / "images" / "DMSO"
        place.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(place / f"well_t{k:02d}_phase.tif", image.astype(np.uint16), imagej=True)
        write_labels(folder / "masks" / f"DMSO_well_t{k:02d}_mask.tif", labels)
    bridge.run(
        folder / "images", folder / "out", pattern="{condition}/{field}_t{frame}_{channel}.tif", masks=folder / "masks",
        engine="native", measure=["none"], device="cpu",
    )  # fmt: skip
    return folder / "out", movie


@needs_trackastra
@pytest.mark.slow
def test_its_links_become_tracks(
    model: Path, film: tuple[Path, SyntheticMovie], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, movie = tmp_path / "out", film[1]
    shutil.copytree(film[0], out)
    plain = bridge.track(out).tracks
    own = tmp_path / "model"
    shutil.copytree(model, own)
    handlers = list(logging.getLogger().handlers)
    found = bridge.track(out, settings=TrackSettings(trackastra=str(own)))
    assert logging.getLogger().handlers == handlers
    truth = movie.truth.rename(columns={"cell": "track_id", "parent": "parent_track_id"})
    scores = score_tracks(truth, found.tracks)
    assert scores.link_f1 > 0.9
    assert scores.divisions_right >= 1
    linked = found.tracks["link_cost"].dropna()
    assert linked.between(0, 1).all()
    assert not np.allclose(
        linked.sort_values().to_numpy()[:5], plain["link_cost"].dropna().sort_values().to_numpy()[:5]
    )
    assert found.divisions["confidence"].between(0.5, 1).all()
    assert (pd.read_csv(out / "cells.csv")["track_id"].notna()).all()
    told = json.loads((out / "tracks" / "tracking.json").read_text())
    assert told["trackastra_sha256"] == trackastra_links.model_digest(own)
    # A gap that the network leaves is closed as without it.
    assert set(found.tracks["gap_frames"]) <= {0, 1, 2}
    weights = torch.load(own / "model.pt", weights_only=True)
    torch.save({name: value * 2 for name, value in weights.items()}, own / "model.pt")
    (out / "tracks" / "tracks.csv").unlink()
    report = bridge.run(
        film[0].parent / "images", out, pattern="{condition}/{field}_t{frame}_{channel}.tif",
        masks=film[0].parent / "masks", engine="native", measure=["none"], device="cpu",
    )  # fmt: skip
    assert [f.message for f in report.failures] == [
        f"{own}: not the model that followed these cells. Bring it back, or give the new one: cellpose-fiji track {out} --trackastra FOLDER"
    ]
    torch.save({}, own / "model.pt")
    plain = bridge.track(out)
    state = (out / "tracks" / "tracking.json").read_bytes()
    with pytest.raises(BridgeError) as failed:
        bridge.track(out, settings=TrackSettings(trackastra=str(own)))
    assert str(failed.value).startswith(f"{own}: Trackastra failed (RuntimeError: ")
    assert (out / "tracks" / "tracking.json").read_bytes() == state  # what counted before counts again
    assert bridge.track(out).tracks.equals(plain.tracks)


@needs_trackastra
def test_what_is_no_model(film: tuple[Path, SyntheticMovie], tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        bridge.track(film[0], settings=TrackSettings(trackastra=str(tmp_path)))
    assert str(refused.value) == f"{tmp_path}: not a Trackastra model (got no model.pt, expected model.pt, config.yaml, train_config.yaml). Give the folder of a model, unpacked."  # fmt: skip


def test_without_trackastra_or_images(
    film: tuple[Path, SyntheticMovie], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = TrackSettings(trackastra=str(tmp_path))
    with pytest.raises(InputError) as refused:
        bridge.track(film[0].parent / "masks", tmp_path / "t", settings=how)
    assert str(refused.value) == "--trackastra: the network looks at the images (got label images alone, expected the folder of a run). Make a run of them first: cellpose-fiji run IMAGES --masks MASKS"  # fmt: skip
    monkeypatch.setattr(trackastra_links.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError) as missing:
        bridge.track(film[0], settings=how)
    assert str(missing.value) == "--trackastra: Trackastra is not installed. Install it: pip install 'cellpose-fiji-bridge[trackastra]'"  # fmt: skip


def test_links_of_a_network_have_weights() -> None:
    """Its weights are costs and confidences; a person's links have none, and no gap of theirs is closed."""
    frames = [np.zeros((60, 60), np.uint16) for _ in range(4)]
    frames[0][10:20, 10:20] = 1
    frames[1][8:14, 10:20], frames[1][16:22, 10:20] = 1, 2
    frames[2][8:14, 10:20] = 1  # the other one is not seen here
    frames[3][8:14, 10:20], frames[3][16:22, 10:20] = 1, 2
    rows = [(0, 1, 1, 1, 0.9), (0, 1, 1, 2, 0.6), (1, 1, 2, 1, 0.8), (2, 1, 3, 1, 0.7)]
    links = pd.DataFrame(rows, columns=["frame", "label", "to_frame", "to_label", "weight"])
    found = follow(4, frames.__getitem__, edges=links)
    assert found.divisions[["mother_track_id", "confidence"]].to_numpy().tolist() == [[1, 0.6]]
    tracks = found.tracks.set_index(["frame", "label"])
    assert tracks.loc[(3, 2), "track_id"] == tracks.loc[(1, 2), "track_id"]
    assert tracks.loc[(3, 2), "gap_frames"] == 1
    assert tracks.loc[(2, 1), "link_cost"] == pytest.approx(0.2)
    assert tracks.loc[1, "link_cost"].isna().all()  # both daughters begin there
    none = follow(4, frames.__getitem__, TrackSettings(division_confidence=2), edges=links)
    assert none.divisions.empty
    alone = none.tracks.set_index(["frame", "label"])["track_id"]
    assert alone[1, 1] == alone[0, 1] != alone[1, 2]  # the surer goes on
    by_hand = follow(4, frames.__getitem__, edges=links.drop(columns="weight"))
    assert by_hand.divisions["confidence"].tolist() == [1.0]
    apart = by_hand.tracks.set_index(["frame", "label"])["track_id"]
    assert apart[3, 2] != apart[1, 2]
