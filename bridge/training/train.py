"""Images with ground truth -> a fine-tuned model, and what it brought: tables, pictures, a model card."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.files import require_writable
from bridge.pipeline.lock import locked
from bridge.segmentation.memory_pages import kept_pages
from bridge.settings_file import train_settings_from
from bridge.training.cycle import Cycle, Trained
from bridge.training.data import read_data
from bridge.training.preparation import Tell
from bridge.training_settings import TrainSettings

_log = logging.getLogger(__name__)


def train(
    pairs: Path | str,
    out: Path | str,
    settings: TrainSettings | None = None,
    progress: Tell = None,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> Trained:
    """Train a Cellpose model on corrected images, and score it and its base on images neither has seen.

    Every training begins from the base model, with all images corrected so far. A training that was stopped resumes
    where it was; the last training given again changes nothing.

    Parameters
    ----------
    pairs : Path or str
        Folder of images, each with a label image, a ROI set or a ``_seg.npy`` beside it; or the results folder of a run
        whose corrections were collected.
    out : Path or str
        Folder for all cycles of this model: ``cycle_1/``, ``cycle_2/`` ... and ``cycles.csv``.
    settings : TrainSettings, optional
        Or give the options by name.
    progress : callable, optional
        Called with a `bridge.pipeline.progress.Progress` after each epoch.
    say : callable, optional
        Called with a line of text now and then.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        Images without partner, too few cells, the same pixels in training and held out, a training begun otherwise.
    ModelError
        No such base model, or one of the other Cellpose version.
    SegmentationError
        The loss is not a number any more, the model finds no cell any more, or the memory is full.
    OutputError
        A file cannot be written.

    Examples
    --------
    >>> import bridge                                                                          # doctest: +SKIP
    >>> trained = bridge.train("corrected", "models/t98g", base="cyto_0", held_out=["f6", "f7"])  # doctest: +SKIP
    >>> bridge.run("images", out="results", model=trained.model)                               # doctest: +SKIP
    """
    s = settings or train_settings_from(options)
    out = Path(out)
    data = read_data(Path(pairs), s)
    require_writable(out)
    with locked(out), kept_pages(), tempfile.TemporaryDirectory(prefix="cellpose-fiji-") as scratch:
        return Cycle(data, out, s, progress, say or _log.info, Path(scratch)).run()
