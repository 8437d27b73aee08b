"""The adapter for Cellpose 4, in an environment of its own:

    uv run --with 'cellpose>=4.2.1,<4.3' python -m pytest tests/segmentation/test_cellpose4.py

The weights of CP-SAM cannot be had in tests, so the network here is a one-block encoder with random weights: what is
tested is our side of every call, and Cellpose 4's own mask making on true flows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bridge.errors import ModelError, StoppedError
from bridge.scores.matching import match_labels
from bridge.segmentation.backend import Prediction, labels_of, planned
from bridge.segmentation.dynamics.flow_check import flow_errors
from bridge.segmentation.dynamics.masks import without_bad_flows
from bridge.segmentation.dynamics.shape_flows import targets_of_labels
from bridge.segmentation.models import cellpose_version, default_model, resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field

pytestmark = [
    pytest.mark.skipif(
        cellpose_version()[0] != 4,
        reason="Cellpose 3 is installed here; Cellpose 4 is tested in an environment of its own",
    ),
    pytest.mark.filterwarnings("ignore"),
]
FIELD = synthetic_field(seed=21, size_px=320, n_cells=22)


@pytest.fixture(scope="module")
def small_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of Cellpose 4 with one transformer block."""
    from cellpose import vit
    from segment_anything.modeling import ImageEncoderViT

    class Sam:
        def __init__(self) -> None:
            torch.manual_seed(0)
            self.image_encoder = ImageEncoderViT(depth=1, embed_dim=32, img_size=1024, mlp_ratio=2, num_heads=2, out_chans=256, patch_size=16, qkv_bias=True, use_rel_pos=True, window_size=14, global_attn_indexes=(0,))  # fmt: skip

    patch = pytest.MonkeyPatch()
    patch.setitem(vit.sam_model_registry, "vit_l", lambda _: Sam())
    path = tmp_path_factory.mktemp("model") / "small_sam"
    vit.CPSAM().save_model(str(path))
    yield path
    patch.undo()


@pytest.fixture(scope="module")
def sam(small_sam: Path) -> Segmenter:
    return Segmenter(str(small_sam), device="cpu")


def test_version_and_default() -> None:
    assert cellpose_version() >= (4, 2, 1)
    assert default_model() == "cpsam_v2"
    assert default_model(nuclei=True) == "cpsam_v2"


def test_a_whole_call(sam: Segmenter, small_sam: Path) -> None:
    result = sam.segment(FIELD.phase, 37)
    assert result.labels.shape == FIELD.phase.shape
    assert result.labels.dtype == np.uint16
    assert result.diameter_px == 37
    assert sam.info["cellpose"].startswith("4.")
    assert sam.info["model"] == str(small_sam)
    np.testing.assert_array_equal(result.labels, sam.segment(FIELD.phase, 37).labels)


def test_prediction_has_the_size_of_the_image_at_any_diameter(sam: Segmenter) -> None:
    for diameter, steps in ((None, 200), (30.0, 200), (60.0, 400)):
        prediction = sam._backend.predict(FIELD.phase, diameter, 8, True)
        assert prediction.flows.shape == (2, 320, 320)
        assert prediction.cellprob.shape == (320, 320)
        assert prediction.niter == steps


def test_it_is_watched_and_stopped(sam: Segmenter) -> None:
    told: list[float] = []
    watched = sam.segment(FIELD.phase, 20, batch_size=1, progress=told.append)
    np.testing.assert_array_equal(watched.labels, sam.segment(FIELD.phase, 20, batch_size=1).labels)
    assert told[0] == 0.0
    assert told[-1] == 1.0
    assert len(set(told)) == 10  # before and after each of nine tiles
    with pytest.raises(StoppedError):
        sam.segment(FIELD.phase, 20, batch_size=1, stop=lambda: True)
    np.testing.assert_array_equal(sam.segment(FIELD.phase, 20, batch_size=1).labels, watched.labels)


def test_the_call_before_has_no_say(sam: Segmenter) -> None:
    from cellpose import models

    first = sam._backend.predict(FIELD.phase, 30, 8, True)
    models.normalize_default["normalize"] = False
    try:
        second = sam._backend.predict(FIELD.phase, 30, 8, True)
    finally:
        models.normalize_default["normalize"] = True
    np.testing.assert_array_equal(first.cellprob, second.cellprob)


def test_masks_from_true_flows(sam: Segmenter) -> None:
    from cellpose import dynamics

    flows = dynamics.labels_to_flows([FIELD.cells.astype(np.int32).copy()], device=torch.device("cpu"))[0]
    cellprob = np.where(FIELD.cells > 0, 6.0, -6.0).astype(np.float32)
    prediction = Prediction(flows[-2:].astype(np.float32) * 5, cellprob, 200)
    labels = sam._backend.masks(prediction, 0.4, 0.0)[0].astype(np.uint16)
    match = match_labels(FIELD.cells, labels, 15)
    assert match.true.size >= 0.95 * match.n_true
    assert match.iou.mean() > 0.95


def test_models_of_cellpose_3_are_refused(tmp_path: Path) -> None:
    version = ".".join(map(str, cellpose_version()))
    with pytest.raises(ModelError) as refused:
        resolve_model("demo")
    assert (
        str(refused.value)
        == f"demo: a model of Cellpose 3 (got Cellpose {version} installed). Run it with cellpose==3.1.1.3."
    )
    path = tmp_path / "old"
    torch.save({"downsample.down.res_down_0.proj.1.weight": torch.ones(1)}, path)
    with pytest.raises(ModelError) as refused:
        resolve_model(str(path))
    assert (
        str(refused.value)
        == f"{path}: a model of Cellpose 3 (got Cellpose 4 installed). Run it with cellpose==3.1.1.3."
    )


