"""`identity new` and `identity show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.client.rpc import Request
from peerpost.crypto.keys import fingerprint
from peerpost.errors import UsageError
from peerpost.node.clock import rfc3339

from .names import contact_name

if TYPE_CHECKING:
    from peerpost.node.home import Host, Opened

__all__ = ["new", "show"]


class _New(msgspec.Struct, forbid_unknown_fields=True):
    name: str = "me"
    protect: str = "none"


async def new(host: Host, request: Request) -> dict[str, Any]:
    """Make the identity of this home."""
    params = request.params_as(_New)
    if params.protect != "none":
        raise UsageError(
            "this version cannot protect a home with a passphrase yet",
            hint="say --no-passphrase, and keep the home on an encrypted disk",
        )
    await host.create_identity(contact_name(params.name))
    return describe(host.opened())


async def show(opened: Opened, _request: Request) -> dict[str, Any]:
    """Describe the identity."""
    return describe(opened)


def describe(opened: Opened) -> dict[str, Any]:
    """Return the identity with the keys of the command-line contract."""
    me, network = opened.me, opened.network
    return {
        "id": me.id_public.hex(),
        "name": me.name,
        "peer_id": me.peer_id,
        "fingerprint": fingerprint(me.id_public),
        "locked": False,
        "protected": False,
        "addresses": list(me.addresses or network.reach.bound),
        "listening": list(network.reach.bound),
        "announced": [f"{address}/p2p/{me.peer_id}" for address in me.addresses],
        "created": rfc3339(me.row.created_ms),
        "keys": [
            {"use": "identity", "type": "ed25519", "public": me.id_public.hex()},
            {"use": "encryption", "type": "x25519", "public": me.encryption.public.hex()},
            {"use": "transport", "type": "ed25519", "public": me.transport.public.hex()},
        ],
    }
