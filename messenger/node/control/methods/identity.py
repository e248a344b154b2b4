"""`identity new|show|unlock|lock|keyring`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from peerpost.client.names import contact_name
from peerpost.client.rpc import Request
from peerpost.crypto import recovery
from peerpost.crypto.keys import fingerprint
from peerpost.errors import PeerpostError, UsageError, WrongPassphraseError
from peerpost.node.clock import rfc3339
from peerpost.node.logs import Reason
from peerpost.node.new_home import ChosenSecrets
from peerpost.store import keyfile

from .passphrase import Secret, in_bytes, misread, new_seed, secrets_of

if TYPE_CHECKING:
    from peerpost.node.host import Host
    from peerpost.node.opened import Opened

__all__ = ["keyring", "lock", "new", "show", "unlock"]


class _New(msgspec.Struct, forbid_unknown_fields=True):
    name: str = "me"
    protect: Literal["none", "passphrase"] = "none"
    passphrase: Secret | None = None
    recovery: bool = True


class _Unlock(msgspec.Struct, forbid_unknown_fields=True):
    passphrase: Secret


class _Keyring(msgspec.Struct, forbid_unknown_fields=True):
    passphrase: Secret
    secret: Annotated[str, msgspec.Meta(min_length=32, max_length=128)] | None = None
    """What the keyring keeps, drawn at random: nobody has to type it."""


async def new(host: Host, request: Request[_New]) -> dict[str, Any]:
    """Make the identity of this home; with a passphrase the answer has a recovery code, this once."""
    params = request.params_as(_New)
    name = contact_name(params.name)
    if (params.protect == "passphrase") != (params.passphrase is not None):
        raise UsageError("a passphrase goes with protect = passphrase, and with nothing else")
    if params.passphrase is None:
        await host.create_identity(name)
        return describe(host.opened(), protected=False)
    seed = new_seed(wanted=params.recovery)
    chosen = ChosenSecrets(passphrase=in_bytes(params.passphrase), recovery=seed)
    await host.create_identity(name, chosen)
    made = describe(host.opened(), protected=True)
    return made if seed is None else made | {"recovery_code": recovery.write(seed)}


async def unlock(host: Host, request: Request[_Unlock]) -> dict[str, Any]:
    """Open a locked home by its passphrase or its recovery code; of one that is open they are only tried."""
    text = request.params_as(_Unlock).passphrase
    was_locked = host.locked
    try:
        await host.unlock(secrets_of(text))
    except WrongPassphraseError:
        misread(text)
        raise
    return {"locked": False, "protected": host.protected, "was_locked": was_locked}


async def lock(host: Host, request: Request[None]) -> dict[str, Any]:
    """Close the home and forget its key; the node stays."""
    request.require_no_params()
    was_locked = host.locked
    await host.lock(Reason("asked to"))
    return {"locked": True, "protected": host.protected, "was_locked": was_locked}


async def keyring(host: Host, request: Request[_Keyring]) -> dict[str, Any]:
    """Let a secret that the keyring of the system keeps open the home too, or none any more."""
    params = request.params_as(_Keyring)
    kept = None if params.secret is None else in_bytes(params.secret)
    await host.keep_in_keyring(secrets_of(params.passphrase), kept)
    return {"keyring": kept is not None}


async def show(opened: Opened, request: Request[None]) -> dict[str, Any]:
    """Describe the identity."""
    request.require_no_params()
    with suppress(PeerpostError):
        return describe(opened, protected=keyfile.is_protected(opened.services.home))
    # The keyfile is gone, or damaged, since it was opened: `node status` says so.
    return describe(opened, protected=True)


def describe(opened: Opened, *, protected: bool) -> dict[str, Any]:
    """Return the identity with the keys of the command-line contract."""
    me, network = opened.me, opened.network
    return {
        "id": me.id_public.hex(),
        "name": me.name,
        "peer_id": me.peer_id,
        "fingerprint": fingerprint(me.id_public),
        "locked": False,
        "protected": protected,
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
