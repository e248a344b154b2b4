"""JSON as the node writes it. It can contain any text, even one that is not valid Unicode."""

from __future__ import annotations

from typing import Any

import orjson

from peerpost.raw_bytes import encodable

__all__ = ["encoded"]


def encoded(value: Any) -> bytes:
    """Return JSON in UTF-8. Text that has no UTF-8, such as some file names, goes through `shown`, so it never fails.

    Raises TypeError for a value that has no JSON form.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(encodable(value))
