"""Real Cellpose 3.1.1.3 with real networks: `demo`, and `cyto_0` where it can be fetched."""

from __future__ import annotations

import hashlib
import http.server
import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bridge.errors import MissingDependencyError, ModelError, SegmentationError
from bridge.files import sha256
from bridge.labels import touches_border
from bridge.scores.matching import match_labels
from bridge.segmentation.backend import Prediction, labels_of
from bridge.segmentation.cyto_0 import _convert_mxnet
from bridge.segmentation.kept import Made, kept_cells
from bridge.segmentation.models import _hash_of_first_use, resolve_model
from bridge.segmentation.normalisation import Normalisation
from bridge.segmentation.segmenter import Segmenter
from bridge.segmentation.tiles import stitch, tiles
from bridge.segmentation.watch import Watch
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=21, size_px=320, n_cells=22)


def found(truth: np.ndarray, labels: np.ndarray) -> float:
    match = match_labels(truth, labels, 15)
    return match.true.size / match.n_true


def test_the_demo_network_finds_synthetic_cells(segmenter: Segmenter) -> None:
    result = segmenter.segment(FIELD.phase, 37)
    assert found(FIELD.cells, result.labels) >= 0.9
    assert result.labels.dtype == np.uint16
    assert np.unique(result.labels).tolist() == list(range(result.labels.max() + 1))
    assert found(FIELD.nuclei, segmenter.segment(FIELD.topro, 24).labels) >= 0.9


def test_auto_diameter_takes_the_median_found(segmenter: Segmenter) -> None:
    auto = segmenter.segment(FIELD.topro, "auto")
    assert auto.diameter_px == pytest.approx(18, abs=3)
    assert segmenter.segment(FIELD.topro).diameter_px == 37  # the model's own


def test_the_call_before_has_no_say(segmenter: Segmenter) -> None:
    from cellpose import models

    first = segmenter.segment(FIELD.phase, 37).labels
    models.normalize_default["normalize"] = False  # what eval(normalize=False) leaves behind
    try:
        np.testing.assert_array_equal(segmenter.segment(FIELD.phase, 37).labels, first)
    finally:
        models.normalize_default["normalize"] = True


def test_the_callers_image_is_not_changed(segmenter: Segmenter) -> None:
    image = FIELD.phase.astype(np.float32)
    segmenter.segment(image, 37)
    np.testing.assert_array_equal(image, FIELD.phase.astype(np.float32))


def test_small_and_border_cells(segmenter: Segmenter) -> None:
    every = segmenter.segment(FIELD.phase, 37, min_size=0).labels
    kept = segmenter.segment(FIELD.phase, 37, min_size=600).labels
    areas = np.bincount(every.ravel())[1:]
    assert sorted(np.bincount(kept.ravel())[1:]) == sorted(areas[areas >= 600])
    inner = segmenter.segment(FIELD.phase, 37, border="drop").labels
    assert touches_border(every).any()
    assert not touches_border(inner).any()


@pytest.mark.parametrize("value", [0, 100])
def test_an_image_without_contrast_has_no_cells(segmenter: Segmenter, value: int) -> None:
    assert segmenter.segment(np.full((200, 200), value, np.uint16), 37).labels.max() == 0


def test_not_one_plane(segmenter: Segmenter) -> None:
    with pytest.raises(SegmentationError) as refused:
        segmenter.segment(np.ones((3, 2, 40, 40)), 37, name="a.tif")
    assert str(refused.value) == "a.tif: not one plane (got shape (3, 2, 40, 40), expected (Y, X)). Choose one channel."


# ---------------------------------------------------------------- tiles


@pytest.mark.slow
def test_tiles_cut_no_cell(segmenter: Segmenter) -> None:
    field = synthetic_field(seed=5, size_px=900, n_cells=120)
    whole = segmenter.segment(field.phase, 37)
    tiled = segmenter.segment(field.phase, 37, tile=600)
    assert tiled.cut == ()
    assert abs(int(tiled.labels.max()) - int(whole.labels.max())) <= 2
    assert found(field.cells, tiled.labels) >= found(field.cells, whole.labels) - 0.02


