"""Checks for a moment whether files that were just queued have to be accepted by their receiver first."""

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
"""A contact that is online answers an offer within this time, usually much sooner."""
_POLL_S = 0.05
"""How often to ask. `send-net.wait` would report every change, but it ends only with the delivery."""


def see_whether_asking(app: App, progress: Progress, rows: Sequence[dict[str, Any]]) -> None:
    """Say which of these rows of `send-net` wait to be accepted, as far as that is known within a moment.

    This is only for large files, and only if the contact is online, because otherwise it cannot have answered. What is
    queued stays queued in any case, so if this check fails, the command has still succeeded.
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
    """Return the row as soon as the contact has answered, or as it is at the end of the moment."""
    while True:
        now: dict[str, Any] = app.call("sent.show", {"id": row["id"]})
        # The state `sent` is no answer yet: the question, or the first bytes, come a moment later.
        is_open = now["state"] in ("queued", "sent")
        if not is_open or now["last_error"] or now["done_bytes"] or time.monotonic() > until_s:
            return now
        time.sleep(_POLL_S)
