"""What an adapter of a Cellpose version can do, and what both versions do alike."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from bridge.errors import MissingDependencyError
from bridge.files import sha256, whole_file
from bridge.segmentation.dynamics.masks import n_objects
from bridge.segmentation.dynamics.shape_flows import targets_of_labels
from bridge.segmentation.models import ModelFile, cellpose_version, require_version
from bridge.segmentation.watch import NOBODY, Watch
from bridge.segmentation.within_memory import WithinMemory

Window = tuple[slice, slice]
Inference = Literal["auto", "torch", "openvino", "compile"]
Precision = Literal["exact", "fast"]
Again = Callable[[npt.NDArray[np.bool_]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
WHOLE: Window = (slice(None), slice(None))
# Complete at every call: Cellpose keeps what an earlier call turned off (models.normalize_default is changed in place).
NORMALIZE: dict[str, Any] = {
    "lowhigh": None,
    "percentile": None,
    "normalize": True,
    "norm3D": True,
    "sharpen_radius": 0,
    "smooth_radius": 0,
    "tile_norm_blocksize": 0,
    "tile_norm_smooth3D": 1,
    "invert": False,
}


@dataclass(frozen=True)
class Prediction:
    """What the network says about one image; masks are made from it without the network.

    Attributes
    ----------
    flows : ndarray of float32, shape (2, Y, X)
        Flow along y and x.
    cellprob : ndarray of float32, shape (Y, X)
        Logit of being a cell.
    niter : int
        Steps by which the flows are followed.
    again : callable, optional
        From the pixels of doubtful cells (boolean, Y, X) to flows and cellprob that are computed exactly there; what it was
        asked before makes no difference.
    """

    flows: npt.NDArray[np.float32]
    cellprob: npt.NDArray[np.float32]
    niter: int
    again: Again | None = None


class Backend(Protocol):
    """A loaded model of one Cellpose version."""

    device: str
    diameter_px: float | None
    """The model's own diameter; None when it does not rescale."""
    most_channels: int
    """That it looks at."""
    shares_batches: bool
    """Whether images that several threads show it share batches."""

    @property
    def inference(self) -> str:
        """What computes the network, in words."""

    @property
    def net(self) -> Any:
        """The network, a torch module; training changes it in place."""

    def predict(
        self,
        image: npt.NDArray[Any],
        diameter_px: float | None,
        batch_size: int,
        normalize: bool,
        watch: Watch = NOBODY,
    ) -> Prediction:
        """Run the network on one plane (Y, X), or on several (C, Y, X): the cell, the nucleus."""

    def masks(
        self, prediction: Prediction, flow_threshold: float, cellprob_threshold: float, window: Window = WHOLE
    ) -> tuple[npt.NDArray[Any], Counter[str]]:
        """Make a label image (Y, X), and count what was dropped: see `labels_of`. Small objects are still in it."""

    def kinds(self, prediction: Any, window: Window = WHOLE) -> npt.NDArray[np.uint8]:
        """Return the number of each pixel's class, of a model that has classes."""

    def style(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the network's style vector of an image (Y, X) or (2, Y, X), shape (256,)."""

    def styles_of_crops(
        self, images: Sequence[npt.NDArray[np.float32]], crop_px: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the style vectors of random crops (one for each prepared image), and by how much each was scaled."""

    def prepared(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return an image as training takes it: (C, Y, X), on the grey scale of its 1st to 99th percentile."""

    def crops(
        self,
        images: Sequence[npt.NDArray[np.float32]],
        targets: Sequence[npt.NDArray[np.float32]],
        rescale: npt.NDArray[np.float64],
        crop_px: int,
        scale_range: float,
    ) -> tuple[Any, Any]:
        """Return a turned, mirrored, scaled crop of each image (tensor) and of its target; NumPy's generator decides."""

    def loss(self, output: Any, target: Any) -> Any:
        """Return Cellpose's loss of the network's output."""

    def save(self, file: IO[bytes], diameter_px: float) -> None:
        """Write the weights as Cellpose does, with the diameter of the cells they were trained on."""


def targets_of(labels: npt.NDArray[Any], device: Any) -> npt.NDArray[np.float32]:
    """Return what the network should say about a label image (Y, X): cell or not, flow along y and x (3, Y, X).

    Cellpose's own flows, by diffusion from the centre of each cell; the call is the same in both versions.
    """
    if device.type == "cpu":
        return targets_of_labels(labels, cellpose_version()[0])
    from cellpose import dynamics

    # Cellpose renumbers what it gets in place.
    flows = dynamics.labels_to_flows([labels.astype(np.int32)], device=device)[0]
    return np.ascontiguousarray(flows[1:4], np.float32)


def labels_of(
    prediction: Prediction,
    flow_threshold: float,
    cellprob_threshold: float,
    device: Any,
    window: Window = WHOLE,
    check: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] | None = None,
) -> tuple[npt.NDArray[Any], Counter[str]]:
    """Make a label image of what the network said, and count what Cellpose drops on the way.

    Cellpose's own steps, as its ``dynamics.resize_and_compute_masks`` makes them in both versions.

    Parameters
    ----------
    prediction : Prediction
    flow_threshold, cellprob_threshold : float
    device : torch.device
    window : (slice, slice)
        The part of the image that counts; what lies beyond is cut off.
    check : callable, optional
        Takes the cells out whose flows do not fit, in place of Cellpose's own check.

    Returns
    -------
    labels : ndarray of unsigned int, shape (Y, X)
    dropped : Counter
        Objects in the window that were dropped, by reason: ``flow`` (their flows do not fit), ``inside`` (they lay in a
        hole of another cell, which was filled).
    """
    from cellpose import dynamics, utils

    masks: npt.NDArray[Any] = dynamics.compute_masks(
        prediction.flows,
        prediction.cellprob,
        niter=prediction.niter,
        cellprob_threshold=cellprob_threshold,
        flow_threshold=0.0,
        max_size_fraction=1.0,  # Cellpose drops what is larger than 0.4 of the image, without a word
        device=device,
    )
    found = n_objects(masks[window])
    if masks.max() > 0 and flow_threshold > 0:
        if check is not None:
            masks = check(masks)
        else:
            masks = dynamics.remove_bad_flow_masks(masks, prediction.flows, threshold=flow_threshold, device=device)
    fitting = n_objects(masks[window])
    # min_size=-1: with a size, 3.1.1.3 removes by rank instead of label and so deletes good cells.
    labels: npt.NDArray[Any] = utils.fill_holes_and_remove_small_masks(masks, min_size=-1)[window]
    return labels, Counter(flow=found - fitting, inside=fitting - n_objects(labels))


def with_openvino_4(inference: Inference, precision: Precision) -> bool:
    """Whether OpenVINO shall compute a network of Cellpose 4 on a processor: only where it is asked for.

    That its cells are those of torch could not be seen on CP-SAM's own weights.
    """
    return inference == "openvino" or (inference == "auto" and precision == "fast")


def planned(inference: Inference, device: str = "auto", precision: Precision = "exact") -> str:
    """Return what would compute a network on a processor here, for a record; nothing is loaded.

    Examples
    --------
    >>> planned("torch")
    'torch'
    """
    if inference == "compile":
        return "torch.compile"
    asked = inference != "torch" if cellpose_version()[0] == 3 else with_openvino_4(inference, precision)
    if not asked or device in ("cuda", "mps") or importlib.util.find_spec("openvino") is None:
        return "torch"
    return f"openvino {version('openvino')}"


def load_backend(
    model: ModelFile, device: str = "auto", inference: Inference = "auto", precision: Precision = "exact"
) -> Backend:
    """Load a model into the installed Cellpose.

    Parameters
    ----------
    model : ModelFile
    device : {"auto", "cpu", "cuda", "mps"}
    inference : {"auto", "torch", "openvino", "compile"}
        What computes a network on a processor.
    precision : {"exact", "fast"}

    Raises
    ------
    MissingDependencyError
        The device is not there, or Cellpose is missing.
    """

    def on(device: Any) -> Any:
        if model.classes:
            from bridge.segmentation.mask_rcnn import MaskRcnn

            return MaskRcnn(model, device)
        if cellpose_version()[0] == 3:
            from bridge.segmentation.cellpose3 import Cellpose3

            return Cellpose3(model, device, inference, precision)
        from bridge.segmentation.cellpose4 import Cellpose4

        return Cellpose4(model, device, inference, precision)

    chosen = torch_device(device)
    if chosen.type == "cpu":
        found: Backend = on(chosen)
        return found
    within: Any = WithinMemory(on(chosen), lambda: on(torch_device("cpu")))
    return within  # type: ignore[no-any-return]


def new_network(path: Path, features: int = 32, seed: int = 0) -> ModelFile:
    """Write a network that has learnt nothing yet, to be trained from nothing.

    Parameters
    ----------
    path : Path
    features : int
        At its first level; Cellpose's own networks have 32.
    seed : int
        For its random weights.

    Raises
    ------
    ModelError
        Cellpose 4 is installed, which can only be trained further.
    """
    require_version("none", 3)
    from bridge.segmentation.cellpose3 import write_new_network

    with whole_file(path) as part:
        write_new_network(part, features, seed)
    return ModelFile("none", path, sha256(path))


def torch_device(name: str) -> Any:
    """Return the torch device that `auto`, `cpu`, `cuda` or `mps` means here.

    Raises
    ------
    MissingDependencyError
        Cellpose itself would fall back to the processor in silence.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there[name]:
        raise MissingDependencyError(
            f"--device {name}: not available on this machine (got {', '.join(k for k, v in there.items() if v)}). Run `cellpose-fiji doctor`, or leave it out."
        )
    return torch.device(name)