def test_unknown_name_is_not_another_model() -> None:
    with pytest.raises(
        ModelError, match=r"^cyto3: no such model \(got cyto3, expected a model file or one of cpsam_v2, "
    ):
        resolve_model("cyto3")


def test_training_through_the_same_call(small_sam: Path, tmp_path: Path) -> None:
    import tifffile

    import bridge
    from bridge.errors import InputError
    from bridge.images.label_images import write_labels

    folder = tmp_path / "pairs"
    folder.mkdir()
    for k in range(2):
        field = synthetic_field(seed=60 + k, size_px=256, n_cells=9)
        tifffile.imwrite(folder / f"f{k}.tif", field.phase)
        write_labels(folder / f"f{k}_mask.tif", field.cells)
    said: list[str] = []
    how = {
        "base": str(small_sam),
        "epochs": 3,
        "device": "cpu",
        "min_size": 0,
        "flow_threshold": 0,
        "cellprob_threshold": -99,
    }
    # A network of random weights finds nothing of use; what is tested is that it is trained, written and read again.
    trained = bridge.train(folder, tmp_path / "m", held_out=["f1"], say=said.append, **how)
    assert "Cellpose 4 on a processor takes about 28 s for each of 6 crops: about 3 min. A GPU is advised." in said
    before, after = (torch.load(path, weights_only=True) for path in (small_sam, trained.model))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert (
        Segmenter(str(trained.model), "cpu").info["model_sha256"]
        in (trained.model.parent / "model_card.md").read_text()
    )
    with pytest.raises(InputError, match="--preset challenge: a recipe for Cellpose 3"):
        bridge.train(folder, tmp_path / "n", preset="challenge", **how)
    with pytest.raises(ModelError, match="none: a model of Cellpose 3"):
        bridge.train(folder, tmp_path / "n", **{**how, "base": "none"})


def made_cells(seed: int, size: int) -> np.ndarray:
    return synthetic_field(seed=seed, size_px=size, n_cells=size * size // 5000).cells


@pytest.mark.parametrize("seed", range(4))
def test_flows_are_checked_as_cellpose_does(seed: int) -> None:
    from cellpose import dynamics

    labels = made_cells(seed, 200 + 40 * seed).astype(np.uint16)
    theirs, _ = dynamics.masks_to_flows_gpu(labels.astype(int))
    np.testing.assert_allclose(targets_of_labels(labels, 4)[1:], theirs, rtol=0, atol=1e-5)
    flows = (5 * theirs + np.random.default_rng(seed).normal(0, 3, theirs.shape)).astype(np.float32)
    expected, _ = dynamics.flow_error(labels, flows, device=torch.device("cpu"))
    np.testing.assert_allclose(flow_errors(labels, flows, 4)[1:], expected, rtol=1e-9)
    threshold = float(np.median(expected))
    kept = without_bad_flows(labels, flows, threshold, 4)
    np.testing.assert_array_equal(np.unique(kept)[1:], 1 + np.nonzero(expected <= threshold)[0])


def test_masks_are_cellposes_own(sam: Segmenter) -> None:
    rng = np.random.default_rng(5)
    labels = made_cells(9, 320)
    targets = targets_of_labels(labels, 4)
    prediction = Prediction(
        (5 * targets[1:] + rng.normal(0, 2.2, targets[1:].shape)).astype(np.float32), 6 * targets[0] - 3, 200
    )
    for threshold in (0.0, 0.2, 0.4):
        expected, theirs = labels_of(prediction, threshold, 0.0, torch.device("cpu"))
        found, ours = sam._backend.masks(prediction, threshold, 0.0)
        np.testing.assert_array_equal(found, expected)
        assert ours == theirs


# ---------------------------------------------------------------- OpenVINO


def test_openvino_says_what_torch_says(small_sam: Path, sam: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Only where it is asked for; converted once, kept by the hash of the weights; one channel, and two."""
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path))
    assert sam.info["inference"] == "torch"
    asked = Segmenter(str(small_sam), "cpu", "openvino")
    assert str(asked.info["inference"]).startswith("openvino ")
    assert str(asked.info["inference"]).endswith(", f32")
    for image in (FIELD.phase, np.stack([FIELD.phase, FIELD.topro])):
        ours = asked._backend.predict(image.astype(np.float32), 37.0, 8, True)
        theirs = sam._backend.predict(image.astype(np.float32), 37.0, 8, True)
        largest = np.abs(theirs.flows).max()
        np.testing.assert_allclose(ours.flows, theirs.flows, atol=1e-5 * largest)
        np.testing.assert_allclose(ours.cellprob, theirs.cellprob, atol=1e-5 * max(1, np.abs(theirs.cellprob).max()))
        assert ours.niter == theirs.niter
    np.testing.assert_array_equal(asked.segment(FIELD.phase, 37).labels, sam.segment(FIELD.phase, 37).labels)
    (kept,) = (tmp_path / "openvino").iterdir()
    assert kept.name.startswith(asked.model.sha256[:32])
    changed = kept.stat().st_mtime_ns
    Segmenter(str(small_sam), "cpu", "openvino")
    assert kept.stat().st_mtime_ns == changed


def test_fast_is_what_a_card_computes(small_sam: Path, sam: Segmenter) -> None:
    fast = Segmenter(str(small_sam), "cpu", "auto", "fast")
    words = str(fast.info["inference"])
    assert words.startswith(planned("auto", "cpu", "fast"))
    image = FIELD.phase.astype(np.float32)
    ours, theirs = (each._backend.predict(image, 37.0, 8, True).cellprob for each in (fast, sam))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
    assert str(Segmenter(str(small_sam), "cpu", "torch", "fast").info["inference"]) == "torch"
    assert planned("auto", "cpu") == planned("torch", "cpu", "fast") == "torch"
