"""A file larger than what is taken unasked: both sides say who has to run what, and a higher limit lets it go."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.nodes import Friend, content, until

pytestmark = pytest.mark.asyncio

SIZE = 3_000_000


async def _asking(bob: Friend) -> dict[str, Any]:
    async def asked() -> bool:
        return [row["state"] for row in await bob.ask("transfers.list")] == ["asking"]

    await until(asked)
    return dict((await bob.ask("transfers.list"))[0])


async def _told(alice: Friend) -> None:
    async def told() -> bool:
        return "asking:" in str((await alice.ask("queue.list"))[0]["last_error"])

    await until(told)


def _events(err: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in err.splitlines()]
    return [event for event in found if event.get("event") == "asking"]


async def _cli(one: Friend, *arguments: str) -> tuple[int, str, str]:
    """Run a command as a person does, in a pipe."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peerpost.cli", "--home", str(one.home), *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_who_does_not_wait_is_told_too(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.cli("contacts", "edit", "alice", "--accept", "1kB")
    (alice.home.parent / "large").write_bytes(content(SIZE))

    async def online() -> bool:
        return bool((await alice.ask("contacts.show", {"name": "bob"}))["online"])

    await until(online)  # Nobody waits for the answer of who is away.
    sent = await alice.cli("send", "-c", "bob", "--file", f"{alice.home.parent}/large")
    assert sent.row["state"] == "queued"
    (event,) = _events(sent.err)
    assert "bob has to accept it first" in event["last_error"]
    await bob.stop()
    sent = await alice.cli("send", "-c", "bob", "--file", f"{alice.home.parent}/large")
    assert _events(sent.err) == [], "nobody can have answered"


async def test_both_sides_say_what_waits_for_whom(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.cli("contacts", "edit", "alice", "--accept", "1MB")
    data = content(SIZE)
    sent = await alice.cli(
        *("send-net", "--contact", "bob", "--name", "dump.sql", "--wait", "--timeout", "3", "-"),
        stdin=data,
        code=75,
    )
    id_ = sent.rows[0]["id"]
    waiting = await _asking(bob)
    command = f"peerpost transfers accept {waiting['id']}"

    # The sender: while it waits, when it gives up waiting, and whenever it looks.
    (event,) = _events(sent.err)
    assert (event["id"], command in event["last_error"]) == (id_, True)
    assert command in sent.error["message"]
    assert "once bob has accepted it" in sent.error["hint"]
    for arguments in (("queue", "list"), ("queue", "show", id_)):
        row = (await alice.cli(*arguments)).row
        assert row["last_error"].startswith("asking: ")
        assert f"bob has to accept it first, and runs: {command}" in row["last_error"]
    row = (await alice.cli("transfers", "list")).row
    assert (row["state"], command in row["error"]) == ("asking", True)
    # Also after either node was begun again.
    for one in (alice, bob):
        await one.stop()
        await one.start()
        await _told(alice)
        row = (await alice.ask("transfers.list"))[0]
        assert (row["state"], command in row["error"]) == ("asking", True)
    _, _, err = await _cli(alice, "send", "--contact", "bob", "--wait", "--timeout", "2", "hello")
    assert "asking" not in err  # a text has nothing to wait for

    # The receiver, where it looks for what came. The end of a stream is told again once a session begins.
    async def sized() -> bool:
        return bool((await bob.ask("transfers.list"))[0]["size"] == SIZE)

    await until(sized)
    listed = await bob.cli("inbox", "list")
    assert [row["kind"] for row in listed.rows] == ["text"]
    (event,) = _events(listed.err)
    assert (event["id"], event["contact"], event["size"]) == (waiting["id"], "alice", SIZE)
    _, _, err = await _cli(bob, "inbox", "list", "--contact", "alice")
    assert f"dump.sql (2.9 MiB) from alice waits for you to accept it: {command}" in err
    _, _, err = await _cli(bob, "inbox", "list", "--quiet")
    assert err == ""

    # More is taken unasked from now on: what asks already and fits goes on by itself, nothing else does.
    await bob.cli("contacts", "edit", "alice", "--accept", "2MB")
    await asyncio.sleep(
        0.5
    )  # What fits goes on with the command that changes the limit, or soon after.
    assert (await bob.ask("transfers.list"))[0]["state"] == "asking"
    await bob.cli("contacts", "edit", "alice", "--accept", "4MB")
    await alice.delivered(id_)
    assert (await bob.ask("transfers.list"))[0]["done_bytes"] == SIZE
    assert _events((await bob.cli("inbox", "list")).err) == []


async def test_a_stream_that_grew_too_long_goes_on_once_more_is_taken(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await bob.cli("contacts", "edit", "alice", "--accept", "1MB")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peerpost.cli", "--home", str(alice.home), "--json"),
        *("send-net", "--contact", "bob", "--name", "dump.sql", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(content(SIZE))
    await process.stdin.drain()
    waiting = await _asking(bob)
    await _told(alice)

    async def some() -> bool:
        return bool((await bob.ask("transfers.list"))[0]["done_bytes"])

    await until(some)
    await bob.cli("contacts", "edit", "alice", "--accept", "ask")
    await asyncio.sleep(0.3)  # As above: it would go on by then.
    assert (await bob.ask("transfers.list"))[0]["state"] == "asking"
    await bob.cli("contacts", "edit", "alice", "--accept", "4MB")
    process.stdin.close()
    _, err = await process.communicate()
    assert process.returncode == 0, err

    async def arrived() -> bool:
        return bool((await bob.ask("transfers.list"))[0]["state"] == "done")

    await until(arrived)
    (event,) = _events(err.decode())
    assert f"peerpost transfers accept {waiting['id']}" in event["last_error"]


async def test_the_limit_of_the_configuration_releases_too(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.cli("contacts", "edit", "alice", "--accept", "1MB")
    id_ = await alice.queue_file("bob", "a", content(SIZE))
    waiting = await _asking(bob)
    await _told(alice)
    await alice.stop()
    await alice.start()
    # The new session is told anew, and before it the store knows.
    command = f"peerpost transfers accept {waiting['id']}"
    assert command in (await alice.ask("queue.list"))[0]["last_error"]
    await bob.stop()
    await bob.cli("contacts", "edit", "alice", "--accept", "default")
    await alice.delivered(id_)
