"""Memory that is freed stays with the process while a network is trained: torch asks for the same again at each step."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

# malloc.h of the GNU C library: option, what is set here, what it is unless set.
_M_TRIM_THRESHOLD = (-1, 2**31 - 1, 128 * 1024)
_M_MMAP_MAX = (-4, 0, 65536)


@contextlib.contextmanager
def kept_pages() -> Iterator[bool]:
    """Keep freed memory until the end, where the C library can (GNU's); gives whether it does.

    Without it every step of a training on a processor gives some gigabytes back and gets them anew, page by page. It is
    for the whole process; at the end everything is as the library sets it, and what is free is given back.

    Examples
    --------
    >>> with kept_pages() as kept:
    ...     kept in (True, False)
    True
    """
    library = _gnu_library()
    if library is None:
        yield False
        return
    try:
        yield all(library.mallopt(option, value) for option, value, _ in (_M_MMAP_MAX, _M_TRIM_THRESHOLD))
    finally:
        for option, _, value in (_M_MMAP_MAX, _M_TRIM_THRESHOLD):
            library.mallopt(option, value)
        library.malloc_trim(0)


def _gnu_library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:  # another C library, such as musl
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
