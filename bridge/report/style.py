"""How figures look: size, fonts, colours, names on axes, files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.files import whole_file
from bridge.report.fonts import families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision; markers, too, so that colour is never alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDTHS_MM = (85, 180)  # one and two columns of a journal
_MM = 1 / 25.4


@dataclass(frozen=True)
class Look:
    """How a figure is drawn.

    Attributes
    ----------
    width_mm : float
    font_pt : float
    dpi : int
        Of the PNG.
    formats : tuple of str
        ``png``, ``svg``, ``pdf``.
    log : bool
        An asinh scale: linear around zero, logarithmic above.
    kind : str
        ``dots``, ``violin``, ``box`` or ``both`` (violin and box).
    """

    width_mm: float = 180.0
    font_pt: float = 7.0
    dpi: int = 300
    formats: tuple[str, ...] = ("png", "svg")
    log: bool = False
    kind: str = "dots"


def replicate_look(k: int) -> tuple[str, str]:
    """Return colour and marker of the k-th replicate; 64 differ."""
    return COLOURS[k % 8], MARKERS[(k + k // 8) % 8]


def style(look: Look, *texts: str) -> dict[str, Any]:
    """Return matplotlib's settings for a figure in which these texts are drawn."""
    return {
        "font.size": look.font_pt,
        "axes.titlesize": look.font_pt + 1,
        "font.family": ["Arial", "Helvetica", *families(texts)[0]] if _has_arial() else families(texts)[0],
        "svg.fonttype": "none",
        "svg.hashsalt": "cellpose-fiji-bridge",
        "pdf.fonttype": 42,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "axes.formatter.useoffset": False,
    }


def _has_arial() -> bool:
    from matplotlib.font_manager import fontManager

    return {"Arial", "Helvetica"} <= {font.name for font in fontManager.ttflist}


def new_figure(look: Look, height_mm: float, conditions: Sequence[str] = (), entries: int = 0) -> Figure:
    """Return an empty figure of the look's width; higher where names are turned, or a legend has many entries."""
    from matplotlib.figure import Figure

    turned = 0.0 if _fits(look, conditions) else min(26, max(map(len, conditions))) * 0.17 * look.font_pt
    legend = max(0, entries - 3) * 4.0 * min(1.0, 60 / look.width_mm)
    return Figure(figsize=(look.width_mm * _MM, (height_mm + turned + legend) * _MM), layout="constrained")


def _letters(look: Look, conditions: Sequence[str]) -> int:
    """How many letters stand side by side under a condition."""
    room = (look.width_mm - 16) / (max(len(conditions), 1) + 0.2)  # mm for each
    return max(3, int(room / (0.225 * look.font_pt)) - 1)


def _fits(look: Look, conditions: Sequence[str]) -> bool:
    letters = _letters(look, conditions)
    wrapped = [wrap(name, letters) for name in conditions]
    return all(len(lines) <= 4 and max(map(len, lines)) <= letters for lines in wrapped)


def name_conditions(axes: Axes, look: Look, conditions: Sequence[str], below: Mapping[str, Sequence[str]]) -> None:
    """Write the names of conditions under an axis: broken at spaces and signs, turned where there is no room.

    Parameters
    ----------
    axes : Axes
    look : Look
    conditions : sequence of str
    below : mapping of str to sequence of str
        Lines under the name, where there is room.
    """
    letters = _letters(look, conditions)
    if _fits(look, conditions):
        told = all(len(line) <= letters for lines in below.values() for line in lines)
        texts = ["\n".join([*wrap(name, letters), *(below.get(name, ()) if told else ())]) for name in conditions]
        axes.set_xticks(range(len(conditions)), [plain(text) for text in texts])
    else:
        texts = ["\n".join(wrap(name, 26)) for name in conditions]
        turn: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(
            range(len(conditions)),
            [plain(text) for text in texts],
            **(turn if len(conditions) < 20 else {"rotation": 90}),
        )
    axes.set_xlim(-0.6, len(conditions) - 0.4)


def wrap(name: str, letters: int) -> list[str]:
    """Break a name into lines after spaces, hyphens and underscores.

    Examples
    --------
    >>> wrap("Drug_A_10uM serum-free", 9)
    ['Drug_A_', '10uM', 'serum-', 'free']
    """
    lines = [""]
    for piece in re.findall(r"[^ _-]*[ _-]?", name):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > letters:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines if line.strip()] or [name]


def legend_below(figure: Figure, look: Look, handles: Mapping[str, Any]) -> None:
    """Put a legend below a figure, in as many columns as fit into its width."""
    if not handles:
        return
    longest = max(map(len, handles)) * 0.19 * look.font_pt + 8  # mm
    columns = max(1, min(len(handles), int(look.width_mm / longest)))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False, handletextpad=0.4
    )


def tidy(axes: Axes, look: Look, label: str) -> None:
    """Label the y axis, and leave out what says nothing."""
    letters = int(62 / (0.21 * look.font_pt))
    axes.set_ylabel("\n".join(wrap(plain(label), letters)))
    axes.spines[["top", "right"]].set_visible(False)
    if not look.log:
        axes.ticklabel_format(axis="y", style="plain")


def plain(text: str) -> str:
    """Return a text as matplotlib draws it to the letter."""
    return text.replace("$", r"\$")  # matplotlib would read a formula


def save(figure: Figure, path: Path, look: Look) -> list[Path]:
    """Write a figure in each format, the same bytes each time; return the files."""
    written = []
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    for suffix in look.formats:
        file = path.with_name(f"{path.name}.{suffix}")
        with whole_file(file) as part:
            figure.savefig(part, format=suffix, dpi=look.dpi, metadata=metadata[suffix])
        written.append(file)
    return written


def short(names: Sequence[str], most: int = 28) -> list[str]:
    """Names that fit on an axis and still tell the images apart: their ends, else what follows their common beginning."""
    ends = [name if len(name) <= most else "…" + name[1 - most :] for name in names]
    if len(set(ends)) == len(ends):
        return ends
    shared = next((k for k, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)
    return [("…" + name[shared:])[:most] for name in names]
