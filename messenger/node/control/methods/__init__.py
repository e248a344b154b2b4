"""The methods of the control socket: one for each command, with its name.

A method is called with the open home and the request; one that a home without an identity can answer gets the host
instead of the home. It returns an awaitable of an `Answer`: a dict or a list of dicts with the keys of docs/cli.md, or
an async iterator of events that ends in a `Final`. So a method is an `async def` that returns such an iterator, not an
async generator. A method that is called very often returns a future, which costs no task. Nothing is decided here that
a lower layer should decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from peerpost.client.ask import ANSWERED_LOCKED
from peerpost.client.rpc import Answer, Request

from . import (
    backup,
    changes,
    contacts,
    deleting,
    discover,
    history,
    identity,
    inbox,
    invites,
    limits,
    node,
    passphrase,
    queue,
    reading,
    search,
    send,
    settings,
    sync,
    transfers,
    trust,
    view,
)

if TYPE_CHECKING:
    from peerpost.node.host import Host
    from peerpost.node.opened import Opened

__all__ = ["HOST_METHODS", "METHODS", "PROMISED"]


async def _discover(host: Host, request: Request[None]) -> dict[str, Any]:
    """Describe all methods, their parameters and what may go wrong, as an OpenRPC document."""
    request.require_no_params()
    every: dict[str, Callable[..., Any]] = {**HOST_METHODS, **METHODS}
    version = host.status()["version"]
    return discover.document(every, version=version, locked=ANSWERED_LOCKED, promised=PROMISED)


HOST_METHODS: dict[str, Callable[[Host, Request[Any]], Awaitable[Answer]]] = {
    "identity.new": identity.new,
    "identity.unlock": identity.unlock,
    "identity.lock": identity.lock,
    "identity.delete": deleting.delete,
    "backup.restore": backup.restore,
    "identity.keyring": identity.keyring,
    "identity.passphrase.check": passphrase.check,
    "identity.passphrase.set": passphrase.set_,
    "identity.passphrase.change": passphrase.change,
    "identity.passphrase.remove": passphrase.remove,
    "node.status": node.status,
    "node.ready": node.ready,
    "node.stay": node.stay,
    "node.hand_over": node.hand_over,
    "node.stop": node.stop,
    "doctor": node.doctor,
    "node.sync": sync.sync,
    "node.reload": settings.reload,
    "config.show": settings.config_show,
    "log.set": settings.log_set,
    "log.show": settings.log_show,
    "rpc.discover": _discover,
}
"""The methods that need the node and not only a home. All but `node.sync` are answered without an open home too."""

METHODS: dict[str, Callable[[Opened, Request[Any]], Awaitable[Answer]]] = {
    "identity.show": identity.show,
    "backup.create": backup.create,
    "backup.kept": backup.kept,
    "contacts.invite": invites.invite,
    "contacts.invites": invites.list_,
    "contacts.withdraw": invites.withdraw,
    "contacts.add": contacts.add,
    "contacts.list": contacts.list_,
    "contacts.show": contacts.show,
    "contacts.edit": contacts.edit,
    "contacts.remove": contacts.remove,
    "contacts.verify": trust.verify,
    "contacts.block": trust.block,
    "contacts.unblock": trust.unblock,
    "send-net": send.send_net,
    "send-net.confirm": send.confirm,
    "send-net.wait": send.wait,
    "queue.list": queue.list_,
    "queue.show": queue.show,
    "queue.retry": queue.retry,
    "queue.cancel": queue.cancel,
    "sent.list": queue.sent_list,
    "sent.show": queue.sent_show,
    "transfers.list": transfers.list_,
    "transfers.asking": transfers.asking,
    "transfers.show": transfers.show,
    "transfers.follow": transfers.follow,
    "transfers.pause": transfers.pause,
    "transfers.resume": transfers.resume,
    "transfers.accept": transfers.accept,
    "transfers.reject": transfers.reject,
    "inbox.list": inbox.list_,
    "inbox.search": search.search,
    "inbox.searchable": search.searchable,
    "inbox.show": inbox.show,
    "inbox.read": inbox.read,
    "inbox.peek": inbox.peek,
    "inbox.save": inbox.save,
    "inbox.older": inbox.older,
    "inbox.delete": inbox.delete,
    "inbox.mark": inbox.mark,
    "inbox.owner": history.owner,
    "inbox.export": history.export,
    "inbox.export.find": history.find,
    "inbox.import": history.import_,
    "inbox.watch": reading.watch,
    "inbox.ack": reading.acknowledge,
    "inbox.readers": reading.list_,
    "inbox.readers.remove": reading.remove,
    "changes.watch": changes.watch,
    "view.watch": view.watch,
    "limits.show": limits.show,
    "limits.set": limits.set_,
    "limits.test": limits.test,
}
"""The methods that need an open home."""

PROMISED = frozenset(
    {
        *("rpc.discover", "changes.watch", "contacts.list", "send-net"),
        *("inbox.list", "inbox.show", "inbox.mark", "inbox.delete"),
        *("inbox.watch", "inbox.ack", "inbox.readers"),
        *("queue.list", "queue.cancel", "sent.list", "sent.show"),
        *("transfers.list", "transfers.show", "transfers.follow"),
        *("transfers.accept", "transfers.reject"),
    }
)
"""The methods that programs may rely on (docs/cli.md, "rpc"): what they take and answer is only added to."""
