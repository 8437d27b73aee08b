"""The words that name channels in every lab."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from bridge.experiment.fields import NONE
from bridge.settings import Settings

# Words that mean one thing in every lab.
KNOWN_WORDS = {
    "segment": ("phase[ _-]?contrast", "phase", "ph", "pc", "bright[ _-]?field", "bf", "trans", "dic"),
    "measure": ("edu", "brdu"),
    "count": ("to[ _-]?pro[ _-]?3?", "dapi", "hoechst(?:[ _-]?\\d{5})?"),
}
# Words that could be anything: suggested, never assumed.
VAGUE_WORDS = (
    "gfp",
    "fitc",
    "rfp",
    "tritc",
    "texas[ _-]?red",
    "cy[357]",
    "alexa[ _-]?\\d{3}",
    "af\\d{3}",
    "405",
    "488",
    "5[46]\\d",
    "594",
    "6[04]\\d",
    "ch\\d{1,2}",
    "c\\d{1,2}",
    "w\\d{1,2}",
    "d\\d",
)


def channel_regex(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of the words where it stands alone."""
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])", re.IGNORECASE)


def named_channels(settings: Settings) -> list[str]:
    """Return the channels that the settings name, as patterns."""
    named = [settings.segment, *settings.measure, settings.count]
    return [re.escape(name) for name in named if name and name != NONE and not name.isdecimal()]


def split_channel(text: str, settings: Settings) -> tuple[str, str | None]:
    """Take the channel word out of a name: ('r1_f1_phase', ...) -> ('r1_f1', 'phase'). The last and longest one counts."""
    return _split(text, tuple(named_channels(settings)))


_KNOWN = tuple(word for words in KNOWN_WORDS.values() for word in words)


@lru_cache
def _each(words: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(channel_regex([word]) for word in words)


@lru_cache(maxsize=1 << 18)  # of 10^5 files each name is asked for three times
def _split(text: str, named: tuple[str, ...]) -> tuple[str, str | None]:
    for words in ((*named, *_KNOWN), VAGUE_WORDS):
        matches = [match for regex in _each(words) for match in regex.finditer(text)]
        if matches:
            last = max(matches, key=lambda match: (match.end(), match.end() - match.start()))
            rest = text[: last.start()] + text[last.end() :]
            if words is not VAGUE_WORDS:
                rest = channel_regex([r"ch\d{1,2}"]).sub("", rest)  # Leica numbers the channels beside their names
            return tidy(rest), last.group()
    return text, None


def is_known(channel: str | None, settings: Settings) -> bool:
    """Return whether a channel is one of the known words, or was named."""
    words = [*named_channels(settings), *(word for words in KNOWN_WORDS.values() for word in words)]
    return channel is not None and any(re.fullmatch(word, channel, re.IGNORECASE) for word in words)


def tidy(key: str) -> str:
    """Return a name without the separators that a word taken out of it left behind."""
    parts = (re.sub(r"([ ._-])[ ._-]+", r"\1", part).lstrip(" ._").rstrip(" ._-") for part in key.split("/"))
    return "/".join(part for part in parts if part)


def same(channel: str) -> str:
    """TO-PRO-3, ToPro3 and topro_3 are one channel."""
    return re.sub(r"[\W_]", "", channel.casefold()) or channel


def role_of_word(channel: str) -> str | None:
    """Return the role that a channel's name says, or None."""
    for role, words in KNOWN_WORDS.items():
        if any(re.fullmatch(word, channel, re.IGNORECASE) for word in words):
            return role
    return None
