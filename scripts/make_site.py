"""Make the update site for Fiji's updater, and the same files as one zip.

    uv run python scripts/make_site.py SITE

SITE is a folder that any web server can serve as it is. Called again for the next release it keeps the history: a file
that changed gets a new time, its old checksum stays (so the updater knows an old file of ours from one that its user
edited), and a file that is gone becomes obsolete (the updater removes it).

The format is that of imagej-updater: `db.xml.gz`, and each file under its path with ``-YYYYMMDDhhmmss`` at its end. What the
updater looks at in which folder, and the checksum of a file that is no jar (SHA-1 of its path and its bytes), are those of
its class Checksummer and of UpdaterUtil.getDigest.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

from bridge.fiji_menu import LIBRARY, macro_files
from bridge.files import write_bytes

ROOT = Path(__file__).parents[1]
ZIP = "cellpose-fiji-bridge.zip"
EXTRAS = "formats"
_DB = "db.xml.gz"
_LOOKED_AT = {"plugins": {".groovy", ".ijm", ".txt", ".jar", ".py"}, "lib": None}  # by the updater, of what we bring
_BY_TORCH = re.compile(r"(nvidia|cuda|triton)\b")  # which of these it needs depends on its build


def fiji_files() -> dict[str, bytes]:
    """Return what belongs into a Fiji, path to content: macros and scripts, the wheel, the versions it was tested with."""
    files = macro_files()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["uv", "build", "--wheel", "--quiet", "--out-dir", folder], cwd=ROOT, check=True)
        wheel = next(Path(folder).glob("*.whl"))
        files[f"{LIBRARY}/{wheel.name}"] = wheel.read_bytes()
    files[f"{LIBRARY}/requirements.txt"] = requirements().encode()
    return files


def requirements() -> str:
    """Return the versions of everything that the wheel needs, as a requirements file."""
    exported = subprocess.run(
        ["uv", "export", "--quiet", "--no-dev", "--extra", EXTRAS, "--no-hashes", "--no-emit-project", "--no-header", "--no-annotate"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    pins = [line for line in exported.splitlines() if re.match(r"[a-z0-9]", line) and not _BY_TORCH.match(line)]
    return f"# extras: {EXTRAS}\n" + "".join(f"{pin}\n" for pin in pins)


def make_site(files: dict[str, bytes], site: Path, at: str) -> None:
    """Add a release to an update site.

    Parameters
    ----------
    files : dict of str to bytes
        Path within a Fiji to content.
    site : Path
    at : str
        The time of the release, ``YYYYMMDDhhmmss``; later than that of every release before.

    Raises
    ------
    ValueError
        The updater would not look at a file, or the time is not later.
    """
    for name in files:
        top, suffix = name.split("/")[0], Path(name).suffix
        if top not in _LOOKED_AT or suffix not in (_LOOKED_AT[top] or {suffix}) or not name.isascii():
            raise ValueError(f"{name}: Fiji's updater does not look at such a file there")
    db = site / _DB
    root = ET.fromstring(gzip.decompress(db.read_bytes())) if db.exists() else ET.Element("pluginRecords")
    times = [str(node.get("timestamp")) for node in root.iter() if node.get("timestamp")]
    if times and at <= max(times):
        raise ValueError(f"{db}: has a release of {max(times)} (got {at}, expected a later time)")
    known = {str(plugin.get("filename")): plugin for plugin in root}
    for name in known.keys() - files.keys():
        _outdate(known[name], at)
    for name, content in files.items():
        digest = checksum(name, content)
        plugin = known[name] if name in known else ET.SubElement(root, "plugin", filename=name)
        version = plugin.find("version")
        if version is not None and version.get("checksum") == digest:
            continue
        _outdate(plugin, at)
        version = ET.Element("version", checksum=digest, timestamp=at, filesize=str(len(content)))
        ET.SubElement(version, "description").text = "Cellpose Fiji Bridge"
        plugin.insert(0, version)
        write_bytes(site / f"{name}-{at}", content)
    ET.indent(root, "  ")
    xml = b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "utf-8") + b"\n"
    write_bytes(db, gzip.compress(xml, mtime=0))  # last: it names files that are there


def checksum(name: str, content: bytes) -> str:
    """Return the updater's checksum of a file that is no jar."""
    return hashlib.sha1(name.encode("ascii") + content).hexdigest()


def _outdate(plugin: ET.Element, at: str) -> None:
    version = plugin.find("version")
    if version is None:
        return
    plugin.remove(version)
    old = {"timestamp": str(version.get("timestamp")), "timestamp-obsolete": at, "checksum": str(version.get("checksum"))}  # fmt: skip
    ET.SubElement(plugin, "previous-version", old)


def make_zip(files: dict[str, bytes], path: Path) -> None:
    """Write the same files as one zip, to be unpacked in the folder of a Fiji; the same bytes for the same files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted(files):
            packed.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Make the update site for Fiji's updater, and the same files as one zip."
    )
    parser.add_argument("site", type=Path)
    parser.add_argument("--at", default=time.strftime("%Y%m%d%H%M%S", time.gmtime()), help="time of the release, UTC")
    given = parser.parse_args()
    files = fiji_files()
    make_site(files, given.site, given.at)
    make_zip(files, given.site / ZIP)
    print(f"{len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB: {given.site}, {given.site / ZIP}")


if __name__ == "__main__":
    main()
