"""`peerpost inbox watch|ack|readers`: the inbox as a stream, for bots."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from peerpost import system
from peerpost.client.rpc import INBOX_CURSOR, READER
from peerpost.errors import UsageError

from ..app import App, Command, pass_app
from ..completing import asked

__all__ = ["ack", "readers", "watch"]

F = TypeVar("F", bound=Callable[..., Any] | click.Command)

_COLUMNS = (
    ("READER", "reader"),
    ("CURSOR", "cursor"),
    ("WAITING", "waiting"),
    ("ACKNOWLEDGED", "acknowledged_at"),
)


class _Reader(click.ParamType[str]):
    name = "reader"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if re.fullmatch(READER, str(value)) is None:
            self.fail(
                f"{value!r} is no name of a reader: up to 64 letters, digits, '.', '_' and '-',"
                " the first a letter or a digit",
                param,
                ctx,
            )
        return str(value)


class _Cursor(click.ParamType[str]):
    name = "cursor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if re.fullmatch(f"m{INBOX_CURSOR}", str(value)):
            self.fail("that is of an imported message, and no reader is given those", param, ctx)
        if re.fullmatch(INBOX_CURSOR, str(value)) is None:
            self.fail(
                f"{value!r} is no cursor of the inbox; each row has its own (--json)", param, ctx
            )
        return str(value)


def _complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(row["reader"], help=f"{row['waiting']} waiting")
        for row in asked(ctx, "inbox.readers")
        if row["reader"].startswith(incomplete)
    ]


def _as_option(command: F) -> F:
    return click.option(
        "--as",
        "reader",
        type=_Reader(),
        default="default",
        metavar="READER",
        shell_complete=_complete,
        help="Under which name; each has a place of its own.  [default]",
    )(command)


@click.command(
    cls=Command,
    examples="""
    peerpost inbox watch
    peerpost inbox watch --json --as bot
    peerpost inbox watch --json --limit 1 --after 4711
    """,
)
@_as_option
@click.option(
    "--after", type=_Cursor(), metavar="CURSOR", help="Begin after it, whatever was acknowledged."
)
@click.option("--limit", type=click.IntRange(1, 1 << 32), metavar="N", help="End after so many.")
@pass_app
def watch(app: App, reader: str, after: str | None, limit: int | None) -> None:
    """Print what is not acknowledged yet, then what comes.

    It goes on over restarts of the node. `inbox ack` says what is done with; the rest comes again the
    next time.
    """
    from peerpost.client.following import Following

    following = Following(
        app.home,
        reader,
        after=after,
        spawn=app.spawn,
        node_args=app.node_args(),
        on_wait=app.waits,
        on_locked=app.unlocks,
        on_deleted=lambda count: _say_deleted(app, count),
        note=app.terminal.note,
        before_wait=lambda connection: _while_somebody_reads(app, connection),
    )
    left = limit
    for row in following:
        app.terminal.record(row, human=_in_a_line(row), wrap=True)
        if left is not None:
            left -= 1
            if not left:
                return


def _while_somebody_reads(app: App, connection: int) -> None:
    """Wait for the node. Raises OutputError if the reader of stdout leaves: nobody would notice before the next row."""
    stdout = sys.stdout.fileno()
    system.Ready(reads=[connection], ends=[stdout]).wait()
    app.require_reader(stdout)


def _in_a_line(row: dict[str, Any]) -> str:
    about = str(row["preview"])
    if row["kind"] != "text":
        from peerpost.client.units import format_size

        kind = "folder" if row["directory"] else row["kind"]
        about = f"{about} ({kind}, {format_size(row['size'])})".strip()
    elif row["error"]:
        about = f"(cannot be read: {row['error']})"
    return f"{row['id']}  {row['contact']}  {about}"


def _say_deleted(app: App, count: int) -> None:
    """Say that messages were deleted before they could be acknowledged."""
    if app.terminal.quiet:
        return
    if app.terminal.json:
        app.terminal.event({"event": "deleted", "messages": count})
    else:
        one = "1 message was deleted before it was acknowledged."
        many = f"{count} messages were deleted before they were acknowledged."
        app.terminal.note(one if count == 1 else many)


@click.command(
    cls=Command,
    examples="""
    peerpost inbox ack 4711
    peerpost inbox ack 4711 --as bot
    peerpost inbox ack --newest --as bot
    """,
)
@click.argument("cursor", type=_Cursor(), metavar="CURSOR", required=False)
@click.option("--newest", is_flag=True, help="All that is there now: begin with what comes next.")
@_as_option
@pass_app
def ack(app: App, cursor: str | None, newest: bool, reader: str) -> None:
    """Be done with a message and with all before it.

    The next `inbox watch` begins after it. CURSOR is the message's. A reader never goes back.
    """
    if (cursor is None) != newest:
        raise UsageError(
            "either CURSOR or --newest says how far", hint="each row has its cursor (--json)"
        )
    params = {"reader": reader} | ({} if cursor is None else {"cursor": cursor})
    row = app.call("inbox.ack", params)
    app.terminal.record(row, human=f"{row['reader']}  {row['cursor']}")
    if cursor is not None and int(cursor) < int(row["cursor"]):
        app.terminal.note(f"{reader} was beyond that already, and stays at {row['cursor']}.")


@click.command(cls=Command, examples="peerpost inbox readers\npeerpost inbox readers --remove bot")
@click.option(
    "--remove",
    type=_Reader(),
    metavar="READER",
    shell_complete=_complete,
    help="Forget one; under its name all begins anew.",
)
@pass_app
def readers(app: App, remove: str | None) -> None:
    """List who reads, how far each is, and how much waits."""
    if remove is not None:
        row = app.call("inbox.readers.remove", {"reader": remove})
        app.terminal.record(row, human=f"{row['reader']}  removed")
        return
    app.terminal.records(
        app.call("inbox.readers"), _COLUMNS, empty="Nobody has acknowledged anything."
    )
