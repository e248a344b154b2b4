"""The command line that scripts, tests and bots depend on: every command, option and key of it, in tables.

They were written out from the contract by hand, so that a name that is changed by mistake is noticed here. What the
contract has and this version does not stands in `ABSENT`, with the reason; when it is built, it moves to the others.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import pytest_asyncio

from peerpost import errors
from peerpost.cli.app import CONTEXT
from peerpost.cli.main import PIPE_CLOSED, root
from peerpost.stopping import WORDS
from peerpost.store.tables import states
from tests.support.nodes import Friend, leave_nothing, meet, until

SOURCE = "passphrase-fd passphrase-file passphrase-stdin"
COMMANDS: dict[str, str] = {
    "identity new": f"name {SOURCE} no-passphrase",
    "identity show": "",
    "identity unlock": SOURCE,
    "identity lock": "",
    "identity delete": "",
    "identity passphrase": "",
    "contacts invite": "expires",
    "contacts invites": "withdraw",
    "contacts add": "ticket-file id address",
    "contacts list": "",
    "contacts show": "",
    "contacts edit": "rename note tag address accept quota",
    "contacts verify": "",
    "contacts block": "",
    "contacts unblock": "",
    "contacts remove": "yes forget",
    "send": "contact to-tag file text lane wait timeout name expires",
    "send-net": "contact to-tag file text lane wait timeout name expires",
    "queue list": "",
    "queue show": "",
    "queue retry": "",
    "queue cancel": "",
    "transfers list": "",
    "transfers show": "",
    "transfers pause": "",
    "transfers resume": "",
    "transfers accept": "",
    "transfers reject": "",
    "inbox list": "contact unread limit since",
    "inbox show": "",
    "inbox search": "contact limit",
    "inbox save": "all out move",
    "inbox delete": "older-than contact",
    "inbox watch": "as after",
    "inbox ack": "as",
    "inbox mark": "",
    "inbox export": "all out format encrypt",
    "inbox import": "dry-run",
    "sent list": "",
    "sent show": "",
    "node run": "listen",
    "node start": "",
    "node status": "",
    "node stop": "",
    "node reload": "",
    "node sync": "",
    "limits show": "",
    "limits set": "contact up down messages burst",
    "limits test": "",
    "log set": "",
    "backup create": "",
    "backup restore": "",
    "doctor": "",
    "config show": "",
    "config path": "",
    "config check": "",
    "config set": "",
    "rpc": "",
    "mcp": "",
    "chat": "linear",
    "demo": "",
    "completion": "",
}
"""Every command, with its options by their long names."""
GLOBAL = "home json quiet log-level log-format color debug version help"
SHORT = {"-q", "-v", "-h"}

_LATER = "not built yet"
ABSENT: dict[str, str] = {
    "identity rotate": _LATER,
    "identity history": _LATER,
    "send --pad": "padding is a setting, [padding] mode, and not yet one of a message",
    "queue bundle": _LATER,
    "node run --quic": "the transport is TCP alone",
    "node run --mdns": _LATER,
    "node run --metrics": _LATER,
    "relay": _LATER,
    "metrics": _LATER,
    "bench": "bench/ is run from the sources: python3 dev.py bench",
}
"""What the contract has and this version does not, with the reason."""

MESSAGE = "id contact kind size lane state"
CONTACT = "id name peer_id verified last_seen online queued unread"
KEYS: dict[str, str] = {
    "identity show": "id name peer_id fingerprint locked protected addresses created keys",
    "contacts invite": "ticket expires",
    "contacts add": "id name state",
    "contacts list": CONTACT,
    "contacts show": f"{CONTACT} notes addresses safety_number verified_at added key_age path"
    " transport rtt_ms sent received limits last_error",
    "send": MESSAGE,
    "queue list": f"{MESSAGE} attempts next_attempt last_error progress",
    "inbox list": "id contact kind size received_at sent_at unread preview",
    "inbox show": "id contact kind size received_at sent_at unread preview body",
    "inbox show FILE": "id contact kind size received_at sent_at unread preview name path blake2b",
    "inbox search": "id contact kind size received_at sent_at unread preview match",
    "inbox import": "imported duplicates",
    "node run": "event peer_id addresses control metrics",
    "error": "code message hint",
}
"""The keys of a row, by the command that prints it."""

EXIT_CODES = {0, 1, 2, 65, 66, 67, 69, 71, 73, 74, 75, 76, 77, 78, 130, 141, 143}
MESSAGE_STATES = {"queued", "sent", "delivered", "cancelled", "refused", "expired"}
TRANSFER_STATES = {"offered", "asking", "active", "paused", "done", "failed", "cancelled"}


def tree() -> dict[str, click.Command]:
    """Return every command by the words that call it."""
    found: dict[str, click.Command] = {}

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        found[" ".join(path)] = command
        if isinstance(command, click.Group):
            context = click.Context(command, **CONTEXT)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                walk(inner, (*path, name))

    walk(root, ())
    return found


TREE = tree()


def options(command: click.Command) -> set[str]:
    with click.Context(command, **CONTEXT) as context:
        return {name for one in command.get_params(context) for name in one.opts}


@pytest.mark.parametrize(("path", "named"), COMMANDS.items())
def test_a_command_has_its_options(path: str, named: str) -> None:
    assert path in TREE
    missing = {f"--{name}" for name in named.split()} - options(TREE[path])
    assert not missing


@pytest.mark.parametrize("path", ["", *COMMANDS])
def test_every_command_takes_the_global_options(path: str) -> None:
    wanted = {f"--{name}" for name in GLOBAL.split()} | SHORT
    assert wanted - options(TREE[path]) == set()


@pytest.mark.parametrize("what", ABSENT)
def test_what_is_absent_is_still(what: str) -> None:
    path, _, option = what.partition(" --")
    is_here = path in TREE and (not option or f"--{option}" in options(TREE[path]))
    assert not is_here, f"{what} is here now: move it from ABSENT to COMMANDS, with its keys"


def test_the_exit_codes_and_states_are_those() -> None:
    codes = {0, PIPE_CLOSED} | {getattr(errors, name).exit_code for name in errors.__all__}
    codes |= {128 + getattr(signal, name) for name in WORDS}
    assert EXIT_CODES - codes == set()
    assert set(states.ENTRY_NEXT) == MESSAGE_STATES
    assert set(states.TRANSFER_NEXT) == TRANSFER_STATES


# -- two real nodes


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pp-cli-") as name:
        try:
            yield Path(name)
        finally:
            leave_nothing(Path(name))


@pytest_asyncio.fixture
async def pair(folder: Path) -> AsyncIterator[tuple[Friend, Friend]]:
    alice, bob = Friend("alice", folder), Friend("bob", folder)
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(bob, alice)
    yield alice, bob
    await asyncio.gather(alice.close(), bob.close())


def lacks(what: str, row: dict[str, Any]) -> set[str]:
    return set(KEYS[what].split()) - set(row)


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="ends processes by signals")
async def test_rows_have_their_keys(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, bob = pair
    found: dict[str, dict[str, Any]] = {}
    found["identity show"] = (await bob.cli("identity", "show")).row
    invited = (await bob.cli("contacts", "invite", "carol")).row
    found["contacts invite"] = invited
    carol = Friend("carol", folder)
    await carol.cli("identity", "new", "--name", "carol", "--no-passphrase")
    found["contacts add"] = (await carol.cli("contacts", "add", "bob", invited["ticket"])).row
    process = None
    try:
        found["contacts list"] = (await bob.cli("contacts", "list")).rows[0]
        found["contacts show"] = (await bob.cli("contacts", "show", "alice")).row
        sent = await bob.cli("send", "--contact", "alice", "a text of bob", "--wait")
        assert [row["state"] for row in sent.rows][-1] == "delivered"
        found["send"] = sent.rows[0]
        path = folder / "report.pdf"
        path.write_bytes(bytes(100_000))
        await bob.cli("send-net", "--contact", "alice", "--file", str(path), "--wait")
        listed = (await alice.cli("inbox", "list")).rows
        found["inbox list"] = listed[0]
        file, text = listed
        found["inbox show"] = (await alice.cli("inbox", "show", text["id"])).row
        found["inbox show FILE"] = (await alice.cli("inbox", "show", file["id"])).row
        found["inbox search"] = (await alice.cli("inbox", "search", "TEXT")).row
        archive = str(folder / "archive.zip")
        await alice.cli("inbox", "export", "--all", "--out", archive)
        found["inbox import"] = (await alice.cli("inbox", "import", archive)).row
        missing = await alice.cli("inbox", "show", "zzzzzzzz", code=67)
        found["error"] = missing.error
        await carol.cli("node", "stop")

        async def carol_is_gone() -> bool:
            return not (await bob.ask("contacts.show", {"name": "carol"}))["online"]

        await until(carol_is_gone)
        await bob.cli("send", "--contact", "carol", "waits")
        found["queue list"] = (await bob.cli("queue", "list")).row
        process, ready = await ready_of(carol)
        found["node run"] = ready
    finally:
        if process is not None:
            process.terminate()
            await process.wait()
    assert set(found) == set(KEYS)
    assert {what: lacks(what, row) for what, row in found.items()} == {key: set() for key in KEYS}


async def ready_of(friend: Friend) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """Start `node run`; return the process and its ready line."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "peerpost.cli",
            "--home",
            str(friend.home),
            "--json",
            "node",
            "run",
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return process, json.loads(await process.stdout.readline())
