"""One HTML file that opens without a network: what it shows as JSON, its pictures as base64, its own script and style alone."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bridge.files import write_new

_FOLDER = Path(__file__).with_name("page")
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_page(path: Path, data: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
    data : mapping
        What ``page/*.js`` shows; plain data.
    pictures : mapping of str to bytes
        By the ids that `data` gives them.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    template, style, script = _assets()
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    blocks = [f'<script type="application/json" id="data">{json_text(data)}</script>']
    blocks += [
        f'<script type="text/plain" id="{html.escape(name)}">{base64.b64encode(content).decode()}</script>'
        for name, content in pictures.items()
    ]
    parts = {
        "@POLICY@": html.escape(policy, quote=True), "@TITLE@": html.escape(str(data["title"])), "@STYLE@": style,
        "@SCRIPT@": script, "@DATA@": "\n".join(blocks),
    }  # fmt: skip
    # In one pass: what a person called something is never looked through for these marks.
    page = "".join(parts.get(piece, piece) for piece in re.split("(@[A-Z]+@)", template))
    write_new(path, page.encode(errors="backslashreplace"))


def json_text(data: Any) -> str:
    r"""Return JSON that may stand in a page: no name in it can end the block or begin another.

    Examples
    --------
    >>> json_text({"a": "</script><b>"})
    '{"a":"\\u003c/script\\u003e\\u003cb\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda letter: _ESCAPES[letter[0]], text)


def packed(values: Any, kind: str) -> dict[str, str]:
    """Return a column as the page reads it: ``f32``, ``u32`` or ``u8``, little-endian, base64."""
    import numpy as np

    dtypes = {"f32": "<f4", "u32": "<u4", "u8": "<u1"}
    content = np.ascontiguousarray(np.asarray(values), dtypes[kind]).tobytes()
    return {"type": kind, "data": base64.b64encode(content).decode()}


@lru_cache(maxsize=1)
def _assets() -> tuple[str, str, str]:
    scripts = (path.read_text("utf-8") for path in sorted(_FOLDER.glob("*.js")))
    return (
        (_FOLDER / "page.html").read_text("utf-8"),
        (_FOLDER / "page.css").read_text("utf-8"),
        "(() => {\n" + "\n".join(scripts) + "})();\n",
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
