from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cache import cache_folder, writable_cache
from bridge.errors import MissingDependencyError


def test_the_cache_is_made_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path / "a" / "b"))
    assert writable_cache("models") == cache_folder() / "models"
    assert (tmp_path / "a" / "b" / "models").is_dir()


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path / "file"))
    with pytest.raises(MissingDependencyError) as refused:
        writable_cache("imagej")
    assert str(refused.value) == (
        f"{tmp_path / 'file' / 'imagej'}: cannot be written (Not a directory; expected a folder for what is made or fetched once). "
        "Set CELLPOSE_FIJI_CACHE to a folder that can be written."
    )
