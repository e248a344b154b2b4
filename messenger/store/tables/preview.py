"""The beginning of a text, which is what a list shows of it."""

from __future__ import annotations

__all__ = ["PREVIEW_CHARS", "beginning"]

PREVIEW_CHARS = 80


def beginning(body: bytes) -> str:
    """Return the beginning of a text on one line, at most PREVIEW_CHARS long; hostile to terminals until made safe."""
    head = body[: 4 * PREVIEW_CHARS].decode(errors="ignore")
    return " ".join(head.split())[:PREVIEW_CHARS]
