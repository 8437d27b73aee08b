"""What a run stands on, as facts for machines: works to cite, software, licences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.pipeline.methods import CITATIONS


class Work(NamedTuple):
    """A work to cite; `key` is that of `bridge.pipeline.methods.CITATIONS`."""

    key: str
    doi: str
    title: str
    authors: tuple[str, ...]
    journal: str
    year: int


_OF_CELLPOSE = "Stringer, Carsen", "Pachitariu, Marius"
WORKS = {
    work.key: work
    for work in (
        Work("Cellpose", "10.1038/s41592-020-01018-x", "Cellpose: a generalist algorithm for cellular segmentation", ("Stringer, Carsen", "Wang, Tim", "Michaelos, Michalis", "Pachitariu, Marius"), "Nature Methods", 2021),
        Work("Cellpose 3", "10.1038/s41592-025-02595-5", "Cellpose3: one-click image restoration for improved cellular segmentation", _OF_CELLPOSE, "Nature Methods", 2025),
        Work("Cellpose-SAM", "10.1101/2025.04.28.651001", "Cellpose-SAM: superhuman generalization for cellular segmentation", ("Pachitariu, Marius", "Rariden, Michael", "Stringer, Carsen"), "bioRxiv", 2025),
        Work("ImageJ", "10.1038/nmeth.2089", "NIH Image to ImageJ: 25 years of image analysis", ("Schneider, Caroline A.", "Rasband, Wayne S.", "Eliceiri, Kevin W."), "Nature Methods", 2012),
        Work("Fiji", "10.1038/nmeth.2019", "Fiji: an open-source platform for biological-image analysis", ("Schindelin, Johannes",), "Nature Methods", 2012),
        Work("rolling ball", "10.1109/MC.1983.1654163", "Biomedical image processing", ("Sternberg, Stanley R.",), "Computer", 1983),
    )
}  # fmt: skip
# What each program itself says.
LICENCES = {
    "cellpose-fiji-bridge": "https://spdx.org/licenses/BSD-3-Clause",
    "Cellpose": "https://spdx.org/licenses/BSD-3-Clause",
    "ImageJ": "https://imagej.net/licensing/public-domain",
    "Fiji": "https://imagej.net/licensing/gpl",
}
HOMES = {"Cellpose": "https://www.cellpose.org", "ImageJ": "https://imagej.net/ij/", "Fiji": "https://fiji.sc"}


def cited(methods: str) -> list[Work]:
    """Return the works that a Methods paragraph refers to."""
    return [WORKS[key] for key, text in CITATIONS.items() if text in methods]


def citation_cff(content: Mapping[str, Any], methods: str) -> str:
    """Return a CITATION.cff of the program and of what the run stands on.

    Parameters
    ----------
    content : mapping
        `run.json`.
    methods : str
        The Methods paragraph.
    """
    lines = [
        "cff-version: 1.2.0",
        "message: These results were made with this software. Please cite it, and the works on which it stands.",
        "title: cellpose-fiji-bridge",
        "type: software",
        f"version: {json.dumps(str(content['program']['version']))}",
        "license: BSD-3-Clause",
        "authors:",
        "  - name: The cellpose-fiji-bridge developers",
    ]
    works = cited(methods)
    lines += ["references:"] if works else []
    for work in works:
        lines += [f"  - type: article\n    title: {json.dumps(work.title)}\n    authors:"]
        for author in work.authors:
            family, _, given = author.partition(", ")
            lines.append(f"      - {{family-names: {json.dumps(family)}, given-names: {json.dumps(given)}}}")
        lines += [f"    journal: {work.journal}\n    year: {work.year}\n    doi: {work.doi}"]
    return "\n".join(lines) + "\n"
