"""Which methods of the node only look: they may be asked again as often as one likes, and all else is an act."""

from __future__ import annotations

from typing import Any

__all__ = ["only_looks"]

_LOOKING = frozenset(
    {
        *("identity.show", "contacts.list", "contacts.show", "contacts.invites"),
        *("queue.list", "queue.show", "sent.list", "sent.show", "send-net.wait"),
        *("transfers.list", "transfers.show", "transfers.follow", "transfers.asking"),
        *("inbox.list", "inbox.show", "inbox.read", "inbox.peek", "inbox.older"),
        *("limits.show", "limits.test", "doctor", "config.show"),
        *("node.status", "node.ready", "node.stay"),
    }
)


def only_looks(method: str, params: dict[str, Any] | None) -> bool:
    """Tell whether a request changes nothing."""
    # Of `verify` only the number that is given changes something.
    return method in _LOOKING or (method == "contacts.verify" and len(params or {}) == 1)
