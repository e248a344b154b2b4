"""Bytes that are no text: how a name that is not UTF-8 is shown, and made safe for JSON, the database and sockets.

The name of a file is bytes. Where they are not UTF-8, Python keeps them in a text as lone surrogates (PEP 383). These
lead back to the same file, but cannot be encoded. So a path keeps its surrogates where a file is opened by it, and
passes through here where something is said of it.
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
    """Return what JSON is made of with every text in it `shown`."""
    match value:
        case str():
            return shown(value)
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case list() | tuple():
            return [encodable(item) for item in value]
        case _:
            return value
