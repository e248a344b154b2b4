"""JSON as the node writes it: whatever text is in it, it can be written."""

from __future__ import annotations

from typing import Any

import orjson

from peerpost.raw_bytes import encodable

__all__ = ["encoded"]


def encoded(value: Any) -> bytes:
    """Return JSON in UTF-8. Text that has no UTF-8, such as the name of a file, is `shown`; no answer fails by it.

    Raises TypeError for what is no JSON.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(encodable(value))
