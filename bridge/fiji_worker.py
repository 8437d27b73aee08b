"""The Python process beside Fiji: finds cells with a model that stays loaded, and checks what ImageJ measured.

Appose (https://github.com/apposed/appose) keeps the process and hands it one script after another, in which ``task`` is
Appose's own: ``task.update(message, current, maximum)`` and ``task.cancel_requested``. Such a script is one line, and
`segment`, `check`, `positive`, `command` and `hello` can be called so from Groovy, Jython or any other program that speaks
to Appose::

    service = environment.python().init("import numpy; from bridge import fiji_worker; fiji_worker.guard_stdout()")
    service.task("fiji_worker.segment(task, image, out, settings)", [image: …, out: …, settings: [diameter: 30]])
    service.task("fiji_worker.command(task, request)", [request: …], "main")

Pixels come as a TIFF that ImageJ saved: so what is segmented and measured is what any run finds in that file, title, scale
and colours too. Each function returns a dictionary for Appose: what was found, or ``error``, one sentence for the user.
A task that was cancelled ends as cancelled, and the model stays.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bridge.errors import BridgeError, StoppedError

if TYPE_CHECKING:
    from bridge.segmentation.segmenter import Segmenter
    from bridge.settings import Settings

_Model = tuple["str | None", bool, str, Literal["auto", "torch", "openvino", "compile"], Literal["exact", "fast"]]
_MOST_MODELS = 2  # of cells and of nuclei
_NETWORK, _ALL = 90, 100  # of the progress bar
_OWN = "own"  # a diameter: words instead of empty values, which no Recorder can write
_LOOK_EVERY_S = 0.2

_segmenters: dict[_Model, Segmenter] = {}
_one_at_a_time = threading.Lock()


def guard_stdout() -> None:
    """Let nobody but Appose write to the pipe: half a line of a C library there, and its task would never end.

    To be called once, by Appose's init script.
    """
    from appose import python_worker

    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    python_worker.print = functools.partial(print, file=protocol)


def hello() -> dict[str, Any]:
    """Return who answers: the versions of this program and of Python, and where it is.

    Examples
    --------
    >>> sorted(hello())
    ['bridge', 'executable', 'python']
    """
    return {
        "bridge": importlib.metadata.version("cellpose-fiji-bridge"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
    }


def _task(work: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """One at a time; a sentence for the user is an answer, and a stop is a cancelled task."""

    @functools.wraps(work)
    def asked(task: Any, *given: Any, **named: Any) -> dict[str, Any]:
        began = time.perf_counter()
        try:
            with _alone(task), _warnings() as said:
                return {**work(task, *given, **named), "warnings": said, "seconds": time.perf_counter() - began}
        except StoppedError:
            task.cancel()
            return {}
        except BridgeError as error:
            return {"error": str(error)}

    return asked


@contextmanager
def _alone(task: Any) -> Iterator[None]:
    if not _one_at_a_time.acquire(blocking=False):
        task.update("The Python process is busy with an earlier task: waits")
        while not _one_at_a_time.acquire(timeout=_LOOK_EVERY_S):
            if task.cancel_requested:
                raise StoppedError("stopped")
    try:
        yield
    finally:
        _one_at_a_time.release()


@_task
def segment(
    task: Any,
    image: str,
    out: str,
    settings: Mapping[str, Any],
    channel: str | None = None,
    what: Literal["cells", "nuclei"] = "cells",
) -> dict[str, Any]:
    """Find the cells of an image: as `bridge.segment` and `bridge.trace`, with the model of an earlier call.

    Parameters
    ----------
    task : Appose's task
        Is told how far it is; may be cancelled between two batches of tiles.
    image : str
        Path of the image.
    out : str
        Folder for ``RoiSet.zip``.
    settings : mapping
        As of `bridge.segment`; a ``diameter`` of ``own`` is the model's.
    channel : str, optional
        Name or number of a channel, of an image with several.
    what : {'cells', 'nuclei'}
        Nuclei are found as those of a run's count channel, by ``count_model`` and ``count_diameter``.

    Returns
    -------
    dict
        ``roiset``, ``cells``, ``diameter_px``, ``model``, ``device``, ``inference``, ``rgb_channel`` (of a colour
        image: which was used), ``loaded`` (the model was, by this call), ``warnings``, ``seconds``; or ``error``.
    """
    from bridge.files import write_bytes
    from bridge.images.colour import COLOURS
    from bridge.images.reader import read_plane
    from bridge.pipeline.steps.network import predict_nuclei
    from bridge.pipeline.verbs import find_cells, read_segmented
    from bridge.rois.roiset import decode_roiset, encode_roiset, verify_roiset
    from bridge.source import ChannelFile

    def stop() -> bool:
        return bool(task.cancel_requested)

    def progress(done: float) -> None:
        task.update(f"Cellpose: {done:.0%} of the network", int(_NETWORK * done), _ALL)

    nuclei = what == "nuclei"
    s = _settings(settings, "run" if nuclei else "segment")
    path = Path(image)
    plane = read_plane(ChannelFile(path, channel), s.rgb_channel) if nuclei else read_segmented(path, s, channel)
    key = (s.nuclei_model if nuclei else s.model, nuclei, s.device, s.inference, s.precision)
    loaded = key not in _segmenters
    if loaded:
        task.update("Cellpose: loads the model", 0, _ALL)
    segmenter = _loaded(key)
    watch: dict[str, Any] = {"progress": progress, "stop": stop}
    if nuclei:
        found = predict_nuclei(segmenter, plane, s, path.name, **watch)()
    else:
        found = find_cells(path, plane, s, segmenter, **watch)
    if stop():
        raise StoppedError("stopped")
    task.update("Exact ROI set", _NETWORK, _ALL)
    content = encode_roiset(found.labels)
    height, width = plane.pixels.shape
    selections = decode_roiset(content, (height, width), path.name)
    verify_roiset(selections, found.labels, path.name)
    roiset = Path(out) / ("nuclei_RoiSet.zip" if nuclei else "RoiSet.zip")
    write_bytes(roiset, content)
    info = segmenter.info
    return {
        "roiset": str(roiset),
        "cells": len(selections.names),
        "diameter_px": found.diameter_px,
        "loaded": loaded,
        "rgb_channel": ""
        if plane.source is None or plane.source.rgb_sample is None
        else COLOURS[plane.source.rgb_sample],
        **{name: info[name] for name in ("model", "device", "inference")},
    }


@_task
def check(
    task: Any,
    image: str,
    roiset: str,
    results: str,
    settings: Mapping[str, Any],
    title: str,
    scale: tuple[float, float, str],
    stack: tuple[int, int, str] | None = None,
) -> dict[str, Any]:
    """Measure an image and its ROI set by the native engine, and compare every byte with what ImageJ saved.

    Parameters
    ----------
    task : Appose's task
    image, roiset, results, settings, title, scale, stack
        See `bridge.pipeline.image_in_fiji.difference_to_native`; paths as texts, `settings` as of `bridge.measure`.

    Returns
    -------
    dict
        ``agree``, ``difference`` (the first line that differs, as ImageJ and as the native engine has it), ``warnings``,
        ``seconds``; or ``error``.
    """
    from bridge.pipeline.image_in_fiji import difference_to_native

    task.update("Checks the numbers", _NETWORK, _ALL)
    difference = difference_to_native(
        Path(image), Path(roiset), Path(results), _settings(settings, "measure"), title, scale, stack
    )
    return {"agree": not difference, "difference": difference}


@_task
def positive(
    task: Any, cells: str, nuclei: str, values: Sequence[float], threshold: float, width: int, height: int
) -> dict[str, Any]:
    """Say which cells are positive by their nuclei, as a run with ``--edu-threshold`` says it.

    Parameters
    ----------
    task : Appose's task
    cells, nuclei, values, threshold
        See `bridge.pipeline.image_in_fiji.calls_of_cells`; paths as texts.
    width, height : int
        Of the image, in px.

    Returns
    -------
    dict
        ``calls`` (for each cell ``positive``, ``negative``, or ``none`` where it has no nucleus), ``orphans`` (nuclei in no
        cell), ``warnings``, ``seconds``; or ``error``.
    """
    from bridge.pipeline.image_in_fiji import calls_of_cells

    task.update("Calls the cells", _NETWORK, _ALL)
    calls, orphans = calls_of_cells(Path(cells), Path(nuclei), values, threshold, (height, width))
    return {"calls": calls, "orphans": orphans}


def command(task: Any, request: str) -> dict[str, Any]:
    """Do what the command line does, in this process: a whole run, a correction.

    To be given to Appose's queue ``main``: only there can the command be stopped as by Ctrl-C. With ``--status FILE`` among
    the arguments it says in that file how far it is, and a file ``FILE.cancel`` stops it; so do the macros.

    Parameters
    ----------
    task : Appose's task
    request : str
        A TOML file with one line, ``arguments = ["run", "images", ...]``; it is removed.

    Returns
    -------
    dict
        ``exit_code``, as of the command line.
    """
    import tomllib

    from bridge.cli.main import app

    path = Path(request)
    arguments = tomllib.loads(path.read_text("utf-8"))["arguments"]
    path.unlink()
    with _alone(task):
        _segmenters.clear()  # a run loads its own
        return {"exit_code": app.meta(arguments, result_action="return_value")}


@_task
def warm_up(task: Any) -> dict[str, Any]:
    """Do everything once on a made image, so that the first call of a user finds the kernels compiled.

    Returns
    -------
    dict
        ``cells``: how many were found by the small network that comes with this program.
    """
    import tempfile

    from bridge.images.write import write_image
    from bridge.pipeline.verbs import measure
    from bridge.rois.roiset import encode_roiset
    from bridge.segmentation.segmenter import Segmenter
    from bridge.synthetic import synthetic_field

    field = synthetic_field(seed=1, size_px=200, n_cells=6)
    task.update("Compiles what is computed, once")
    found = Segmenter("demo").segment(field.phase, 30.0)
    with tempfile.TemporaryDirectory() as folder:
        image, roiset = Path(folder) / "warm_up.tif", Path(folder) / "warm_up_RoiSet.zip"
        write_image(image, field.edu)
        roiset.write_bytes(encode_roiset(found.labels))
        measure(image, roiset, out=folder, engine="native")
    return {"cells": int(found.labels.max())}


def forget() -> dict[str, Any]:
    """Let the loaded models go: the next call loads its own again."""
    with _one_at_a_time:
        _segmenters.clear()
    return {}


def _settings(values: Mapping[str, Any], verb: str) -> Settings:
    from bridge.settings_file import settings_from

    return settings_from({k: v for k, v in values.items() if (k, v) != ("diameter", _OWN)}, verb)


def _loaded(key: _Model) -> Segmenter:
    from bridge.segmentation.models import resolve_model
    from bridge.segmentation.segmenter import Segmenter

    model, nuclei, device, inference, precision = key
    segmenter = _segmenters.pop(key, None)
    segmenter = segmenter or Segmenter(resolve_model(model, nuclei), device, inference, precision)
    while len(_segmenters) >= _MOST_MODELS:
        del _segmenters[next(iter(_segmenters))]
    _segmenters[key] = segmenter  # the one that was used last is the last
    return segmenter


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect what this program warns of."""
    said: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler, log = Collect(logging.WARNING), logging.getLogger("bridge")
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)