def test_stitching_known_tiles_is_exact() -> None:
    truth = synthetic_field(seed=6, size_px=1000, n_cells=150).cells.astype(np.int64)

    def parts() -> object:
        for window in tiles(truth.shape, 400, 120):
            yield window, truth[window]

    labels, cut = stitch(parts(), truth.shape)  # type: ignore[arg-type]
    assert cut == []
    pairs = np.unique(np.stack([truth.ravel(), labels.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(truth)) == len(np.unique(labels))


def test_a_cell_longer_than_the_overlap_is_kept_and_said() -> None:
    truth = np.zeros((100, 1000), np.int64)
    truth[40:60, 100:900] = 1

    def parts() -> object:
        for window in tiles(truth.shape, 400, 100):
            yield window, truth[window]

    labels, cut = stitch(parts(), truth.shape)  # type: ignore[arg-type]
    assert len(cut) >= 1
    np.testing.assert_array_equal(labels > 0, truth > 0)


@pytest.mark.parametrize(("length", "tile", "overlap"), [(5000, 4096, 256), (10000, 4096, 300), (4097, 4096, 256)])
def test_tiles_cover_everything_with_overlap(length: int, tile: int, overlap: int) -> None:
    rows = sorted({(r.start, r.stop) for r, _ in tiles((length, 10), tile, overlap)})
    assert rows[0][0] == 0
    assert rows[-1][1] == length
    assert all(b - a <= tile for a, b in rows)
    assert all(before[1] - after[0] >= overlap for before, after in itertools.pairwise(rows))


# ---------------------------------------------------------------- models


def test_unknown_model_is_an_error_not_another_model() -> None:
    with pytest.raises(ModelError) as refused:
        resolve_model("cyto33")
    text = str(refused.value)
    assert text.startswith("cyto33: no such model (got cyto33, expected a model file or one of cyto3, nuclei, ")
    assert text.endswith("cyto_0, demo). Did you mean cyto3?")


def test_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"no model")
    with pytest.raises(
        ModelError,
        match=r"model: not a Cellpose model \(.*; expected the file that training wrote\)\. Check its path\.$",
    ):
        resolve_model(str(path))
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(
        ModelError, match=r"model: not a Cellpose model \(its weights are named otherwise\)\. Check its path\.$"
    ):
        resolve_model(str(path))


def test_a_model_with_holes_in_it(tmp_path: Path) -> None:
    weights = torch.load(resolve_model("demo").path, weights_only=True)
    key = next(name for name in weights if name.endswith("conv_0.2.weight"))
    path = tmp_path / "model"
    torch.save({**weights, key: torch.full_like(weights[key], float("nan"))}, path)
    with pytest.raises(ModelError) as refused:
        resolve_model(str(path))
    assert str(refused.value) == f"{path}: a damaged model (got {key} that is not numbers throughout). Train it again."
    torch.save({name: weight for name, weight in weights.items() if name != key}, path)
    with pytest.raises(ModelError) as refused:
        Segmenter(resolve_model(str(path)), "cpu")
    assert str(refused.value) == (
        f"{path}: a damaged model (its weights {key} are missing or of another size). Train it again."
    )


def test_model_of_the_other_cellpose(tmp_path: Path) -> None:
    path = tmp_path / "cpsam"
    torch.save({"W2": torch.ones(1), "encoder.x": torch.ones(1)}, path)
    with pytest.raises(ModelError) as refused:
        resolve_model(str(path))
    assert str(refused.value) == (
        f"{path}: a model of Cellpose 4 (got Cellpose 3 installed). Run it with 'cellpose>=4.2.1,<4.3'."
    )


@pytest.mark.slow
def test_weights_that_cannot_be_fetched_name_another_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cellpose import models

    monkeypatch.setattr(models, "MODEL_DIR", tmp_path)
    monkeypatch.setattr(models, "_MODEL_URL", "http://127.0.0.1:9")
    with pytest.raises(MissingDependencyError) as refused:
        resolve_model()
    text = str(refused.value)
    assert text.startswith("cyto3: its weights could not be downloaded (127.0.0.1:9 cannot be reached). ")
    assert text.endswith(
        "Connect to a network once, use --model cyto_0, whose weights come from the Python package index, or the path of a model file."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def weights_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, tuple[int, bytes]]]:
    """A server of weights on this machine: name -> (length it promises, what it sends)."""
    from cellpose import models

    files: dict[str, tuple[int, bytes]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            promised, content = files[self.path.strip("/")]
            self.send_response(200)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(models, "MODEL_DIR", tmp_path / "models")
    monkeypatch.setattr(models, "_MODEL_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path / "cache"))
    yield files
    server.shutdown()
    server.server_close()


def test_weights_are_downloaded_once(weights_server: dict[str, tuple[int, bytes]], tmp_path: Path) -> None:
    weights_server["cyto3"] = (5, b"whole")
    assert resolve_model("cyto3").path.read_bytes() == b"whole"
    weights_server.clear()
    assert resolve_model("cyto3").sha256 == hashlib.sha256(b"whole").hexdigest()


@pytest.mark.slow
def test_a_download_that_is_cut_leaves_nothing(weights_server: dict[str, tuple[int, bytes]], tmp_path: Path) -> None:
    weights_server["cyto3"] = (1000, b"cut")
    with pytest.raises(MissingDependencyError, match=r"^cyto3: its weights could not be downloaded \("):
        resolve_model("cyto3")
    assert list((tmp_path / "models").iterdir()) == []


def test_weights_that_changed_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cyto3"
    path.write_bytes(b"a")
    _hash_of_first_use("cyto3", path)
    path.write_bytes(b"b")
    with pytest.raises(
        ModelError,
        match=r"cyto3: not the weights that were used before \(got SHA-256 3e23e8160039\.\.\., expected ca978112ca1b\.\.\.\)",
    ):
        _hash_of_first_use("cyto3", path)


def test_a_model_that_is_not_the_one_that_was_trained_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    shutil.copy(resolve_model("demo").path, path)
    record = tmp_path / "training.json"
    record.write_text(json.dumps({"model": "mine", "model_sha256": sha256(path)}))
    assert resolve_model(str(path)).sha256 == sha256(path)
    record.write_text(json.dumps({"model": "mine", "model_sha256": "0" * 64}))
    with pytest.raises(ModelError) as refused:
        resolve_model(str(path))
    assert str(refused.value) == (
        f"{path}: not the model that was trained here (its SHA-256 is not the one in training.json). It was damaged or exchanged: "
        "copy it again, or train it again."
    )
    for odd in ("[]", "{", "null", '{"model": 3}'):
        record.write_text(odd)
        assert resolve_model(str(path)).sha256 == sha256(path)


def test_damaged_weights_of_cyto_0_are_refused(
    cyto_0: Segmenter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = resolve_model("cyto_0").path
    copy = tmp_path / "models" / "cyto_0"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path))
    resolve_model("cyto_0")
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"cyto_0: not the weights that were used before \(got SHA-256 "):
        resolve_model("cyto_0")
    for odd in ("[]", "{", '{"3/cyto_0": 1}'):
        (tmp_path / "weights.json").write_text(odd)
        with pytest.raises(
            ModelError, match=r"weights\.json: (cannot be read \(.*\)|not the hashes of models' weights)\. Delete it\."
        ):
            resolve_model("cyto_0")


