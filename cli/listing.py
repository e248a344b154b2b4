"""Lists: every row, printed as it arrives; or as many as `--limit` says, and a note if there are more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click

from .app import App
from .terminal import Column

__all__ = ["PAGE_ROWS", "after_option", "limit_option", "show_list"]

PAGE_ROWS = 1000
"""Rows requested from the node at a time."""

limit_option = click.option(
    "--limit", type=click.IntRange(1, 1 << 32), metavar="N", help="At most so many."
)


class _Cursor(click.ParamType[str]):
    name = "cursor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from peerpost.client.rpc import CURSOR

        if re.fullmatch(CURSOR, str(value)) is None:
            self.fail(
                f"{value!r} is no cursor; write what --limit has named, or a row's cursor (--json)",
                param,
                ctx,
            )
        return str(value)


after_option = click.option(
    "--after",
    type=_Cursor(),
    metavar="CURSOR",
    help="Go on after a row: what --limit left, or a row's cursor.",
)


def show_list(
    app: App,
    method: str,
    params: Mapping[str, Any],
    columns: Sequence[Column],
    *,
    limit: int | None,
    empty: str,
    shown: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Print what a method lists; `shown` turns a row into what a person reads.

    If `limit` leaves rows out, stderr says so: a line, or with --json `{"more": CURSOR}`.
    """
    given = {key: value for key, value in params.items() if value is not None}
    left_at: list[str] = []
    found = _rows(app, method, given, limit, left_at)
    if app.terminal.json:
        for row in found:
            app.terminal.record(row)
    else:
        app.terminal.records([shown(row) for row in found], columns, empty=empty)
    for cursor in left_at:
        if app.terminal.json:
            app.terminal.event({"more": cursor})
        else:
            app.terminal.note(f"There are more; they follow with: --after {cursor}")


def _rows(
    app: App, method: str, params: dict[str, Any], limit: int | None, left_at: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield rows page by page; if `limit` leaves rows out, the cursor of the last one shown goes to `left_at`."""
    cursor: str | None = None
    left = limit
    while True:
        # Ask for one more than is shown, to know whether there are more.
        wanted = PAGE_ROWS if left is None else min(PAGE_ROWS, left + 1)
        page = app.call(method, {**params, "limit": wanted})
        for row in page:
            if left == 0:
                left_at.append(cursor or "")
                return
            yield row
            cursor = row.get("cursor")
            if left is not None:
                left -= 1
        if len(page) < wanted or cursor is None:
            return
        params = {**params, "after": cursor}
