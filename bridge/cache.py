"""Folders outside the user's data."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for what is fetched once: ImageJ's jars and converted weights.

    The environment variable ``CELLPOSE_FIJI_CACHE`` names another one.
    """
    named = os.environ.get("CELLPOSE_FIJI_CACHE")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("cellpose-fiji-bridge", appauthor=False))
