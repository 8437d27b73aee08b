"""A network trained epoch by epoch, with checkpoints."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bridge.errors import OutputError, SegmentationError
from bridge.files import whole_file, write_bytes
from bridge.segmentation.backend import Backend
from bridge.segmentation.recipe import Recipe
from bridge.segmentation.size_model import SizeModel, fit_size_model
from bridge.segmentation.within_memory import out_of_memory

_log = logging.getLogger(__name__)


class Training:
    """The network of a loaded model, trained in place.

    Parameters
    ----------
    backend : Backend
        As `bridge.segmentation.segmenter.Segmenter` holds it: what it segments meanwhile is segmented with the network as it is.
    images : sequence of ndarray, shape (Y, X) or (C, Y, X)
    targets : sequence of ndarray of float32, shape (3, Y, X)
        `Segmenter.targets` of their label images.
    diameters_px : sequence of float
        Diameter of the cells of each image.
    recipe : Recipe

    Examples
    --------
    >>> from bridge.segmentation.segmenter import Segmenter
    >>> from bridge.synthetic import synthetic_field
    >>> field = synthetic_field(seed=1, size_px=128, n_cells=4)
    >>> segmenter = Segmenter("demo", device="cpu")
    >>> recipe = Recipe("sgd", (0.0, 0.01), 1e-4, batch_size=2, crop_px=64, crops=2)
    >>> training = segmenter.training([field.phase], [segmenter.targets(field.cells)], [37.0], recipe)
    >>> training.run_epoch() > 0, training.epoch
    (True, 1)
    """

    def __init__(
        self,
        backend: Backend,
        images: Sequence[npt.NDArray[Any]],
        targets: Sequence[npt.NDArray[np.float32]],
        diameters_px: Sequence[float],
        recipe: Recipe,
    ) -> None:
        self._backend = backend
        self._net = backend.net
        self._images = [backend.prepared(image) for image in images]
        self._targets = targets
        self._rescale = np.ones(len(images))
        if recipe.rescale:
            self._rescale = np.asarray(diameters_px, np.float64) / float(self._net.diam_mean.item())
        self._diameters_px = np.asarray(diameters_px, np.float64)
        self.cells_px = float(np.mean(diameters_px))
        # Not rescaled in training, not rescaled when it is used.
        self.diameter_px = self.cells_px if recipe.rescale else float(self._net.diam_mean.item())
        self.recipe = recipe
        self.epoch = 0
        self._bfloat16 = recipe.precision == "fast" and _has_bfloat16(backend.device)
        if self._bfloat16:
            self._net.to(memory_format=torch.channels_last)
        elif recipe.precision == "fast":
            _log.warning("--precision fast: this device has no fast bfloat16; the training is exact, and no faster")
        parameters: Any = self._net.parameters()
        rate, decay = recipe.learning_rates[0], recipe.weight_decay
        if recipe.optimizer == "adamw":
            self._optimizer: torch.optim.Optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
        else:
            self._optimizer = torch.optim.SGD(
                parameters, lr=rate, weight_decay=decay, momentum=0.9, nesterov=recipe.optimizer == "nesterov"
            )
        self._best: dict[str, Any] | None = None

    def run_epoch(self) -> float:
        """Train one epoch; return the mean loss.

        Raises
        ------
        SegmentationError
            The loss is not a number any more, or the memory is full.
        """
        recipe = self.recipe
        n = recipe.crops or len(self._images)
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.learning_rates[self.epoch]
        self._net.train()
        total = 0.0
        with _numpy_seeded(recipe.seed * 100_003 + self.epoch), _in_words(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Every image as often as can be, in random order.
            rng = np.random.default_rng((recipe.seed, self.epoch))
            order = np.concatenate([rng.permutation(len(self._images)) for _ in range(-(-n // len(self._images)))])
            for k in range(0, n, recipe.batch_size):
                chosen = order[k : min(k + recipe.batch_size, n)]
                total += self._step(self._net, self._optimizer, chosen) * len(chosen)
        self.epoch += 1
        mean = total / n
        if not np.isfinite(mean):
            raise SegmentationError(
                f"training: the loss is not a number at epoch {self.epoch} (got {mean}). Nothing was written; use a smaller --learning-rate."
            )
        self._net.eval()
        return mean

    def seconds_per_epoch(self) -> float:
        """Return how long an epoch takes, by three steps of a copy of the network; the training is as before."""
        recipe = self.recipe
        n = recipe.crops or len(self._images)
        net = copy.deepcopy(self._net).train()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        chosen = np.arange(min(recipe.batch_size, n)) % len(self._images)
        devices = [self._backend.device] if self._backend.device == "cuda" else []
        with _numpy_seeded(0), _in_words(), warnings.catch_warnings(), torch.random.fork_rng(devices=devices):
            warnings.simplefilter("ignore")
            for _ in range(3):  # the first is slower
                begin = time.perf_counter()
                self._step(net, optimizer, chosen)
        return (time.perf_counter() - begin) * n / chosen.size

    def _step(self, net: Any, optimizer: torch.optim.Optimizer, chosen: npt.NDArray[Any]) -> float:
        """Train a network on a crop of each of these images; return the loss."""
        recipe = self.recipe
        data, target = self._backend.crops(
            [self._images[i] for i in chosen],
            [self._targets[i] for i in chosen],
            self._rescale[chosen],
            recipe.crop_px,
            recipe.scale_range,
        )
        if self._bfloat16:
            data = data.contiguous(memory_format=torch.channels_last)
            with torch.autocast(self._backend.device, torch.bfloat16):
                output = net(data)[0].float()
        else:
            output = net(data)[0]
        loss = self._backend.loss(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    def keep(self) -> None:
        """Remember the weights as they are: the best so far."""
        self._best = {name: value.detach().cpu().clone() for name, value in self._net.state_dict().items()}

    def use_best(self) -> None:
        """Go back to the weights that were kept; nothing if none were."""
        if self._best is not None:
            self._net.load_state_dict(self._best)
            self._net.eval()

    def write_state(self, path: Path, facts: dict[str, Any]) -> None:
        """Write a checkpoint of the training.

        Parameters
        ----------
        path : Path
        facts : dict
            What else is to be remembered: numbers, texts, lists and dicts.
        """
        state = {
            "epoch": self.epoch,
            "net": self._net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best,
            "facts": facts,
        }
        with whole_file(path) as part, part.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # where the disk is full torch says something else
                    raise error.__context__ from error
                raise

    def read_state(self, path: Path) -> dict[str, Any]:
        """Resume a training from the checkpoint that `write_state` wrote; return the facts.

        Raises
        ------
        OutputError
            The file is damaged.
        """
        try:
            state = torch.load(path, map_location=next(self._net.parameters()).device, weights_only=True)
            self.epoch = int(state["epoch"])
        except Exception as error:  # a damaged file raises whatever it likes
            raise OutputError(
                f"{path}: damaged ({type(error).__name__}; expected the checkpoint of a stopped training). Delete this file: the training begins again from its first epoch."
            ) from error
        self._net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best = state["best"]
        facts: dict[str, Any] = state["facts"]
        return facts

    def size_model(self, epochs: int = 10) -> SizeModel:
        """Train a size model for the network as it is: Cellpose's ridge regression on the styles of random crops."""
        crop_px = 512
        mean = float(self._net.diam_mean.item())
        logs = np.log(self._diameters_px) - np.log(mean)
        styles, log_diameters = [], []
        with _in_words(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._net.eval()
            for epoch in range(epochs):
                with _numpy_seeded(self.recipe.seed * 100_003 + 50_000 + epoch):
                    for image, log in zip(self._images, logs, strict=True):
                        style, scale = self._backend.styles_of_crops([image], crop_px)
                        styles.append(style[0])
                        log_diameters.append(log + np.log(scale[0]))
        return fit_size_model(np.stack(styles), np.array(log_diameters), mean)

    def write_model(self, path: Path) -> None:
        """Write the weights as a model file; whole or not at all."""
        # Not to the file itself: torch writes its name into it, and the same weights should be the same bytes.
        content = io.BytesIO()
        self._backend.save(content, self.diameter_px)
        write_bytes(path, content.getvalue())


def _has_bfloat16(device: str) -> bool:
    if device == "cpu":  # a processor without it takes many times as long
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and bool(torch.cpu._is_avx512_bf16_supported())
    return device == "cuda" and torch.cuda.is_bf16_supported()


@contextlib.contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Cellpose draws from NumPy's global generator; the caller's numbers go on as if it had not."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise SegmentationError(
                "training: out of memory. Use a smaller --batch-size or --crop, or --device cpu."
            ) from error
        raise
