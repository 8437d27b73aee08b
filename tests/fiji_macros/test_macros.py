"""The macros that Fiji users run: real ImageJ 1.54p runs each of them, headless and in its window."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from small import make_experiment
from window import MACROS, in_the_window, needs_window

import bridge
import bridge.fiji_menu
from bridge.errors import MissingDependencyError, OutputError
from bridge.imagej.fiji import FijiEngine
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import label_ids
from bridge.pipeline.verbs import measure
from bridge.rois.roiset import decode_roiset, encode_roiset, read_roiset, verify_roiset
from bridge.synthetic import synthetic_field

PROGRAM = str(Path(sys.executable).with_name("cellpose-fiji"))


def shapes() -> np.ndarray:
    """Every shape that has gone wrong somewhere: holes, parts, pinches, one pixel, the border, gaps in the labels."""
    labels = synthetic_field(seed=3, size_px=200, n_cells=12).cells.astype(np.uint16)
    labels[20:40, 20:40] = 700  # a hole
    labels[26:32, 26:32] = 0
    labels[100:104, 5:9] = labels[110:114, 5:9] = 701  # two parts
    labels[150:152, 150:152] = labels[152:154, 152:154] = 702  # they touch at a corner
    labels[199, 199] = 703
    labels[0, 60:90] = 65000
    labels[60:70, 199] = 40
    return labels


@pytest.fixture(scope="module")
def macro(imagej_with_macros: FijiEngine):
    def run(name: str, **given: object) -> str:
        argument = " ".join(f"{key}=[{value}]" for key, value in given.items())
        return imagej_with_macros.run_macro(MACROS / name, argument) or ""

    return run


@pytest.fixture(scope="module")
def conditions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of conditions: `images` and `rois`, the ROI sets once named as the bridge does, once plainly."""
    folder = tmp_path_factory.mktemp("conditions")
    for k, condition in enumerate(("DMSO", "Drug 1 µM")):
        for name in ("f1", "f2"):
            field = synthetic_field(seed=70 + k, size_px=180, n_cells=10)
            image = folder / "images" / condition / f"{name}_EdU.tif"
            image.parent.mkdir(parents=True, exist_ok=True)
            if k:
                # 0.325 µm/px as ImageJ saves it, and one that is another double when divided the other way round.
                per_um = (3076923, 1000000) if name == "f1" else (20, 13)
                scale = {"resolution": (per_um, per_um), "metadata": {"axes": "YX", "unit": "um"}}
                tifffile.imwrite(image, field.edu, imagej=True, **scale)
            else:
                tifffile.imwrite(image, field.edu, resolution=(300, 300), resolutionunit="INCH")
            safe = condition.replace(" ", "_")
            zipped = folder / "rois" / safe / f"{f'{safe}_' if k else ''}{name}_RoiSet.zip"
            zipped.parent.mkdir(parents=True, exist_ok=True)
            zipped.write_bytes(encode_roiset(field.cells))
    return folder


# ---------------------------------------------------------------- masks to ROI sets


def test_masks_become_exact_rois_headless(tmp_path: Path, macro) -> None:
    labels = shapes()
    write_labels(tmp_path / "masks" / "a" / "f1_mask.tif", labels)
    tifffile.imwrite(tmp_path / "masks" / "f2_cp_masks.tif", np.minimum(labels, 255).astype(np.uint8))
    tifffile.imwrite(
        tmp_path / "masks" / "f3_masks.tif", np.where(labels == 700, np.float32(100_000), labels.astype(np.float32))
    )
    said = macro("Masks_to_RoiSets.ijm", masks=tmp_path / "masks", out=tmp_path / "rois")
    assert said.startswith("OK: 3 ROI sets, "), said
    for mask, made in (("a/f1_mask.tif", "a/f1"), ("f2_cp_masks.tif", "f2"), ("f3_masks.tif", "f3")):
        files = sorted((tmp_path / "rois" / f"{made}_RoiSet").iterdir(), key=lambda path: int(path.stem))
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path in files:
                archive.write(path, path.name)
        found = decode_roiset(content.getvalue(), (200, 200))
        truth = read_labels(tmp_path / "masks" / mask)
        assert verify_roiset(found, truth) == label_ids(truth).size == len(files)
    assert not list(tmp_path.rglob("*.part"))
    again = macro("Masks_to_RoiSets.ijm", masks=tmp_path / "masks", out=tmp_path / "rois")
    assert again.startswith("Error: ")
    assert "is there already. It is not overwritten" in again


