"""What `doctor` says of the protection of a home: what opens it, and what a guess costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peerpost.crypto.passphrase import FLOOR
from peerpost.errors import PeerpostError
from peerpost.store import keyfile

__all__ = ["protection"]

NAMES = {
    "passphrase": "a passphrase",
    "recovery": "a recovery code",
    "keyring": "the keyring of the system",
}


def protection(home: Path) -> list[dict[str, Any]]:
    """Return the row, or none if there is no keyfile that can be read, of which another row tells."""
    try:
        found = keyfile.describe(home)
    except PeerpostError:
        return []
    if not found.protected:
        what = "none: whoever can read the folder can read all that is in it, and send in your name"
        return [_row(True, what, None)]
    text = "opened by " + ", ".join(NAMES.get(kind, kind) for kind in found.kinds)
    if found.cost is None:
        return [_row(True, text, None)]
    cost = found.cost
    text += f"; a guess costs {cost.memory_kib >> 10} MiB of memory, {cost.passes} times over"
    strong = cost.work_kib >= FLOOR.work_kib
    hint = "it is raised when you unlock the home by its passphrase: peerpost identity lock, and unlock"
    return [_row(strong, text, hint)]


def _row(ok: bool, found: str, hint: str | None) -> dict[str, Any]:
    return {"check": "protection", "ok": ok, "found": found, "hint": None if ok else hint}
