"""The process that holds the JVM. Started by `bridge.imagej.engine`; the only importer of jpype, scyjava and imagej."""

from __future__ import annotations

import gc
import os
import queue
import signal
import tempfile
import threading
import traceback
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from bridge.errors import BridgeError, MissingDependencyError
from bridge.files import sha256
from bridge.imagej.fiji_folder import fiji_root, update_sites
from bridge.imagej.java import java_home
from bridge.imagej.java_image import into_stack, make_image, pixels_of
from bridge.imagej.maven import core_jars
from bridge.imagej.witness import testimony
from bridge.pipe import digest, private_pipes, receive, send, watch_parent

_LABELS = 1024  # ij.measure.Measurements.LABELS


def main() -> None:
    """Answer requests until the engine closes the pipe."""
    requests, answers = private_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox: queue.SimpleQueue[tuple[dict[str, Any], list[bytearray]]] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests, inbox), daemon=True).start()
    threading.Thread(target=watch_parent, args=(os.getppid(),), daemon=True).start()
    # JPype lets each Python collection start a Java one, which stops the world for 16 to 100 ms.
    gc.disable()
    imagej: _ImageJ | None = None
    n_answers = 0
    while True:
        request, blobs = inbox.get()
        given = digest(blobs)
        answer: tuple[dict[str, Any], list[Any]]
        try:
            if request["do"] == "start":
                imagej = _ImageJ(request)
                answer = ({"info": imagej.info()}, [])
            elif request["do"] == "measure":
                assert imagej is not None
                answer = imagej.measure(request, *blobs)
            elif request["do"] == "macro":
                assert imagej is not None
                answer = ({"returned": imagej.macro(request["macro"], request["is_file"], request["argument"])}, [])
            else:
                raise ValueError(f"unknown request {request['do']!r}")
        except BaseException as error:  # whatever Java or Python raises is the engine's to judge
            answer = ({"error": _describe(error)}, [])
        # What it was computed from, so that no answer is ever taken for that to another request.
        send(answers, {**answer[0], "number": request["number"], "digest": given}, answer[1])
        n_answers += 1
        if n_answers % 100 == 0:
            gc.collect()