def test_a_wheel_with_other_bytes_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path / "cache"))
    wheel = tmp_path / "cellpose-0.0.1-py3-none-any.whl"
    wheel.write_bytes(b"other")
    with pytest.raises(
        ModelError, match=r"not the cellpose 0\.0\.1 wheel \(its SHA-256 differs\)\. Download it again\.$"
    ):
        resolve_model(str(wheel))


def test_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA GPU")
    with pytest.raises(MissingDependencyError) as refused:
        Segmenter("demo", device="cuda")
    assert str(refused.value) == (
        "--device cuda: not available on this machine (got cpu). Run `cellpose-fiji doctor`, or leave it out."
    )


@pytest.mark.slow
def test_cyto_0_is_the_original_network(cyto_0: Segmenter) -> None:
    assert cyto_0._backend.diameter_px == 27
    assert cyto_0.model.pad_px == 0
    labels = cyto_0.segment(FIELD.topro, 18.5).labels
    assert found(FIELD.nuclei, labels) >= 0.85


def test_mxnet_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^cyto_0: not an MXNet parameter file\. Fetch the wheel again\.$"):
        _convert_mxnet(bytes(40), tmp_path / "x")


@pytest.mark.parametrize("share", [0.1, 0.35, 0.45, 0.6, 0.75])
def test_a_cell_of_any_size_is_kept(segmenter: Segmenter, share: float) -> None:
    """Cellpose drops what is larger than 0.4 of the image, without a word (max_size_fraction)."""
    side = 240
    y, x = np.indices((side, side)) - (side - 1) / 2
    disc = (x * x + y * y < share * side * side / np.pi).astype(np.uint16)
    said = segmenter.targets(disc)
    prediction = Prediction(5 * said[1:], np.where(disc, 6, -6).astype(np.float32), 2000)
    found, dropped = labels_of(prediction, 0.4, 0.0, torch.device("cpu"))
    assert not +dropped
    assert np.array_equal(found > 0, disc > 0)
    assert found.max() == 1
    kept = kept_cells(Made(found.astype(np.int64), [], dropped), None, 15, "keep", "image")
    assert kept.large == ((1,) if share > 0.4 else ())


