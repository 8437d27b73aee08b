"""Tracks to be looked at: a movie, lineages, and each division from mother to daughters."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.files import whole_file, write_bytes
from bridge.labels import Labels, outlines
from bridge.report.picture import PNG, with_caption
from bridge.report.style import COLOURS, Look, new_figure, plain, save, style

_MOST_PX, _TRAIL, _FRAME_MS = 768, 8, 200
_PALETTE = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (*COLOURS[:6], "#FFFFFF", "#F0E442")], np.uint8)  # fmt: skip
_CROP_PX, _SHEET_PX, _SHOWN = 96, 144, 48


def track_movie(
    path: Path,
    tracks: pd.DataFrame,
    labels_of: Callable[[int], Labels],
    image_of: Callable[[int], npt.NDArray[Any]] | None,
    shown: tuple[float, float],
) -> None:
    """Write a GIF: outlines and trails in the colours of their lineages; beside it an MP4, where ffmpeg is there.

    Parameters
    ----------
    path : Path
        ``*.gif``.
    tracks : DataFrame
        `bridge.tracking.tables.TRACKS` of one series.
    labels_of : callable
        Returns the label image of a frame.
    image_of : callable or None
        Returns the image of a frame; without, outlines alone.
    shown : (float, float)
        Grey levels shown as black and white.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image, ImageDraw

    frames = sorted(set(tracks["frame"].tolist()))
    by_track = {track: part.set_index("frame")[["x_px", "y_px"]] for track, part in tracks.groupby("track_id")}
    pictures = []
    for frame in range(frames[-1] + 1 if frames else 0):
        labels = labels_of(frame)
        own = tracks[tracks["frame"] == frame]
        colour = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
        colour[own["label"].to_numpy(np.int64)] = own["lineage_id"].to_numpy(np.int64) % len(_PALETTE)
        grey = np.zeros(labels.shape, np.uint8) if image_of is None else _grey(image_of(frame), shown)
        scale = min(1.0, _MOST_PX / max(labels.shape))
        # Scaled first: an outline of one pixel would be lost.
        rows, columns = (
            np.minimum((np.arange(round(n * scale)) / scale).astype(np.int64), n - 1) for n in labels.shape
        )
        labels, size = labels[np.ix_(rows, columns)], (len(columns), len(rows))
        picture = np.repeat(np.asarray(Image.fromarray(grey).resize(size))[..., None], 3, axis=2)
        edge = outlines(labels)
        picture[edge] = _PALETTE[colour[labels[edge]]]
        frame_picture: Any = Image.fromarray(picture)
        draw = ImageDraw.Draw(frame_picture)
        for row in own.to_dict("records"):
            trail = by_track[row["track_id"]].loc[max(0, frame - _TRAIL) : frame].to_numpy() * scale
            if len(trail) > 1:
                line = tuple(int(v) for v in _PALETTE[row["lineage_id"] % len(_PALETTE)])
                draw.line([(float(x), float(y)) for x, y in trail], fill=line, width=1)
        pictures.append(with_caption(frame_picture, f"frame {frame} · {len(own)} cells"))
    if not pictures:
        return
    few = [picture.convert("P", palette=Image.Palette.ADAPTIVE) for picture in pictures]
    with whole_file(path) as part_path:
        few[0].save(part_path, format="GIF", save_all=True, append_images=few[1:], duration=_FRAME_MS, loop=0)
    film = path.with_suffix(".mp4")
    film.unlink(missing_ok=True)
    if shutil.which("ffmpeg") is not None:
        _write_film(film, pictures)


def _write_film(path: Path, pictures: Sequence[Any]) -> None:
    """Let ffmpeg write an MP4 that every player and slide program shows: H.264, even sides. None where it cannot."""
    width, height = pictures[0].size
    command = [
        "ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(1000 / _FRAME_MS), "-i", "-",
        "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact",
        "-movflags", "+faststart", "-f", "mp4",
    ]  # fmt: skip
    frames = b"".join(picture.convert("RGB").tobytes() for picture in pictures)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        done = subprocess.run([*command, str(film)], input=frames, capture_output=True, check=False)
        if done.returncode == 0:
            write_bytes(path, film.read_bytes())


