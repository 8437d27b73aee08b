from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bridge.errors import InputError
from bridge.experiment.fields import Plan
from bridge.images.reader import read_plane
from bridge.names import safe_name
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.run import run
from bridge.settings_file import settings_from
from bridge.source import ChannelFile

ImageFile = Callable[..., Path]


@pytest.fixture
def lay(tmp_path: Path) -> Callable[..., Path]:
    """Write small images under these names and return their folder."""

    def write(*names: str, shape: tuple[int, int] = (12, 16), dtype: str = "uint16") -> Path:
        for name in names:
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, np.ones(shape, dtype))
        return tmp_path / "images"

    return write


def of(plan: Plan) -> dict[str, tuple[str, str, str]]:
    return {f.field_id: (f.condition, f.replicate, f.sample) for f in plan.fields}


def refusal(images: Path, **options: object) -> str:
    with pytest.raises(InputError) as refused:
        make_plan(images, settings_from(options))
    return str(refused.value)


# ---------------------------------------------------------------- the ways of naming


def test_every_file_is_a_field(lay: Callable[..., Path]) -> None:
    """The refusal says the options that work, for colour images as for grey ones."""
    images = lay("DMSO/a1.tif", "DMSO/a2.tif")
    tifffile.imwrite(images / "DMSO" / "a3.tif", np.ones((12, 16, 3), np.uint8), photometric="rgb")
    said = refusal(images, segment="green")
    assert said == (
        f"{images}: no channel word in any file name (got a1.tif, a2.tif, a3.tif; expected phase, EdU, TO-PRO-3 and the like). "
        "Name the channels with --segment, --measure and --count, or the parts of the names with --pattern; where every file is "
        "a field of its own: --pattern '{condition}/{field}.tif' --segment 1."
    )
    plan = make_plan(images, settings_from({"pattern": "{condition}/{field}.tif", "segment": "1"}))
    assert list(of(plan)) == ["DMSO_a1", "DMSO_a2", "DMSO_a3"]


def test_a_folder_for_each_condition(lay: Callable[..., Path]) -> None:
    images = lay(
        *(
            f"{c}/{f}_{ch}.tif"
            for c in ("Drug 10uM", "Drug 2uM")
            for f in ("f1", "f2")
            for ch in ("phase", "EdU", "TOPRO3")
        )
    )
    plan = make_plan(images)
    assert plan.conditions == ("Drug 2uM", "Drug 10uM")  # natural order
    assert (plan.segment_channel, plan.measure_channels, plan.count_channel) == ("phase", ("EdU",), "TOPRO3")
    assert of(plan) == {
        "Drug_2uM_f1": ("Drug 2uM", "", ""), "Drug_2uM_f2": ("Drug 2uM", "", ""),
        "Drug_10uM_f1": ("Drug 10uM", "", ""), "Drug_10uM_f2": ("Drug 10uM", "", ""),
    }  # fmt: skip
    assert plan.problems == ()


def test_folders_of_replicates_and_of_channels(lay: Callable[..., Path]) -> None:
    images = lay(*(f"A/rep{r}/{ch}/img1.tif" for r in (1, 2) for ch in ("Phase", "EdU")))
    assert of(make_plan(images)) == {"A_rep1_img1": ("A", "rep1", ""), "A_rep2_img1": ("A", "rep2", "")}


def test_flat_folder_with_a_pattern(lay: Callable[..., Path]) -> None:
    images = lay("Hep_DMSO_PC.tif", "Hep_DMSO_BrdU.tif", "Hep_b-AZT_PC.tif", "Hep_b-AZT_BrdU.tif", "notes_PC.tif")
    plan = make_plan(images, settings_from({"pattern": "{cell_line}_{condition}_{channel}.tif"}))
    assert of(plan) == {"Hep_b-AZT": ("Hep b-AZT", "", ""), "Hep_DMSO": ("Hep DMSO", "", "")}
    assert [(path.name, why) for path, why in plan.ignored] == [("notes_PC.tif", "does not match the pattern")]


