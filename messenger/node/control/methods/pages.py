"""Lists: all rows, or as many as were asked for. The `cursor` of each row says where a list goes on after it.

A list is read in pages, so that a long one holds up neither the store nor the loop. A cursor is a position in the order
and not a row, so that rows may be deleted while somebody reads the list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

__all__ = ["PAGE_ROWS", "collect"]

T = TypeVar("T")

PAGE_ROWS: Final = 1000
"""Rows read at a time, which takes some milliseconds."""


async def collect(
    load: Callable[[str | None, int], Awaitable[list[T]]],
    cursor_of: Callable[[T], str],
    *,
    after: str | None,
    limit: int | None,
) -> list[T]:
    """Return all rows after `after`, or the first `limit` of them.

    `load(after, count)` returns the next rows, at most `count`; if it returns fewer, they are the last.
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