def _grey(image: npt.NDArray[Any], shown: tuple[float, float]) -> npt.NDArray[np.uint8]:
    low, high = shown
    return np.clip((image.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)


def lineage_figure(path: Path, tracks: pd.DataFrame, divisions: pd.DataFrame, title: str) -> list[Path]:
    """Draw the lineages with a division over time: a line a track, a fork a division candidate.

    Parameters
    ----------
    path : Path
        Without suffix.
    tracks, divisions : DataFrame
        `bridge.tracking.tables.TRACKS` and `DIVISIONS` of one series.
    title : str

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    look = Look(formats=("png",))
    ends = tracks.groupby("track_id")["frame"].agg(["min", "max"])
    parent = tracks.groupby("track_id")["parent_track_id"].first()
    lineage = tracks.groupby("track_id")["lineage_id"].first()
    divided = lineage[lineage.isin(lineage[parent > 0])]
    shown = sorted(set(divided))[:60]
    children: dict[int, list[int]] = {}
    for track, mother in parent[parent > 0].items():
        children.setdefault(int(mother), []).append(int(str(track)))
    places: dict[int, float] = {}
    row = 0

    def place(track: int) -> float:
        nonlocal row
        below = [place(child) for child in sorted(children.get(track, []))]
        if below:
            places[track] = sum(below) / len(below)
        else:
            places[track], row = float(row), row + 1
        return places[track]

    for track in shown:
        place(track)
        row += 1
    confidence = {int(m): float(c) for m, c in zip(divisions["mother_track_id"], divisions["confidence"], strict=True)}
    with mpl.rc_context(style(look, title)):
        figure = new_figure(look, max(40.0, min(240.0, 14 + 2.6 * row)))
        axes = figure.add_subplot()
        for track, y in places.items():
            begin, end = int(ends["min"][track]), int(ends["max"][track])
            colour = COLOURS[int(lineage[track]) % 6]
            axes.plot([begin, end], [y, y], color=colour, linewidth=1.2)
            for child in children.get(track, []):
                axes.plot([end, ends["min"][child]], [y, places[child]], color=colour, linewidth=0.8)
            if track in confidence:
                axes.annotate(f"{confidence[track]:.2f}", (end, y), textcoords="offset points", xytext=(2, 3), fontsize=5, color="#555555")  # fmt: skip
        axes.set(xlabel="frame", yticks=[])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right", "left"]].set_visible(False)
        more = f", the first {len(shown)} of {divided.nunique()}" if divided.nunique() > len(shown) else ""
        axes.set_title(plain(f"{title}: {divided.nunique()} lineages with a division candidate{more} (number: its confidence)"))  # fmt: skip
        return save(figure, path, look)


def division_sheet(
    path: Path,
    tracks: pd.DataFrame,
    divisions: pd.DataFrame,
    labels_of: Callable[[int], Labels],
    image_of: Callable[[int], npt.NDArray[Any]] | None,
    shown: tuple[float, float],
) -> None:
    """Write a picture with a row for each division candidate: the mother's last frame, the daughters' first three.

    Parameters
    ----------
    path : Path
    tracks, divisions : DataFrame
        Of one series.
    labels_of, image_of, shown
        As in `track_movie`.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image

    rows, last = [], int(tracks["frame"].max())
    likely = divisions.sort_values(["confidence", "mother_track_id"], ascending=[False, True]).head(_SHOWN)
    for row in likely.to_dict("records"):
        family = (row["mother_track_id"], row["daughter_1_track_id"], row["daughter_2_track_id"])
        own = tracks[tracks["track_id"].isin(family)]
        mother = own[own["track_id"] == family[0]].iloc[-1]
        crops = []
        for frame in range(row["frame"] - 1, row["frame"] + 3):
            crop = np.full((_SHEET_PX, _SHEET_PX, 3), 255, np.uint8)
            if frame <= last:
                crop = _crop(labels_of(frame), None if image_of is None else image_of(frame), shown, own[own["frame"] == frame], mother)  # fmt: skip
            crops.append(crop)
        strip = np.concatenate(crops, axis=1)
        rows.append(with_caption(Image.fromarray(strip), f"{family[0]} → {family[1]}, {family[2]} · frame {row['frame']} · {row['confidence']:.2f}"))  # fmt: skip
    columns = 2 if len(rows) > 8 else 1
    if not rows:
        return
    height, width = rows[0].height + 4, rows[0].width + 8
    sheet = Image.new("RGB", (width * columns, height * -(-len(rows) // columns)), "white")
    for k, picture in enumerate(rows):
        sheet.paste(picture, (width * (k % columns), height * (k // columns)))
    with whole_file(path) as part:
        sheet.save(part, format="PNG", **PNG)


def _crop(
    labels: Labels, image: npt.NDArray[Any] | None, shown: tuple[float, float], own: pd.DataFrame, centre: Any
) -> npt.NDArray[np.uint8]:
    from PIL import Image

    side = max(_CROP_PX // 2, int(1.6 * np.sqrt(float(centre["area_px2"]))))  # half of it
    top, left = int(centre["y_px"]) - side, int(centre["x_px"]) - side
    window = np.zeros((2 * side, 2 * side), labels.dtype)
    grey = np.zeros(window.shape, np.uint8)
    rows, columns = np.arange(top, top + 2 * side), np.arange(left, left + 2 * side)
    inside = np.ix_((rows >= 0) & (rows < labels.shape[0]), (columns >= 0) & (columns < labels.shape[1]))
    there = np.ix_(rows[(rows >= 0) & (rows < labels.shape[0])], columns[(columns >= 0) & (columns < labels.shape[1])])
    window[inside] = labels[there]
    if image is not None:
        grey[inside] = _grey(image[there], shown)
    at = np.arange(_SHEET_PX) * 2 * side // _SHEET_PX
    window, grey = window[np.ix_(at, at)], np.asarray(Image.fromarray(grey).resize((_SHEET_PX, _SHEET_PX)))
    picture = np.repeat(grey[..., None], 3, axis=2)
    edge = outlines(window)
    picture[edge] = 110
    for k, label in enumerate(own.sort_values("track_id")["label"].tolist()):
        picture[edge & (window == label)] = _PALETTE[k % 6]
    return picture


def shown_range(images: Sequence[npt.NDArray[Any]]) -> tuple[float, float]:
    """Return the grey levels shown as black and white: the percentiles 0.5 and 99.8 of some frames."""
    low = min(float(np.percentile(image, 0.5)) for image in images)
    high = max(float(np.percentile(image, 99.8)) for image in images)
    return low, max(high, low + 1)
