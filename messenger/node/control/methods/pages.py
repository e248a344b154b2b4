"""Lists: whole, or as many rows as were asked for; each row says in `cursor` where a list goes on behind it.

A list is read in pages, so that a long one holds up neither the store nor the loop. A cursor is a place in the order
and not a row, so that a row may go away while somebody reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

__all__ = ["PAGE_ROWS", "collect"]

T = TypeVar("T")

PAGE_ROWS: Final = 1000
"""Read at a time: some milliseconds."""


async def collect(
    load: Callable[[str | None, int], Awaitable[list[T]]],
    cursor_of: Callable[[T], str],
    *,
    after: str | None,
    limit: int | None,
) -> list[T]:
    """Return all rows behind `after`, or the first `limit` of them.

    `load(after, count)` returns the next rows, at most `count`; fewer are the last.
    """
    found: list[T] = []
    while limit is None or len(found) < limit:
        wanted = PAGE_ROWS if limit is None else min(PAGE_ROWS, limit - len(found))
        page = await load(after, wanted)
        found += page
        if len(page) < wanted:
            break
        after = cursor_of(page[-1])
    return found