@needs_window
def test_masks_become_a_roi_set_in_the_window(tmp_path: Path) -> None:
    write_labels(tmp_path / "f1_mask.tif", shapes())
    drive = "begin()\ndone(run('Masks_to_RoiSets.ijm', f'masks=[{folder}/f1_mask.tif] out=[{folder}/rois]'))"
    said = in_the_window(drive, tmp_path, folder=str(tmp_path))
    assert said.startswith("OK: 1 ROI sets"), said
    assert verify_roiset(read_roiset(tmp_path / "rois" / "f1_RoiSet.zip", (200, 200)), shapes()) == len(
        label_ids(shapes())
    )


# ---------------------------------------------------------------- measuring


@needs_window
def test_window_headless_and_bridge_give_the_same_bytes(tmp_path: Path, conditions: Path, macro) -> None:
    drive = """
begin()
done(run('Measure_with_RoiSets.ijm', f'images=[{folder}/images] rois=[{folder}/rois] out=[{out}]'))
"""
    said = in_the_window(drive, tmp_path, folder=str(conditions), out=str(tmp_path / "window"))
    assert said.startswith("OK: 4 images, "), said
    for image in sorted((conditions / "images").rglob("*.tif")):
        condition = image.parent.name
        safe = condition.replace(" ", "_")
        name = f"{safe}_{image.stem}" if condition.startswith("Drug") else image.stem
        zipped = conditions / "rois" / safe / f"{name.removesuffix('_EdU')}_RoiSet.zip"
        measure(image, zipped, tmp_path / "bridge" / condition, overlay_tiff=True)
    overlays = tmp_path / "overlays"
    for path in sorted((tmp_path / "bridge").rglob("overlay/*.tif")):
        target = overlays / path.parents[1].name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    said = macro("Measure_with_RoiSets.ijm", images=overlays, out=tmp_path / "headless")
    assert said.startswith("OK: 4 images, "), said
    ours = {p.relative_to(tmp_path / "bridge"): p.read_bytes() for p in (tmp_path / "bridge").rglob("*_Results.csv")}
    assert len(ours) == 4
    for relative, content in ours.items():
        assert (tmp_path / "window" / relative).read_bytes() == content
        assert (tmp_path / "headless" / relative).read_bytes() == content
    for made in ("window", "headless"):
        joined = pd.read_csv(tmp_path / made / "DMSO.csv", index_col=0)
        parts = [pd.read_csv(tmp_path / "bridge" / "DMSO" / f"f{k}_EdU_Results.csv", index_col=0) for k in (1, 2)]
        assert joined.index.tolist() == list(range(1, len(joined) + 1))
        assert joined.reset_index(drop=True).equals(pd.concat(parts, ignore_index=True))
    assert not list(tmp_path.rglob("*.part.csv"))


@needs_window
def test_ten_thousand_cells_in_the_roi_manager(tmp_path: Path) -> None:
    labels = np.zeros((1010, 1010), np.uint16)
    for k in range(10_000):
        y, x = divmod(k, 100)
        labels[10 * y + 2 : 10 * y + 9, 10 * x + 2 : 10 * x + 3 + k % 7] = k + 1
    edu = np.random.default_rng(1).integers(0, 4000, labels.shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "f1_EdU.tif", edu)
    (tmp_path / "f1_RoiSet.zip").write_bytes(encode_roiset(labels))
    drive = """
begin()
done(run('Measure_with_RoiSets.ijm', f'images=[{folder}/f1_EdU.tif] rois=[{folder}/f1_RoiSet.zip] out=[{folder}/out]'))
"""
    assert in_the_window(drive, tmp_path, folder=str(tmp_path)).startswith("OK: 1 images, 10000 ROIs measured")
    ours = measure(tmp_path / "f1_EdU.tif", tmp_path / "f1_RoiSet.zip", tmp_path / "ours", engine="native")
    assert (tmp_path / "out" / "f1_EdU_Results.csv").read_bytes() == ours.read_bytes()


