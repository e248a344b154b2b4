"""`peerpost contacts add|list|show|edit|verify|block|unblock|remove`, and what `invites` has."""

from __future__ import annotations

import sys
from typing import Any

import click

from peerpost.errors import NotFoundError, UsageError

from ..app import App, Group, pass_app
from ..asking import is_meant
from ..completing import complete_contacts, complete_files
from ..in_full import in_full
from ..inputs import AcceptLimit, Quota, in_order, is_like_ticket, read_ticket
from .invites import invite, invites

__all__ = ["contacts"]

_COLUMNS = (
    ("NAME", "name"),
    ("STATE", "state"),
    ("ONLINE", "online"),
    ("LAST SEEN", "last_seen"),
    ("VERIFIED", "verified"),
    ("QUEUED", "queued"),
    ("UNREAD", "unread"),
    ("TAGS", "tags"),
    ("ID", "id"),
)


_NO_CONTACTS = (
    "No contacts yet. If somebody gave you a ticket: peerpost contacts add NAME TICKET; to give them one:"
    " peerpost contacts invite NAME"
)


@click.group(
    cls=Group,
    examples="""
    peerpost contacts invite bob
    peerpost contacts add alice PP1...
    peerpost contacts list
    """,
)
def contacts() -> None:
    """Invite, add, list and remove contacts."""


contacts.add_command(invite)
contacts.add_command(invites)


@contacts.command(
    examples="""
    peerpost contacts add alice PP1...
    peerpost contacts add alice --ticket-file ticket.txt
    ssh alice peerpost contacts invite bob | peerpost contacts add alice -
    peerpost contacts add alice --id ID --address /ip4/192.0.2.7/tcp/4001/p2p/PEER_ID
    """
)
@click.argument("name")
@click.argument("ticket", required=False)
@click.option(
    "--ticket-file",
    metavar="FILE",
    shell_complete=complete_files,
    help="Read the ticket from a file.",
)
@click.option("--id", "id_", metavar="ID", help="Without a ticket: the identity's id.")
@click.option("--address", metavar="MULTIADDR", help="Without a ticket: where it listens.")
@pass_app
def add(
    app: App,
    name: str,
    ticket: str | None,
    ticket_file: str | None,
    id_: str | None,
    address: str | None,
) -> None:
    """Add a contact NAME with the TICKET they gave you.

    '-' reads the ticket from stdin. NAME is what you call them. If they cannot be reached now,
    the contact stays pending and is tried until the ticket expires; what you send meanwhile is
    queued. A new ticket of a contact that you have renews the friendship: what is queued and was sent stays.
    """
    name, ticket = in_order(name, ticket)
    params: dict[str, Any] = {"name": name}
    if is_like_ticket(name):
        raise UsageError(
            "this is a ticket, and the name of the contact is missing",
            hint="say what you call them: peerpost contacts add NAME TICKET",
        )
    if (id_ is None) != (address is None):
        raise UsageError("--id and --address belong together")
    if sum(way is not None for way in (ticket, ticket_file, id_)) != 1:
        raise UsageError(
            "a contact needs one ticket",
            hint="as an argument, '-' or --ticket-file; or --id with --address",
        )
    if id_ is not None:
        params |= {"id": id_, "address": address}
    else:
        with app.so_far("Nobody was added"):
            if ticket == "-" and sys.stdin.isatty():
                app.terminal.note("Paste the ticket; end it with Ctrl-D on a line of its own.")
            params["ticket"] = read_ticket(ticket, ticket_file)
    me = None if id_ is None else app.call("identity.show")
    added = app.call("contacts.add", params)
    app.terminal.record(added, human=f"{added['name']}  {added['state']}")
    if added["state"] != "pending":
        return
    if me is None:
        until = "until the ticket expires"
        app.terminal.note(f"{name} is tried {until}; see: peerpost contacts show {name}")
        return
    where = next(iter(me["announced"] or me["listening"]), "ADDRESS")
    app.terminal.note(
        f"{name} has to add you too before anything arrives, and is tried until then:"
        f" peerpost contacts add {me['name']} --id {me['id']} --address {where}"
    )


@contacts.command("list", examples="peerpost contacts list\npeerpost --json contacts list")
@pass_app
def list_(app: App) -> None:
    """List the contacts."""
    rows = app.call("contacts.list")
    has_tags = any(row.get("tags") for row in rows)
    columns = [column for column in _COLUMNS if has_tags or column[1] != "tags"]
    shown = rows if app.terminal.json else [_marked(row) for row in rows]
    app.terminal.records(shown, columns, empty=_NO_CONTACTS)
    for row in rows:
        # A blocked contact is as the user wants it. With --json, the hint is in the row.
        if row.get("hint") and row["state"] != "blocked" and not app.terminal.json:
            app.terminal.note(row["hint"])


