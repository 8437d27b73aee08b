"""A bundle: the same bytes for the same results, checked elsewhere, and every kind of change named."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
from small import DEMO, given, make_experiment

import bridge
import bridge.pipeline.bundle_zip
import bridge.pipeline.crate
import bridge.pipeline.verify_images
from bridge.cli.main import main
from bridge.errors import BridgeError, InputError, MissingDependencyError, OutputError
from bridge.files import sha256, signature
from bridge.pipeline.bundle_zip import MANIFEST, METADATA, digest_of, manifest_text
from bridge.pipeline.run import run
from bridge.pipeline.verify import Verification

FIELDS = ("DMSO_day1_f1", "DMSO_day2_f1", "Drug_day1_f1", "Drug_day2_f1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Images, results and a bundle of a run with a network, which the tests only read."""
    folder = tmp_path_factory.mktemp("made")
    images = make_experiment(folder / "images")
    report = run(images, folder / "results", **DEMO, engine="native")
    assert report.exit_code == 0
    bridge.bundle(folder / "results", folder / "made.zip")
    return images, folder / "results", folder / "made.zip"


@pytest.fixture(scope="module")
def made_of_masks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The same of a run whose label images were given."""
    folder = tmp_path_factory.mktemp("of_masks")
    images = make_experiment(folder / "images")
    run(images, folder / "results", **given(images), engine="native")
    bridge.bundle(folder / "results", folder / "made.zip")
    return images, folder / "results", folder / "made.zip"


def content_of(bundle: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def forged(bundle: Path, to: Path, changes: dict[str, Callable[[bytes], bytes]], hide: bool = False) -> Path:
    """Change files of a bundle; with `hide` its list of files follows, as a forger would do it."""
    content = content_of(bundle)
    for name, change in changes.items():
        content[name] = change(content[name])
    if hide:
        content[MANIFEST] = manifest_text({n: digest_of(c) for n, c in content.items() if n != MANIFEST})
    with zipfile.ZipFile(to, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return to


def short(content: bytes) -> str:
    return f"SHA-256 {digest_of(content)[:12]}..."


def messages(found: Verification) -> list[str]:
    return [difference.message for difference in found.differences]


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, list[str]]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return (
        ended.value.code,
        out,
        [line for line in err.splitlines() if not re.match(r"\d+ of \d+ fields|loading", line)],
    )


# ---------------------------------------------------------------- bundle


def test_what_is_in_a_bundle(made: tuple[Path, Path, Path]) -> None:
    _, results, bundle = made
    content = content_of(bundle)
    assert list(content) == sorted(content)
    top = {name.split("/")[0] for name in content}
    assert top == {
        "CITATION.cff", "README.txt", "cells.csv", "checks.csv", "comparisons.csv", "conditions", "counts.csv", "failures.csv",
        "fields.csv", "gates.csv", "inputs.csv", "legend.txt", "manifest-sha256.txt", "masks", "measurements", "methods.txt",
        "nuclei.csv", "phases.csv", "records", "replicates.csv", "ro-crate-metadata.json", "rois", "run.json", "settings.toml",
        "shares.csv", "variance.csv",
    }  # fmt: skip
    for name in content.keys() - {"CITATION.cff", "README.txt", "inputs.csv", "settings.toml", MANIFEST, METADATA}:
        assert content[name] == (results / name).read_bytes(), name
    lines = dict(line.split("  ")[::-1] for line in content[MANIFEST].decode().splitlines())
    assert lines == {name: digest_of(text) for name, text in content.items() if name != MANIFEST}
    graph = {entity["@id"]: entity for entity in json.loads(content[METADATA])["@graph"]}
    steps = [graph[one["@id"]] for one in graph["./"]["mentions"]]
    assert [step["@id"] for step in steps] == ["#segment", "#rois", "#measure", "#summarize"]
    assert {step["@type"] for step in steps} == {"CreateAction"}
    assert graph[steps[0]["instrument"]["@id"]]["name"] == "Cellpose"
    for step in steps:
        ends = [*(step["object"] if isinstance(step["object"], list) else [step["object"]]), *(step["result"] if isinstance(step["result"], list) else [step["result"]])]  # fmt: skip
        assert all(end["@id"] in graph for end in ends)
    assert graph["cells.csv"]["sha256"] == sha256(results / "cells.csv")
    assert (
        str(results.parent)
        not in content["settings.toml"].decode() + content["inputs.csv"].decode() + content[METADATA].decode()
    )


def test_the_same_results_give_the_same_bytes(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, results, bundle = made
    shutil.copytree(results, tmp_path / "moved")
    again = bridge.bundle(tmp_path / "moved", tmp_path / "other.zip")
    assert again.path.read_bytes() == bundle.read_bytes()
    assert again.sha256 == sha256(bundle)
    assert again.files == len(content_of(bundle))


def test_a_bundle_is_not_overwritten_and_holds_what_the_run_wrote(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, results, bundle = made
    with pytest.raises(OutputError) as refused:
        bridge.bundle(results, bundle)
    assert str(refused.value) == (
        f"{bundle}: is there already. It is not overwritten: move it elsewhere, or name another file with --out."
    )
    with pytest.raises(InputError) as wrong:
        bridge.bundle(results, tmp_path / "a.tar")
    assert (
        str(wrong.value) == f"{tmp_path / 'a.tar'}: not the name of a zip (got .tar, expected .zip). Name it a.tar.zip."
    )
    shutil.copytree(results, tmp_path / "mine")
    path = tmp_path / "mine" / "cells.csv"
    before = path.read_bytes()
    after = before + b"\n"
    path.write_bytes(after)
    with pytest.raises(InputError) as changed:
        bridge.bundle(tmp_path / "mine", tmp_path / "a.zip")
    assert str(changed.value) == (
        f"{path}: was changed since it was written (got {short(after)}, expected {short(before)}). "
        "A bundle holds what the run wrote: move it elsewhere and give the command of the run again."
    )
    path.unlink()
    with pytest.raises(InputError) as gone:
        bridge.bundle(tmp_path / "mine", tmp_path / "a.zip")
    assert str(gone.value) == (
        f"{path}: is not there any more (expected a file of the run). Give the command of the run again, then bundle it."
    )
    assert not (tmp_path / "a.zip").exists()


def test_folders_stand_for_very_many_fields(
    made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge.pipeline.crate, "MOST_FIELDS", 3)
    bridge.bundle(made[1], tmp_path / "many.zip")
    graph = {entity["@id"]: entity for entity in json.loads(content_of(tmp_path / "many.zip")[METADATA])["@graph"]}
    assert "masks/" in graph
    assert "cells.csv" in graph
    assert not [name for name in graph if name.startswith("masks/") and name != "masks/"]
    assert bridge.verify(tmp_path / "many.zip").exit_code == 0


def test_the_command_line(made: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = made[1]
    out = tmp_path / "a.zip"
    code, text, errors = said(capsys, "bundle", results, "--out", out, "--author", "A. Person", "--licence", "https://creativecommons.org/licenses/by/4.0/")  # fmt: skip
    assert (code, errors) == (0, [])
    n, digest = len(content_of(out)), json.loads((results / "run.json").read_bytes())["models"]["segment"]["sha256"]
    assert text == (
        f"{out}: {n} files, {out.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256(out)}; demo is named with its SHA-256 ({digest[:12]}...), which suffices\n"
    )
    root = next(entity for entity in json.loads(content_of(out)[METADATA])["@graph"] if entity["@id"] == "./")
    assert root["license"] == {"@id": "https://creativecommons.org/licenses/by/4.0/"}
    code, text, errors = said(capsys, "verify", out)
    assert (code, errors) == (0, [])
    assert text == f"{out}: SHA-256 {sha256(out)}\n{n - 1} files: 0 changed. 15 tables made again: 0 differ.\n"


# ---------------------------------------------------------------- verify, without images


def test_a_changed_table_is_named(
    made: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = made[2]
    before = content_of(bundle)["counts.csv"]
    rows = before.decode().splitlines()
    at = rows[0].split(",").index("n_cells")
    n = rows[1].split(",")[at]
    rows[1] = ",".join([*rows[1].split(",")[:at], "9" + n, *rows[1].split(",")[at + 1 :]])
    after = ("\n".join(rows) + "\n").encode()
    changed = forged(bundle, tmp_path / "a.zip", {"counts.csv": lambda _: after})
    code, text, errors = said(capsys, "verify", changed)
    derived = f"counts.csv: does not follow from the fields (got n_cells '9{n}' in line 2, expected '{n}'; 1 line of 5). Do not use it: the numbers of each field are in records."  # fmt: skip
    assert code == 1
    assert errors == [
        f"Error: counts.csv: was changed after the bundle was made (got {short(after)}, expected {short(before)}). Do not use it. Get the bundle again.",
        f"Error: {derived}",
    ]
    assert text.endswith("1 changed. 15 tables made again: 1 differ.\n")
    # A forger who writes the list of files, too, and the record beside it.
    hidden = forged(bundle, tmp_path / "b.zip", {"counts.csv": lambda _: after}, hide=True)
    assert messages(bridge.verify(hidden)) == [
        f"counts.csv: is not what the run wrote (got {short(after)}, expected {short(before)}, as its record says). Do not use it. Get the bundle again.",
        derived,
    ]
    both = {"counts.csv": lambda _: after, "records/_experiment/tables.json": lambda c: c.replace(digest_of(before).encode(), digest_of(after).encode())}  # fmt: skip
    assert messages(bridge.verify(forged(bundle, tmp_path / "c.zip", both, hide=True))) == [derived]


def test_every_file_is_watched(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    bundle = made[2]
    content = content_of(bundle)
    name = f"measurements/DMSO/{FIELDS[0]}_EdU_Results.csv"

    def flip(text: bytes) -> bytes:
        return text[:-3] + bytes([text[-3] ^ 1]) + text[-2:]

    found = bridge.verify(forged(bundle, tmp_path / "a.zip", {name: flip}))
    assert messages(found) == [
        f"{name}: was changed after the bundle was made (got {short(flip(content[name]))}, expected {short(content[name])}). Do not use it. Get the bundle again."
    ]
    assert found.notes == ("the tables were not derived again, since what they follow from was changed",)
    for k, other in enumerate((METADATA, "methods.txt", "run.json", "conditions/Drug.xlsx", f"rois/Drug/{FIELDS[2]}_RoiSet.zip")):  # fmt: skip
        spaced = (lambda c: c + b"\n") if other == "run.json" else flip
        named = {difference.name for difference in bridge.verify(forged(bundle, tmp_path / f"{k}.zip", {other: spaced})).differences}  # fmt: skip
        assert named == {other}


def test_files_too_many_and_too_few(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    content = content_of(made[2])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, text in content.items():
            if name != "legend.txt":
                archive.writestr(name, text)
        archive.writestr("extra.py", "print()")
    assert messages(bridge.verify(tmp_path / "a.zip"))[:2] == [
        "extra.py: is in the bundle and not in its list of files (got a file, expected none). Do not use it. Get the bundle again.",
        f"legend.txt: is not in the bundle (got nothing, expected {short(content['legend.txt'])}). Get the bundle again.",
    ]


# ---------------------------------------------------------------- hostile zips


def hostile(path: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries:
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "C:/x", "C:x", "..\\x", "a//x", "./x", "a/.. /x", "a\nb", "a\x00b"]
)
def test_names_that_lead_outside(tmp_path: Path, name: str) -> None:
    path = hostile(tmp_path / "a.zip", ("ok.txt", b"1"), ("PLACE", b"2"))
    content = path.read_bytes()
    raw = name.encode()
    path.write_bytes(content.replace(b"PLACE", raw) if len(raw) == 5 else hostile(tmp_path / "b.zip", (name, b"2")).read_bytes())  # fmt: skip
    if "\x00" in name:  # zipfile cuts the name when it writes
        path.write_bytes(hostile(tmp_path / "c.zip", ("aXb", b"2")).read_bytes().replace(b"aXb", raw))
    with pytest.raises(InputError) as refused:
        bridge.verify(path)
    assert str(refused.value) == (
        f"{path}: names a file outside of itself (got {name!r}, expected a plain name). It was changed or comes from elsewhere: do not use it."
    )
    assert [p.name for p in tmp_path.parent.iterdir() if p.name == "x"] == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_odd_zips(made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(path: Path, kind: type[BridgeError] = InputError) -> str:
        with pytest.raises(kind) as refused:
            bridge.verify(path)
        assert str(refused.value).startswith(f"{path}: ")
        return str(refused.value).removeprefix(f"{path}: ")

    twice = hostile(tmp_path / "twice.zip", ("a.txt", b"1"), ("A.txt", b"2"))
    assert refusal(twice) == (
        "two files of one name (got 'A.txt' twice, expected each once). It was changed or comes from elsewhere: do not use it."
    )
    content = content_of(made[2])
    for lost in (METADATA, MANIFEST):
        path = hostile(tmp_path / f"no {lost}.zip", *((n, c) for n, c in content.items() if n != lost))
        assert refusal(path) == (
            f"not a bundle (got no {lost}, expected one in it). Name a zip that cellpose-fiji bundle wrote."
        )
    plain = tmp_path / "plain.zip"
    plain.write_bytes(b"PK is no zip")
    assert refusal(plain) == "damaged, or not a bundle (File is not a zip file). Get the bundle again."
    cut = tmp_path / "cut.zip"
    cut.write_bytes(made[2].read_bytes()[:-4000])
    assert refusal(cut) == "damaged, or not a bundle (its end is missing). Get the bundle again."
    assert refusal(tmp_path / "none.zip") == "no such file (expected a bundle). Check the path."
    broken = forged(made[2], tmp_path / "broken.zip", {MANIFEST: lambda _: b"not a list\n"})
    assert refusal(broken) == (
        f"line 1 of {MANIFEST} is no SHA-256 and name (got 'not a list'). It was changed: get the bundle again."
    )
    huge = hostile(tmp_path / "huge.zip", ("a.csv", b"0" * 1000))
    raw = huge.read_bytes()
    at = raw.index(b"PK\x01\x02") + 24
    # It says that 1 MB becomes 4 GB.
    huge.write_bytes(raw[:at] + struct.pack("<I", 2**32 - 2) + raw[at + 4 :])
    monkeypatch.setattr(bridge.pipeline.bundle_zip, "MOST_BYTES_OF_ONE", 2**20)
    assert refusal(huge) == (
        f"'a.csv' is too large when unpacked (got {2**32 - 2} bytes, expected at most {2**20}). It is not a bundle of this program: do not use it."
    )
    monkeypatch.setattr(bridge.pipeline.bundle_zip, "MOST_BYTES", 1000)
    bomb = hostile(tmp_path / "bomb.zip", ("a.csv", b"0" * 600), ("b.csv", b"0" * 600))
    assert refusal(bomb) == (
        "too large when unpacked (got 1200 bytes in 2 files, expected at most 1000 in 20000000). It is not a bundle of this program: do not use it."
    )
    monkeypatch.setattr(bridge.pipeline.bundle_zip.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))
    full = hostile(tmp_path / "full.zip", ("a.csv", b"00"))
    assert refusal(full, MissingDependencyError) == (
        f"no room to unpack it (got 1 bytes free in {tempfile.gettempdir()}, expected 2). Make room, or set TMPDIR to a folder on another disk."
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda c: b"[1]", lambda c: c.replace(b'"done"', b'"running"', 1), lambda c: b'{"a":' * 50_000, lambda c: c.replace(b'"records": 2', b'"records": 1'),
        lambda c: c.replace(b'"models": {', b'"models": 3, "m": {'), lambda c: c.replace(b'"versions": {', b'"versions": null, "m": {'),
        lambda c: c.replace(b'"measure": [', b'"measure": 5, "m": ['),
    ],
)  # fmt: skip
def test_odd_records_are_one_sentence(
    made: tuple[Path, Path, Path], tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    path = forged(made[2], tmp_path / "a.zip", {"run.json": change}, hide=True)
    with pytest.raises(InputError) as refused:
        bridge.verify(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "cellpose-fiji-" not in str(refused.value).replace("cellpose-fiji-bridge 0.1.0", "").replace(str(path), "")


def test_a_record_that_names_a_file_outside(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    def outside(text: bytes) -> bytes:
        return text.replace(b'"outputs": {', b'"outputs": {"../../../x": "0", ')

    name = f"records/{FIELDS[0]}/rois.json"
    path = forged(made[2], tmp_path / "a.zip", {name: outside}, hide=True)
    with pytest.raises(InputError) as refused:
        bridge.verify(path)
    assert str(refused.value) == (
        f"{path}: the run in it cannot be read ({name}: names a file outside of the bundle (got '../../../x'). It was changed or comes from elsewhere: do not use it). Get the bundle again."
    )


def test_what_was_seen_elsewhere_counts_for_nothing(made_of_masks: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A list of hashes in the bundle, as a results folder holds one, that says of a changed image what it should be."""
    images, _, bundle = made_of_masks
    shutil.copytree(images, tmp_path / "images")
    path = tmp_path / "images" / "DMSO" / "day2" / "f1_EdU.tif"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    line = json.dumps([str(path), digest_of(before), signature(path)])
    content = content_of(bundle) | {"records/_seen/run.gz": gzip.compress(f'""\n{line}\n'.encode())}
    content[MANIFEST] = manifest_text({name: digest_of(text) for name, text in content.items() if name != MANIFEST})
    found = bridge.verify(hostile(tmp_path / "a.zip", *content.items()), tmp_path / "images")
    assert [(d.kind, d.name) for d in found.differences] == [("image", "DMSO_day2_f1")]