# ---------------------------------------------------------------- the whole pipeline from the menu


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the macros review and correct; `results` and `images` in it."""
    folder = tmp_path_factory.mktemp("finished")
    images = make_experiment(folder / "images")
    report = bridge.run(images, folder / "results", masks=folder / "masks", count="none", engine="native")
    assert report.exit_code == 0
    return folder


def test_segment_and_measure_headless(tmp_path: Path, macro) -> None:
    images = make_experiment(tmp_path / "Bilder é")
    settings = tmp_path / "settings.toml"
    settings.write_text('model = "demo"\ndiameter = 37\ncount = "none"\nengine = "native"\n', "utf-8")
    given = {"images": images, "out": tmp_path / "results", "settings": settings, "command": PROGRAM}
    said = macro("Segment_and_Measure.ijm", **given)
    assert said == f"OK: 4 of 4 fields done. Results in {tmp_path / 'results'}"
    assert json.loads((tmp_path / "results" / "run.json").read_text())["fields"]["done"] == 4
    # A first look: one picture, no run; channels, both models and a pattern through the macro's own settings file.
    named = {
        "segment": "phase",
        "measure": "EdU",
        "count": "none",
        "model": "demo",
        "diameter": "37",
        "pattern": "{condition}/{replicate}/f{field}_{channel}.tif",
    }
    said = macro(
        "Segment_and_Measure.ijm", images=images, out=tmp_path / "look", preview="yes", command=PROGRAM, **named
    )
    assert said == f"OK: look at {tmp_path / 'look' / 'preview.png'}"
    assert [p.name for p in (tmp_path / "look").iterdir()] == ["preview.png"]
    # Through the macro's own settings file, with what is not ASCII in it; what fails is said as the bridge says it.
    said = macro("Segment_and_Measure.ijm", images=images, out=tmp_path / "new é", model="no such", command=PROGRAM)
    assert said.startswith("Error: no such: no such model"), said
    assert not (tmp_path / "new é").exists()


@needs_window
def test_escape_stops_the_run_and_the_same_settings_go_on(tmp_path: Path) -> None:
    images = make_experiment(tmp_path / "images")
    for path in list(images.rglob("f1_*.tif")):  # so many fields that the run does not end before it is told to
        for k in range(2, 30):
            shutil.copy(path, path.with_name(path.name.replace("f1_", f"f{k}_")))
    settings = tmp_path / "settings.toml"
    settings.write_text('model = "demo"\ndiameter = 37\ncount = "none"\nengine = "native"\n', "utf-8")
    argument = f"images=[{images}] out=[{tmp_path / 'results'}] settings=[{settings}] command=[{PROGRAM}]"
    drive = """
begin()
said = start('Segment_and_Measure.ijm', argument)
wait_for(lambda: (Path(out) / 'run.json').exists(), 'the run begins')
KeyEvent = jpype.JClass('java.awt.event.KeyEvent')
window.keyPressed(KeyEvent(window, KeyEvent.KEY_PRESSED, 0, 0, KeyEvent.VK_ESCAPE, '\\x1b'))
wait_for(said.done, 'the macro ends')
wait_for(lambda: not list(Path(out).glob('.lock*')), 'the run ends')
done(said.result())
"""
    before = set(Path(tempfile.gettempdir()).glob("cellpose-fiji-*.t*"))
    said = in_the_window(drive, tmp_path, argument=argument, out=str(tmp_path / "results"))
    assert said == "Error: stopped; what is done is kept, and the same settings resume there"
    assert set(Path(tempfile.gettempdir()).glob("cellpose-fiji-*.t*")) == before


# ---------------------------------------------------------------- review and correction


@needs_window
def test_a_row_selects_its_cell_and_a_cell_its_row(finished: Path, tmp_path: Path) -> None:
    drive = """
begin()
said = start('Review_Field.ijm', f'results=[{folder}/results] field=[DMSO_day1_f1]')
table = wait_for(lambda: WindowManager.getFrame('Results') or said.done() and done(said.result()), 'the table')
manager = wait_for(lambda: RoiManager.getInstance(), 'the ROI Manager')
reviewing()
panel = table.getTextPanel()
def row():
    place = panel.getLocationOnScreen()
    return place.x + 60, place.y + 16 + 3.5 * 15
