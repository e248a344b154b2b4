"""`node status|stop`, `doctor`."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerpost import fastpath
from peerpost.client.rpc import Request
from peerpost.errors import LockedError, NoIdentityError, StorageError
from peerpost.node.contact.lookup import look_up_names
from peerpost.node.contact.standing import obstacle
from peerpost.node.logs import Reason
from peerpost.store.db.engine import sqlite_version
from peerpost.store.tables import quota
from peerpost.system import HAS_UVLOOP, PLATFORM

from .past import past
from .protected import protection

if TYPE_CHECKING:
    from peerpost.node.host import Host
    from peerpost.store.tables.contacts import Contact

__all__ = ["doctor", "hand_over", "ready", "status", "stay", "stop"]

HOME_HINT = "stop the node, and put the home back from a backup"
RIGHTS_HINT = "open that folder to you: chmod u+rwx FOLDER; what waits goes on by itself"
DISK_HINT = "make room on the disk; all that waits goes on by itself"
ANNOUNCE_HINT = "contacts dial this name: correct it where it is kept (DNS), or [network] announce in config.toml"
STALLS_HINT = "a defect: the log of the node says where it was; peerpost node stop begins anew"
HELD_BACK_HINT = "stop it, and start it from a shell or a service without that limit"
OLDER_KEYFILE = (
    "it is older than the store: it was put back, and an earlier passphrase opens the home again"
)
OLDER_KEYFILE_HINT = "choose a passphrase anew: peerpost identity passphrase change"


async def status(host: Host, request: Request[None]) -> dict[str, Any]:
    """Describe the running node."""
    request.require_no_params()
    return host.status()


async def ready(host: Host, request: Request[None]) -> dict[str, Any]:
    """Describe the running node, once it listens or has said why not."""
    request.require_no_params()
    await host.settled()
    return host.status()


async def stay(host: Host, request: Request[None]) -> dict[str, Any]:
    """Make a node that a command started stay, as `node start` does."""
    request.require_no_params()
    host.stay()
    return host.status()


async def hand_over(host: Host, request: Request[None]) -> dict[str, Any]:
    """Begin to leave for a node that is to stay. Raises AlreadyRunningError if this one is to stay."""
    request.require_no_params()
    host.hand_over()
    return {"state": "stopping", "pid": host.status()["pid"]}


async def stop(host: Host, request: Request[None]) -> dict[str, Any]:
    """Stop the node once this answer is out."""
    request.require_no_params()
    asyncio.get_running_loop().call_later(0.05, host.stop_soon, Reason("asked to"))
    return {"state": "stopping", "pid": host.status()["pid"]}


async def doctor(host: Host, request: Request[None]) -> list[dict[str, Any]]:
    """Check this installation and this home; each row says what to do if something is wrong."""
    request.require_no_params()
    loop = type(asyncio.get_running_loop()).__module__.split(".")[0]
    rows = [
        _row("python", True, platform.python_version()),
        _row("platform", True, f"{PLATFORM} {platform.machine()}"),
        _row("sqlite", sqlite_version() >= (3, 51, 3), ".".join(map(str, sqlite_version())),
             "versions before 3.51.3 can corrupt a database: reinstall apsw-sqlite3mc"),
        _row("native code", fastpath.is_native(), fastpath.kernel(),
             "the compiled modules are missing, slower ones in Python serve: install a C compiler "
             "and reinstall peerpost"),
        _row("loop", loop == "uvloop" or not HAS_UVLOOP, loop, "reinstall uvloop"),
        _row("libp2p", True, importlib.metadata.version("libp2p")),
    ]  # fmt: skip
    await host.settled()
    status = host.status()
    rows += await asyncio.to_thread(protection, Path(status["home"]))
    if status["peer_id"] is None:
        try:
            host.opened()
        except (NoIdentityError, LockedError) as error:
            rows.append(_row("identity", False, error.message, error.hint))
        return rows
    listening = bool(status["addresses"]) and not status["error"]
    where = ", ".join(status["addresses"]) or "nowhere"
    rows.append(
        _row("listening", listening, where, status["error"] or "the node is still starting")
    )
    for name, ok, found in await look_up_names(host.config.network.announce):
        rows.append(_row(f"announced {name}", ok, found, ANNOUNCE_HINT))
    if (stalls := status["stalls"]) is not None:
        found = (
            f"stood still {stalls['times']} times, for up to {stalls['longest_s']:.0f} s,"
            f" last at {stalls['last']}"
        )
        rows.append(_row("loop turns", False, found, STALLS_HINT))
    if status["older_keyfile"]:
        rows.append(_row("keyfile", False, OLDER_KEYFILE, OLDER_KEYFILE_HINT))
    rows += [
        _row("surroundings", False, f"the node {limit}", HELD_BACK_HINT)
        for limit in status["held_back"]
    ]
    if status["niceness"] > 0:
        rows.append(_row("niceness", True, str(status["niceness"])))
    for what, found in status["unwell"].items():
        hint = DISK_HINT if what == "disk" else RIGHTS_HINT if "may not be" in found else HOME_HINT
        rows.append(_row(f"home {what}", False, found, hint))
    for failing in status["failing"]:
        found = f"{failing['error']} (since {failing['since']}, {failing['failures']} times)"
        hint = f"tried again in {failing['next_try_s']} s; see the log of the node"
        rows.append(_row(f"duty {failing['name']}", False, found, hint))
    try:
        rows += await _contacts(host)
    except StorageError as error:
        rows.append(_row("store", False, error.message, error.hint))
    return rows


async def _contacts(host: Host) -> list[dict[str, Any]]:
    """Return a row for each contact that needs the user to act, and each home that was found put back from a copy."""
    opened = host.opened()
    contacts = {peer.contact.id: peer.contact for peer in opened.network.peers.values()}
    rows = []
    for contact in contacts.values():
        # A contact that the user has blocked needs nothing.
        if contact.state != "blocked" and (stands := obstacle(contact)) is not None:
            hint = (
                f"{stands.hint}; {_forget(contact)}" if contact.state != "changed" else stands.hint
            )
            rows.append(
                _row(f"contact {contact.name}", False, f"{contact.state}: {stands.why}", hint)
            )
    default_bytes = opened.services.config.storage.quota
    for contact_id in await opened.store.read(quota.all_used_up, default_bytes):
        if (found := contacts.get(contact_id)) is not None:
            hint = (
                f"make room: peerpost inbox delete --older-than AGE --contact {found.name}; or let it"
                f" take up more: peerpost contacts edit {found.name} --quota SIZE"
            )
            what = "its quota here is used up: what it sends waits"
            rows.append(_row(f"contact {found.name}", False, what, hint))
    names = {contact.id: contact.name for contact in contacts.values()}
    return rows + await past(opened, names)


def _forget(contact: Contact) -> str:
    return f"or forget them: peerpost contacts remove {contact.name}"


def _row(check: str, ok: bool, found: str, hint: str | None = None) -> dict[str, Any]:
    return {"check": check, "ok": ok, "found": found, "hint": None if ok else hint}