def test_a_pattern_that_fits_in_two_ways_is_refused(lay: Callable[..., Path]) -> None:
    images = lay("drug_A_1_PC.tif", "drug_A_1_EdU.tif")
    assert refusal(images, pattern="{condition}_{field}_{channel}.tif") == (
        f"{images / 'drug_A_1_EdU.tif'}: fits the pattern in two ways (got condition drug, field A_1; or condition drug_A, field 1). "
        "Put literal text into --pattern, or give a sample sheet with --samples."
    )


def test_literal_text_in_a_pattern_selects(lay: Callable[..., Path]) -> None:
    images = lay("Hep_DMSO_PC.tif", "Hep_DMSO_EdU.tif", "HL_DMSO_PC.tif", "HL_DMSO_EdU.tif")
    plan = make_plan(images, settings_from({"pattern": "Hep_{condition}_{channel}"}))
    assert of(plan) == {"Hep_DMSO": ("DMSO", "", "")}


def test_pattern_with_folders_replicate_and_field(lay: Callable[..., Path]) -> None:
    images = lay("DMSO/day1_f01_TO-PRO-3.tif", "DMSO/day1_f01_phase.tif", "DMSO/day1_f01_EdU.tif")
    plan = make_plan(images, settings_from({"pattern": "{condition}/{replicate}_f{field}_{channel}.tif"}))
    assert of(plan) == {"DMSO_day1_f01": ("DMSO", "day1", "")}
    assert plan.count_channel == "TO-PRO-3"