click_until(lambda: panel.getSelectionStart() > 0, row, 'a row is selected')
first = panel.getSelectionStart()
wait_for(lambda: manager.getSelectedIndex() == first, 'its cell is selected')
ids = list(WindowManager.getIDList())
image = WindowManager.getCurrentImage()
zoom = float(image.getCanvas().getMagnification())
# A click into another cell that is seen: its row is selected.
canvas = image.getCanvas()
rois = manager.getRoisAsArray()
def seen(roi):
    part = canvas.getSrcRect().intersection(roi.getBounds())
    x, y = int(part.x + part.width / 2), int(part.y + part.height / 2)
    return (x, y) if part.width > 2 and part.height > 2 and roi.contains(x, y) else None
other = next(k for k, roi in enumerate(rois) if k != first and seen(roi))
x, y = seen(rois[other])
def cell():
    place = canvas.getLocationOnScreen()
    return place.x + canvas.screenX(x), place.y + canvas.screenY(y)
click_until(lambda: panel.getSelectionStart() == other, cell, 'its row is selected')
wait_for(lambda: manager.getSelectedIndex() == other, 'the cell is selected')
table.close(False)
wait_for(said.done, 'the review ends')
done(f'{said.result()} {len(ids)} {zoom > 1}')
"""
    said = in_the_window(drive, tmp_path, folder=str(finished))
    n = label_ids(read_labels(finished / "results" / "masks" / "DMSO" / "DMSO_day1_f1_mask.tif")).size
    assert said == f"OK: {n} cells of DMSO_day1_f1 2 True"


@needs_window
def test_cells_are_corrected_in_fiji(finished: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(finished / "results", results)
    drive = """
