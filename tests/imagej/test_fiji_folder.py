"""A user's own Fiji as the engine; runs where one is named: pytest --fiji PATH, or FIJI_HOME."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import tifffile

from bridge.doctor import checkup
from bridge.fiji_menu import FOLDER, install, look, uninstall
from bridge.imagej.background import Background
from bridge.imagej.both import DoubleEntry
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.fiji_folder import fiji_root, update_sites
from bridge.imagej.native import NativeEngine
from bridge.pipeline.verbs import measure
from bridge.rois.roiset import selections_of
from bridge.synthetic import synthetic_field


def test_a_fiji_gives_the_numbers_of_the_native_engine_or_says_where_not(fiji_folder: Path) -> None:
    field = synthetic_field(seed=4, size_px=300, n_cells=20)
    cells = selections_of(field.cells)
    with DoubleEntry(FijiEngine(str(fiji_folder)), strict=False) as engine:
        found = engine.measure(field.edu, cells, "edu.tif", Background(50))
        info = engine.info
    assert info["gateway"]
    assert info["imagej"].startswith("1.")
    assert found.compared > 300 * 300
    if info["imagej"] == "1.54p":
        native = NativeEngine().measure(field.edu, cells, "edu.tif", Background(50))
        assert found.differences == ()
        assert found.results_csv == native.results_csv


def test_its_macros_run_headless(fiji_folder: Path, tmp_path: Path) -> None:
    field = synthetic_field(seed=4, size_px=200, n_cells=8)
    tifffile.imwrite(tmp_path / "f1_EdU.tif", field.edu)
    tifffile.imwrite(tmp_path / "f1_mask.tif", field.cells.astype(np.uint16))
    ours = measure(
        tmp_path / "f1_EdU.tif", tmp_path / "f1_mask.tif", tmp_path / "ours", engine="native", overlay_tiff=True
    )
    with FijiEngine(str(fiji_folder)) as engine:
        argument = f"images=[{tmp_path}/ours/overlay/f1_EdU.tif] out=[{tmp_path}/theirs]"
        macro = Path(__file__).parents[2] / "fiji_macros" / "Measure_with_RoiSets.ijm"
        said = engine.run_macro(macro, argument) or ""
    assert said.startswith("OK: 1 images"), said
    assert (tmp_path / "theirs" / "f1_EdU_Results.csv").read_bytes() == ours.read_bytes()


def test_macros_in_its_menu(fiji_folder: Path) -> None:
    there = (fiji_root(fiji_folder) / "plugins" / FOLDER).exists()
    install(fiji_folder)
    assert look(fiji_folder).advice == ""
    facts = {fact.what: fact for fact in checkup(str(fiji_folder), start=False)}
    assert facts["Macros"].advice == ""
    if not there:
        uninstall(fiji_folder)


def test_update_sites(tmp_path: Path) -> None:
    content = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE pluginRecords [<!ELEMENT update-site EMPTY>]>
<pluginRecords>
 <update-site name="Fiji-Latest" official="true" url="x" timestamp="1"/>
 <disabled-update-site name="CLIJ" url="x"/>
 <update-site official="false" name="A &amp; B" url="x"/>
</pluginRecords>"""
    (tmp_path / "db.xml.gz").write_bytes(gzip.compress(content.encode()))
    assert update_sites(tmp_path) == ["Fiji-Latest", "A & B"]
    (tmp_path / "db.xml.gz").write_bytes(b"no gzip")
    assert update_sites(tmp_path) == []
