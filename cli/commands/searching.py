"""`peerpost inbox search`."""

from __future__ import annotations

from typing import Any

import click

from ..app import App, Command, pass_app
from ..completing import contact_option
from ..inputs import Moment
from ..listing import after_option, limit_option, show_list
from ..marked import Marked

__all__ = ["search"]

_RECEIVED = (
    ("ID", "id"),
    ("FROM", "contact"),
    ("KIND", "kind"),
    ("SIZE", "size"),
    ("RECEIVED", "received_at"),
    ("UNREAD", "unread"),
    ("MATCH", "match"),
)
_BOTH = (
    ("ID", "id"),
    ("CONTACT", "contact"),
    ("KIND", "kind"),
    ("SIZE", "size"),
    ("WHEN", "created"),
    ("MATCH", "match"),
)


@click.command(
    cls=Command,
    examples="""
    peerpost inbox search invoice
    peerpost inbox search "disk full" --contact ops --since 7d
    peerpost inbox search .pdf --files --limit 20
    peerpost inbox search invoice --sent --json
    """,
)
@click.argument("term", metavar="TERM")
@contact_option("Only what NAME sent, or got.")
@click.option("--since", type=Moment(), metavar="T", help="A date, a time, or how long ago (2h).")
@limit_option
@after_option
@click.option("--files", is_flag=True, help="Only files and folders, by their names.")
@click.option("--sent", is_flag=True, help="What you have sent, too.")
@pass_app
def search(
    app: App,
    term: str,
    contact: str | None,
    since: int | None,
    limit: int | None,
    after: str | None,
    files: bool,
    sent: bool,
) -> None:
    """Find messages by any part of a text or file name.

    The newest come first. TERM is plain text, wherever it stands in a word; upper and lower case
    are the same.
    """
    params = {"term": term, "contact": contact, "since": since, "after": after}
    params |= {"files": files or None, "sent": sent or None}
    searchable = app.call("inbox.searchable")
    show_list(
        app,
        "inbox.search",
        params,
        _BOTH if sent else _RECEIVED,
        limit=limit,
        empty="Nothing found.",
        shown=_both if sent else _for_people,
    )
    _say_what_is_missing(app, searchable)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    kind = "folder" if row.get("directory") else row["kind"]
    match = Marked(row["match"], row["match_start"], row["match_end"])
    return row | {"kind": kind, "match": match}


def _both(row: dict[str, Any]) -> dict[str, Any]:
    where = "to" if row["direction"] == "out" else "from"
    row = row | {"created": row.get("received_at") or row.get("created")}
    return _for_people(row | {"contact": f"{where} {row['contact']}"})


def _say_what_is_missing(app: App, searchable: dict[str, Any]) -> None:
    """Say how far the index was, if it was not whole."""
    if searchable["share"] < 1:
        app.terminal.note(
            f"The index is still being built: {int(100 * searchable['share'])} % of the messages were searched,"
            " the newest. Search again in a while."
        )
    if count := searchable["long_texts"]:
        what = "1 long text was" if count == 1 else f"{count} long texts were"
        app.terminal.note(f"{what} not searched yet. Search again in a moment.")
