"""The update site read back by rules of its own: what imagej-updater would do with a Fiji's files."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import make_site
import pytest

from bridge.fiji_menu import LIBRARY, macro_files

MENU = "plugins/Cellpose Fiji Bridge"


def statuses(site: Path, fiji: dict[str, bytes]) -> dict[str, str]:
    """What the updater says of each file of the site: by checksums alone."""
    said = {}
    for plugin in ET.fromstring(gzip.decompress((site / "db.xml.gz").read_bytes())):
        name = str(plugin.get("filename"))
        now = plugin.find("version")
        before = {node.get("checksum") for node in plugin.findall("previous-version")}
        own = hashlib.sha1(name.encode("ascii") + fiji[name]).hexdigest() if name in fiji else None
        if now is None:
            said[name] = "gone" if own is None else "obsolete" if own in before else "obsolete, modified"
        elif own is None:
            said[name] = "new"
        elif own == now.get("checksum"):
            said[name] = "installed"
        else:
            said[name] = "updateable" if own in before else "modified"
    return said


def updated(site: Path, fiji: dict[str, bytes]) -> dict[str, bytes]:
    """A Fiji after its updater ran: files of the user's own stay."""
    after = dict(fiji)
    for plugin in ET.fromstring(gzip.decompress((site / "db.xml.gz").read_bytes())):
        name, version = str(plugin.get("filename")), plugin.find("version")
        status = statuses(site, fiji)[name]
        if status == "obsolete":
            del after[name]
        elif version is not None and status in ("new", "updateable"):
            content = (site / f"{name}-{version.get('timestamp')}").read_bytes()
            assert str(len(content)) == version.get("filesize")
            after[name] = content
    return after


def test_a_second_release_updates_replaces_removes_and_keeps(tmp_path: Path) -> None:
    first = {
        f"{MENU}/Changed.ijm": b"one", f"{MENU}/Removed.ijm": b"old", f"{MENU}/Edited_Here.ijm": b"ours",
        f"{MENU}/Same.groovy": b"same", f"{LIBRARY}/bridge-1.whl": b"wheel 1",
    }  # fmt: skip
    make_site.make_site(first, tmp_path, "20260101000000")
    assert set(statuses(tmp_path, {}).values()) == {"new"}
    fiji = updated(tmp_path, {"jars/ij.jar": b"ImageJ"})
    assert fiji == {"jars/ij.jar": b"ImageJ", **first}
    assert set(statuses(tmp_path, fiji).values()) == {"installed"}

    second = {**first, f"{MENU}/Changed.ijm": b"two", f"{MENU}/Edited_Here.ijm": b"ours, better"}
    del second[f"{MENU}/Removed.ijm"], second[f"{LIBRARY}/bridge-1.whl"]
    second[f"{LIBRARY}/bridge-2.whl"] = b"wheel 2"
    fiji[f"{MENU}/Edited_Here.ijm"] = b"a user's"
    make_site.make_site(second, tmp_path, "20260201000000")
    assert statuses(tmp_path, fiji) == {
        f"{MENU}/Changed.ijm": "updateable", f"{MENU}/Removed.ijm": "obsolete", f"{MENU}/Edited_Here.ijm": "modified",
        f"{MENU}/Same.groovy": "installed", f"{LIBRARY}/bridge-1.whl": "obsolete", f"{LIBRARY}/bridge-2.whl": "new",
    }  # fmt: skip
    assert updated(tmp_path, fiji) == {"jars/ij.jar": b"ImageJ", **second, f"{MENU}/Edited_Here.ijm": b"a user's"}
    # Who skipped a release, and a file that comes back.
    make_site.make_site({**second, f"{MENU}/Removed.ijm": b"old"}, tmp_path, "20260301000000")
    assert updated(tmp_path, first) == {**second, f"{MENU}/Removed.ijm": b"old"}
    # Nothing changed: nothing is written but the list.
    files = sorted(tmp_path.rglob("*"))
    make_site.make_site({**second, f"{MENU}/Removed.ijm": b"old"}, tmp_path, "20260401000000")
    assert sorted(tmp_path.rglob("*")) == files


def test_what_the_updater_would_not_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^plugins/x/a.toml: Fiji's updater does not look at such a file there$"):
        make_site.make_site({"plugins/x/a.toml": b""}, tmp_path, "20260101000000")
    with pytest.raises(ValueError, match="does not look"):
        make_site.make_site({"docs/a.ijm": b""}, tmp_path, "20260101000000")
    make_site.make_site({"plugins/x/a.ijm": b""}, tmp_path, "20260201000000")
    with pytest.raises(
        ValueError, match=r"has a release of 20260201000000 \(got 20260101000000, expected a later time"
    ):
        make_site.make_site({"plugins/x/a.ijm": b"b"}, tmp_path, "20260101000000")


@pytest.mark.slow
def test_the_site_holds_what_is_installed_and_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, make_site.__file__, str(tmp_path), "--at", "20260101000000"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    fiji = updated(tmp_path, {})
    assert told.startswith(f"{len(fiji)} files, ")
    assert {name: fiji[name] for name in macro_files()} == macro_files()
    wheel = next(name for name in fiji if name.endswith(".whl"))
    with zipfile.ZipFile(io.BytesIO(fiji[wheel])) as packed:
        assert "fiji_macros/lib/CellposeWorker.groovy" in packed.namelist()
    pins = fiji[f"{LIBRARY}/requirements.txt"].decode().splitlines()
    assert pins[0] == "# extras: formats"
    assert any(pin.startswith("torch==") for pin in pins)
    assert not any(pin.startswith(("nvidia", "cuda", "triton")) for pin in pins)  # torch's own build chooses
    with zipfile.ZipFile(tmp_path / make_site.ZIP) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == fiji
