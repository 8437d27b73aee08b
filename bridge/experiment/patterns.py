"""Name patterns: ``{condition}/{replicate}_f{field}_{channel}.tif``."""

from __future__ import annotations

import re
from pathlib import Path

from bridge.errors import InputError
from bridge.experiment.channel_words import KNOWN_WORDS, is_known, named_channels, tidy
from bridge.experiment.discover import NamedFile
from bridge.experiment.opened import Opened
from bridge.images.formats import SUFFIXES
from bridge.names import one_spelling
from bridge.settings import Settings

PLACEHOLDERS = ("condition", "replicate", "sample", "field", "well", "channel", "cell_type", "frame")


def by_pattern(images: Path, files: list[Opened], settings: Settings) -> tuple[list[NamedFile], list[tuple[Path, str]]]:
    """Return the images whose names fit the pattern, and what is ignored."""
    pattern = settings.pattern or ""
    regexes = {
        ends: tuple(_pattern_regex(pattern, settings, greedy, ends) for greedy in (False, True))
        for ends in (True, False)
    }
    matches: list[NamedFile] = []
    ignored: list[tuple[Path, str]] = []
    for image in files:
        path, text = image.path, image.text
        # Of a file with several images a pattern may name these, as if they were in a folder, or the file alone.
        ends = image.scene is None or text.count("/") > pattern.count("/")
        scene = f"/{image.parts[-1]}" if image.scene is not None and ends else ""
        text = text.removesuffix(scene)
        regex, greedy = regexes[ends]
        match = regex.fullmatch(text)
        if match is None:
            ignored.append((path, "does not match the pattern"))
            continue
        groups = match.groupdict()
        other = greedy.fullmatch(text)
        # A channel that is known or was named beats a reading in which another word is the channel.
        decided = (
            other is not None and is_known(groups.get("channel"), settings) and not is_known(other["channel"], settings)
        )
        if other is not None and other.groupdict() != groups and not decided:
            a, b = (
                ", ".join(f"{k} {v}" for k, v in g.items() if v != h[k])
                for g, h in ((groups, other.groupdict()), (other.groupdict(), groups))
            )
            raise InputError(
                f"{path}: fits the pattern in two ways (got {a}; or {b}). Put literal text into --pattern, or give a sample sheet with --samples."
            )
        channel = groups.pop("channel", None)
        suffix = path.suffix if ends else ""
        key = _without(text, match, ["channel"] if channel is not None else [], suffix) + scene
        if groups.get("frame") is not None:
            if not groups["frame"].isdecimal():
                raise InputError(f"{path}: {{frame}} is no number (got {groups['frame']}, expected e.g. 3 or 007). Correct --pattern.")  # fmt: skip
            groups["series"] = _without(text, match, ["frame", *(["channel"] if channel is not None else [])], suffix)
        extra = [groups.pop(name) for name in list(groups) if name not in (*PLACEHOLDERS, "series")]
        if extra:
            # A placeholder of the user's own is one more factor of the treatment.
            groups["condition"] = " ".join([*extra, *([groups["condition"]] if groups.get("condition") else [])])
        matches.append(NamedFile(image, key, {k: v for k, v in groups.items() if v}, channel))
    if not matches:
        first = files[0].text
        raise InputError(
            f"{images}: the pattern matches nothing (got {pattern}, expected it to fit names such as {first}). Correct --pattern."
        )
    return matches, ignored


def _without(text: str, match: re.Match[str], names: list[str], suffix: str) -> str:
    """Return a name without what some placeholders stand for, and without its suffix."""
    for start, end in sorted((match.span(name) for name in names), reverse=True):
        text = text[:start] + text[end:]
    return tidy(text.removesuffix(suffix))


def _pattern_regex(pattern: str, settings: Settings, greedy: bool, ends: bool) -> re.Pattern[str]:
    known = [word for words in KNOWN_WORDS.values() for word in words]
    parts: list[str] = []
    seen: set[str] = set()
    for literal, name in re.findall(r"([^{}]*)(?:\{([^{}]*)\})?", pattern):
        parts.append(re.escape(one_spelling(literal)))
        if not name:
            continue
        if not name.isidentifier() or name in seen:
            raise InputError(
                f"--pattern: {{{name}}} cannot be used {'twice' if name in seen else 'as a name'} (got {pattern}, expected e.g. {{condition}}_{{channel}}.tif). Correct it."
            )
        seen.add(name)
        if name == "channel":
            parts.append(f"(?P<channel>(?i:{'|'.join([*named_channels(settings), *known])})|[^/_]+)")
        else:
            parts.append(f"(?P<{name}>[^/]+{'' if greedy else '?'})")
    if not seen:
        raise InputError(
            f"--pattern: no placeholder in it (got {pattern}, expected e.g. {{condition}}_{{channel}}.tif). Correct it."
        )
    suffix = (
        "" if not ends or pattern.lower().endswith(SUFFIXES) else rf"(?i:{'|'.join(re.escape(s) for s in SUFFIXES)})"
    )
    return re.compile("".join(parts) + suffix)