# ---------------------------------------------------------------- verify, with images


@pytest.mark.slow
def test_elsewhere_and_with_another_number_of_threads_nothing_differs(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    images, _, bundle = made
    shutil.copytree(images, tmp_path / "moved here" / "images")
    shutil.copy(bundle, tmp_path / "a.zip")
    code = "import os, sys; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from bridge.cli.main import main; main(sys.argv[1:])"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", "a.zip", "--images", "moved here/images"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "0 images changed or missing. 4 fields measured again: 0 of 31 cells differ. 4 fields segmented again: 0 label images differ."
    )


@pytest.mark.slow
def test_one_pixel_of_one_image(
    made: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, _, bundle = made
    shutil.copytree(images, tmp_path / "images")
    path = tmp_path / "images" / "DMSO" / "day2" / "f1_EdU.tif"
    before = path.read_bytes()
    pixels = tifffile.memmap(path)
    pixels[80, 80] += 1
    pixels.flush()
    after = path.read_bytes()
    assert len(after) == len(before)
    code, text, errors = said(capsys, "verify", bundle, "--images", tmp_path / "images")
    assert code == 1
    assert errors == [
        f"Error: DMSO_day2_f1: DMSO/day2/f1_EdU.tif is not the image of the run (got {short(after)}, expected {short(before)}). Bring the original back."
    ]
    assert text.splitlines()[-1] == (
        "1 image changed or missing. 3 fields measured again: 0 of 23 cells differ. 3 fields segmented again: 0 label images differ."
    )


def test_images_that_are_not_there(made_of_masks: tuple[Path, Path, Path], tmp_path: Path) -> None:
    images, _, bundle = made_of_masks
    shutil.copytree(images, tmp_path / "images")
    (tmp_path / "images" / "Drug" / "day1" / "f1_EdU.tif").unlink()
    found = bridge.verify(bundle, tmp_path / "images")
    assert messages(found) == [
        f"Drug_day1_f1: Drug/day1/f1_EdU.tif is not there (got nothing in {tmp_path / 'images'}, expected an image of the run). Bring it back, or check --images."
    ]
    assert (found.fields, found.cells_differ, found.segmented) == (3, 0, 0)
    assert found.notes == ("the label images of 3 fields were given to the run: there is nothing to look for again",)
    with pytest.raises(InputError) as refused:
        bridge.verify(bundle, tmp_path / "none")
    assert str(refused.value) == (
        f"{tmp_path / 'none'}: no such folder (expected the images of the run). Check the path given with --images."
    )


def test_numbers_forged_throughout(made_of_masks: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Whoever writes every table, record and list anew is found out by the images alone."""
    images, results, _ = made_of_masks
    mine = tmp_path / "results"
    shutil.copytree(results, mine)
    name = f"records/{FIELDS[3]}/cells.csv"
    rows = [line.split(",") for line in (mine / name).read_text().splitlines()]
    label, at = rows[2][rows[0].index("label")], rows[0].index("cell_EdU_Mean")
    real, rows[2][at] = rows[2][at], "123.5"
    before = sha256(mine / name)
    (mine / name).write_text("".join(",".join(row) + "\n" for row in rows))
    record = mine / "records" / FIELDS[3] / "measure.json"
    record.write_text(record.read_text().replace(before, sha256(mine / name)))
    bridge.summarize(mine)
    bridge.bundle(mine, tmp_path / "a.zip")
    assert bridge.verify(tmp_path / "a.zip").exit_code == 0
    found = bridge.verify(tmp_path / "a.zip", images)
    assert messages(found) == [
        f"{name}: cell {label}: the arithmetic differs (cell_EdU_Mean got 123.5, expected {real}). The same pixels and outlines give the same numbers: do not use it, and ask who made it."
    ]
    assert [(d.kind, d.name) for d in found.differences] == [("arithmetic", FIELDS[3])]
    assert (found.cells_differ, found.exit_code) == (1, 1)


@pytest.mark.slow
def test_another_segmentation_is_told_from_other_arithmetic(
    made: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _, bundle = made
    work: Any = bridge.pipeline.verify_images._Work
    kept = work._settings
    monkeypatch.setattr(work, "_settings", lambda self, **changes: kept(self, **changes, cellprob_threshold=3.0))
    found = bridge.verify(bundle, images)
    assert {difference.kind for difference in found.differences} == {"segmentation"}
    assert {difference.name for difference in found.differences} == set(FIELDS)
    assert (found.cells, found.cells_differ, found.fields, found.segmented) == (31, 0, 4, 4)
    text = messages(found)[0]
    assert text.startswith(f"masks/DMSO/{FIELDS[0]}_mask.tif: the segmentation differs in ")
    facts = json.loads(content_of(bundle)["run.json"])["segmentation"]["segment"]
    who = f"Cellpose {facts['cellpose']}, torch {facts['torch']}, cpu, {facts['inference']}"
    assert text.endswith(
        f" px (got {who} in the bundle, {who} here, expected the same label image). Another version, processor or card may do that; the arithmetic is checked in the label images of the bundle."
    )


@pytest.mark.slow
def test_weights_of_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = make_experiment(tmp_path / "images")
    shutil.rmtree(images / "Drug")
    shutil.rmtree(images / "DMSO" / "day2")
    own = tmp_path / "my model"
    shutil.copy(Path(bridge.__file__).parent / "segmentation" / "demo_model", own)
    results, digest = tmp_path / "results", sha256(own)
    run(
        images,
        results,
        model=str(own),
        diameter=37.0,
        count="none",
        device="cpu",
        engine="native",
        edu_threshold=["300"],
    )
    code, text, _ = said(capsys, "bundle", results, "--out", tmp_path / "with.zip")
    assert (code, text.partition("; ")[2]) == (0, "with the weights of my model\n")
    code, text, _ = said(capsys, "bundle", results, "--out", tmp_path / "without.zip", "--no-weights")
    assert (code, text.partition("; ")[2]) == (
        0, f"without the weights of my model: who computes the cells again needs that file (SHA-256 {digest[:12]}...)\n"
    )  # fmt: skip
    names = {name for name in content_of(tmp_path / "with.zip") if name.startswith("weights/")}
    assert names == {f"weights/{digest[:12]}_my_model"}
    assert f'model = "weights/{digest[:12]}_my_model"' in content_of(tmp_path / "with.zip")["settings.toml"].decode()
    own.unlink()
    with pytest.raises(InputError) as refused:
        bridge.bundle(results, tmp_path / "again.zip")
    assert str(refused.value) == (
        f"{own}: not the weights of this run (got no file, expected SHA-256 {digest[:12]}...). Bring them back, or give --no-weights."
    )
    found = bridge.verify(tmp_path / "with.zip", images)
    assert (found.exit_code, found.fields, found.segmented, found.notes) == (0, 1, 1, ())
    found = bridge.verify(tmp_path / "without.zip", images)
    assert (found.exit_code, found.fields, found.segmented) == (0, 1, 0)
    assert found.notes == (f"the cells were not looked for again: the weights are not in the bundle (SHA-256 {digest[:12]}...): give them with --weights",)  # fmt: skip
    # Whoever has them hands them in.
    elsewhere = tmp_path / "theirs"
    shutil.copy(Path(bridge.__file__).parent / "segmentation" / "demo_model", elsewhere)
    found = bridge.verify(tmp_path / "without.zip", images, weights=[elsewhere])
    assert (found.exit_code, found.fields, found.segmented, found.notes) == (0, 1, 1, ())
    (tmp_path / "other").write_bytes(b"other weights")
    for path, got in ((tmp_path / "other", sha256(tmp_path / "other")[:12]), (tmp_path / "gone", "no file")):
        with pytest.raises(InputError) as refused:
            bridge.verify(tmp_path / "without.zip", images, weights=[path])
        assert str(refused.value) == (
            f"{path}: not the weights of this run (got {got}, expected SHA-256 {digest[:12]}...). Check the path given with --weights."
        )
    with pytest.raises(InputError) as refused:
        bridge.verify(tmp_path / "without.zip", weights=[elsewhere])
    assert str(refused.value) == (
        f"{elsewhere}: nothing is computed again without the images (got weights alone, expected --images, too). Name their folder."
    )


@pytest.mark.slow
def test_the_settings_of_a_bundle_make_the_run_again(
    made: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, results, bundle = made
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    shutil.copytree(images, tmp_path / "unpacked" / "images")
    code, _, _ = said(capsys, "run", "--settings", tmp_path / "unpacked" / "settings.toml", "--out", tmp_path / "again")
    assert code == 0
    assert (tmp_path / "again" / "cells.csv").read_bytes() == (results / "cells.csv").read_bytes()


def test_the_crate_is_valid(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Named by ROC_VALIDATOR: a rocrate-validator of an environment of its own, with a network or a warm cache."""
    validator = os.environ.get("ROC_VALIDATOR")
    if not validator:
        pytest.skip("no RO-Crate validator was named (ROC_VALIDATOR=path of rocrate-validator)")
    with zipfile.ZipFile(made[2]) as archive:
        archive.extractall(tmp_path / "crate")
    for profile in ("ro-crate-1.1", "process-run-crate-0.5"):
        done = subprocess.run(
            [validator, "-y", "validate", "-p", profile, "-l", "required", str(tmp_path / "crate")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
