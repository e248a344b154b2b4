"""What `doctor` and `contacts show` say of backups, of homes that were put back, and of copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import apsw

from peerpost.client.units import format_duration
from peerpost.node.clock import rfc3339
from peerpost.store.tables import agreement, backups, lives

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["past", "past_with"]

FRESH_MS = 86_400_000
"""For how long a copy that was found is something to act upon, at most: while two run, it is found again and again."""
PUT_BACK = {
    "ours": "this home was found put back to an older state",
    "theirs": "its home was found put back to an older state",
}
MISSING = {
    "ours": "look for gaps in `peerpost inbox list`, and in `peerpost transfers list` for files that their sender has"
    " no more",
    "theirs": "files, and texts beyond 60 KiB, that it had by then may be missing there; its `peerpost transfers list`"
    " names them",
}
COPIED = {
    "ours": "two copies of this home run at the same time",
    "theirs": "two copies of its home run at the same time",
}
WERE_COPIED = {
    "ours": "two copies of this home ran at the same time",
    "theirs": "two copies of its home ran at the same time",
}
_PASSES = "this passes once one session has lasted a quarter of an hour"
COPIED_HINT = {
    "ours": "end the other one for good, on its machine: peerpost identity delete. For a second machine make a second"
    f" identity. If that is done: {_PASSES}",
    "theirs": "tell them: what you send reaches the one or the other, until one of the two is stopped for good. If that"
    f" is done: {_PASSES}",
}


async def past(opened: Opened, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of `doctor`; `names` are those of the contacts by id."""
    found, put_back, copies = await opened.store.read(_look)
    rows = [_row("backup", True, _of_backups(found, opened.clock.now_ms()))]
    copied_at = {(contact_id, side): at_ms for contact_id, side, at_ms in copies}
    for contact_id, side, at_ms in copies:
        if (name := names.get(contact_id)) is not None:
            is_fresh = _is_fresh(opened, contact_id, at_ms)
            what = (
                f"{(COPIED if is_fresh else WERE_COPIED)[side]}, last noticed at {rfc3339(at_ms)}"
            )
            rows.append(_row(f"contact {name}", not is_fresh, what, COPIED_HINT[side]))
    for contact_id, side, at_ms in put_back:
        name = names.get(contact_id)
        # Of two copies, each has forgotten what the other one did: that is said by the row before.
        if name is not None and at_ms > copied_at.get((contact_id, side), -FRESH_MS) + FRESH_MS:
            what = f"{PUT_BACK[side]} at {rfc3339(at_ms)}: {MISSING[side]}"
            rows.append(_row(f"contact {name}", True, what))
    return rows


def _is_fresh(opened: Opened, contact_id: str, at_ms: int) -> bool:
    """Return whether two copies may still run: that none does cannot be known of one that is switched off."""
    peer = opened.network.peers.get(contact_id)
    is_quiet = peer is not None and peer.is_quiet_since(at_ms)
    return not is_quiet and opened.clock.now_ms() - at_ms < FRESH_MS


def _look(
    db: apsw.Connection,
) -> tuple[backups.Backups, list[tuple[str, str, int]], list[tuple[str, str, int]]]:
    return backups.load(db), agreement.put_back_all(db), lives.copies(db)


def _of_backups(found: backups.Backups, now_ms: int) -> str:
    if found.made_ms is None:
        return "none was made yet: peerpost backup create FILE"
    age = format_duration(max(0, now_ms - found.made_ms) // 1000)
    text = f"the last one was made {age} ago, at {rfc3339(found.made_ms)}"
    if found.restored_ms is None:
        return text
    return (
        f"{text}; this home was put back at {rfc3339(found.restored_ms)}"
        f" from the one of {rfc3339(found.restored_from_ms)}"
    )


async def past_with(opened: Opened, contact_id: str) -> dict[str, Any]:
    """Return what `contacts show` says of homes that were put back or copied; `hint` is what to do, if anything."""
    put_back = await opened.store.read(agreement.put_back_at, contact_id)
    copied = await opened.store.read(lives.copied_at, contact_id)
    side = max(copied, key=copied.__getitem__, default=None)
    return {
        "restored": rfc3339(max(put_back.values(), default=None)),
        "restored_side": max(put_back, key=put_back.__getitem__, default=None),
        "copied": rfc3339(max(copied.values(), default=None)),
        "copied_side": side,
        "hint": (
            f"{COPIED[side]}: {COPIED_HINT[side]}"
            if side is not None and _is_fresh(opened, contact_id, copied[side])
            else None
        ),
    }


def _row(check: str, ok: bool, found: str, hint: str | None = None) -> dict[str, Any]:
    return {"check": check, "ok": ok, "found": found, "hint": None if ok else hint}
