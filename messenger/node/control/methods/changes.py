"""`changes.watch`: the journal as a stream, for programs that keep a picture of what was sent, moves and is known.

All of it is read from the journal, and an event of the node only says when to look again. What the journal does not
keep any longer is told as a number, and a cursor that it cannot have given is an error: none is passed over in silence.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from peerpost.client.rpc import Events, Request
from peerpost.node.clock import rfc3339
from peerpost.node.events import changed
from peerpost.store.db import journal
from peerpost.store.tables import places

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["KINDS", "watch"]

PAGE_ROWS: Final = 500
"""Rows read at a time, which takes some milliseconds."""
KINDS: Final[dict[str, tuple[str, str | None]]] = {
    "entry": ("sent", "out"),
    "item": ("inbox", "in"),
    "upload": ("transfers", "out"),
    "download": ("transfers", "in"),
    "contact": ("contacts", None),
    "invite": ("invites", None),
    "limit": ("limits", None),
}
"""The kinds of the journal: the command that shows it, and its direction."""

_Place = Annotated[
    str,
    msgspec.Meta(
        max_length=64,
        pattern=rf"^({places.PLACE})\Z",
        description="The `cursor` of a change: begin after it; 0 is all that is kept, and without it what comes.",
    ),
]
_Kind = Literal["sent", "inbox", "transfers", "contacts", "invites", "limits"]


class _Watch(msgspec.Struct, forbid_unknown_fields=True):
    after: _Place | None = None
    kinds: list[_Kind] | None = None


async def watch(opened: Opened, request: Request[_Watch]) -> Events:
    """Tell each change of a message, a transfer, a contact, an invitation or a limit, and go on for ever.

    The events are `{"after"}` first, with the cursor at which it begins; `{"change"}` for each change; and `{"gone"}`,
    how many changes the journal has not kept until they could be told. Whoever is told that looks at everything anew.
    """
    params = request.params_as(_Watch)
    place = params.after
    if place is None:
        place = await opened.store.read(places.newest)
    found = await opened.store.read(places.find, place)
    return _watch(opened, place, found, None if params.kinds is None else frozenset(params.kinds))


async def _watch(
    opened: Opened, place: str, begin: places.JournalPlace, kinds: frozenset[str] | None
) -> AsyncIterator[object]:
    # What stood at a place whose row is gone cannot be compared, so it counts as gone too.
    after = begin.row_id if begin.is_kept else begin.row_id - 1
    with opened.events.subscribe() as events:
        yield {"after": place}
        while True:
            events.clear()
            found = await opened.store.read(journal.after, after, PAGE_ROWS)
            for change in found:
                # Numbers have no gaps but where rows were deleted.
                if change.id > after + 1:
                    yield {"gone": change.id - 1 - after}
                after = change.id
                kind, direction = KINDS[change.kind]
                if kinds is None or kind in kinds:
                    yield {"change": _row(opened, change, kind, direction)}
            if not found:
                await changed(events)


def _row(
    opened: Opened, change: journal.Transition, kind: str, direction: str | None
) -> dict[str, Any]:
    contact_id = change.contact_id
    name = None if contact_id is None else opened.network.name_of(contact_id)
    return {
        "cursor": places.encode(change),
        "kind": kind,
        "direction": direction,
        "id": change.subject,
        "contact": name or contact_id,
        "was": change.before,
        "state": change.after,
        "what": change.what,
        "at": rfc3339(change.at_ms),
    }
