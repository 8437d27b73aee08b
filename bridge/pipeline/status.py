"""A command seen from outside: a status file that an ImageJ macro reads, a cancel file that it writes, Ctrl-C."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from bridge.errors import OutputError
from bridge.names import escaped

_CANCEL_SUFFIX = ".cancel"
_BEGIN = b"state\t"
_LOOK_EVERY_S = 0.2
_AGAIN_S = 0.05
_ALIVE_EVERY = 10  # looks: who watches the file sees by its time that the command still runs


class Status:
    r"""The state of one command in a text file, a line for each thing: its name, a tab, its value.

    While the block runs, a file beside it that is named like it with ``.cancel`` at its end stops the command as Ctrl-C
    would. Values are ASCII, other characters ``\uXXXX``: ImageJ macros read text in the computer's own encoding.

    Parameters
    ----------
    path : Path

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "status.txt"
    >>> with Status(path) as status:
    ...     status.tell(now="Zählen", done="3")
    ...     print(path.read_text(), end="")
    state	running
    now	Z\u00e4hlen
    done	3
    end
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, str] = {"state": "running"}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._obey, daemon=True)
        self._before: Any = None

    def __enter__(self) -> Status:
        self._require_own()
        try:
            self._cancel_file().unlink(missing_ok=True)
            self._write()
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}). Name another file with --status."
            ) from error
        # A program started in the background may have been told to ignore Ctrl-C.
        self._before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watch.join()
        signal.signal(signal.SIGINT, self._before)
        self._cancel_file().unlink(missing_ok=True)

    def _require_own(self) -> None:
        """Refuse a file that is there and no status file: it would be overwritten."""
        if self.path.is_file():
            with self.path.open("rb") as file:
                begin = file.read(len(_BEGIN))
            if not begin or begin == _BEGIN:
                return
        elif not self.path.exists():
            return
        raise OutputError(
            f"{self.path}: is there already and is no status file. It is not overwritten: name another file with --status."
        )

    def tell(self, **facts: str) -> None:
        """Change some of the facts and write all of them; a file that cannot be written now is written next time.

        One that its reader removed stays away: nobody reads it any more.
        """
        with self._lock:
            self.facts |= facts
            with contextlib.suppress(OSError):
                if self.path.exists():
                    self._write()

    def _write(self) -> None:
        # In place: Windows does not let a file be replaced while the macro reads it. The last line says it is whole.
        lines = [f"{name}\t{escaped(value)}\n" for name, value in self.facts.items()]
        self.path.write_text("".join([*lines, "end\t\n"]), "ascii", newline="\n")

    def _cancel_file(self) -> Path:
        return self.path.with_name(self.path.name + _CANCEL_SUFFIX)

    def _obey(self) -> None:
        looks = 0
        while not self._over.wait(_LOOK_EVERY_S):
            if self._cancel_file().exists():
                _interrupt()
                return
            looks += 1
            if looks % _ALIVE_EVERY == 0:
                with contextlib.suppress(OSError):
                    os.utime(self.path)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C wait, while the block runs, until what is being imported is imported.

    An exception in the middle of an import leaves Python's import lock taken (`importlib` is Python code), and every
    other thread that imports something afterwards waits for ever. A handler of the caller's own is left as it is.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    before = _imports_in(sys._getframe())

    def stop(number: int, frame: FrameType | None) -> None:
        if _imports_in(frame) <= before:
            signal.default_int_handler(number, frame)
        again = threading.Timer(_AGAIN_S, _interrupt)
        again.daemon = True
        again.start()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _imports_in(frame: FrameType | None) -> int:
    n = 0
    while frame is not None:
        n += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return n


def _interrupt() -> None:
    """Do what Ctrl-C does."""
    if hasattr(signal, "pthread_kill"):  # wakes a thread that waits, too
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
