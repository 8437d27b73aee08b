"""Renew the exact versions in pyproject.toml (`[tool.uv] constraint-dependencies`) from what resolves today.

    uv run python scripts/pin.py

uv's own lock file records download addresses and is git-ignored; this list holds names and versions only.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
START, END = "# pins: start (scripts/pin.py)\n", "# pins: end\n"


def main() -> None:
    text = PYPROJECT.read_text("utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    # Without the old pins, so that newer versions are found.
    PYPROJECT.write_text(before + START + END + after, "utf-8")
    try:
        subprocess.run(["uv", "lock", "--upgrade", "--quiet"], check=True)
        command = [
            "uv",
            "export",
            "--quiet",
            "--all-groups",
            "--all-extras",
            "--no-hashes",
            "--no-emit-project",
            "--no-header",
            "--no-annotate",
        ]
        exported = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except BaseException:
        PYPROJECT.write_text(text, "utf-8")
        raise
    pins = [line.strip() for line in exported.splitlines() if re.match(r"[a-z0-9]", line)]
    # One list for all: a package for one system or Python only keeps its marker.
    listed = "".join(f"  {_quoted(pin)},\n" for pin in pins)
    PYPROJECT.write_text(f"{before}{START}[tool.uv]\nconstraint-dependencies = [\n{listed}]\n\n{END}{after}", "utf-8")
    print(f"{len(pins)} pins")


def _quoted(pin: str) -> str:
    return '"' + pin.replace(" ; ", "; ").replace('"', "'") + '"'


if __name__ == "__main__":
    main()
