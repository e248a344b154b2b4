"""Peerpost: messages and files between people and machines that know each other, with no server."""

from __future__ import annotations

# Not imported from `typing`: every command imports this first.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Return `Client` and `AsyncClient` of `peerpost.client`, which are loaded only for whoever asks for them."""
    if name not in ("AsyncClient", "Client"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("peerpost.client"), name)
