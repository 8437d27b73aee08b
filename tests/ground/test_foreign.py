"""Files of strangers: any JSON is one sentence, and no name leads out of its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.errors import InputError
from bridge.foreign import read_json, read_text, within


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[]", "it holds a list, not an object"), (b"null", "it holds nothing, not an object"), (b"3", "it holds a number, not an object"),
        (b'"a"', "it holds a text, not an object"), (b"true", "it holds true or false, not an object"), (b"{", "Expecting property name"),
        (b"\xff\xfe{}", "'utf-8' codec can't decode"), (b'{"a":' * 100_000, "it is nested too deeply"),
    ],
)  # fmt: skip
def test_json_of_any_content(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read_json(path)
    assert str(refused.value).startswith(text)


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(ValueError, match="it is not a plain file"):
            read_text(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")
    (tmp_path / "bom.json").write_text('\ufeff{"a": [1]}', "utf-8")
    assert read_json(tmp_path / "bom.json") == {"a": [1]}


def test_names_stay_in_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "away").symlink_to(tmp_path)
    said_by = folder / "records" / "x.json"
    assert within(folder, "masks/a b.tif", said_by) == folder / "masks" / "a b.tif"
    for name in ("../x", "a/../../x", "/etc/passwd", "", "..", "C:\\x", "..\\x", "\\\\host\\x", "away/x", "a\0b"):
        with pytest.raises(InputError) as refused:
            within(folder, name, said_by)
        assert str(refused.value) == (
            f"{said_by}: names a file outside of {folder} (got {name!r}). It was changed or comes from elsewhere: do not use it."
        )
