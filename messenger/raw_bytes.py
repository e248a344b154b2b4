"""Bytes that are no text: how a name that is not UTF-8 is shown, and made safe for JSON, the database and sockets.

The name of a file is bytes. If they are not UTF-8, Python puts lone surrogates into the text (PEP 383). These lead back
to the same file, but cannot be encoded. So a path keeps its surrogates for opening files, and passes through here
before it is shown, stored or sent.
"""

from __future__ import annotations

from typing import Any

__all__ = ["encodable", "shown"]


def shown(name: str | bytes) -> str:
    r"""Return a name or text as one that can be encoded: a byte that is no UTF-8 as `\xff`."""
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_visible(char) for char in text)
    return text


def _visible(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if 0xD800 <= code <= 0xDFFF else char


def encodable(value: Any) -> Any:
    """Return a JSON value in which every text has gone through `shown`."""
    match value:
        case str():
            return shown(value)
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case list() | tuple():
            return [encodable(item) for item in value]
        case _:
            return value
