"""The Python process beside Fiji: finds cells with a model that stays loaded, and checks what ImageJ measured.

Appose (https://github.com/apposed/appose) keeps the process and hands it one script after another, in which ``task`` is
Appose's own: ``task.update(message, current, maximum)`` and ``task.cancel_requested``. Such a script is one line, and
`segment` and `check` can be called so from Groovy, Jython or any other program that speaks to Appose::

    service = environment.python().init("import numpy; from bridge import fiji_worker; fiji_worker.guard_stdout()")
    service.task("fiji_worker.segment(task, image, out, settings)", [image: …, out: …, settings: [diameter: 30]])

Pixels come as a TIFF that ImageJ saved: so what is segmented and measured is what any run finds in that file, title, scale
and colours too. Each function returns a dictionary for Appose: what was found, or ``error``, one sentence for the user.
A task that was cancelled ends as cancelled, and the model stays.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bridge.errors import BridgeError, StoppedError

if TYPE_CHECKING:
    from bridge.segmentation.segmenter import Segmenter
    from bridge.settings import Settings

_Model = tuple["str | None", str, Literal["auto", "torch", "openvino"], Literal["exact", "fast"]]
_MOST_MODELS = 2  # of cells and of nuclei
_NETWORK, _ALL = 90, 100  # of the progress bar
_OWN = "own"  # a diameter: words instead of empty values, which no Recorder can write

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
            with _one_at_a_time, _warnings() as said:
                return {**work(task, *given, **named), "warnings": said, "seconds": time.perf_counter() - began}
        except StoppedError:
            task.cancel()
            return {}
        except BridgeError as error:
            return {"error": str(error)}

    return asked


@_task
def segment(task: Any, image: str, out: str, settings: Mapping[str, Any], channel: str | None = None) -> dict[str, Any]:
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

    Returns
    -------
    dict
        ``roiset``, ``cells``, ``diameter_px``, ``model``, ``device``, ``inference``, ``rgb_channel`` (of a colour
        image: which was used), ``loaded`` (the model was, by this call), ``warnings``, ``seconds``; or ``error``.
    """
    from bridge.files import write_bytes
    from bridge.images.colour import COLOURS
    from bridge.pipeline.verbs import find_cells, read_segmented
    from bridge.rois.roiset import decode_roiset, encode_roiset, verify_roiset

    def stop() -> bool:
        return bool(task.cancel_requested)

    def progress(done: float) -> None:
        task.update(f"Cellpose: {done:.0%} of the network", int(_NETWORK * done), _ALL)

    s = _settings(settings, "segment")
    path = Path(image)
    plane = read_segmented(path, s, channel)
    key = (s.model, s.device, s.inference, s.precision)
    loaded = key not in _segmenters
    if loaded:
        task.update("Cellpose: loads the model", 0, _ALL)
    segmenter = _loaded(key)
    found = find_cells(path, plane, s, segmenter, progress=progress, stop=stop)
    if stop():
        raise StoppedError("stopped")
    task.update("Exact ROI set", _NETWORK, _ALL)
    content = encode_roiset(found.labels)
    height, width = plane.pixels.shape
    selections = decode_roiset(content, (height, width), path.name)
    verify_roiset(selections, found.labels, path.name)
    roiset = Path(out) / "RoiSet.zip"
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
    image, roiset : str
        Paths; the image holds one plane.
    results : str
        The Results that ImageJ saved.
    settings : mapping
        As of `bridge.measure`.
    title : str
        Of the image's window.
    scale : (float, float, str)
        Width and height of a pixel, and their unit, as ImageJ has them: a TIFF holds them rounded.
    stack : (int, int, str), optional
        Of a plane from a stack: its number (from 0), how many there are, its label.

    Returns
    -------
    dict
        ``agree``, ``difference`` (the first line that differs, as ImageJ and as the native engine has it), ``warnings``,
        ``seconds``; or ``error``.
    """
    from bridge.imagej.native import NativeEngine
    from bridge.images.reader import read_plane
    from bridge.pipeline.engines import background_of
    from bridge.rois.roiset import read_roiset
    from bridge.source import Source

    task.update("Checks the numbers", _NETWORK, _ALL)
    s, path = _settings(settings, "measure"), Path(image)
    plane = read_plane(path, s.rgb_channel)
    height, width = plane.pixels.shape
    measured = NativeEngine().measure(
        plane.pixels,
        read_roiset(Path(roiset), (height, width)),
        title,
        background_of(s),
        replace(plane.calibration, width=float(scale[0]), height=float(scale[1]), unit=scale[2]),
        s.measurements,
        s.decimals,
        source=Source(path, *stack) if stack else None,
    )
    imagej, native = Path(results).read_bytes(), measured.results_csv
    difference = ""
    # Without a cell ImageJ saves an empty file, and the native engine its headings.
    if imagej != native and (imagej.splitlines()[1:] or native.splitlines()[1:]):
        lines = itertools.zip_longest(imagej.splitlines(True), native.splitlines(True), fillvalue=b"no such line")
        mine, other = next((a.rstrip(b"\n"), b.rstrip(b"\n")) for a, b in lines if a != b)
        difference = f"ImageJ: {mine.decode('utf-8', 'replace')}; native: {other.decode('utf-8', 'replace')}"
    return {"agree": not difference, "difference": difference}


def forget() -> dict[str, Any]:
    """Let the loaded models go: the next call loads its own again."""
    with _one_at_a_time:
        _segmenters.clear()
    return {}


def _settings(values: Mapping[str, Any], verb: str) -> Settings:
    from bridge.settings_file import settings_from

    return settings_from({k: v for k, v in values.items() if (k, v) != ("diameter", _OWN)}, verb)


def _loaded(key: _Model) -> Segmenter:
    from bridge.segmentation.segmenter import Segmenter

    segmenter = _segmenters.pop(key, None) or Segmenter(*key)
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
