"""One image -> one label image: diameter, tiles, small and border cells; the same for both Cellpose versions."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from bridge.errors import SegmentationError
from bridge.labels import Labels
from bridge.segmentation.backend import Backend, Inference, Precision, load_backend, targets_of, torch_device
from bridge.segmentation.diameter import median_diameter
from bridge.segmentation.kept import Made, Segmented, kept_cells, without_small
from bridge.segmentation.models import ModelFile, cellpose_version, resolve_model, size_model_of
from bridge.segmentation.network_cache import NetworkCache
from bridge.segmentation.normalisation import CELLPOSES, Normalisation
from bridge.segmentation.size_model import SizeModel
from bridge.segmentation.tiles import stitch, tiles
from bridge.segmentation.watch import Watch
from bridge.segmentation.within_memory import out_of_memory

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.segmentation.network_training import Training
    from bridge.segmentation.recipe import Recipe

_LEAST_OVERLAP_PX = 256


class Segmenter:
    """A Cellpose model, loaded once for many images.

    Parameters
    ----------
    model : ModelFile or str, optional
        See `bridge.segmentation.models.resolve_model`.
    device : {"auto", "cpu", "cuda", "mps"}
    inference : {"auto", "torch", "openvino", "compile"}
        What computes a network of Cellpose 3 on a processor; auto: OpenVINO where it can.
    precision : {"exact", "fast"}
        ``exact``: the masks of Cellpose's own eval. ``fast``: bfloat16 where the processor has it.
    keep : Path, optional
        Folder where what the network says of each image is kept, and looked up.

    Examples
    --------
    >>> from bridge.synthetic import synthetic_field
    >>> field = synthetic_field(seed=1, size_px=128, n_cells=4)
    >>> segmenter = Segmenter("demo", device="cpu")
    >>> segmenter.segment(field.phase).labels.shape
    (128, 128)
    """

    def __init__(
        self,
        model: ModelFile | str | None = None,
        device: str = "auto",
        inference: Inference = "auto",
        precision: Precision = "exact",
        keep: Path | None = None,
    ) -> None:
        self.model = model if isinstance(model, ModelFile) else resolve_model(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._backend: Backend = load_backend(self.model, device, inference, precision)
        if keep is not None:
            self._backend = cast("Backend", NetworkCache(self._backend, keep, self._identity))
        self._size: SizeModel | None = None
        # torch's word about a call of Cellpose's is nothing a user can mend; masks are made in threads, where only a
        # lasting filter is safe.
        warnings.filterwarnings("ignore", message="Sparse invariant checks")

    @property
    def info(self) -> dict[str, Any]:
        """What runs: Cellpose's version, the model and its hash, the device."""
        import torch

        return {
            "cellpose": ".".join(map(str, cellpose_version())),
            "torch": torch.__version__,
            "model": self.model.name,
            "model_sha256": self.model.sha256,
            "device": self._backend.device,
            "inference": self._backend.inference,
        }

    def _identity(self) -> dict[str, Any]:
        """What tells it from another network; how many tiles a card has room for does not."""
        return self.info if self._backend.device == "cpu" else {**self.info, "inference": ""}

    @property
    def shares_batches(self) -> bool:
        """Whether images that several threads let it look at come out sooner: on a card their tiles share batches."""
        return self._backend.shares_batches

    @property
    def own_diameter_px(self) -> float | None:
        """Diameter of a cell that the model was trained on; None for a network that does not rescale."""
        return self._backend.diameter_px

    def segment(
        self,
        image: npt.NDArray[Any],
        diameter: float | Literal["auto", "style"] | None = None,
        flow_threshold: float = 0.4,
        cellprob_threshold: float = 0.0,
        min_size: int = 15,
        border: Literal["keep", "drop"] = "keep",
        batch_size: int = 8,
        tile: int = 4096,
        name: str = "image",
        normalisation: Normalisation = CELLPOSES,
        progress: Callable[[float], object] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Segmented:
        """Find the cells of one image.

        Parameters
        ----------
        image : ndarray, shape (Y, X), or (C, Y, X); of two the first shows the cell, the second the nucleus
        diameter : float, "auto", "style" or None
            Diameter of a cell in px; None is the model's own; "auto" runs twice, the second time with the median
            diameter found; "style" does so after a first estimate by the model's size model.
        flow_threshold, cellprob_threshold : float
            Cellpose's.
        min_size : int
            Cells of fewer px are removed.
        border : {"keep", "drop"}
            What happens to cells that touch the image border.
        batch_size : int
        tile : int
            Longest side in px that is segmented at once.
        name : str
            Named in messages.
        normalisation : Normalisation
            The grey scale that the network sees.
        progress : callable, optional
            Is given the share of the network's work that is done, from 0 to 1, after each batch of tiles.
        stop : callable, optional
            Is asked before each batch of tiles whether the work shall stop.

        Returns
        -------
        Segmented

        Raises
        ------
        SegmentationError
            Cellpose failed, e.g. out of memory.
        StoppedError
            It was asked to stop.
        """
        return self.predict(
            image, diameter, flow_threshold, cellprob_threshold, min_size, border, batch_size, tile, name,
            normalisation, progress, stop,
        )()  # fmt: skip

    def predict(
        self,
        image: npt.NDArray[Any],
        diameter: float | Literal["auto", "style"] | None = None,
        flow_threshold: float = 0.4,
        cellprob_threshold: float = 0.0,
        min_size: int = 15,
        border: Literal["keep", "drop"] = "keep",
        batch_size: int = 8,
        tile: int = 4096,
        name: str = "image",
        normalisation: Normalisation = CELLPOSES,
        progress: Callable[[float], object] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Callable[..., Segmented]:
        """Run the network on one image; what is returned makes the label image, also in another thread.

        So the network can look at the next image meanwhile. Parameters and errors as in `segment`, of the returned
        callable as well, which takes another flow and cell probability threshold (not for an image larger than `tile`).
        """
        if image.ndim not in (2, 3):
            raise SegmentationError(
                f"{name}: not one plane (got shape {image.shape}, expected (Y, X)). Choose one channel."
            )
        self._require_channels(image, name)
        shape = image.shape[-2:]
        thresholds = (batch_size, tile, flow_threshold, cellprob_threshold, normalisation)
        watch = Watch(progress, stop)
        looks = 2 if diameter in ("auto", "style") else 1
        with _named(name, shape):
            chosen = float(diameter) if isinstance(diameter, int | float) else self._backend.diameter_px
            if diameter == "style":
                chosen = self.style_diameter_px(image)
            masks = self._predict(image, chosen, *thresholds, watch.part(0, looks))
            if diameter in ("auto", "style"):
                found = median_diameter(without_small(masks(None, None).labels, min_size))
                if found is not None:
                    chosen = found
                    masks = self._predict(image, chosen, *thresholds, watch.part(1, looks))
            watch.tell(1.0)

        def finish(flow_threshold: float | None = None, cellprob_threshold: float | None = None) -> Segmented:
            with _named(name, shape):
                made = masks(flow_threshold, cellprob_threshold)
            return kept_cells(made, chosen, min_size, border, name, self.model.classes)

        return finish

    def style_diameter_px(self, image: npt.NDArray[Any]) -> float:
        """Return the diameter in px that the model's size model tells from the image's style, shape (Y, X) or (2, Y, X).

        Raises
        ------
        ModelError
            The model has no size model.
        """
        if self._size is None:
            self._size = size_model_of(self.model)
        return self._size.estimate_px(self._backend.style(image))

    def targets(self, labels: Labels) -> npt.NDArray[np.float32]:
        """Return what the network should say about a label image: cell or not, flow along y and x, shape (3, Y, X)."""
        return targets_of(labels, torch_device(self._backend.device))

    def training(
        self,
        images: Sequence[npt.NDArray[Any]],
        targets: Sequence[npt.NDArray[np.float32]],
        diameters_px: Sequence[float],
        recipe: Recipe,
    ) -> Training:
        """Train this segmenter's network in place; see `bridge.segmentation.network_training.Training`."""
        from bridge.segmentation.network_training import Training

        for image in images:
            self._require_channels(image, "training")
        return Training(self._backend, images, targets, diameters_px, recipe)

    def _require_channels(self, image: npt.NDArray[Any], name: str) -> None:
        most = self._backend.most_channels
        if image.ndim == 3 and len(image) == 1:
            raise SegmentationError(f"{name}: not one plane (got shape {image.shape}, expected (Y, X)). Take its only channel.")  # fmt: skip
        if image.ndim == 3 and len(image) > most:
            raise SegmentationError(
                f"{name}: more channels than {self.model.name} looks at (got {len(image)}, expected {most} at most). Choose one channel, or name fewer with --segment-with."
            )

    def _predict(
        self,
        image: npt.NDArray[Any],
        diameter_px: float | None,
        batch_size: int,
        tile: int,
        flow_threshold: float,
        cellprob_threshold: float,
        normalisation: Normalisation,
        watch: Watch,
    ) -> Callable[[float | None, float | None], Made]:
        def whole(
            part: npt.NDArray[Any], watch: Watch, normalize: bool = True
        ) -> Callable[[float | None, float | None], Made]:
            height, width = part.shape[-2:]
            pad = max(min(self.model.pad_px, min(height, width) - 1), 0)
            around = [(0, 0)] * (part.ndim - 2) + [(pad, pad)] * 2
            padded = np.pad(part, around, mode="reflect") if pad > 0 else part
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's words about Cellpose's calls are nothing a user can mend
                prediction = self._backend.predict(padded, diameter_px, batch_size, normalize, watch)

            def masks(flow: float | None, cellprob: float | None) -> Made:
                window = (slice(pad, pad + height), slice(pad, pad + width))
                labels, dropped = self._backend.masks(
                    prediction,
                    flow_threshold if flow is None else flow,
                    cellprob_threshold if cellprob is None else cellprob,
                    window,
                )
                kinds = self._backend.kinds(prediction, window) if self.model.classes else None
                return Made(labels.astype(np.int64), [], dropped, kinds)

            return masks

        shape = image.shape[-2:]
        if float(image.max()) == float(image.min()):
            return lambda _, __: Made(np.zeros(shape, np.int64), [], Counter())
        if max(shape) <= tile:
            if normalisation == CELLPOSES:
                return whole(image, watch)
            return whole(normalisation.apply(image), watch, normalize=False)
        # One grey scale for all tiles, Cellpose's own of the whole image: each tile's percentiles would differ.
        grey = normalisation.apply(image)
        overlap = max(_LEAST_OVERLAP_PX, int(4 * (diameter_px or 60)))
        dropped: Counter[str] = Counter()
        kinds = np.zeros(shape, np.uint8) if self.model.classes else None

        def parts() -> Iterator[tuple[tuple[slice, slice], npt.NDArray[Any]]]:
            windows = list(tiles(shape, tile, overlap))
            for k, window in enumerate(windows):
                made = whole(grey[(..., *window)], watch.part(k, len(windows)), normalize=False)(None, None)
                dropped.update(made.dropped)
                if kinds is not None and made.kinds is not None:
                    kinds[window] = np.where(made.kinds > 0, made.kinds, kinds[window])
                yield window, made.labels

        # Tile by tile, at once: what the network says about a large image would fill the memory.
        stitched = Made(*stitch(parts(), (shape[0], shape[1])), dropped, kinds)

        def stitched_before(flow: float | None, cellprob: float | None) -> Made:
            if flow is not None or cellprob is not None:
                raise SegmentationError(
                    f"an image of {shape[0]} x {shape[1]} px is segmented in tiles, at one threshold (expected sides up to {tile} px). Crop it, or use a larger --tile."
                )
            return stitched

        return stitched_before


@contextmanager
def _named(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise SegmentationError(
                f"{name}: out of memory while segmenting {shape[0]} x {shape[1]} px. Use a smaller --batch-size or --tile, or --device cpu."
            ) from error
        raise SegmentationError(
            f"{name}: Cellpose failed ({str(error).splitlines()[0][:200]}). Run again with --debug to see where."
        ) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "cv2":
            raise
        # Scaled to the network's cell size, a side has no pixel left: an assertion of OpenCV.
        raise SegmentationError(
            f"{name}: too small for this diameter (got {shape[0]} x {shape[1]} px, expected sides of more than a few px at the network's scale). "
            "Give a smaller --diameter, or leave the image out."
        ) from error