begin()
said = start('Correct_Cells.ijm', f'results=[{results}] field=[Drug_day2_f1] hide=[yes] command=[{program}]')
asked = wait_for(lambda: titled('Correct cells'), 'the dialog')
manager = RoiManager.getInstance()
Roi, ShapeRoi = jpype.JClass('ij.gui.Roi'), jpype.JClass('ij.gui.OvalRoi')
n = manager.getCount()
manager.select(0)
manager.runCommand('Delete')
oval = ShapeRoi(x, y, 9, 7)
oval.setName('mine')
manager.addRoi(oval)
title = str(WindowManager.getCurrentImage().getTitle())
press(asked, 'OK')
wait_for(said.done, 'the macro ends')
done(f'{n} {title} {said.result()}')
"""
    before = read_labels(results / "masks" / "Drug" / "Drug_day2_f1_mask.tif")
    y, x = next((y, x) for y in range(150) for x in range(150) if not before[y : y + 8, x : x + 10].any())
    said = in_the_window(drive, tmp_path, results=str(results), program=PROGRAM, x=x, y=y)
    n, title, answer = said.split(" ", 2)
    assert "Drug" not in title
    assert answer.startswith("OK: 1 field corrected: ")
    assert "1 deleted" in answer
    assert "1 added" in answer
    after = read_labels(results / "corrections" / "Drug_day2_f1_mask.tif")
    kept = label_ids(before)[1:]
    assert label_ids(before).size == int(n)
    for label in kept:
        assert np.array_equal(before == label, after == label)
    assert (results / "rois" / "Drug" / "Drug_day2_f1_RoiSet.zip").read_bytes() == (
        finished / "results" / "rois" / "Drug" / "Drug_day2_f1_RoiSet.zip"
    ).read_bytes()


# ---------------------------------------------------------------- what can go wrong


def test_macros_say_what_is_wrong(tmp_path: Path, macro) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    tifffile.imwrite(tmp_path / "f1_EdU.tif", np.full((20, 20), 9, np.uint16))
    tifffile.imwrite(tmp_path / "rgb_mask.tif", np.zeros((20, 20, 3), np.uint8))
    tifffile.imwrite(tmp_path / "none_mask.tif", np.zeros((20, 20), np.uint8))
    tifffile.imwrite(tmp_path / "half_mask.tif", np.full((20, 20), 1.5, np.float32))
    gone = tmp_path / "gone"
    twice = tmp_path / "twice"
    for name in ("a_mask.tif", "a_masks.tif"):
        write_labels(twice / name, shapes())
    for name, given, expected in (
        ("Masks_to_RoiSets.ijm", {"masks": gone, "out": out}, f"{gone}: no such file or folder (expected a label image or a folder of them). Check the path."),
        ("Masks_to_RoiSets.ijm", {"masks": empty, "out": out}, f"{empty}: no label images in it (expected ..._mask.tif, ..._masks.tif or ..._cp_masks.tif). Check the folder."),
        ("Masks_to_RoiSets.ijm", {"masks": tmp_path / "rgb_mask.tif", "out": out}, f"{tmp_path / 'rgb_mask.tif'}: a colour image (expected numbers, one per cell). Save the label image, not a picture of it."),
        ("Masks_to_RoiSets.ijm", {"masks": tmp_path / "none_mask.tif", "out": out}, f"{tmp_path / 'none_mask.tif'}: has no cells (expected at least one label). There is nothing to make a ROI set of."),
        ("Masks_to_RoiSets.ijm", {"masks": tmp_path / "half_mask.tif", "out": out}, f"{tmp_path / 'half_mask.tif'}: labels are not whole numbers (got 1.5). Save it again as a label image."),
        ("Masks_to_RoiSets.ijm", {"masks": tmp_path}, "out: nothing named (expected the folder for the ROI sets). Name one."),
        ("Masks_to_RoiSets.ijm", {"masks": twice, "out": out}, "a_masks.tif: would get the same ROI set as a_mask.tif (expected names of their own). Move one elsewhere."),
        ("Measure_with_RoiSets.ijm", {"images": gone, "out": out}, f"{gone}: no such file or folder (expected an image or a folder of images). Check the path."),
        ("Measure_with_RoiSets.ijm", {"images": empty, "out": out}, f"{empty}: no images in it whose name ends in _EdU.tif. Check the folder and the ending."),
        ("Measure_with_RoiSets.ijm", {"images": tmp_path / "f1_EdU.tif", "out": out}, f"{tmp_path / 'f1_EdU.tif'}: has no ROIs as its overlay (expected them: without a window ImageJ opens no ROI set). Write it with: cellpose-fiji measure --overlay-tiff"),
        ("Measure_with_RoiSets.ijm", {"images": tmp_path / "f1_EdU.tif", "out": out, "radius": "ten"}, "radius: not a radius (got ten, expected a number of px above 0, or none). Correct it."),
        ("Segment_and_Measure.ijm", {"images": empty, "out": out, "command": gone}, f"{gone}: is not there any more (expected the program of the bridge). Install the bridge again, then run: cellpose-fiji macros install --fiji PATH"),
        ("Segment_and_Measure.ijm", {"images": gone, "out": out, "command": PROGRAM}, f"{gone}: no such folder (expected a folder of images). Check the path."),
        ("Segment_and_Measure.ijm", {"images": empty, "out": out}, f"command.txt: not beside this macro (expected in {MACROS}). Run: cellpose-fiji macros install --fiji PATH"),
        ("Review_Field.ijm", {"results": empty}, "Review_Field: needs a window (got a headless ImageJ). Run it in Fiji's window."),
        ("Correct_Cells.ijm", {"results": empty}, "Correct_Cells: needs a window (got a headless ImageJ). Run it in Fiji's window."),
    ):  # fmt: skip
        assert macro(name, **given) == f"Error: {expected}"
    assert not out.exists()
    # What the bridge itself says, through the status file.
    said = macro("Segment_and_Measure.ijm", images=empty, out=out, command=PROGRAM)
    assert said == (
        f"Error: {empty}: no image found (got nothing, expected TIFF, PNG, JPEG, CZI, LIF, ND2 or OME-Zarr in it or in its folders). Check the path."
    )
    assert not out.exists()


@needs_window
def test_macros_say_what_is_wrong_in_the_window(conditions: Path, finished: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    tifffile.imwrite(small / "f1_EdU.tif", np.full((90, 90), 9, np.uint16))
    shutil.copy(conditions / "rois" / "DMSO" / "f1_RoiSet.zip", small / "f1_RoiSet.zip")
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    shutil.copy(small / "f1_EdU.tif", lonely / "f2_EdU.tif")
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = [
        ("Measure_with_RoiSets.ijm", f"images=[{small}] rois=[{small}] out=[{tmp_path}/out]", "reaches beyond the image f1_EdU.tif (got "),
        ("Measure_with_RoiSets.ijm", f"images=[{lonely}] rois=[{small}] out=[{tmp_path}/out]", f"f2_EdU.tif: has no ROI set (expected {small}/f2_RoiSet.zip). Make it first, or name another folder of ROI sets."),
        ("Measure_with_RoiSets.ijm", f"images=[{small}] rois=[{tmp_path}/gone] out=[{tmp_path}/out]", "gone: no such file or folder (expected a ROI set or a folder of ROI sets). Check the path."),
        ("Review_Field.ijm", f"results=[{empty}] field=[x]", "not the results of a run (expected fields.csv and run.json in it). Name the folder given to the run."),
        ("Review_Field.ijm", f"results=[{finished}/results] field=[x]", "has no field of this name (got x). Look at fields.csv."),
        ("Correct_Cells.ijm", f"results=[{empty}] field=[x] command=[{PROGRAM}]", f"{empty}: not the folder of a run (no run.json that can be read). Name the folder given with --out."),
        ("Correct_Cells.ijm", f"results=[{finished}/results] field=[x] command=[{PROGRAM}]", f"{finished}/results: no finished field x (got x, expected one of DMSO_day1_f1, "),
    ]  # fmt: skip
    drive = "begin()\ndone(chr(31).join(run(name, argument) for name, argument, _ in cases))"
    said = in_the_window(drive, tmp_path, cases=cases).split(chr(31))
    for answer, (_, _, expected) in zip(said, cases, strict=True):
        assert answer.startswith("Error: ")
        assert expected in answer
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- the menu


def fake_fiji(folder: Path, layout: str) -> Path:
    root = folder / layout
    (root / "plugins").mkdir(parents=True)
    (root / "jars").mkdir()
    (root / "jars" / "ij-1.54p.jar").write_bytes(b"")
    return root


@pytest.mark.parametrize("layout", ["Fiji.app", "Fiji", "Mein Fiji für Zählungen"])
def test_macros_are_installed_and_taken_out_again(tmp_path: Path, layout: str) -> None:
    root = fake_fiji(tmp_path, layout)
    # The folder above is found as well, as is the launcher's place inside of it on macOS.
    (root / "Fiji.app" / "Contents").mkdir(parents=True)
    folder = bridge.fiji_menu.install(root / "Fiji.app" / "Contents")
    assert folder == root / "plugins" / "Cellpose Fiji Bridge"
    assert {p.name for p in folder.glob("*.ijm")} == {p.name for p in MACROS.glob("*.ijm")}
    assert json.loads(f'"{(folder / "command.txt").read_text().strip()}"') == PROGRAM
    assert bridge.fiji_menu.look(root).advice == ""
    bridge.fiji_menu.install(root)  # twice is no harm
    (folder / "My_own.ijm").write_text("print(1);")
    changed = folder / "Review_Field.ijm"
    changed.write_text("// mine")
    assert bridge.fiji_menu.look(root).outdated == ("Review_Field.ijm",)
    with pytest.raises(OutputError) as refused:
        bridge.fiji_menu.install(root)
    assert str(refused.value) == (
        f"{changed}: was changed by hand. It is not overwritten: rename it (keep an underscore in its name to have it in the menu), and install again."
    )
    bridge.fiji_menu.uninstall(root)
    assert {p.name for p in folder.iterdir()} == {"My_own.ijm", "Review_Field.ijm"}
    for path in folder.iterdir():
        path.unlink()
    bridge.fiji_menu.install(root)
    bridge.fiji_menu.uninstall(root)
    assert not folder.exists()
    with pytest.raises(MissingDependencyError, match=r"the macros are not there\. Nothing has to be taken out\."):
        bridge.fiji_menu.uninstall(root)


def test_no_fiji_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError) as refused:
        bridge.fiji_menu.install(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: no Fiji (expected jars/ij-1.*.jar and plugins in it). Give the folder that Fiji was unpacked to."
    )


@needs_window
def test_the_menu_has_the_macros(tmp_path: Path) -> None:
    root = fake_fiji(tmp_path, "Fiji für alle")
    bridge.fiji_menu.install(root)
    drive = """
