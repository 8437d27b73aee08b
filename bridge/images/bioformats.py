"""Files that Bio-Formats alone reads, such as Olympus' OIR and VSI: by its jar, in a process of its own that holds Java."""

from __future__ import annotations

import atexit
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError, MissingDependencyError
from bridge.images.bioformats_jar import jar
from bridge.images.image import ImageInfo, require_size
from bridge.images.vendor import damaged, like_promised, micron, require_planes, require_type, unique
from bridge.pipe import receive, send

_DEADLINE_S, _START_S = 300.0, 120.0


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what Bio-Formats says about the images of a file."""
    found, _ = _ask(path, {"do": "scenes", "path": str(path.absolute())})
    infos = []
    files = [Path(name) for name in found["scenes"][0]["files"]] if found["scenes"] else []
    parts = tuple(dict.fromkeys([path, *(p for p in files if p.is_file())])) if len(files) > 1 else ()
    for number, one in enumerate(found["scenes"]):
        require_size(path, one["height"], one["width"])
        require_type(path, one["dtype"])
        n = one["channels"]
        require_planes(path, n, one["slices"], one["frames"])
        infos.append(
            ImageInfo(
                path, one["height"], one["width"], one["dtype"], unique(one["names"], n), one["colour"], micron(one["um"][0], one["um"][1]),
                inverted=(False,) * n, own_scale=True, n_slices=one["slices"], n_frames=one["frames"], scene=number, by_imagej=False,
                scene_name=(one["name"] or f"Series {number + 1}") if len(found["scenes"]) > 1 else "", interval_s=one["interval_s"],
                parts=parts,
            )
        )  # fmt: skip
    if not infos:
        raise InputError(f"{path}: no image in it. Export it as TIFF.")
    return tuple(infos)


def decode(info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:
    """Return one plane as Bio-Formats reads it."""
    path = info.path
    request = {
        "do": "plane",
        "path": str(path.absolute()),
        "scene": info.scene,
        "channel": channel,
        "frame": frame,
        "z": z,
    }
    found, blobs = _ask(path, request)
    shape = (info.height, info.width, *((3,) if info.colour else ()))
    pixels = np.frombuffer(blobs[0], np.dtype(info.dtype).newbyteorder("<" if found["little"] else ">"))
    if pixels.size != np.prod(shape):
        raise damaged(path, "file", f"{pixels.size} pixels where {np.prod(shape)} are promised")
    pixels = pixels.reshape(shape if found["interleaved"] or not info.colour else (3, *shape[:2]))
    if info.colour and not found["interleaved"]:
        pixels = np.moveaxis(pixels, 0, -1)
    pixels = np.ascontiguousarray(pixels).astype(info.dtype)
    like_promised(info, pixels, "file")
    return pixels


def _ask(path: Path, request: dict[str, Any]) -> tuple[dict[str, Any], list[bytearray]]:
    archive = jar()
    if archive is None:
        raise MissingDependencyError(f"{path}: {path.suffix[1:].upper()} files are read by Bio-Formats, which is not here (GPL-2, 42 MB). Fetch it once: cellpose-fiji bioformats")  # fmt: skip
    answer, blobs = _worker(archive).ask(path, request)
    if "error" in answer:
        raise damaged(path, "file", " ".join(str(answer["error"]).replace(str(path), path.name).split())[:200].rstrip("."))  # fmt: skip
    return answer, blobs


class _Worker:
    """The process that holds Java; one for all threads, which take turns."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._log: IO[bytes] | None = None
        self._collector = threading.Thread()

    def ask(self, path: Path, request: dict[str, Any]) -> tuple[dict[str, Any], list[bytearray]]:
        with self._turn:
            fresh = self._process is None or self._process.poll() is not None
            if fresh:
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            try:
                send(self._process.stdin, request)  # type: ignore[arg-type]
                found = self._answers.get(timeout=_DEADLINE_S + (_START_S if fresh else 0))
            except (OSError, queue.Empty):
                found = None
            if found is None:
                said = self._said()
                self.close()
                raise damaged(path, "file", f"Bio-Formats ended or did not answer in time{said}")
            answer: tuple[dict[str, Any], list[bytearray]] = found
            return answer

    def _start(self) -> None:
        self.close()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 a pipe nobody reads would fill and stop Java
        command = [sys.executable, "-P", "-m", "bridge.images.bioformats_worker", str(self._archive)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True)  # fmt: skip
        self._answers = queue.SimpleQueue()
        self._collector = threading.Thread(target=_collect, args=(self._process.stdout, self._answers), daemon=True)
        self._collector.start()

    def _said(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1][:120]}" if lines else ""

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._collector.join()
            for stream in (self._process.stdin, self._process.stdout, self._log):
                if stream is not None:
                    stream.close()
            self._process, self._log = None, None


def _collect(stream: Any, answers: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            answers.put(receive(stream))
    except (EOFError, OSError, ValueError):
        answers.put(None)


_workers: dict[Path, _Worker] = {}
_making = threading.Lock()


def _worker(archive: Path) -> _Worker:
    with _making:
        if archive not in _workers:
            _workers[archive] = _Worker(archive)
            atexit.register(_workers[archive].close)
        return _workers[archive]