def test_sample_sheet_by_well_sets_condition_and_order(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay(*(f"plate_{well}_s1_{ch}.tif" for well in ("A01", "A02", "B01") for ch in ("phase", "EdU")))
    sheet = tmp_path / "samples.csv"
    sheet.write_text("Well;Condition;Replicate;Order\nA2;Drug;1;1\na1;DMSO;1;2\n", "utf-8-sig")
    plan = make_plan(images, settings_from({"samples": sheet}))
    assert plan.conditions == ("Drug", "DMSO")
    assert of(plan) == {"plate_A02_s1": ("Drug", "1", "A2"), "plate_A01_s1": ("DMSO", "1", "a1")}
    assert {(path.name, why) for path, why in plan.ignored} == {
        ("plate_B01_s1_phase.tif", "not in the sample sheet"), ("plate_B01_s1_EdU.tif", "not in the sample sheet"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"), [("file", "x1_phase.tif"), ("file", "d/x1_phase"), ("file", "x1"), ("folder", "d")]
)
def test_sample_sheet_by_file_and_folder(lay: Callable[..., Path], tmp_path: Path, column: str, value: str) -> None:
    images = lay("d/x1_phase.tif", "d/x1_EdU.tif")
    sheet = tmp_path / "samples.csv"
    sheet.write_text(f"{column},condition\n{value},DMSO\n")
    assert of(make_plan(images, settings_from({"samples": sheet}))) == {"d_x1": ("DMSO", "", "")}


def test_condition_without_a_field_is_said(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("d/x1_phase.tif", "d/x1_EdU.tif")
    sheet = tmp_path / "samples.csv"
    sheet.write_text("folder,condition\nd,DMSO\ne,Drug\n")
    plan = make_plan(images, settings_from({"samples": sheet}))
    assert plan.conditions == ("DMSO", "Drug")
    missing = ("condition Drug has no field", "samples.csv: no image fits folder e (Drug)")
    assert (plan.missing, plan.warnings) == (missing, ())
    plan = make_plan(images, settings_from({"samples": sheet, "allow_missing": True}))
    assert (plan.missing, plan.warnings) == ((), missing)


def test_folders_and_files_without_a_field_are_named(lay: Callable[..., Path]) -> None:
    images = lay("DMSO/f1_phase.tif", "DMSO/f1_EdU.tif", "Drug_E/f1_GFP.tif", "Drug_E/f1_ch01.tif", "masks/f1_mask.tif")
    for name in (
        "Drug_A/f1.raw",
        "Drug_A/f2.raw",
        "Drug_D/notes.txt",
        ".hidden/f1.czi",
        "DMSO/f1_RoiSet.zip",
        "readme",
    ):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes(b"")
    (images / "Drug_0").mkdir()
    plan = make_plan(images)
    assert plan.conditions == ("DMSO",)
    assert plan.missing == (
        "Drug_0: no field (no file in it)", "Drug_A: no field (2 files of a kind that is not read (.raw))",
        "Drug_D: no field (1 file of a kind that is not read (.txt))",
        "Drug_E: no field (1 file channel GFP has no role, 1 file channel ch01 has no role)",
    )  # fmt: skip
    assert plan.ignored_by_reason == {
        "of a kind that is not read (.zip)": 1, "of a kind that is not read (.raw)": 2, "of a kind that is not read (.txt)": 1,
        "of a kind that is not read (no suffix)": 1, "channel GFP has no role": 1, "channel ch01 has no role": 1, "a label image": 1,
    }  # fmt: skip
    out = images.parent / "out"
    with pytest.raises(InputError) as refused:
        run(images, out, masks=images / "masks")
    assert str(refused.value).splitlines()[:2] == [
        f"{images}: conditions without a field (got 4, expected none). Add their images, or give --allow-missing to run without:",
        "  Drug_0: no field (no file in it)",
    ]
    assert not out.exists() or not list(out.rglob("*_Results.csv"))


def test_one_file_with_all_channels(tmp_path: Path) -> None:
    for name in ("f1", "f2"):
        path = tmp_path / "DMSO" / f"{name}.ome.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(
            path, np.ones((3, 9, 9), np.uint16), metadata={"axes": "CYX", "Channel": {"Name": ["Phase", "EdU", "DAPI"]}}
        )
    plan = make_plan(tmp_path)
    assert (plan.segment_channel, plan.measure_channels, plan.count_channel) == ("Phase", ("EdU",), "DAPI")
    assert [f.measure["EdU"].channel for f in plan.fields] == ["EdU", "EdU"]
    assert plan.problems == ()


def test_channels_by_number(tmp_path: Path) -> None:
    (tmp_path / "DMSO").mkdir()
    tifffile.imwrite(tmp_path / "DMSO" / "f1.tif", np.ones((2, 9, 9), np.uint16), imagej=True, metadata={"axes": "CYX"})
    plan = make_plan(tmp_path, settings_from({"segment": "1", "measure": "2"}))
    assert (plan.segment_channel, plan.measure_channels) == ("1", ("2",))


def test_several_measured_channels(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif", "A/f1_Cy5.tif")
    plan = make_plan(images, settings_from({"measure": ["EdU", "Cy5"]}))
    assert plan.measure_channels == ("EdU", "Cy5")


def test_nothing_measured_when_told_so(lay: Callable[..., Path]) -> None:
    plan = make_plan(lay("A/f1_phase.tif", "A/f1_Cy5.tif"), settings_from({"measure": "none"}))
    assert plan.measure_channels == ()


def test_results_among_the_images_are_no_images(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif", "results/overlays/A/f1_phase.tif")
    (images / "results" / "run.json").write_text('{"program": {"name": "cellpose-fiji-bridge"}}')
    (images / "A" / "run.json").write_text("{}")  # somebody else's
    assert list(of(make_plan(images))) == ["A_f1"]


# ---------------------------------------------------------------- problems of a field: the others go on


def test_every_problem_is_found_at_once(lay: Callable[..., Path]) -> None:
    images = lay(*(f"A/f{i}_{ch}.tif" for i in range(1, 8) for ch in ("phase", "EdU")))
    (images / "A" / "f1_EdU.tif").unlink()
    lay("A/f2_EdU.tif", shape=(6, 8))
    lay("A/f3_EdU.tif", shape=(11, 16))
    (images / "A" / "f4_EdU.tif").write_bytes((images / "A" / "f4_EdU.tif").read_bytes()[:-100])
    tifffile.imwrite(images / "A" / "f5_EdU.tif", np.ones((12, 16), np.float64))
    lay("A/f6 EdU.tif")
    plan = make_plan(images)
    found = dict(plan.problems)
    assert len(plan.problems) == 6
    assert found["A_f1"] == "A_f1: no EdU image (expected one beside the others). Add it, or take the field out."
    assert found["A_f2"] == (
        "A_f2: phase and EdU differ in size (got 12 x 16 and 6 x 8 px, expected the same). The factor is 2: one was binned. "
        "Export both without binning."
    )
    assert found["A_f3"] == (
        "A_f3: phase and EdU differ in size (got 12 x 16 and 11 x 16 px, expected the same). "
        "Export both at the camera's full size, without cropping."
    )
    assert "f4_EdU.tif: damaged TIFF (strip 1 of 1 ends at byte" in found["A_f4"]
    assert "f5_EdU.tif: pixels of a type ImageJ does not measure (got float64" in found["A_f5"]
    assert found["A_f6"] == "A_f6: two EdU images (got f6 EdU.tif and f6_EdU.tif, expected one). Remove or rename one."


def test_missing_segment_image(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif", "A/f2_EdU.tif")
    assert dict(make_plan(images).problems) == {
        "A_f2": "A_f2: no phase image (expected one beside the others). Add it, or take the field out."
    }


def test_jpeg_is_refused_for_the_measured_channel(lay: Callable[..., Path]) -> None:
    from PIL import Image

    images = lay("A/f1_phase.tif")
    path = images / "A" / "f1_EdU.jpg"
    Image.fromarray(np.ones((12, 16), np.uint8)).save(path)
    assert dict(make_plan(images).problems) == {
        "A_f1": f"{path}: JPEG changes grey values (got .jpg, expected TIFF or PNG). Export the original as TIFF."
    }


def test_mixed_bit_depth_and_pixel_size_are_said(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif", "A/f2_phase.tif")
    tifffile.imwrite(
        images / "A" / "f2_EdU.tif",
        np.ones((12, 16), np.uint8),
        imagej=True,
        resolution=(2.0, 2.0),
        metadata={"unit": "um"},
    )
    assert make_plan(images).warnings == (
        "mixed bit depth in EdU: uint16 in 1 (e.g. A_f1), uint8 in 1 (e.g. A_f2); their grey levels cannot be compared",
        "mixed pixel size: none in 1 fields, 0.5 um in 1 fields; areas in px cannot be compared",
    )


# ---------------------------------------------------------------- what must be decided first


def test_no_image(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path)
        == f"{tmp_path}: no image found (got nothing, expected TIFF, PNG, JPEG, CZI, LIF, ND2 or OME-Zarr in it or in its folders). Check the path."
    )
    assert (
        refusal(tmp_path / "no")
        == f"{tmp_path / 'no'}: no such folder (expected a folder with images). Check the path."
    )


def test_pattern_that_matches_nothing(lay: Callable[..., Path]) -> None:
    images = lay("a_phase.tif")
    assert refusal(images, pattern="x{condition}_{channel}.tif") == (
        f"{images}: the pattern matches nothing (got x{{condition}}_{{channel}}.tif, expected it to fit names such as a_phase.tif). "
        "Correct --pattern."
    )


def test_flat_folder_without_a_pattern(lay: Callable[..., Path]) -> None:
    images = lay("a_phase.tif", "a_EdU.tif")
    assert refusal(images) == (
        f"{images}: a flat folder (got a_EdU.tif, a_phase.tif; expected a folder for each condition). Say how the names are built with "
        "--pattern, e.g. '{condition}_{field}_{channel}.tif', or give a sample sheet with --samples."
    )


def test_vague_words_are_suggested_never_assumed(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_Cy5.tif", "A/f1_GFP.tif")
    assert refusal(images) == (
        f"{images}: no EdU channel (got Cy5, GFP, phase). If it is one of Cy5, GFP, say so with --measure Cy5; "
        "--measure none ends at ROI sets and areas."
    )
    images = lay("B/f1_ch00.tif", "B/f1_ch01.tif")
    assert "Name the channel in which the cells are found" in refusal(
        images / "B" / "..", pattern="B/{field}_{channel}.tif"
    )


def test_channel_that_is_not_there(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif")
    assert refusal(images, measure="pH3") == f"{images}: no channel pH3 (got EdU, phase). Correct --measure."


def test_two_channels_that_could_hold_the_cells(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_BF.tif", "A/f1_EdU.tif")
    assert refusal(images) == (
        f"{images}: several channels could be the one with the cells (got BF, phase, expected one). Name it with --segment."
    )


def test_names_that_differ_only_by_case(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif", "A/F1_phase.tif", "A/F1_EdU.tif")
    assert "two fields get the same name" in refusal(images)
    images = lay("B/x_phase.tif", "B/x_EdU.tif", "b/y_phase.tif", "b/y_EdU.tif")
    assert "conditions that differ only by case or punctuation (got " in refusal(
        images, pattern="{condition}/{field}_{channel}.tif"
    ) or ("two fields get the same name" in refusal(images, pattern="{condition}/{field}_{channel}.tif"))


def test_sample_sheets_that_cannot_be_used(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif")
    sheet = tmp_path / "s.csv"
    assert refusal(images, samples=sheet) == f"{sheet}: no such sample sheet. Check the path given with --samples."
    sheet.write_text("name,treatment\na,b\n")
    assert refusal(images, samples=sheet) == (
        f"{sheet}: not a sample sheet (got columns name, treatment, expected condition and one of file, folder, well; "
        "plate, replicate, sample, cell_type and order may follow). Correct the first line."
    )
    sheet.write_text("folder,condition\nA,\n")
    assert refusal(images, samples=sheet) == f"{sheet}: line 2 lacks condition (got an empty cell). Fill it in."
    sheet.write_text("folder,condition\nA,x\na,y\n")
    assert (
        refusal(images, samples=sheet)
        == f"{sheet}: the same folder twice (got a, expected each once). Remove one line."
    )
    sheet.write_text("folder,condition\nB,x\n")
    assert refusal(images, samples=sheet) == (
        f"{sheet}: no image fits any line (got folder B, expected names such as A/f1_EdU.tif). Correct the sheet."
    )


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("DMSO", "DMSO"),
        ("10 µM/a:b", "10_µM_a_b"),
        ("  .x. ", "x"),
        ("NUL", "NUL_"),
        ("-EdU", "-EdU"),
        ("???", "_"),
        ("a" * 300, None),
    ],
)
def test_safe_names(text: str, name: str | None) -> None:
    made = safe_name(text)
    assert made == name or (name is None and len(made.encode()) <= 120)


def test_names_of_other_scripts_are_normalised() -> None:
    assert safe_name("Größe") == safe_name("Größe")
    assert len(safe_name("細胞" * 100).encode()) <= 120


def test_a_condition_may_be_called_like_a_channel(lay: Callable[..., Path]) -> None:
    images = lay(
        "Trans/f1_phase.tif",
        "Trans/f1_EdU.tif",
        "EdU/f1_phase.tif",
        "EdU/f1_EdU.tif",
        "PC3/f1_phase.tif",
        "PC3/f1_EdU.tif",
    )
    plan = make_plan(images)
    assert plan.conditions == ("EdU", "PC3", "Trans")
    assert plan.problems == ()
    assert len({f.field_id for f in plan.fields}) == 3


def test_a_sheet_row_that_could_be_two_files(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("a/x_phase.tif", "a/x_EdU.tif", "b/x_phase.tif", "b/x_EdU.tif")
    sheet = tmp_path / "s.csv"
    sheet.write_text("file,condition\nx,DMSO\n")
    assert refusal(images, samples=sheet) == (
        f"{sheet}: a file that could be two (got x, which fits a/x and b/x). Write it with its folder."
    )
    sheet.write_text("file,condition\na/x,DMSO\nb/x,Drug\n")
    assert len(make_plan(images, settings_from({"samples": sheet})).fields) == 2


def test_channels_that_would_share_their_files(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_p+H3.tif", "A/f1_p H3 x.tif")
    assert make_plan(images, settings_from({"measure": "p+H3"})).measure_channels == ("p+H3",)


def test_label_images_beside_the_images_are_no_images(lay: Callable[..., Path]) -> None:
    plan = make_plan(lay("A/f1_phase.tif", "A/f1_EdU.tif", "A/f1_phase_cp_masks.tif"))
    assert list(of(plan)) == ["A_f1"]
    assert [(path.name, why) for path, why in plan.ignored] == [("f1_phase_cp_masks.tif", "a label image")]


def test_a_mask_belongs_to_one_field(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif", "B/f1_phase.tif", "B/f1_EdU.tif")
    masks = tmp_path / "masks"
    (masks / "A").mkdir(parents=True)
    tifffile.imwrite(masks / "A" / "f1_phase_cp_masks.tif", np.ones((12, 16), np.uint16))
    plan = make_plan(images, settings_from({"masks": masks}))
    mask = masks / "A" / "f1_phase_cp_masks.tif"
    assert [problem for _, problem in plan.problems] == [
        f"{name}: another field would use {mask}, too (expected a label image of its own). Name it {name}_mask.tif."
        for name in ("A_f1", "B_f1")
    ]
    (masks / "B").mkdir()
    tifffile.imwrite(masks / "B" / "f1_phase_cp_masks.tif", np.ones((12, 16), np.uint16))
    plan = make_plan(images, settings_from({"masks": masks}))
    assert {f.field_id: f.mask.parent.name for f in plan.fields if f.mask} == {"A_f1": "A", "B_f1": "B"}
    assert plan.problems == ()


def test_settings_that_change_nothing_in_given_masks_are_pointed_out(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif")
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / "A_f1_mask.tif", np.ones((12, 16), np.uint16))
    plan = make_plan(images, settings_from({"masks": tmp_path / "masks", "border": "drop", "diameter": 50}))
    assert plan.warnings == ("label images are taken as they are: --diameter, --border change nothing in them",)


def test_a_name_with_two_wells_must_be_decided(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("G05_f2_phase.tif", "G05_f2_EdU.tif")
    sheet = tmp_path / "s.csv"
    sheet.write_text("well,condition\nF2,Drug\nG5,DMSO\n")
    assert refusal(images, samples=sheet) == (
        f"{sheet}: a file that could be two wells (got G05_f2, which fits F2 and G5). "
        "Say where the well stands with --pattern, e.g. '{well}_{field}_{channel}.tif'."
    )
    plan = make_plan(images, settings_from({"samples": sheet, "pattern": "{well}_f{field}_{channel}.tif"}))
    assert of(plan) == {"G05_f2": ("DMSO", "", "G5")}


def test_the_inner_of_two_folders_decides(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("d/f1_phase.tif", "d/f1_EdU.tif", "d/r2/f1_phase.tif", "d/r2/f1_EdU.tif")
    sheet = tmp_path / "s.csv"
    sheet.write_text("folder,condition\nd,DMSO\nd/r2,Drug\n")
    assert of(make_plan(images, settings_from({"samples": sheet}))) == {
        "d_f1": ("DMSO", "", ""),
        "d_r2_f1": ("Drug", "", ""),
    }


def test_sheets_that_are_no_csv(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif")
    sheet = tmp_path / "s.xlsx"
    sheet.write_bytes(b"PK\x03\x04\x81\xff")
    assert (
        refusal(images, samples=sheet)
        == f"{sheet}: a workbook that cannot be read (File is not a zip file). Save it again, or as CSV."
    )
    assert (
        refusal(images, samples=tmp_path)
        == f"{tmp_path}: cannot be read (Is a directory). Give a CSV or XLSX file with --samples."
    )
    text = tmp_path / "s.txt"
    text.write_bytes("folder\tcondition\nA\tDMSO\n".encode("utf-16"))
    assert make_plan(images, settings_from({"samples": text})).conditions == ("DMSO",)


def test_a_number_means_that_channel_of_each_file(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    for i in (1, 2):
        tifffile.imwrite(
            tmp_path / "A" / f"f{i}.tif", np.ones((2, 9, 9), np.uint16), imagej=True,
            metadata={"axes": "CYX", "Labels": [f"c:1/2 - img{i}", f"c:2/2 - img{i}"]},
        )  # fmt: skip
    tifffile.imwrite(
        tmp_path / "A" / "EdU_f3.tif", np.ones((2, 9, 9), np.uint16), imagej=True, metadata={"axes": "CYX"}
    )
    plan = make_plan(tmp_path, settings_from({"segment": "1", "measure": "2"}))
    assert [(f.field_id, f.segment and f.segment.channel, f.measure["2"].channel) for f in plan.fields] == [
        ("A_EdU_f3", "1", "2"), ("A_f1", "1", "2"), ("A_f2", "1", "2"),
    ]  # fmt: skip
    assert plan.problems == ()


def test_names_that_look_alike_stay_what_they_are(lay: Callable[..., Path]) -> None:
    images = lay("A/d1/f1_phase.tif", "A/d1/f1_EdU.tif", "A/d2/f1_phase.tif", "A/d2/f1_EdU.tif")
    assert [f.replicate for f in make_plan(images).fields] == ["d1", "d2"]
    images = lay("x/-DOX_1_phase.tif", "x/-DOX_1_EdU.tif", "x/DOX_1_phase.tif", "x/DOX_1_EdU.tif")
    plan = make_plan(images / "x", settings_from({"pattern": "{condition}_{field}_{channel}.tif"}))
    assert plan.conditions == ("-DOX", "DOX")
    assert plan.problems == ()
    images = lay("y/f1_phase_ch00.tif", "y/f1_EdU_ch01.tif", "y/f2_phase-contrast.tif")
    plan = make_plan(
        images / "y", settings_from({"pattern": "{field}_EdU_ch01.tif", "measure": "none", "segment": "1"})
    )
    images = lay("z/\u00b5M/f1_phase.tif", "z/\u00b5M/f1_EdU.tif", "z/\u03bcM/f2_phase.tif", "z/\u03bcM/f2_EdU.tif")
    assert make_plan(images / "z").conditions == ("\u00b5M",)
    images = lay("k/f1_\u660e\u8996\u91ce.tif", "k/f1_\u86cd\u5149.tif")
    plan = make_plan(
        images,
        settings_from(
            {"segment": "\u660e\u8996\u91ce", "measure": "\u86cd\u5149", "pattern": "k/{field}_{channel}.tif"}
        ),
    )
    assert (len(plan.fields), plan.problems) == (1, ())


def test_leica_numbers_beside_the_names(lay: Callable[..., Path]) -> None:
    plan = make_plan(lay("A/f1_phase_ch00.tif", "A/f1_EdU_ch01.tif"))
    assert list(of(plan)) == ["A_f1"]
    assert plan.problems == ()


def test_columns_and_workbooks_that_would_clash(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_phase.tif", "A/f1_EdU.tif", "A/f1_EdU_raw.tif")
    assert refusal(images, pattern="A/{field}_{channel}.tif", measure=["EdU", "EdU_raw"]) == (
        f"{images}: channels that would share files or columns (got EdU, EdU_raw, expected names that differ by more). Rename one."
    )
    images = lay("all_conditions/f1_phase.tif", "all_conditions/f1_EdU.tif")
    assert refusal(images) == (
        f"{images}: a condition called all_conditions (expected another name: the summary's workbook is called so). Rename it."
    )


def test_pixel_sizes_that_differ_within_a_field(lay: Callable[..., Path]) -> None:
    images = lay("A/f1_x.tif")
    (images / "A" / "f1_x.tif").unlink()
    for channel, per_um in (("phase", 1.0), ("EdU", 2.0)):
        tifffile.imwrite(
            images / "A" / f"f1_{channel}.tif",
            np.ones((9, 9), np.uint16),
            imagej=True,
            resolution=(per_um,) * 2,
            metadata={"unit": "um"},
        )
    assert dict(make_plan(images).problems) == {
        "A_f1": "A_f1: its images have different pixel sizes (got 1 um in phase, 0.5 um in EdU, expected one). Give the right one with --pixel-size."
    }
    assert make_plan(images, settings_from({"pixel_size": 0.5})).problems == ()


def two_channels(path: Path, names: tuple[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.stack([np.full((20, 20), 5, np.uint16), np.full((20, 20), 9, np.uint16)])
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "CYX", "Labels": list(names)})


def test_a_number_that_is_another_channels_name(tmp_path: Path) -> None:
    path = tmp_path / "A" / "f1.tif"
    two_channels(path, ("0", "1"))
    text = f"{path}: channel 1 could be two (got channel #1, named 0, and channel #2, named 1; expected one). Give #1 or #2."
    assert refusal(tmp_path, segment="1", measure="0") == text
    with pytest.raises(InputError) as refused:
        read_plane(ChannelFile(path, "1"))
    assert str(refused.value) == text
    assert [int(read_plane(ChannelFile(path, name)).pixels[0, 0]) for name in ("#1", "#2", "0", "2")] == [5, 9, 5, 9]
    plan = make_plan(tmp_path, settings_from({"segment": "#1", "measure": "#2"}))
    assert (plan.segment_channel, plan.measure_channels) == ("1", ("2",))
    assert plan.fields[0].measure["2"].channel == "#2"


def test_channels_in_another_order(tmp_path: Path) -> None:
    two_channels(tmp_path / "A" / "f1.tif", ("TL", "Cy5"))
    two_channels(tmp_path / "B" / "f1.tif", ("Cy5", "TL"))
    assert refusal(tmp_path, segment="1", measure="2") == (
        f"{tmp_path}: the channels are not in one order (got TL as channel 1 of A/f1.tif and as channel 2 of B/f1.tif). "
        "Give the channels' names instead of numbers."
    )
    plan = make_plan(tmp_path, settings_from({"segment": "TL", "measure": "Cy5"}))
    assert not plan.problems


def test_one_thing_in_two_spellings(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("A01_f1_phase.tif", "A01_f1_EdU.tif", "A02_f1_phase.tif", "A02_f1_EdU.tif")
    sheet = tmp_path / "s.csv"
    sheet.write_text("well,condition,replicate\nA01,5 \u00b5M,1\nA02,5 \u03bcM,2\n", "utf-8")
    assert make_plan(images, settings_from({"samples": sheet})).conditions == ("5 \u00b5M",)
    for one, other in (("1", "01"), ("1", "1.0"), ("a", "A")):
        sheet.write_text(f"well,condition,replicate\nA01,x,{one}\nA02,x,{other}\n")
        text = refusal(images, samples=sheet)
        assert text in {
            f"{images}: replicates that differ only in spelling (got {a} and {b}, expected one). Write them alike."
            for a, b in ((one, other), (other, one))
        }
    images = lay("u\u0308ber/f1_phase.tif", "u\u0308ber/f1_EdU.tif")
    sheet.write_text("folder,condition\n\u00fcber,Drug\n", "utf-8")
    assert "Drug" in make_plan(images, settings_from({"samples": sheet})).conditions


def test_wells_of_two_plates(lay: Callable[..., Path], tmp_path: Path) -> None:
    sheet = tmp_path / "s.csv"
    sheet.write_text("well,condition\nA01,DMSO\n")
    names = [f"{plate}_A01_f{k}_{c}.tif" for plate in ("plate1", "plate2") for k in (1, 2) for c in ("phase", "EdU")]
    images = lay(*names)
    assert refusal(images, samples=sheet) == (
        f"{sheet}: well A01 is on two plates (got plate1_A01_f1_EdU.tif and plate2_A01_f1_EdU.tif, expected one). "
        "Add a column plate, with a word of their names or folders for each plate."
    )
    sheet.write_text("plate,well,condition\nplate1,A01,DMSO\nplate2,A01,Drug\n")
    plan = make_plan(images, settings_from({"samples": sheet}))
    assert {(f.field_id, f.condition, f.sample) for f in plan.fields} == {
        (f"{plate}_A01_f{k}", condition, f"{plate} A01")
        for plate, condition in (("plate1", "DMSO"), ("plate2", "Drug"))
        for k in (1, 2)
    }
    sheet.write_text("plate,well,condition\nplate1,A01,DMSO\nplate3,A01,Drug\n")
    assert "s.csv: no image fits well plate3 A01 (Drug)" in make_plan(images, settings_from({"samples": sheet})).missing


def test_names_that_are_no_utf8(lay: Callable[..., Path], tmp_path: Path) -> None:
    images = lay("DMSO/f1_phase.tif", "DMSO/f1_EdU.tif")
    os.rename(images / "DMSO" / "f1_phase.tif", os.fsencode(images / "DMSO") + b"/f\xb5_phase.tif")
    os.rename(images / "DMSO" / "f1_EdU.tif", os.fsencode(images / "DMSO") + b"/f\xb5_EdU.tif")
    assert [item.field_id for item in make_plan(images).fields] == ["DMSO_fµ"]
    greek = tmp_path / "greek"
    (greek / "5 µM").mkdir(parents=True)
    (greek / "5 µM" / "f1_phase.tif").write_bytes(b"")
    environment = {**os.environ, "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-m", "bridge", "plan", str(greek)], capture_output=True, check=False, env=environment)  # fmt: skip
    assert done.returncode == 2
    assert b"Set LC_ALL=C.UTF-8 in this shell." in b" ".join(done.stderr.split())