begin('-Dplugins.dir=' + root)
commands = jpype.JClass('ij.Menus').getCommands()
wanted = [p.stem.replace('_', ' ') for p in MACROS.glob('*.ijm')]
bar = jpype.JClass('ij.Menus').getMenuBar()
plugins = next(bar.getMenu(k) for k in range(bar.getMenuCount()) if str(bar.getMenu(k).getLabel()) == 'Plugins')
menu = next(plugins.getItem(k) for k in range(plugins.getItemCount()) if str(plugins.getItem(k).getLabel()) == 'Cellpose Fiji Bridge')
assert sorted(str(menu.getItem(k).getLabel()) for k in range(menu.getItemCount())) == sorted(wanted), commands
# From the menu, without arguments: it asks.
IJ.doCommand('Masks to RoiSets')
asked = wait_for(lambda: titled('Masks to ROI sets'), 'the dialog')
press(asked, 'Cancel')
IJ.doCommand('Segment and Measure')
asked = wait_for(lambda: titled('Segment and measure'), 'the dialog')
press(asked, 'OK')
told = wait_for(lambda: titled('Segment and measure') if titled('Segment and measure') != asked else None, 'the message')
done('|'.join(words(told)))
"""
    said = in_the_window(drive, tmp_path, root=str(root))
    assert "images: nothing named (expected a folder of images). Name one." in said


@needs_window
def test_macros_that_fiji_runs_as_texts(finished: Path, tmp_path: Path) -> None:
    """As imagej-legacy runs what is in Fiji's menu: a text, while `macro.filepath` is still another macro's."""
    root = fake_fiji(tmp_path, "Fiji")
    bridge.fiji_menu.install(root)
    results = tmp_path / "results"
    shutil.copytree(finished / "results", results)
    settings = tmp_path / "settings.toml"
    settings.write_text('masks = "' + str(finished / "masks") + '"\ncount = "none"\nengine = "native"\n', "utf-8")
    other = tmp_path / "AutoRun" / "Other.ijm"
    other.parent.mkdir()
    other.write_text("x = 1;")
    drive = """
