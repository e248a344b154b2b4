"""`peerpost send`, alias `send-net`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import click

from peerpost.client.own_files import require_not_own
from peerpost.errors import BadInputError, NoInputError, UsageError
from peerpost.stdio import read_up_to

from ..app import App, Command, pass_app
from ..completing import complete_files
from ..misread import is_meant_as_file, needs_contact, one_text, require_files
from ..outgoing import Outgoing, deliver, file_to_send, stream_to_send
from ..recipients import recipients
from ..sending import MAX_TEXT_BYTES, how, in_lane, request_params, to_whom

__all__ = ["send"]


def _complete_more_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    """Complete a file name if --file was given before: the arguments after it are files too."""
    return complete_files(ctx, param, incomplete) if ctx.params.get("files") else []


@click.command(
    "send",
    cls=Command,
    examples="""
    peerpost send --contact bob "the build is green"
    peerpost send --contact bob --file report.pdf photo.jpg --wait
    peerpost send --contact nas --file photos
    peerpost send --to-tag ops "the disk of web1 is full"
    df -h | peerpost send --contact ops -
    pg_dump shop | peerpost send --contact nas --name shop.sql -
    """,
)
@click.argument("text", nargs=-1, metavar="[TEXT | -]", shell_complete=_complete_more_files)
@to_whom
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="PATH...",
    shell_complete=complete_files,
    help="Send files and folders; '-' is stdin.",
)
@click.option("--text", "as_text", is_flag=True, help="TEXT is meant, though a file has that name.")
@click.option("--name", metavar="NAME", help="What a file is called for the receiver.")
@in_lane("What goes first; without it a text is urgent and a file is bulk.")
@click.option("--spool", is_flag=True, help="Copy it first, so that it may change or go at once.")
@how
@pass_app
def send(
    app: App,
    text: tuple[str, ...],
    contacts: tuple[str, ...],
    tags: tuple[str, ...],
    files: tuple[str, ...],
    as_text: bool,
    name: str | None,
    lane: str | None,
    spool: bool,
    wait: bool,
    timeout: float | None,
    expires: float | None,
    once: str | None,
) -> None:
    """Send a text, files, folders or stdin to contacts.

    '-' is stdin. The id is printed when the message is safely queued on this disk;
    delivery follows as soon as
    the contact can be reached, also when this command has ended.
    """
    if not contacts and not tags:
        raise needs_contact(text, files)
    if as_text and files:
        raise UsageError("either --text or --file: one message is one of them")
    common = request_params(
        lane=lane, wait=wait, timeout=timeout, expires=expires, once=once, spool=spool
    )
    if once is not None and files:
        raise UsageError("--once is for texts of up to 60 KiB", hint="nothing was sent")
    with app.so_far("Nothing was sent"):
        if not files and not as_text and is_meant_as_file(app, text):
            files, text = text, ()
        if files:
            require_files(files, text, (*contacts, "NAME")[0])
        names = recipients(app, contacts, tags)
        items = _files(app, (*files, *text), name) if files else [_text(app, text, name)]
        if len(names) > 1 and any(item.fd is not None for item in items):
            raise UsageError(
                "stdin as a file goes to one contact", hint="write it to a file, and send that"
            )
    to_each = [replace(i, params={**i.params, "contact": name}) for name in names for i in items]
    deliver(app, to_each, common)


def _files(app: App, paths: tuple[str, ...], name: str | None) -> list[Outgoing]:
    """Look at every file before any is sent, so that a typo in the last sends nothing."""
    if name is not None and len(paths) > 1:
        raise UsageError("--name is for one file", hint="send them one by one, or without --name")
    if paths.count("-") > 1:
        raise UsageError("stdin can be sent once")
    items, problems = [], []
    for path in paths:
        try:
            items.append(_stdin(app, name or "stdin") if path == "-" else file_to_send(path, name))
        except NoInputError as error:
            problems.append(error)
    if len(problems) > 1:
        hints = dict.fromkeys(error.hint for error in problems if error.hint)
        raise NoInputError(
            "; ".join(str(error.message) for error in problems), hint=" ".join(hints) or None
        )
    if problems:
        raise problems[0]
    return items


def _text(app: App, words: tuple[str, ...], name: str | None) -> Outgoing:
    if len(words) > 1:
        raise one_text(words)
    if not words:
        raise UsageError("nothing to send", hint="give a TEXT, --file PATH, or '-' for stdin")
    if words[0] == "-":
        if sys.stdin.isatty():
            app.terminal.note("Type the message; end it with Ctrl-D on a line of its own.")
        return _stdin(app, name)
    if name is not None:
        raise UsageError("--name is for files and stdin")
    if not words[0]:
        raise UsageError("the text is empty")
    return Outgoing(params={"text": words[0]})


def _stdin(app: App, name: str | None) -> Outgoing:
    """Return stdin as a text if it is one and short, else as a stream the node reads itself."""
    fd = sys.stdin.fileno()
    require_not_own(app.home, fd)
    if name is not None:
        return Outgoing(params=stream_to_send(name), fd=os.dup(fd), copied=os.isatty(fd))
    head = read_up_to(fd, MAX_TEXT_BYTES + 1)
    if not head:
        raise BadInputError("stdin is empty: nothing to send")
    if len(head) <= MAX_TEXT_BYTES:
        try:
            return Outgoing(params={"text": head.decode()})
        except UnicodeDecodeError:
            pass
    return Outgoing(params=stream_to_send("stdin"), fd=os.dup(fd), unread=head)
