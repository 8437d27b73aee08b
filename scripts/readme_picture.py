"""Make the picture at the top of the README from a demo's results.

uv run cellpose-fiji demo --out /tmp/demo
uv run python scripts/readme_picture.py /tmp/demo docs/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image


def main(demo: Path, target: Path) -> None:
    results = demo / "results"
    with (
        Image.open(results / "figures" / "EdU_positive.png") as figure,
        Image.open(results / "overlays" / "all_conditions.png") as sheet,
    ):
        left = figure.convert("RGB")
        right = sheet.convert("RGB")
    left = left.resize((round(left.width * 620 / left.height), 620))
    right = right.resize((round(right.width * 0.6), round(right.height * 0.6)))
    picture = Image.new("RGB", (max(left.width, right.width), left.height + right.height + 12), "white")
    picture.paste(left, ((picture.width - left.width) // 2, 0))
    picture.paste(right, ((picture.width - right.width) // 2, left.height + 12))
    target.parent.mkdir(exist_ok=True)
    picture.save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