def test_masks_are_cellposes_own_and_what_it_drops_is_counted(segmenter: Segmenter) -> None:
    from cellpose import dynamics

    labels = np.zeros((120, 160), np.uint16)
    labels[10:50, 10:50], labels[20:40, 20:40] = 1, 2  # the second in a hole of the first
    labels[60:90, 10:40], labels[60:90, 60:90], labels[60:63, 120:123] = 3, 4, 5
    labels[5:35, 100:130], labels[100:120, 70:100] = 6, 7
    said = segmenter.targets(labels)
    flows = 5 * said[1:]
    flows[:, 60:75, 60:90] = -flows[:, 60:75, 60:90]  # half of the fourth flows the other way
    prediction = Prediction(flows, np.where(labels, 6, -6).astype(np.float32), 200)
    device = torch.device("cpu")
    for threshold in (0.0, 0.05, 0.4):
        made, dropped = labels_of(prediction, threshold, 0.0, device)
        expected = dynamics.resize_and_compute_masks(
            prediction.flows, prediction.cellprob, niter=200, flow_threshold=threshold, min_size=-1, max_size_fraction=1.0, device=device
        )  # fmt: skip
        np.testing.assert_array_equal(made, expected)
        everything = dynamics.compute_masks(prediction.flows, prediction.cellprob, niter=200, flow_threshold=0.0, max_size_fraction=1.0, device=device)  # fmt: skip
        n_found = len(np.unique(everything)) - 1
        assert n_found == len(np.unique(made)) - 1 + dropped.total()
    assert dropped["flow"] >= 1
    assert dropped["inside"] == 1
    kept = kept_cells(Made(made.astype(np.int64), [], dropped), None, 15, "drop", "image")
    assert kept.dropped["border"] == 1
    assert kept.dropped.total() + kept.labels.max() == n_found
    half = labels_of(prediction, 0.4, 0.0, device, (slice(0, 55), slice(0, 60)))
    assert half[0].shape == (55, 60)
    assert half[1] == {"flow": 0, "inside": 1}


@pytest.mark.parametrize("shape", [(1, 200), (3, 200), (6, 6)])
def test_an_image_smaller_than_a_cell(segmenter: Segmenter, shape: tuple[int, int]) -> None:
    image = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    with pytest.raises(SegmentationError) as refused:
        segmenter.segment(image, diameter=2000, name="a.tif")
    assert str(refused.value) == (
        f"a.tif: too small for this diameter (got {shape[0]} x {shape[1]} px, expected sides of more than a few px at the network's scale). "
        "Give a smaller --diameter, or leave the image out."
    )


@pytest.mark.parametrize(
    "seen",
    [
        Normalisation(invert=True),
        Normalisation((0.0, 100.0)),
        Normalisation((5.0, 90.0)),
        Normalisation((5.0, 90.0), True),
        Normalisation((2.0, 99.0), block_px=40),
    ],
)
def test_the_grey_scale_is_cellposes_own(segmenter: Segmenter, seen: Normalisation) -> None:
    from cellpose import transforms

    image = synthetic_field(seed=4, size_px=96, n_cells=4).phase
    shown: list[np.ndarray] = []
    real = segmenter._backend.predict

    def predict(
        image: np.ndarray, diameter: float | None, batch_size: int, normalize: bool, watch: Watch
    ) -> Prediction:
        assert not normalize
        shown.append(image)
        return real(image, diameter, batch_size, normalize, watch)

    segmenter._backend.predict = predict  # type: ignore[method-assign]
    try:
        segmenter.segment(image, diameter=37, normalisation=seen)
    finally:
        del segmenter._backend.predict
    expected = transforms.normalize_img(
        image[..., None].astype(np.float32),
        axis=-1,
        percentile=list(seen.percentiles),
        invert=seen.invert,
        tile_norm_blocksize=seen.block_px,
    )[..., 0]
    pad = segmenter.model.pad_px
    inside = shown[0][pad:-pad, pad:-pad] if pad and shown[0].shape != image.shape else shown[0]
    np.testing.assert_allclose(inside, expected, atol=1e-5)


def test_dark_cells_on_a_bright_ground(segmenter: Segmenter) -> None:
    field = synthetic_field(seed=4, size_px=160, n_cells=6)
    dark = field.phase.max() - field.phase
    plain = match_labels(field.cells, segmenter.segment(field.phase, diameter=37).labels, 0.5).true.size
    inverted = match_labels(
        field.cells, segmenter.segment(dark, diameter=37, normalisation=Normalisation(invert=True)).labels, 0.5
    ).true.size
    assert inverted == plain > 3
