"""Inner loops over bytes: hashing many chunks, padding, token buckets. A pure twin serves where nothing is compiled."""

from ._pure import bucket_for, cut, digests, leaf_salt, leaves, pad, padme, unpad, verify

__all__ = [
    "bucket_for",
    "cut",
    "digests",
    "is_native",
    "kernel",
    "leaf_salt",
    "leaves",
    "pad",
    "padme",
    "unpad",
    "verify",
]


def is_native() -> bool:
    """Tell whether the compiled functions serve."""
    return False


def kernel() -> str:
    """Return the name of the hash kernel in use."""
    return "pure"