begin('-Dplugins.dir=' + root)
prefs = jpype.JClass('ij.Prefs')
for key, value in {'images': images, 'out': out, 'settings': settings}.items():
    prefs.set('cellposefiji.' + key, value)
def as_text(macro):
    IJ.runMacroFile(other)
    return pool.submit(lambda: IJ.runMacro((MACROS / macro).read_text(), ''))
said = as_text('Segment_and_Measure.ijm')
press(asking('Segment and measure', 'Images (folder)'), 'OK')
wait_for(said.done, 'the run ends')
answers = [said.result(), (Path(out) / 'cells.csv').exists()]
prefs.set('cellposefiji.out', results)
said = as_text('Correct_Cells.ijm')
press(asking('Correct cells', 'Results folder of a run'), 'OK')
press(asking('Correct cells', 'Field'), 'OK')
press(asking('Correct cells', 'delete: select, Delete'), 'OK')
press(asking('Correct cells', 'was saved.'), 'OK')
press(asking('Correct cells', 'corrected: nothing changed'), 'OK')
wait_for(said.done, 'the correction ends')
done(answers + [said.result(), str(WindowManager.getFrame('Log'))])
"""
    said = in_the_window(
        drive, tmp_path, root=str(root), images=str(finished / "images"), out=str(tmp_path / "new"),
        results=str(results), settings=str(settings), other=str(other),
    )  # fmt: skip
    # Nothing is returned: Fiji would show it in a window of its own.
    assert said == "[None, True, None, 'None']"


@needs_window
def test_what_the_recorder_writes_plays_back(conditions: Path, tmp_path: Path) -> None:
    root = fake_fiji(tmp_path, "Fiji")
    bridge.fiji_menu.install(root)
    write_labels(tmp_path / "masks" / "f1_mask.tif", shapes())
    drive = """
begin('-Dplugins.dir=' + root)
prefs = jpype.JClass('ij.Prefs')
recorder = jpype.JClass('ij.plugin.frame.Recorder')()
def record(command, title, **given):
    for key, value in given.items():
        prefs.set('cellposefiji.' + key, value)
    IJ.doCommand(command)
    press(wait_for(lambda: titled(title), 'the dialog'), 'OK')
    wait_for(lambda: not working(command), 'the end of ' + command)
    wait_for(lambda: command in str(recorder.getText()), 'its line in the Recorder: ' + str(recorder.getText()))
    return next(line for line in str(recorder.getText()).splitlines()[::-1] if command in line)
