"""Bad input: each with its exit code, message and hint, and nothing is changed by any of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nodes import Friend, processes_in

pytestmark = pytest.mark.asyncio

SEND = ("send-net", "--contact", "bob")
NAMES_HINT = "use letters, digits"
ADDRESS_HINT = "an address looks like /ip4/192.0.2.7/tcp/4001"
PEER_ID = "12D3KooWDoAjwXNPQhKAxPgVaxMhAr34X9SgodshFg5LicSnqAEm"

Case = tuple[tuple[str | bytes, ...], int, str, str, str | None]
"""Arguments, exit code, code, part of the message, part of the hint."""


def cases(folder: Path) -> list[Case]:
    """Return what somebody may get wrong in a home that has a contact named bob."""
    report = folder / "report.txt"
    report.write_text("x")
    near = f"did you mean {report}?"
    usage: list[Case] = [
        (("contacts", "invite", *name), 2, "usage", "a name has", NAMES_HINT)
        for name in (("",), ("x" * 65,))
    ]
    usage += [
        (("contacts", "invite", *name), 2, "usage", "a character that a name", NAMES_HINT)
        for name in (("a b",), ("a/b",), ("a\u202eb",), ("a\nb",), ("--", "-x"), ("a\u200bb",))
    ]
    usage += [
        (("contacts", "edit", "bob", "--rename", "not ok"), 2, "usage", "a character", NAMES_HINT),
        ((*SEND, ""), 2, "usage", "the text is empty", None),
        (SEND, 2, "usage", "nothing to send", "--file PATH"),
        ((*SEND, "two", "words"), 2, "usage", "a text is one argument", '"two words"'),
        ((*SEND, "hi", "--timeout", "3s"), 2, "usage", "--timeout needs --wait", None),
        ((*SEND, "hi", "--wait", "--timeout", "soon"), 2, "usage", "'soon' is not a duration", ""),
        ((*SEND, "hi", "--lane", "slow"), 2, "usage", "'slow' is not one of", ""),
        (("contacts", "invite", "eve", "--expires", "0s"), 2, "usage", "one second to one", "24h"),
        (("contact", "list"), 2, "usage", "no command 'contact'", "did you mean 'contacts'?"),
        (("contacts", "lst"), 2, "usage", "no command 'lst'", "did you mean 'list'?"),
    ]
    missing: list[Case] = [
        (("send-net", "--contact", "bbo", "x"), 67, "not_found", "'bbo'", "did you mean 'bob'?"),
        (("send-net", "--contact", "Bob", "x"), 67, "not_found", "'Bob'", "did you mean 'bob'?"),
        (("contacts", "show", "zzzz"), 67, "not_found", "'zzzz'", "peerpost contacts list"),
        (("contacts", "remove", "bo", "--yes"), 67, "not_found", "'bo'", "did you mean 'bob'?"),
        (("queue", "show", "zzzz"), 67, "not_found", "no queue entry 'zzzz'", "sent list"),
        (("queue", "cancel", "zzzz"), 67, "not_found", "no queue entry 'zzzz'", "sent list"),
        (("inbox", "show", "zzzz"), 67, "not_found", "no message 'zzzz'", "inbox list"),
        (("transfers", "accept", "zz"), 67, "not_found", "no transfer 'zz'", "transfers list"),
    ]
    files: list[Case] = [
        ((*SEND, "--file", f"{folder}/reprot.txt"), 66, "no_input", "there is no file", near),
        # Nothing is sent of several when one is not there.
        ((*SEND, "--file", str(report), f"{folder}/no"), 66, "no_input", "there is no file", None),
        ((*SEND, "--file", f"{folder}/no/x"), 66, "no_input", "no file", "there is no folder"),
        (
            ("contacts", "add", "eve", "--ticket-file", str(folder)),
            66,
            "no_input",
            "is a folder",
            "name a file in it",
        ),
        ((*SEND, b"\xff\xfe"), 65, "bad_input", "not valid UTF-8", "--file"),
        (
            ("contacts", "add", "eve", "--ticket-file", f"{folder}/no"),
            66,
            "no_input",
            "no file",
            None,
        ),
    ]
    (folder / "dangling").symlink_to("nowhere")
    dangling = f"{folder}/dangling is a link to nowhere, and there is nothing"
    files += [
        ((*SEND, "--file", f"{folder}/dangling"), 66, "no_input", dangling, "ls -l"),
        ((*SEND, "--file", f"{folder}/danglin"), 66, "no_input", "no file", "did you mean"),
        (
            ("contacts", "add", "eve", "--ticket-file", f"{folder}/dangling"),
            66,
            "no_input",
            dangling,
            None,
        ),
        (("inbox", "save", "x", "--out", ""), 2, "usage", "--out is empty", None),
        (("inbox", "save", "--all", "--out", ""), 2, "usage", "--out is empty", None),
    ]
    if Path("/proc/self/mem").exists():
        unreadable = (*SEND, "--file", "/proc/self/mem")  # opens, and gives an error when read
        files.append((unreadable, 66, "no_input", "cannot read the input", None))
    edit = ("contacts", "edit", "bob", "--address")
    addresses: list[Case] = [
        ((*edit, text), 65, "bad_input", message, hint)
        for text, message, hint in (
            ("nonsense", "not an address", ADDRESS_HINT),
            ("/ip4/192.0.2.7", "not an address", ADDRESS_HINT),
            ("/ip4/300.0.2.7/tcp/1", "not an ip4 address", ADDRESS_HINT),
            ("/ip4/192.0.2.7/tcp/70000", "the port of an address", "1 to 65535"),
            ("/ip4/192.0.2.7/tcp/0", "the port of an address", "1 to 65535"),
        )
    ]
    add = ("contacts", "add", "eve", "--id")
    where = "/ip4/192.0.2.7/tcp/1"
    addresses += [
        ((*add, "00", "--address", where), 65, "bad_input", "the identity is damaged", "64 hex"),
        ((*add, "1" * 64, "--address", where), 65, "bad_input", "which peer", "/p2p/PEER_ID"),
        ((*add, "1" * 64, "--address", f"{where}/p2p/x"), 65, "bad_input", "peer id", "12D3KooW"),
        ((*add, "1" * 64), 2, "usage", "--id and --address belong together", None),
    ]
    return usage + missing + files + addresses


async def refused(one: Friend, case: Case) -> None:
    arguments, code, word, message, hint = case
    done = await one.cli(*arguments, code=None)
    assert done.code == code, (arguments, done)
    assert done.out == b"", (arguments, done)
    assert done.error["code"] == word, (arguments, done)
    assert message in done.error["message"], (arguments, done)
    assert hint is None or hint in (done.error["hint"] or ""), (arguments, done)


async def test_every_mistake_is_named_and_changes_nothing(
    friend: Callable[..., Friend],
) -> None:
    alice = friend("alice")
    folder = alice.home.parent
    await alice.start()
    await alice.create()
    where = f"/ip4/127.0.0.1/tcp/9/p2p/{PEER_ID}"  # the discard port: nobody is there
    await alice.cli("contacts", "add", "bob", "--id", "1" * 64, "--address", where)
    texts = [{"contact": "bob", "text": f"text {number}"} for number in range(40)]
    ids = [(await alice.ask("send-net", text))["id"] for text in texts]
    before = await alice.state()

    async with asyncio.timeout(60):
        some = asyncio.Semaphore(4)

        async def try_it(case: Case) -> None:
            async with some:
                await refused(alice, case)

        await asyncio.gather(*(try_it(case) for case in cases(folder)))
    # Forty ids of a 32-letter alphabet: some letter begins two of them.
    first = next(id_[0] for id_ in ids if sum(other[0] == id_[0] for other in ids) > 1)
    await refused(alice, (("queue", "show", first), 67, "ambiguous", "more than one", "among"))
    # Another node on this home: by each way there is to start one.
    for start in (("node", "run"), ("node", "run", "--listen", "/ip4/127.0.0.1/tcp/0")):
        case = (start, 71, "already_running", "a node runs on this home already", "node stop")
        await refused(alice, case)
    listen = ("node", "start", "--listen", "/ip4/127.0.0.1/tcp/0")
    await refused(alice, (listen, 71, "already_running", "runs already", "peerpost node stop"))
    new = ("identity", "new", "--name", "eve", "--no-passphrase")
    await refused(alice, (new, 73, "exists", "has an identity already", "identity show"))
    none = await alice.cli(*SEND, "-", stdin=b"", code=65)
    assert none.error["message"] == "stdin is empty: nothing to send"

    assert await alice.state() == before


async def test_a_file_that_may_not_be_read(friend: Callable[..., Friend]) -> None:
    setpriv = shutil.which("setpriv")
    wrap: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if setpriv is None:
            pytest.skip("root may read every file, and there is no setpriv to give that up with")
        wrap = (setpriv, "--bounding-set=-all", "--inh-caps=-all")
    alice = friend("alice")
    secret = alice.home.parent / "secret.txt"
    secret.write_text("x")
    secret.chmod(0)
    done = await alice.cli(*SEND, "--file", str(secret), code=66, wrap=wrap)
    assert done.error["message"] == f"{secret} may not be read"
    assert done.error["hint"] == "look at its rights: ls -l"


async def test_without_an_identity_or_a_node(friend: Callable[..., Friend]) -> None:
    alice = friend("alice")
    before = sorted(alice.home.iterdir())
    for command in (
        *((*SEND, "hi"), ("contacts", "list"), ("contacts", "invite", "bob")),
        *(("inbox", "list"), ("queue", "list"), ("identity", "show")),
        *(("node", "run"), ("node", "start")),
    ):
        await refused(alice, (command, 78, "no_identity", "no identity", "peerpost identity new"))
    assert sorted(alice.home.iterdir()) == before
    for name in ("", "a b", "-x"):
        new = ("identity", "new", f"--name={name}", "--no-passphrase")
        await refused(alice, (new, 2, "usage", "name", NAMES_HINT))
    await alice.cli("node", "stop")
    assert not (alice.home / "keyfile").exists()

    made = await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    assert made.row["addresses"], "it does not listen yet"
    await alice.cli("node", "stop")
    for command in ((*SEND, "hi"), ("contacts", "list"), ("node", "status")):
        case = ((*command, "--no-spawn"), 69, "unavailable", "not running", "node start")
        await refused(alice, case)
    assert not list(processes_in(alice.home))
    # An address to listen at, or a key of the configuration, that nothing can be made of.
    listen = ("node", "run", "--listen", "nonsense")
    await refused(alice, (listen, 65, "bad_input", "not an address", ADDRESS_HINT))
    config = alice.home / "config.toml"
    good = config.read_text()
    for text, message, hint in (
        ("[network]\nlisen = []\n", "'lisen'", "did you mean 'listen'?"),
        ('[network]\nlisten = ["nonsense"]\n', "not an address", ADDRESS_HINT),
        ('[node]\nidle_exit = "soon"\n', "'soon' is not a duration", None),
        ("[network\n", "not valid TOML", None),
    ):
        config.write_text(text)
        await refused(alice, (("contacts", "list"), 78, "config", message, hint))
        await refused(alice, (("node", "run"), 78, "config", message, hint))
    config.write_text(good)
    assert (await alice.cli("contacts", "list")).rows == []


async def test_the_keys_of_a_home_are_sent_to_nobody(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    (alice.home.parent / "link").symlink_to(alice.home / "keyfile")
    os.link(alice.home / "store.db", alice.home.parent / "linked")
    for path in (
        *(alice.home, alice.home / "keyfile", alice.home / "store.db", alice.home / "blobs"),
        *(alice.home.parent / "link", alice.home.parent / "linked"),
    ):
        for more in ((), ("--spool",)):
            told = await alice.cli("send", "-c", "bob", "--file", str(path), *more, code=65)
            assert "your Peerpost home" in told.error["message"]
    for path in ("keyfile", "config.toml", "../link", "../linked"):
        for more in (("-",), ("--name", "x", "-"), ("--file", "-"), ("--file", "/dev/stdin")):
            shell = ("sh", "-c", f'exec "$@" < "{alice.home}/{path}"', "sh")
            told = await alice.cli("send", "-c", "bob", *more, code=65, wrap=shell)
            assert "your Peerpost home" in told.error["message"]
    assert await alice.ask("queue.list") == await alice.ask("sent.list") == []
    # A folder that holds the home goes without it.
    holds = alice.home.parent / "holds"
    holds.mkdir()
    (holds / "a file").write_text("x")
    (holds / "linked").hardlink_to(alice.home / "keyfile")
    row = (await alice.cli("send", "-c", "bob", "--file", str(holds), "--wait")).rows[0]
    assert row["skipped"] == ["linked (it is your Peerpost home)"]
    (item,) = await bob.ask("inbox.list", {})
    assert item["files"] == 1
