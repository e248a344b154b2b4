"""Which methods of the node only read, and which can be repeated. Those that do not only read are acts."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ENDLESS",
    "is_an_act",
    "is_answered_by_its_first_event",
    "may_be_repeated",
    "only_looks",
]

ENDLESS = frozenset({"inbox.watch", "changes.watch", "view.watch"})
"""The methods that go on until their client leaves. Nothing waits for them, and they do not keep a home unlocked."""
_LOOKING = frozenset(
    {
        *("identity.show", "contacts.list", "contacts.show", "contacts.invites"),
        *("queue.list", "queue.show", "sent.list", "sent.show", "send-net.wait"),
        *("transfers.list", "transfers.show", "transfers.follow", "transfers.asking"),
        *("inbox.list", "inbox.show", "inbox.read", "inbox.peek", "inbox.older"),
        *("inbox.search", "inbox.searchable", "inbox.owner", "inbox.export", "inbox.export.find"),
        *("limits.show", "limits.test", "doctor", "config.show", "log.show", "rpc.discover"),
        *("node.status", "node.ready", "node.stay", "node.sync"),
        *(ENDLESS | {"inbox.readers"}),
        *("identity.unlock", "identity.lock", "identity.passphrase.check"),
    }
)
_BREAKS_OFF = frozenset({"inbox.save", "backup.create", "backup.restore"})
_PRINTED_AS_THEY_COME = frozenset({"inbox.read", "transfers.follow"} | ENDLESS)
"""When one of these breaks off, part of what it tells was printed already, and would be printed again."""


def only_looks(method: str, params: dict[str, Any] | None) -> bool:
    """Return whether a request changes nothing."""
    # `verify` without a number only shows the number.
    return method in _LOOKING or (method == "contacts.verify" and len(params or {}) == 1)


def may_be_repeated(method: str, params: dict[str, Any] | None) -> bool:
    """Return whether a request may be sent again after a node has ended without answering it."""
    return _does_the_same_again(method, params or {}) or (
        only_looks(method, params) and method not in _PRINTED_AS_THEY_COME
    )


def _does_the_same_again(method: str, params: dict[str, Any]) -> bool:
    """Return whether an act can be repeated.

    A reader never goes back, under a key a text is queued once, and what is imported is here then.
    """
    return (
        method == "inbox.ack"
        or (method == "send-net" and "once" in params and "wait" not in params)
        or (method == "inbox.import" and not params.get("file"))
    )


def is_an_act(method: str, params: dict[str, Any] | None) -> bool:
    """Return whether a request is carried out even if the command that asked leaves before the answer.

    Not if it saves bytes, because they go to a file of the command's own, which is gone with the command. Nor if it
    reads a stream: the same signal may have ended the source, so that the stream must break off at once.
    """
    breaks_off = method in _BREAKS_OFF or "stream" in (params or {})
    return not breaks_off and not only_looks(method, params)


def is_answered_by_its_first_event(method: str) -> bool:
    """Return whether the first event already says that it is done; events of other methods only tell how far it is."""
    return method == "send-net"