def _read_requests(requests: BinaryIO, inbox: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            inbox.put(receive(requests))
    except BaseException:
        # The engine is gone: end, even while a Java call hangs.
        os._exit(0)


def _describe(error: BaseException) -> dict[str, str]:
    kind = (
        "environment"
        if isinstance(error, MissingDependencyError)
        else "bridge"
        if isinstance(error, BridgeError)
        else "python"
    )
    text = str(error)
    trace = "".join(traceback.format_exception(error))
    if hasattr(error, "stacktrace"):  # a Java exception
        kind = "memory" if "OutOfMemoryError" in text else "java"
        trace += str(error.stacktrace())
    elif isinstance(error, MemoryError):
        kind = "memory"
    return {"kind": kind, "text": text, "trace": trace}


class _ImageJ:
    """A running ImageJ and what it was started with."""

    def __init__(self, request: dict[str, Any]) -> None:
        source: str = request["fiji"]
        named = Path(request["java"]) if request["java"] else None
        self.gateway: Any = None
        self.sites: list[str] = []
        import scyjava.config as config

        for option in (
            f"-Xmx{request['memory']}",
            # One thread works here. Measured: half the processor time of Java's own choice, and no field is slower.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            "-Dfile.encoding=UTF-8",
            "-Duser.language=en",
            "-Duser.country=US",
            "--add-opens=java.base/java.lang=ALL-UNNAMED",
        ):
            config.add_option(option)
        # Without this a Ctrl-C in the terminal would kill the JVM.
        config.add_kwargs(interrupt=False)
        if source == "core":
            home = java_home(named=named)
            self._start_core(home, bool(request["macros"]))
        elif source.count(":") >= 2 and not Path(source).exists():
            home = java_home(named=named)
            self._start_pyimagej(source, home)
        else:
            root = fiji_root(Path(source))
            self.sites = update_sites(root)
            home = java_home(root, named)
            self._start_pyimagej(str(root), home)
        import jpype

        self.j = jpype.JClass
        self._require_java(home)

    def _require_java(self, home: Path) -> None:
        """JPype takes any Java that it finds where the one it was told has no machine in it."""
        runs = Path(str(self.j("java.lang.System").getProperty("java.home")))
        if not runs.resolve().is_relative_to(home.resolve()):
            raise MissingDependencyError(
                f"{home}: no Java that starts (got {runs} instead, expected that one). Give another JAVA_HOME with --java, or leave it out."
            )

    def _start_core(self, home: Path, macros: bool) -> None:
        import scyjava
        import scyjava.config as config

        _use_java(home)
        config.endpoints.clear()
        config.get_repositories().clear()
        config.add_classpath(*(str(jar) for jar in core_jars(macros)))
        scyjava.start_jvm()
        if macros:
            import jpype

            # Before any class of ImageJ is loaded: it rewrites them.
            jpype.JClass("net.imagej.patcher.LegacyInjector").preinit()

    def _start_pyimagej(self, source: str, home: Path) -> None:
        _use_java(home)
        try:
            import imagej
            import scyjava.config as config

            if Path(source).is_dir():
                # Importing imagej asks Maven for imglib2-imglyb, which we do not need: pixels go as Java arrays.
                config.endpoints.clear()
                try:
                    self.gateway = imagej.init(source, mode="headless")
                except TypeError:
                    # No imglyb in the folder: the first init fails with the JVM up, the second one works.
                    self.gateway = imagej.init(source, mode="headless")
            else:
                self.gateway = imagej.init(source, mode="headless")
        except Exception as error:
            raise MissingDependencyError(
                f"{source}: could not be started by pyimagej ({' '.join(str(error).split())[:300]}). "
                "Check --fiji; a Maven coordinate needs a network at its first start."
            ) from error

    def info(self) -> dict[str, Any]:
        """Return what runs: versions and the hash of ImageJ's jar."""
        system = self.j("java.lang.System")
        # Not by the class: one that the headless layer has rewritten knows no jar.
        resource = str(self.j("java.lang.ClassLoader").getSystemClassLoader().getResource("ij/IJ.class"))
        location = urllib.request.url2pathname(resource.removeprefix("jar:file:").partition("!")[0])
        return {
            # An ImageJ2 says "2.17.0/1.54p".
            "imagej": str(self.j("ij.IJ").getVersion()).rpartition("/")[2],
            "gateway": str(self.gateway.getVersion()) if self.gateway is not None else None,
            "java": str(system.getProperty("java.version")),
            "java_vendor": str(system.getProperty("java.vendor")),
            "update_sites": self.sites,
            "jar": os.path.basename(location),
            "jar_sha256": sha256(Path(location)) if os.path.isfile(location) else None,
        }

    def macro(self, macro: str, is_file: bool, argument: str) -> str | None:
        """Run an ImageJ macro; return what it returns, None or '[aborted]' when it failed."""
        imagej = self.j("ij.IJ")
        returned = imagej.runMacroFile(macro, argument) if is_file else imagej.runMacro(macro, argument)
        return None if returned is None else str(returned)

    def measure(
        self, request: dict[str, Any], pixels: bytearray, encoded: bytearray
    ) -> tuple[dict[str, Any], list[Any]]:
        """Subtract the background, measure every ROI, and say what ImageJ's Results window would save."""
        import numpy as np

        overlay = self._overlay(request["names"], encoded, request["offset"])
        image = make_image(self.j, request, pixels)
        processor = image.getProcessor()
        source = request["source"]
        witness = None if source is None else testimony(self.j, source, image)
        background = request["background"]
        if background is not None:
            self.j("ij.plugin.filter.BackgroundSubtracter")().rollingBallBackground(
                processor,
                background["radius"],
                background["create_background"],
                background["light_background"],
                background["sliding_paraboloid"],
                not background["disable_smoothing"],
                True,  # correctCorners: of effect for the paraboloid only
            )
        if source is not None and source["n_planes"] > 1:
            into_stack(self.j, image, processor, source["plane"], source["label"])
        bits = request["measurements"] | _LABELS
        table = self._results(image, overlay, bits, request["decimals"])
        n = overlay.size()
        if n == 0:
            # ImageJ would save an empty file; the header alone says what the columns would be.
            one = self.j("ij.gui.Overlay")(self.j("ij.gui.Roi")(0, 0, 1, 1))
            saved = _saved(self._results(image, one, bits, request["decimals"])).splitlines(keepends=True)[0]
        else:
            saved = _saved(table)
        headings = [str(name) for name in table.getHeadings() if str(name) != "Label"] if n else []
        columns = [np.array(table.getColumnAsDoubles(table.getColumnIndex(name)), np.float64) for name in headings]
        header = {
            "rows": int(table.size()),
            "headings": headings,
            "names": [str(overlay.get(i).getName()) for i in range(n)],
            "witness": witness,
        }
        blobs: list[Any] = [saved, np.array(columns, np.float64).tobytes()]
        if request["return_pixels"]:
            blobs.append(pixels_of(self.j, processor, request["dtype"], request["width"] * request["height"]))
        image.close()
        return header, blobs

    def _overlay(self, names: list[str], encoded: bytearray, offset: list[int]) -> Any:
        decoder = self.j("ij.io.RoiDecoder")
        overlay = self.j("ij.gui.Overlay")()
        content = bytes(encoded)
        for name, begin, end in zip(names, offset[:-1], offset[1:], strict=True):
            overlay.add(decoder(content[begin:end], name).getRoi())
        return overlay

    def _results(self, image: Any, overlay: Any, bits: int, decimals: int) -> Any:
        """Measure with every setting that ImageJ keeps in its preferences given explicitly."""
        analyzer = self.j("ij.plugin.filter.Analyzer")
        prefs = self.j("ij.Prefs")
        prefs.dontSaveRowNumbers = prefs.dontSaveHeaders = prefs.noRowNumbers = False
        analyzer.setMeasurements(bits)
        analyzer.setPrecision(decimals)
        analyzer.setRedirectImage(None)
        table = overlay.measure(image)
        table.setPrecision(decimals)
        return table


def _saved(table: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Results.csv"
        table.saveAs(str(path))
        return path.read_bytes()


def _use_java(home: Path) -> None:
    import scyjava.config as config

    os.environ["JAVA_HOME"] = str(home)
    # Without this a Java that is not found would be downloaded, unasked.
    config.set_java_constraints(fetch="never", version="11")
    release = home / "release"
    version = release.read_text() if release.is_file() else ""
    if 'JAVA_VERSION="1.' not in version and not any(f'JAVA_VERSION="{old}' in version for old in ("11", "17")):
        config.add_option("--enable-native-access=ALL-UNNAMED")


if __name__ == "__main__":
    main()
