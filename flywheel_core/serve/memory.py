"""How a server's memory comes and goes."""

import contextlib
import ctypes

LARGE_BYTES = 1024 * 1024
"""Buffers from here on are the system's own: one freed is given back at once, one that grows is moved without a copy."""

_M_MMAP_THRESHOLD = -3


def give_large_buffers_back() -> None:
    """Have the C library take large buffers from the system one by one, also after it has freed some.

    glibc otherwise raises the size from which it does so to that of the largest buffer freed: from the first large body on
    such buffers would lie in its heap, where growing copies them and what is freed in the middle stays. Does nothing where
    the C library has no such setting.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
