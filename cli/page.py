"""A page of HTML with messages, to be read or printed: no script is in it, and it loads nothing.

What others wrote is escaped, and everything in it that acts or hides is made visible, as on a terminal. Each text
stands in an element of its own with its own direction, so that none can reorder what is around it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any, Final

from peerpost.client.units import format_size

from .safe import safe, safe_block

__all__ = ["HtmlPage"]

_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ font-size: 1rem; border-bottom: 1px solid; margin-top: 2rem; }}
article {{ margin: 1rem 0; break-inside: avoid; }}
article.out {{ margin-left: 4rem; }}
header {{ font-size: .85rem; opacity: .75; }}
pre {{ font: inherit; margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""
_END: Final = """</body>
</html>
"""


class HtmlPage:
    """A page that is written message by message."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._day = ""

    def begin(self, owner: str) -> None:
        """Write the head; `owner` is whose messages they are."""
        self._write(_HEAD.format(title=f"Messages of {_one_line(owner)}"))

    def message(self, row: Mapping[str, Any]) -> None:
        """Write a message: a row of `inbox export --format jsonl`."""
        at = str(row.get("received_at") or row.get("created"))
        day, _, clock = at.partition("T")
        if day != self._day:
            self._day = day
            self._write(f"<h2>{html.escape(day)}</h2>\n")
        out = row["direction"] == "out"
        who = _isolated(row["contact"])
        about = [f"to {who}" if out else f"from {who}", f"{html.escape(clock[:5])} UTC"]
        if out:
            about.append(html.escape(str(row["state"])))
        elif row.get("gap"):
            about.append("a message before this one is missing")
        self._write(
            f'<article class="{"out" if out else "in"}" id="{html.escape(str(row["id"]))}">\n'
            f"<header>{' · '.join(about)}</header>\n{_content(row)}</article>\n"
        )

    def end(self) -> None:
        """Write the end."""
        self._write(_END)


def _content(row: Mapping[str, Any]) -> str:
    body = row.get("body")
    if row["kind"] == "text" and body is not None:
        return f'<pre dir="auto">{html.escape(safe_block(body))}</pre>\n'
    size = row.get("size")
    much = "" if size is None else f" ({html.escape(format_size(size))})"
    if row["kind"] == "file":
        kind = "Folder" if row.get("directory") else "File"
        return f"<p>{kind}: {_isolated(row.get('name') or 'without a name')}{much}</p>\n"
    what = (
        "A text that is not here any more"
        if row["kind"] == "text"
        else "Of a kind of a later version"
    )
    return f"<p>{what}{much}</p>\n"


def _isolated(text: str) -> str:
    return f"<bdi>{_one_line(text)}</bdi>"


def _one_line(text: str) -> str:
    return html.escape(safe(text))
