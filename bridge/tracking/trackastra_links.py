"""Links by Trackastra, a network that is trained to follow cells; the user brings its weights."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.errors import InputError, MissingDependencyError, ModelError
from bridge.files import sha256
from bridge.labels import Labels

_FILES = ("model.pt", "config.yaml", "train_config.yaml")


def model_digest(folder: Path) -> str:
    """Return the SHA-256 of a Trackastra model's files.

    Parameters
    ----------
    folder : Path
        Of a model as Trackastra publishes or trains it: ``model.pt``, ``config.yaml``, ``train_config.yaml``.

    Raises
    ------
    InputError
        It is none.
    MissingDependencyError
        Trackastra is not installed.
    """
    if importlib.util.find_spec("trackastra") is None:
        raise MissingDependencyError("--trackastra: Trackastra is not installed. Install it: pip install 'cellpose-fiji-bridge[trackastra]'")  # fmt: skip
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: not a Trackastra model (got no {missing[0]}, expected {', '.join(_FILES)}). Give the folder of a model, unpacked.")  # fmt: skip
    return hashlib.sha256("".join(sha256(folder / name) for name in _FILES).encode()).hexdigest()


def trackastra_links(
    images: Sequence[npt.NDArray[Any]], labels: Sequence[Labels], folder: Path, device: str = "cpu"
) -> pd.DataFrame:
    """Return which cells are the same in the next frame, as the network says.

    All frames are in memory.

    Parameters
    ----------
    images : sequence of ndarray, shape (Y, X)
        One a frame: what the network looks at.
    labels : sequence of ndarray of unsigned int, shape (Y, X)
    folder : Path
        See `model_digest`.
    device : {"cpu", "cuda", "mps"}

    Returns
    -------
    DataFrame
        ``frame, label, to_frame, to_label, weight``: a cell with two is a division; weights from 0.5 to 1.

    Raises
    ------
    ModelError
        The network failed.
    """
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    try:
        # On import it sets up the logging of the whole program, and tells its steps.
        import trackastra.tracking.tracking as greedy
        from trackastra.model import Trackastra

        greedy.tqdm = _quiet  # it draws a bar of progress, whatever it is asked
        logging.getLogger("trackastra").setLevel(logging.WARNING)
        network = Trackastra.from_folder(folder, device=device)
        frames = np.stack([image.astype(np.float32) for image in images])
        graph, _ = network.track(frames, np.stack([each.astype(np.int64) for each in labels]), mode="greedy", progbar_class=_quiet)  # fmt: skip
    except Exception as error:  # a model of another version raises whatever it likes
        raise ModelError(f"{folder}: Trackastra failed ({type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}). Run again with --debug to see where.") from error  # fmt: skip
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    rows = [
        (int(a["time"]), int(a["label"]), int(b["time"]), int(b["label"]), float(weight))
        for a, b, weight in ((graph.nodes[i], graph.nodes[j], w) for i, j, w in graph.edges(data="weight"))
    ]
    return pd.DataFrame(sorted(rows), columns=["frame", "label", "to_frame", "to_label", "weight"])


def _quiet(*what: Any, **how: Any) -> Any:
    from tqdm import tqdm

    return tqdm(*what, **{**how, "disable": True})
