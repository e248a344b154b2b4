"""What has to be installed beside Peerpost for a part of it that not everybody needs."""

from __future__ import annotations

__all__ = ["how_to_install"]


def how_to_install(extra: str) -> str:
    """Return what to run to get the library of an extra, however Peerpost was installed."""
    return (
        f"pip install 'peerpost[{extra}]', into the environment that peerpost runs in;"
        f" from the sources: python3 dev.py install --with {extra}"
    )