lines = [
    record('Masks to RoiSets', 'Masks to ROI sets', masks=f'{folder}/masks', rois=f'{folder}/first'),
    record('Measure with RoiSets', 'Measure with ROI sets', images=f'{images}/images', rois=f'{images}/rois', results=f'{folder}/table'),
]
recorder.close()
for key in ('masks', 'rois', 'images', 'results'):
    prefs.set('cellposefiji.' + key, '')  # what the dialog remembers must not be what is used
RoiManager.getInstance().reset()
for line in lines:
    for made in ('first', 'table'):
        line = line.replace(f'{folder}/{made}/', f'[{folder}/{made} 2/]')
    IJ.runMacro(line)
# An argument that is missing is said, and ends the macro that asks; nothing remembered takes its place.
prefs.set('cellposefiji.masks', f'{folder}/masks')
call = 'run("Masks to RoiSets", "out=' + folder + '/third"); File.saveString("x", "' + folder + '/went_on");'
pool.submit(lambda: IJ.runMacro(call))
refused = wait_for(lambda: next(w for w in jpype.JClass('java.awt.Window').getWindows() if w.isShowing() and 'masks: nothing named' in '|'.join(words(w)) and str(w.getTitle()) != 'Log'), 'the refusal')
press(refused, 'OK')
time.sleep(1)
done(chr(31).join(lines))
"""
    said = in_the_window(drive, tmp_path, False, root=str(root), folder=str(tmp_path), images=str(conditions))
    assert f"masks={tmp_path}/masks/ out={tmp_path}/first/" in said
    assert f"suffix=_EdU.tif radius=50 out={tmp_path}/table/" in said
    first, again = (read_roiset(tmp_path / made / "f1_RoiSet.zip", (200, 200)) for made in ("first", "first 2"))
    assert first.names == again.names
    assert first.encoded == again.encoded  # the zip itself holds the time
    tables = {p.relative_to(tmp_path / "table"): p.read_bytes() for p in (tmp_path / "table").rglob("*.csv")}
    assert len(tables) == 6
    assert {
        p.relative_to(tmp_path / "table 2"): p.read_bytes() for p in (tmp_path / "table 2").rglob("*.csv")
    } == tables
    assert not (tmp_path / "third").exists()
    assert not (tmp_path / "went_on").exists()


@needs_window
def test_review_and_correction_from_the_menu(finished: Path, tmp_path: Path) -> None:
    root = fake_fiji(tmp_path, "Fiji")
    bridge.fiji_menu.install(root)
    results = tmp_path / "results"
    shutil.copytree(finished / "results", results)
    drive = """
begin('-Dplugins.dir=' + root)
jpype.JClass('ij.Prefs').set('cellposefiji.out', results)
IJ.doCommand('Measure with RoiSets')
press(wait_for(lambda: titled('Measure with ROI sets'), 'the dialog'), 'Cancel')
wait_for(lambda: not working('Measure with RoiSets'), 'the end of what was cancelled')
IJ.doCommand('Review Field')
press(asking('Review a field', 'Results folder of a run'), 'OK')
press(asking('Review a field', 'Field'), 'OK')
reviewing()
WindowManager.getFrame('Results').close(False)
wait_for(lambda: not working('Review Field'), 'the end of the review')
IJ.doCommand('Correct Cells')
asked = asking('Correct cells', 'Results folder of a run')
box = next(p for p in within(asked) if type(p).__name__ == 'java.awt.Checkbox')
def tick():
    place = box.getLocationOnScreen()
    return place.x + 8, place.y + 8
click_until(lambda: box.getState(), tick, 'the condition is hidden')
press(asked, 'OK')
press(asking('Correct cells', 'They are removed from it.'), 'OK')
asked = asking('Correct cells', 'delete: select, Delete')
title = str(WindowManager.getCurrentImage().getTitle())
press(asked, 'OK')
press(asking('Correct cells', 'was saved.'), 'OK')
told = asking('Correct cells', 'corrected: nothing changed')
done(title + ' ' + str(WindowManager.getFrame('Log')))
"""
    title, log = in_the_window(drive, tmp_path, root=str(root), results=str(results)).split(" ")
    assert title.startswith("field_")
    assert log == "None"  # nothing tells the condition
