"""What `doctor` says of the protection of a home: what opens it, what a guess costs, what still lies in clear."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from peerpost.client.logfile import in_clear
from peerpost.client.paths import HomePaths
from peerpost.crypto.passphrase import FLOOR
from peerpost.errors import PeerpostError
from peerpost.raw_bytes import shown
from peerpost.store import keyfile

__all__ = ["protection"]

NAMES = {
    "passphrase": "a passphrase",
    "recovery": "a recovery code",
    "keyring": "the keyring of the system",
}


def protection(home: Path) -> list[dict[str, Any]]:
    """Return the rows, or none if there is no keyfile that can be read, of which another row tells."""
    try:
        found = keyfile.describe(home)
    except PeerpostError:
        return []
    if not found.protected:
        what = "none: whoever can read the folder can read all that is in it, and send in your name"
        return [_row(True, what, None)]
    return [_row(*_opened_by(found)), *_logs(home)]


def _logs(home: Path) -> list[dict[str, Any]]:
    """Return a row for logs of the time before there was a passphrase."""
    if not (found := in_clear(HomePaths(home).node_log)):
        return []
    names = ", ".join(path.name for path in found)
    what = f"{names}: from before the home had a passphrase, readable with the names of contacts"
    hint = f"delete what you do not need: rm {shlex.join(os.fspath(path) for path in found)}"
    return [_row(False, what, shown(hint)) | {"check": "logs"}]


def _opened_by(found: keyfile.Description) -> tuple[bool, str, str | None]:
    text = "opened by " + ", ".join(NAMES.get(kind, kind) for kind in found.kinds)
    if found.cost is None:
        return True, text, None
    cost = found.cost
    text += f"; a guess costs {cost.memory_kib >> 10} MiB of memory, {cost.passes} times over"
    strong = cost.work_kib >= FLOOR.work_kib
    hint = "it is raised when you unlock the home by its passphrase: peerpost identity lock, and unlock"
    return strong, text, hint


def _row(ok: bool, found: str, hint: str | None) -> dict[str, Any]:
    return {"check": "protection", "ok": ok, "found": found, "hint": None if ok else hint}
