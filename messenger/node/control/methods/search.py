"""`inbox search`: what was received, and what was sent too if that is wanted, by any part of its text or file name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec

from peerpost.client.rpc import Request
from peerpost.errors import BadInputError, PeerpostError, UsageError
from peerpost.node.cursors import cursor_of, row_of
from peerpost.raw_bytes import shown
from peerpost.store.fold import fold
from peerpost.store.tables import contacts as store_contacts
from peerpost.store.tables import indexing
from peerpost.store.tables import search as store_search
from peerpost.store.tables.search import FoundRows, Hit, Wanted

from .inbox import row_of_item
from .numbers import Limit, TimeMs
from .queue import rows_of_entries

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["search", "searchable"]

T = TypeVar("T")

MAX_TERM_CHARS: Final = 256
"""The longest term: a long sentence."""
PAGE_ROWS: Final = 1000
"""How many hits are taken from the store at once."""
NOWHERE: Final = 10**18 - 1
"""In a cursor: no message of this side was shown yet."""

_Cursor = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^m?[0-9]{1,18}(-m?[0-9]{1,18})?\Z")]
_Described = tuple[int, int, dict[str, Any]]
"""The time of a message, its row, and how it is described."""


class _Search(msgspec.Struct, forbid_unknown_fields=True):
    term: str
    contact: str | None = None
    since: TimeMs | None = None
    files: bool = False
    sent: bool = False
    limit: Limit | None = None
    after: _Cursor | None = None


async def search(opened: Opened, request: Request[_Search]) -> list[dict[str, Any]]:
    """Find messages that have a term in their text or file name, newest first: all, or `limit` after a cursor.

    Case and the like do not count. Each row is that of `inbox.list` or, with `sent`, of `sent.list`, and has
    `direction` and `match`: a few words around the term, which goes from `match_start` to `match_end` in it.
    """
    params = request.params_as(_Search)
    contact_id = None
    if params.contact is not None:
        contact_id = await opened.store.read(store_contacts.id_of, params.contact)
    wanted = Wanted(
        term=_folded(params.term),
        contact_id=contact_id,
        since_ms=params.since,
        files=params.files,
    )
    await _read_what_has_come(opened)
    return await _search(opened, wanted, params)


async def _read_what_has_come(opened: Opened) -> None:
    """Read the long texts that have just come. If that is not possible, `searchable` says that they are missing."""
    with suppress(PeerpostError):
        await opened.transfers.indexing.read_long_texts()


def _folded(term: str) -> str:
    if not term:
        raise UsageError(
            "there is nothing to search for", hint="name a part of a text or of a file name"
        )
    if len(term) > MAX_TERM_CHARS:
        raise UsageError(
            f"the term has {len(term)} characters, and may have {MAX_TERM_CHARS}",
            hint="a few words of it will do",
        )
    if shown(term) != term:
        raise BadInputError(f"{term} is not valid UTF-8", hint="what is searched is text")
    return fold(term)


async def _search(opened: Opened, wanted: Wanted, params: _Search) -> list[dict[str, Any]]:
    places = _places(params.after)
    page = PAGE_ROWS if params.limit is None else min(PAGE_ROWS, params.limit)
    read = opened.store.read

    async def find_received(beyond: int | None) -> FoundRows[Any]:
        return await read(store_search.received, wanted, page, beyond)

    async def find_sent(beyond: int | None) -> FoundRows[Any]:
        return await read(store_search.sent, wanted, page, beyond)

    async def describe_received(found: list[Any]) -> list[dict[str, Any]]:
        return [row_of_item(opened, item) for item in found]

    async def describe_sent(found: list[Any]) -> list[dict[str, Any]]:
        return await rows_of_entries(opened, found)

    rows: list[dict[str, Any]] = []
    async with aclosing(_side(find_received, describe_received, "in", places[0])) as received:
        if not params.sent:
            async for _, at, row in received:
                rows.append(row | {"cursor": cursor_of(at)})
                if len(rows) == params.limit:
                    break
            return rows
        async with aclosing(_side(find_sent, describe_sent, "out", places[1])) as sent:
            await _merge(rows, [received, sent], places, params.limit)
    return rows


async def _merge(
    rows: list[dict[str, Any]],
    sides: list[AsyncGenerator[_Described, None]],
    places: list[int],
    limit: int | None,
) -> None:
    """Take the newer of two lists each time, and note in the cursor of each row how far both are."""
    nexts = [await anext(side, None) for side in sides]
    while any(nexts) and len(rows) != limit:
        newer = max((0, 1), key=lambda at: -1 if (one := nexts[at]) is None else one[0])
        found = nexts[newer]
        if found is None:
            return
        places[newer] = found[1]
        rows.append(found[2] | {"cursor": "-".join(map(cursor_of, places))})
        if len(rows) != limit:
            nexts[newer] = await anext(sides[newer], None)


def _places(cursor: str | None) -> list[int]:
    """Return the rows of the inbox and the outbox after which a list goes on."""
    received, _, sent = (cursor or "").partition("-")
    found = [row_of(received or None), row_of(sent or None)]
    return [NOWHERE if place is None else place for place in found]


async def _side(
    find: Callable[[int | None], Awaitable[FoundRows[T]]],
    describe: Callable[[list[T]], Awaitable[list[dict[str, Any]]]],
    direction: str,
    beyond: int | None,
) -> AsyncGenerator[_Described, None]:
    """Yield what is found on one side, the newest first."""
    while beyond is not None:
        found = await find(beyond)
        described = await describe([row for _, row in found.rows])
        for (hit, _), row in zip(found.rows, described, strict=True):
            yield hit.at_ms, hit.row_id, row | _match(hit) | {"direction": direction}
        beyond = found.beyond


def _match(hit: Hit) -> dict[str, Any]:
    return {
        "match": hit.match.text,
        "match_start": hit.match.start,
        "match_end": hit.match.end,
    }


async def searchable(opened: Opened, request: Request[None]) -> dict[str, Any]:
    """Return the `share` of the messages that can be found, the `long_texts` that cannot, and what is `left` to do."""
    request.require_no_params()
    await _read_what_has_come(opened)
    progress = await opened.store.read(indexing.progress)
    return {
        "share": round(progress.share, 4),
        "long_texts": progress.long_texts,
        "left": progress.left,
    }
