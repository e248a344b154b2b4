"""`peerpost notify`: an alert, from options or as JSON on stdin."""

from __future__ import annotations

import sys

import click

from peerpost.client.own_files import require_not_own
from peerpost.errors import BadInputError, UsageError
from peerpost.stdio import read_up_to

from ..app import App, Command, pass_app
from ..notices import MAX_INPUT_BYTES, TYPES, Notice, parse
from ..outgoing import Outgoing, deliver
from ..recipients import recipients
from ..sending import how, in_lane, request_params, to_whom

__all__ = ["notify"]


@click.command(
    "notify",
    cls=Command,
    examples="""
    peerpost notify --contact ops --title web1 --body "the disk is 95 % full" --type warning
    echo '{"title": "web1", "body": "it is up", "type": "success"}' | peerpost notify --to-tag ops
    peerpost -q notify --contact ops --expires 1d < alerts.jsonl
    """,
)
@to_whom
@click.option("--title", metavar="TEXT", help="What it is about, in a line.")
@click.option("--body", metavar="TEXT", help="What there is to say.")
@click.option(
    "--type",
    "type_",
    type=click.Choice(TYPES),
    help="What it is; but for info, the text begins with it.",
)
@in_lane("What goes first; without it urgent.")
@how
@pass_app
def notify(
    app: App,
    contacts: tuple[str, ...],
    tags: tuple[str, ...],
    title: str | None,
    body: str | None,
    type_: str | None,
    lane: str | None,
    wait: bool,
    timeout: float | None,
    expires: float | None,
    once: str | None,
) -> None:
    """Send a notification as one text, the title above the body.

    It is --title and --body, or JSON on stdin: an object with "title", "body" and "type", or
    one on each line. Where one of several is wrong, none is sent.
    """
    if not contacts and not tags:
        raise UsageError("missing option '--contact'", hint="see: peerpost notify --help")
    common = request_params(lane=lane, wait=wait, timeout=timeout, expires=expires, once=once)
    with app.so_far("Nothing was sent"):
        if title is not None or body is not None:
            notices = [Notice(title=title or "", body=body or "", type=type_ or "info")]
        elif type_ is not None:
            raise UsageError(
                "--type goes with --title and --body", hint='on stdin "type" is a member of each'
            )
        else:
            notices = _from_stdin(app)
        if once is not None and len(notices) > 1:
            raise UsageError(
                f"--once is for one notification, and these are {len(notices)}",
                hint="nothing was sent: under one key a contact is sent one text",
            )
        texts = _texts(notices)
        names = recipients(app, contacts, tags)
    _say_what_is_left_out(app, notices)
    items = [Outgoing(params={"text": text, "contact": name}) for text in texts for name in names]
    deliver(app, items, common)


def _from_stdin(app: App) -> list[Notice]:
    fd = sys.stdin.fileno()
    require_not_own(app.home, fd)
    if sys.stdin.isatty():
        app.terminal.note("Type the JSON; end it with Ctrl-D on a line of its own.")
    return parse(read_up_to(fd, MAX_INPUT_BYTES + 1))


def _texts(notices: list[Notice]) -> list[str]:
    """Return the text of each, before any is sent. Raises BadInputError."""
    texts = []
    for number, notice in enumerate(notices, 1):
        try:
            texts.append(notice.text())
        except BadInputError as error:
            if len(notices) == 1:
                raise
            message = f"{error.message} (number {number} of {len(notices)})"
            raise BadInputError(message, hint=error.hint) from None
    return texts


def _say_what_is_left_out(app: App, notices: list[Notice]) -> None:
    left_out = dict.fromkeys(key for notice in notices for key in notice.left_out)
    if left_out:
        app.terminal.note(f"Not sent, as only title, body and type are: {', '.join(left_out)}.")
