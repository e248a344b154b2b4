"""Look for a moment whether files that were queued wait until their receiver accepts them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from peerpost.errors import PeerpostError

from .app import App
from .progress import WORTH_DRAWING_BYTES, Progress

__all__ = ["see_whether_asking"]

MOMENT_S = 3.0
"""A contact that is online answers an offer within this, or most often much sooner."""
_POLL_S = 0.05


def see_whether_asking(app: App, progress: Progress, rows: Sequence[dict[str, Any]]) -> None:
    """Say which of these rows of `send-net` wait to be accepted, as far as that is known within a moment.

    Only for large files, and where the contact is online: nobody else can have answered. What is queued stays queued
    whatever comes of it, so a failure to look is none of the command.
    """
    large = [row for row in rows if (row.get("size") or 0) > WORTH_DRAWING_BYTES]
    if not large or app.terminal.quiet:
        return
    until_s = time.monotonic() + MOMENT_S
    with suppress(PeerpostError), app.so_far("What was queued stays queued"):
        if not app.call("contacts.show", {"name": large[0]["contact"]}).get("online"):
            return
        for row in large:
            progress.tell_asking(_once_known(app, row, until_s))


def _once_known(app: App, row: dict[str, Any], until_s: float) -> dict[str, Any]:
    """Return the row as it is when the contact has answered, or at the end of the moment."""
    while True:
        now: dict[str, Any] = app.call("sent.show", {"id": row["id"]})
        # That the offer was sent is no answer to it: what is asked, or the first bytes, come a moment later.
        is_open = now["state"] in ("queued", "sent")
        if not is_open or now["last_error"] or now["done_bytes"] or time.monotonic() > until_s:
            return now
        time.sleep(_POLL_S)
