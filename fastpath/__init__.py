"""Inner loops over bytes: hashing many chunks, padding, token buckets.

Each function has a compiled form and a pure twin in Python, which is used if nothing was compiled, or
if PEERPOST_PURE is set and not empty. PEERPOST_KERNEL demands a kernel for the hashing (`kernels()`
names those that run here, "pure" is the twin). If it is not available, that is an error: whoever names
a kernel wants no other.
"""

import os
from typing import TYPE_CHECKING, Final

from ._pure import Tree, cut, leaf_salt

_NATIVE = False
if not TYPE_CHECKING and not os.environ.get("PEERPOST_PURE"):
    try:
        from .blake2 import digests, kernel, kernels, leaves, use_kernel, verify
        from .bucket import TokenBucket
        from .padding import bucket_for, pad, pad_into, padme, unpad, unpadded_bytes

        _NATIVE = True
    except ImportError:
        pass  # All of them or none: the ones that did load are replaced below.
if TYPE_CHECKING or not _NATIVE:
    from ._pure import (
        TokenBucket,
        bucket_for,
        digests,
        kernel,
        kernels,
        leaves,
        pad,
        pad_into,
        padme,
        unpad,
        unpadded_bytes,
        use_kernel,
        verify,
    )

__all__ = [
    "LANES",
    "TokenBucket",
    "Tree",
    "bucket_for",
    "cut",
    "digests",
    "is_native",
    "kernel",
    "kernels",
    "leaf_salt",
    "leaves",
    "pad",
    "pad_into",
    "padme",
    "unpad",
    "unpadded_bytes",
    "use_kernel",
    "verify",
]

LANES: Final = 8
"""Chunks that the widest kernel hashes at once: a call with so many is several times as fast as so many calls."""


def is_native() -> bool:
    """Return whether the compiled functions serve."""
    return _NATIVE


if os.environ.get("PEERPOST_KERNEL"):
    use_kernel(os.environ["PEERPOST_KERNEL"])