def _marked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in which nobody takes a "no" for the answer to another question."""
    return (
        row | {"verified": "yes" if row["verified"] else "unverified"} if "verified" in row else row
    )


@contacts.command(examples="peerpost contacts show bob\npeerpost --json contacts show bob")
@click.argument("name", shell_complete=complete_contacts)
@pass_app
def show(app: App, name: str) -> None:
    """Show everything about a contact, by NAME or id."""
    contact = app.call("contacts.show", {"name": name})
    if app.terminal.json:
        app.terminal.record(contact)
    else:
        from ..contact_page import show as show_page

        show_page(app.terminal, contact)


@contacts.command(
    examples="""
    peerpost contacts edit bob --rename bob-at-home
    peerpost contacts edit bob --note "met at the conference"
    peerpost contacts edit bob --address /ip4/192.0.2.7/tcp/4001
    peerpost contacts edit nas --accept 50GiB
    peerpost contacts edit nas --quota 500GiB
    peerpost contacts edit bob --tag ops
    """
)
@click.argument("name", shell_complete=complete_contacts)
@click.option("--rename", metavar="NAME", help="What you call them from now on.")
@click.option("--note", metavar="TEXT", help="A note for yourself.")
@click.option(
    "--address", "addresses", multiple=True, metavar="MULTIADDR", help="Where they can be reached."
)
@click.option(
    "--accept",
    type=AcceptLimit(),
    metavar="SIZE|ask|never",
    help="Up to which size its files are taken without asking; 'default': as for everybody.",
)
@click.option(
    "--quota",
    type=Quota(),
    metavar="SIZE|default",
    help="What all that it sent may take up here; 'default': as for everybody.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Add a tag, for 'send --to-tag'.")
@click.option("--untag", multiple=True, metavar="TAG", help="Take a tag away.")
@pass_app
def edit(
    app: App,
    name: str,
    rename: str | None,
    note: str | None,
    addresses: tuple[str, ...],
    accept: int | str | None,
    quota: int | str | None,
    tags: tuple[str, ...],
    untag: tuple[str, ...],
) -> None:
    """Change a contact's name, note, address, limits or tags."""
    changes = {
        "rename": rename,
        "note": note,
        "addresses": list(addresses) or None,
        "accept": accept,
        "quota": quota,
        "tags": list(tags) or None,
        "untag": list(untag) or None,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    if not given:
        hint = "give --rename, --note, --address, --accept, --quota, --tag or --untag"
        raise UsageError("nothing to change", hint=hint)
    _changed(app, app.call("contacts.edit", {"name": name, **given}))
    for option, size in (("accept", accept), ("quota", quota)):
        if isinstance(size, int):
            app.terminal.note(in_full(option, size))


@contacts.command(
    examples="""
    peerpost contacts verify bob
    peerpost contacts verify bob "12345 67890 ..."
    """
)
@click.argument("name", shell_complete=complete_contacts)
@click.argument("safety_number", nargs=-1)
@pass_app
def verify(app: App, name: str, safety_number: tuple[str, ...]) -> None:
    """Compare safety numbers, and mark NAME as verified.

    Without a number, print it. A contact that is 'changed' is served again once it is verified.
    """
    params: dict[str, Any] = {"name": name}
    if safety_number:
        params["safety_number"] = " ".join(safety_number)
    found = app.call("contacts.verify", params)
    human = f"{found['name']}  verified" if safety_number else found["safety_number"]
    app.terminal.record(found, human=human)
    if not safety_number:
        app.terminal.note(f"Have {found['name']} read theirs to you, then run this with it.")


@contacts.command(examples="peerpost contacts block mallory")
@click.argument("name", shell_complete=complete_contacts)
@pass_app
def block(app: App, name: str) -> None:
    """Cut off NAME, who is then served like a stranger.

    What is queued stays queued.
    """
    _changed(app, app.call("contacts.block", {"name": name}))


@contacts.command(examples="peerpost contacts unblock bob")
@click.argument("name", shell_complete=complete_contacts)
@pass_app
def unblock(app: App, name: str) -> None:
    """Serve a blocked NAME again."""
    _changed(app, app.call("contacts.unblock", {"name": name}))


def _changed(app: App, row: dict[str, Any]) -> None:
    app.terminal.record(row, human=f"{row['name']}  {row['state']}")


@contacts.command(
    examples="""
    peerpost contacts remove bob
    peerpost contacts remove bob --forget --yes
    """
)
@click.argument("name", shell_complete=complete_contacts)
@click.option(
    "--forget", is_flag=True, help="Delete the history too: everything sent and received."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def remove(app: App, name: str, forget: bool, yes: bool) -> None:
    """Forget a contact, and what is queued for it.

    What it sent and was sent stays, unless --forget.

    Without a terminal, where nobody can be asked, it wants --yes.
    """
    if not yes:
        lost = _lost(app, name, forget=forget)
        if not is_meant(app, "Remove", lost, undone="Nothing was removed"):
            return
    removed = app.call("contacts.remove", {"name": name} | ({"forget": True} if forget else {}))
    app.terminal.record(removed, human=f"{removed['name']}  removed{', and forgotten' * forget}")


def _lost(app: App, name: str, *, forget: bool) -> str:
    """Return in words what a removal deletes."""
    history = " and all that was sent and received" if forget else ""
    try:
        contact = app.call("contacts.show", {"name": name})
    except NotFoundError:
        if not forget:
            raise
        return f"{name}{history}"  # The contact was removed before; only its history is left.
    queued = f" and {contact['queued']} queued" if contact.get("queued") else ""
    return f"{contact['name']}{queued}{history}"
