"""What is typed for a command that is called otherwise, or stands elsewhere: the hint names the right one."""

from __future__ import annotations

from typing import Any

import click
import pytest

from peerpost.cli import guesses
from peerpost.cli.app import App
from peerpost.cli.main import root

from .conftest import FakeNode, Shell

TICKET = "PP1" + "QC3OTUGH2AEUY" * 12


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("invite", "peerpost contacts invite"),
        ("status", "peerpost node status"),
        ("list", "peerpost inbox list"),
        ("ls", "peerpost contacts list"),
        ("whoami", "peerpost identity show"),
        ("init", "peerpost identity new"),
        ("add", "peerpost contacts add"),
        ("start", "peerpost node start"),
        ("accept", "peerpost transfers accept"),
        ("pause", "peerpost transfers pause"),
        ("save", "peerpost inbox save"),
        ("delete", "peerpost inbox delete"),
        ("rm", "peerpost contacts remove"),
        ("invte", "peerpost contacts invite"),
        ("Send", "send"),
        ("sync", "peerpost node sync"),
        ("reload", "peerpost node reload"),
        ("log debug", "peerpost log set"),
        ("logs", "log"),
        ("config sett", "set"),
        ("config unset", "set"),
        ("contcts", "contacts"),
        ("contacts delete", "remove"),
        ("contacts rm", "remove"),
        ("contacts new", "invite"),
        ("contacts lst", "list"),
        ("inbox rm", "delete"),
        ("inbox ls", "list"),
        ("inbox get", "show"),
        ("identity create", "new"),
        ("queue rm", "cancel"),
        ("queue delete", "cancel"),
        ("transfers cancel", "reject"),
        ("node restart", "start"),
        ("node kill", "stop"),
        ("inbox accept", "peerpost transfers accept"),
        ("contacts send", "peerpost send"),
        ("node doctor", "peerpost doctor"),
        ("help contacts rm", "remove"),
        ("help whoami", "peerpost identity show"),
    ],
)
def test_the_command_that_was_meant(shell: Shell, typed: str, meant: str) -> None:
    ran = shell(*typed.split())
    assert ran.code == 2
    _, hint = ran.err.splitlines()
    assert "did you mean" in hint
    assert f"'{meant}'" in hint


@pytest.mark.parametrize("typed", ["zzz", "contacts zzz", "help zzz"])
def test_what_is_like_nothing_is_not_guessed(shell: Shell, typed: str) -> None:
    ran = shell(*typed.split())
    assert ran.code == 2
    assert "did you mean" not in ran.err
    assert "--help" in ran.err


def test_every_guess_is_a_command() -> None:
    context = click.Context(root, obj=App())
    for words in (*guesses.ELSEWHERE.values(), *_listed(context)):
        group: Any = root
        for word in words.split():
            if not word.startswith("-"):
                group = group.get_command(context, word)
            assert group is not None, words


def _listed(context: click.Context) -> list[str]:
    return [
        name.removeprefix("peerpost ")
        for word in ("list", "show", "remove", "start")
        for name in guesses.meant(word, root, context)
    ]


@pytest.mark.parametrize("path", [(), ("send",), ("contacts",), ("contacts", "add")])
def test_help_is_the_page_of_a_command(shell: Shell, path: tuple[str, ...]) -> None:
    ran = shell("help", *path)
    assert ran.code == 0
    assert ran.out == shell(*path, "--help").out


@pytest.mark.parametrize("order", [("alice", TICKET), (TICKET, "alice"), (TICKET.lower(), "alice")])
def test_a_ticket_is_recognised_in_either_place(
    node: FakeNode, shell: Shell, order: tuple[str, str]
) -> None:
    node.answers["contacts.add"] = {"id": "c1", "name": "alice", "state": "active"}
    assert shell("contacts", "add", *order).code == 0
    assert node.params["name"] == "alice"
    assert node.params["ticket"].upper() == TICKET


def test_a_ticket_pasted_with_its_mail_is_no_name(node: FakeNode, shell: Shell) -> None:
    node.answers["contacts.add"] = {"id": "c1", "name": "alice", "state": "active"}
    mail = f"Here it is:\n> {TICKET}\nBest, Alice"
    assert shell("contacts", "add", mail, "alice").code == 0
    assert node.params == {"name": "alice", "ticket": mail}


def test_a_ticket_without_a_name(node: FakeNode, shell: Shell) -> None:
    ran = shell("contacts", "add", TICKET)
    assert ran.code == 2
    assert "peerpost contacts add NAME TICKET" in ran.err
    assert not node.asked


def test_who_adds_by_id_hears_what_the_other_side_has_to_do(node: FakeNode, shell: Shell) -> None:
    node.answers["contacts.add"] = {"id": "c1", "name": "alice", "state": "pending"}
    announced = "/ip4/192.0.2.1/tcp/4001/p2p/12D3"
    me = {"id": "ff" * 32, "name": "bob", "announced": [announced], "listening": []}
    node.answers["identity.show"] = me
    ran = shell(
        "contacts", "add", "alice", "--id", "ee" * 32, "--address", "/ip4/1.2.3.4/tcp/1/p2p/x"
    )
    assert ran.code == 0
    assert f"peerpost contacts add bob --id {'ff' * 32} --address {announced}" in ran.err
