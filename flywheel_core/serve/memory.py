"""Keep a server's memory from growing for good after large requests."""

import contextlib
import ctypes

LARGE_BYTES = 1024 * 1024
"""Size from which buffers are mapped singly: freeing returns the memory at once, growing needs no copy."""

_M_MMAP_THRESHOLD = -3


def give_large_buffers_back() -> None:
    """Make the C library map large buffers one by one, even after some have been freed.

    By default glibc raises its threshold for this to the size of the largest buffer freed. After the first
    large body, such buffers would then come from the heap, where growing one copies it and freed space in the
    middle is not returned. Does nothing where the C library has no such setting.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
