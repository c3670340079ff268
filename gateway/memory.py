"""Memory of the C library's: threads must not each keep some, and what a flood has used is given back."""

import ctypes
import sys

M_ARENA_MAX = -8  # of malloc.h


def use_few_arenas() -> None:
    """Before there are threads: gRPC's would each have a heap of its own, which grows and does not shrink."""
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, 2)


def give_back() -> None:
    """Return to the system what is not used."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
