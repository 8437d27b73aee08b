"""Names as instruments write them: the plan of a made tree, without flags as far as that can be known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from bridge.errors import InputError
from bridge.experiment.layouts import NAMES
from bridge.pipeline.preflight import make_plan
from bridge.settings_file import settings_from

GUID = "0A1B2C3D-0000-4000-8000-0123456789AB"
WELLS = ("B02", "B03", "C02")


def tree(folder: Path, names: Sequence[str], side: int = 128) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".tif", ".tiff"):
            small = 16 if "thumb" in name else side
            tifffile.imwrite(path, np.full((small, small), 7, np.uint16))
        else:
            path.write_text("")
    return folder


LAID: dict[str, tuple[Callable[[str, int, int], str], tuple[str, str, str]]] = {
    "ImageXpress": (lambda w, s, c: f"Plate1/TimePoint_1/exp_{w}_s{s}_w{c}{GUID}.tif", ("w1", "w2", "w3")),
    "Opera Phenix": (lambda w, s, c: f"Plate1/Images/r{ord(w[0]) - 64:02d}c{w[1:]}f{s:02d}p01-ch{c}sk1fk1fl1.tiff", ("ch1", "ch2", "ch3")),
    "CellVoyager": (lambda w, s, c: f"Plate1/run_{w}_T0001F{s:03d}L01A0{c}Z01C0{c}.tif", ("C01", "C02", "C03")),
    "Cytation": (lambda w, s, c: f"Plate1/{w[0]}{int(w[1:])}_0{c}_{c}_{s}_{('DAPI', 'GFP', 'RFP')[c - 1]}_001.tif", ("GFP", "RFP", "DAPI")),
    "EVOS": (lambda w, s, c: f"Plate1/scan_Plate_R_p00_0_{w}f{s:02d}d{c}.TIF", ("d1", "d2", "d3")),
    "ArrayScan": (lambda w, s, c: f"Plate1/AS_09125_050116030001_{w}f{s:02d}d{c}.TIF", ("d1", "d2", "d3")),
    "Micro-Manager": (lambda w, s, c: f"{w}/Pos{s}/img_000000000_{('DAPI', 'GFP', 'Cy5')[c - 1]}_000.tif", ("Cy5", "GFP", "DAPI")),
    "Micro-Manager 2": (lambda w, s, c: f"{w}/img_channel00{c}_position00{s}_time000000000_z000.tif", ("channel001", "channel002", "channel003")),
    "Keyence": (lambda w, s, c: f"{w}/XY0{s}/Image_XY0{s}_CH{c}.tif", ("CH1", "CH2", "CH3")),
    "NIS-Elements": (lambda w, s, c: f"{w}/dish_xy{s}c{c}.tif", ("c1", "c2", "c3")),
    "Leica": (lambda w, s, c: f"{w}/Project_Series00{s}_z0_ch0{c}.tif", ("ch01", "ch02", "ch03")),
    "ZEN": (lambda w, s, c: f"{w}/Image Export-0{s}_c{c}_ORG.tif", ("c1", "c2", "c3")),
}  # fmt: skip


@pytest.mark.parametrize("name", LAID)
def test_trees_of_instruments(tmp_path: Path, name: str) -> None:
    of, channels = LAID[name]
    files = [of(w, s, c) for w in WELLS for s in (1, 2) for c in (1, 2, 3)]
    images = tree(tmp_path / "images", files)
    with pytest.raises(InputError) as refused:  # what nobody can know is said with the flags to type
        make_plan(images)
    segment, measure, count = channels
    known = " --count DAPI" if "DAPI" in channels else f" --count {count}"
    assert str(refused.value).endswith(f"Say it, for instance: --segment {segment} --measure {measure}{known}")
    assert f"{segment} in 6 files" in str(refused.value)
    plan = make_plan(images, settings_from({"segment": segment, "measure": measure, "count": count}))
    assert plan.layout == name
    assert len(plan.fields) == 6
    assert not plan.problems
    assert not plan.ignored
    assert {f.segment is not None and len(f.measure) == 1 and f.count is not None for f in plan.fields} == {True}
    if name in ("ImageXpress", "CellVoyager", "Cytation", "EVOS", "ArrayScan"):
        assert sorted({f.sample for f in plan.fields}) == list(WELLS)


def test_every_layout_was_tried() -> None:
    assert {*LAID, "Incucyte"} == set(NAMES)


def test_thumbnails_are_no_fields(tmp_path: Path) -> None:
    files = [f"{w}_s1_w{c}{t}{GUID}.tif" for w in WELLS for c in (1, 2) for t in ("", "_thumb")]
    images = tree(tmp_path / "P", files)
    plan = make_plan(images, settings_from({"segment": "w1", "measure": "w2", "count": "none"}))
    assert len(plan.fields) == 3
    assert plan.ignored_by_reason == {"a small picture of another image (thumb, preview, overlay)": 6}
    assert {f.height_px for f in plan.fields} == {128}


def test_channels_are_named_by_the_instruments_own_file(tmp_path: Path) -> None:
    files = [f"r02c0{k}f01p01-ch{c}sk1fk1fl1.tiff" for k in (1, 2) for c in (1, 2, 3)]
    images = tree(tmp_path / "P", [f"Images/{f}" for f in files])
    entries = "".join(f"<Image><ChannelID>{k}</ChannelID><ChannelName>{n}</ChannelName></Image>" for k, n in enumerate(("Hoechst 33342", "Brightfield", "EdU"), 1))  # fmt: skip
    (images / "Images" / "Index.idx.xml").write_text(f'<EvaluationInputData xmlns="x">{entries}</EvaluationInputData>')
    plan = make_plan(images)
    assert (plan.segment_channel, plan.measure_channels, plan.count_channel) == ("Brightfield", ("EdU",), "Hoechst 33342")  # fmt: skip
    assert [f.sample for f in plan.fields] == ["B01", "B02"]
    wells = tree(tmp_path / "M", [f"a_{w}_w{c}.tif" for w in WELLS for c in (1, 2)])
    (wells / "a.HTD").write_text('"WaveName1", "BF"\n"WaveName2", "EdU"\n')
    assert make_plan(wells).measure_channels == ("EdU",)


def test_incucyte_names_are_a_series(tmp_path: Path) -> None:
    times = ("00d00h00m", "00d06h00m", "01d00h00m")
    files = [f"{c}_{w}_1_{t}.tif" for w in WELLS for t in times for c in ("Phase", "Green")]
    plan = make_plan(tree(tmp_path / "P", files), settings_from({"measure": "Green"}))
    assert plan.layout == "Incucyte"
    assert [(f.sample, f.frame) for f in plan.fields] == [(w, k) for w in WELLS for k in (1, 2, 3)]
    assert len({f.series_id for f in plan.fields}) == 3


def test_slices_in_files_of_their_own(tmp_path: Path) -> None:
    files = [f"r01c01f01p0{z}-ch{c}sk1fk1fl1.tiff" for z in (1, 2, 3) for c in (1, 2)]
    images = tree(tmp_path / "P", files)
    how = {"segment": "ch1", "measure": "ch2", "count": "none"}
    with pytest.raises(InputError) as refused:
        make_plan(images, settings_from(how))
    assert str(refused.value) == (
        f"{images}: 3 slices of a z stack in files of their own (got --z none, expected 1 to 3). Choose one with --z, or save projections from Fiji."
    )
    plan = make_plan(images, settings_from({**how, "z": "2"}))
    assert [f.segment.path.name for f in plan.fields if f.segment] == ["r01c01f01p02-ch1sk1fk1fl1.tiff"]
    assert plan.ignored_by_reason == {"another slice of its z stack": 4}


def test_layout_that_is_not_known_or_does_not_fit(tmp_path: Path) -> None:
    images = tree(tmp_path / "P", ["A/f1_phase.tif", "A/f1_EdU.tif"])
    for layout, said in (("Zeiss", f"--layout Zeiss: not known (expected none, {', '.join(NAMES)}). Correct it, or say how names are built with --pattern."),
                         ("EVOS", f"{images}: no file is named as EVOS names them (got A/f1_EdU.tif). Correct --layout, or say how names are built with --pattern.")):  # fmt: skip
        with pytest.raises(InputError) as refused:
            make_plan(images, settings_from({"layout": layout}))
        assert str(refused.value) == said
    assert make_plan(images).layout == ""


def test_pictures_of_images_are_no_fields(tmp_path: Path) -> None:
    images = tree(tmp_path / "P", [f"A/f{k}_{c}.tif" for k in (1, 2, 3) for c in ("phase", "EdU")])
    for mark in ("thumb", "preview", "overlay"):
        tifffile.imwrite(images / "A" / f"f1_EdU_{mark}.tif", np.ones((128, 128), np.uint16))
    tifffile.imwrite(images / "A" / "f4_phase.tif", np.ones((12, 12), np.uint16))
    (images / "A" / "._f1_EdU.tif").write_bytes(b"x")
    (images / "__MACOSX").mkdir()
    (images / "__MACOSX" / "f1_EdU.tif").write_bytes(b"x")
    (images / "Thumbs.db").write_bytes(b"x")
    plan = make_plan(images)
    assert [f.field_id for f in plan.fields] == ["A_f1", "A_f2", "A_f3"]
    assert plan.ignored_by_reason == {
        "a small picture of another image (thumb, preview, overlay)": 3, "much smaller than its neighbours": 1,
        "left by the system (Thumbs.db, ._ files, shortcuts)": 2,
    }  # fmt: skip


def plan_of(images: Path, **how: object) -> Any:
    return make_plan(images, settings_from({"measure": "none", "count": "none", **how}))


def test_deeper_folders_are_replicates(tmp_path: Path) -> None:
    images = tree(tmp_path / "P", [f"DMSO/day{d}/dish_xy{s}c{c}.tif" for d in (1, 2) for s in (1, 2) for c in (1, 2)])
    plan = plan_of(images, segment="c1")
    assert [(f.condition, f.replicate) for f in plan.fields] == [("DMSO", "day1")] * 2 + [("DMSO", "day2")] * 2


def test_folder_of_a_channel_is_no_condition(tmp_path: Path) -> None:
    images = tree(
        tmp_path / "P", [f"{c}/{c}_{w}_1_00d0{t}h00m.tif" for c in ("Phase", "EdU") for w in WELLS for t in (0, 6)]
    )
    plan = make_plan(images, settings_from({"count": "none"}))
    assert (plan.layout, plan.segment_channel, plan.measure_channels, len(plan.fields)) == (
        "Incucyte",
        "Phase",
        ("EdU",),
        6,
    )
    assert plan.conditions == ("all",)


def test_field_without_the_chosen_slice(tmp_path: Path) -> None:
    images = tree(
        tmp_path / "P", [*(f"r01c01f01p0{z}-ch1sk1fk1fl1.tiff" for z in (1, 2)), "r01c02f01p01-ch1sk1fk1fl1.tiff"]
    )
    with pytest.raises(InputError) as refused:
        plan_of(images, segment="ch1", z="2")
    assert str(refused.value) == f"{images}: 1 field without slice 2 (e.g. A02_s01). Choose another with --z, or move their files away."  # fmt: skip


def test_what_cannot_be_read_is_a_problem_and_never_a_name(tmp_path: Path) -> None:
    images = tree(tmp_path / "P", [f"DMSO/f{k}_{c}.tif" for k in (1, 2) for c in ("phase", "EdU")])
    tifffile.imwrite(images / "DMSO" / "g.ome.tif", np.ones((2, 64, 64), np.uint16), ome=True, metadata={"axes": "CYX"})
    whole = (images / "DMSO" / "g.ome.tif").read_bytes()
    (images / "DMSO" / "g.ome.tif").write_bytes(whole[: len(whole) // 2])
    plan = make_plan(images, settings_from({"count": "none"}))
    assert [name for name, _ in plan.problems] == ["DMSO_g"]
    alone = tmp_path / "broken.czi"
    alone.write_bytes(b"x")
    with pytest.raises(InputError) as refused:
        make_plan(alone)
    assert str(refused.value).startswith(f"{alone}: damaged CZI (")


def test_links(tmp_path: Path) -> None:
    images = tree(tmp_path / "P", [f"DMSO/day1/f1_{c}.tif" for c in ("phase", "EdU")])
    tree(tmp_path / "else", [f"f2_{c}.tif" for c in ("phase", "EdU")])
    (images / "DMSO" / "day2").symlink_to(tmp_path / "else")
    (images / "DMSO" / "day2" / "loop").symlink_to(images / "DMSO")
    (images / "DMSO" / "day1" / "f3_phase.tif").symlink_to(tmp_path / "gone.tif")
    plan = make_plan(images, settings_from({"count": "none"}))
    assert [(f.field_id, f.replicate) for f in plan.fields] == [("DMSO_day1_f1", "day1"), ("DMSO_day2_f2", "day2")]
    assert plan.ignored_by_reason == {"a link that leads nowhere": 1}


def test_scenes_beside_files_of_one(tmp_path: Path) -> None:
    from images.made import make_czi

    made = np.random.default_rng(0).integers(1, 999, (3, 1, 2, 1, 64, 64)).astype(np.uint16)
    (tmp_path / "P").mkdir()
    make_czi(tmp_path / "P" / "DMSO.czi", made, ["phase", "EdU"])
    make_czi(tmp_path / "P" / "Nut.czi", made[:1], ["phase", "EdU"])
    plan = make_plan(tmp_path / "P")
    assert [f.condition for f in plan.fields] == ["DMSO"] * 3 + ["Nut"]
    sheet = tmp_path / "s.csv"
    sheet.write_text("folder,condition\nDMSO.czi,A\nNut,B\n")
    (tmp_path / "P" / "Nut.czi").unlink()
    make_czi(tmp_path / "P" / "Nut.czi", made[:2], ["phase", "EdU"])
    assert {f.condition for f in make_plan(tmp_path / "P", settings_from({"samples": sheet})).fields} == {"A", "B"}
    assert all(f.series_id == "" for f in plan.fields)


def test_scene_with_other_channels_is_named(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for names in (["phase", "EdU"], ["x", "y"]):
            file.write(
                np.ones((2, 64, 64), np.uint16),
                photometric="minisblack",
                metadata={"axes": "CYX", "Channel": {"Name": names}},
            )
    plan = make_plan(tmp_path / "a.ome.tif")
    assert len(plan.fields) == 1
    assert plan.ignored_by_reason == {"no channel of it has a role": 1}
