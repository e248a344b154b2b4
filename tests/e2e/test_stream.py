"""stdin of unknown length is sent while it is read; what is cut off never becomes a file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.nodes import WAIT_S, Friend, content, digest, until

pytestmark = pytest.mark.asyncio

LONG = int(os.environ.get("PEERPOST_STREAM_MB", "24")) * 1_000_000
"""200 in the long form."""
PART = 1_000_000


class Command:
    """A `send-net` whose stdin is a pipe that the test writes to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        async with asyncio.timeout(WAIT_S):
            await self.process.stdin.drain()

    async def row(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            found: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return found

    async def end(self) -> tuple[int, list[dict[str, Any]], str]:
        """End the input; return the exit code, the rows that were left, and stderr."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(WAIT_S):
            out, err = await self.process.communicate()
        rows = [json.loads(line) for line in out.splitlines()]
        return self.process.returncode or 0, rows, err.decode()


@asynccontextmanager
async def sending(one: Friend, *options: str) -> AsyncIterator[Command]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peerpost.cli", "--home", str(one.home), "--json"),
        *("send-net", "--contact", "bob", "--name", "dump.sql", *options, "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def transfer(one: Friend) -> dict[str, Any]:
    """Return the newest."""
    found = (await one.ask("transfers.list"))[0]
    assert isinstance(found, dict)
    return found


def is_(one: Friend, **wanted: object) -> Callable[[], Any]:
    async def so() -> bool:
        found = await one.ask("transfers.list")
        return bool(found) and all(found[0][key] == value for key, value in wanted.items())

    return so


async def received(bob: Friend, data: bytes) -> None:
    """Expect the newest item to be this."""
    item = (await bob.ask("inbox.list", {}))[0]
    shown = await bob.ask("inbox.show", {"id": item["id"]})
    assert (shown["name"], shown["size"], shown["blake2b"]) == (
        "dump.sql",
        len(data),
        digest(data),
    )


async def test_it_arrives_while_it_is_still_being_read(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    data = content(LONG)
    async with sending(alice, "--wait", "--timeout", "60") as command:
        await command.write(data[:PART])
        row = await command.row()
        # The id is there at once, and the beginning on the other side before the rest is written.
        assert (row["state"], row["size"]) == ("queued", None)

        async def arriving() -> bool:
            found = await bob.ask("transfers.list")
            return bool(found) and found[0]["done_bytes"] >= PART // 2

        await until(arriving)
        assert (await transfer(bob))["size"] is None
        for at in range(PART, LONG, PART):
            await command.write(data[at : at + PART])
        code, (last,), err = await command.end()
    assert code == 0, err
    assert (last["id"], last["state"], last["size"]) == (row["id"], "delivered", LONG)
    await received(bob, data)
    assert list((alice.home / "spool").iterdir()) == []

    sent = await alice.cli("send-net", "--contact", "bob", "--name", "dump.sql", "-", stdin=b"x")
    assert sent.row["size"] == 1  # short input is a file with a size
    await alice.delivered(sent.row["id"])
    await received(bob, b"x")


async def test_a_receiver_that_comes_later_and_a_sender_killed_after_the_end(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await bob.kill()
    data = content(LONG)
    async with sending(alice) as command:
        await command.write(data[:PART])
        row = await command.row()
        await command.write(data[PART:])
        code, rows, err = await command.end()
        assert (code, rows) == (0, []), err
    shown = (await alice.cli("sent", "show", row["id"])).row
    assert (shown["state"], shown["size"]) == ("queued", LONG)
    await alice.kill()
    await alice.start()
    await bob.start()
    await alice.delivered(row["id"])
    await received(bob, data)


async def test_what_is_cut_off_fails_on_both_sides(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    command_ended = "the command that read the input ended before the input did"
    node_ended = "the sender's node ended while the source was still being read"

    async def cut_off(
        cause: str, how: Callable[[Command], Awaitable[None]], *, cancelled: bool = False
    ) -> None:
        async with sending(alice) as command:
            await command.write(content(3 * PART))
            row = await command.row()
            await until(is_(bob, state="active"))
            await how(command)
            await until(is_(bob, state="cancelled", error=cause))
        await until(is_(alice, state="cancelled" if cancelled else "failed", error=cause))
        shown = (await alice.cli("sent", "list")).rows[0]
        told = cause if cancelled else f"it failed, and the contact did not refuse it: {cause}"
        state = "cancelled" if cancelled else "refused"
        assert (shown["id"], shown["state"], shown["last_error"]) == (row["id"], state, told)

    async def kill(command: Command) -> None:
        command.process.kill()

    async def interrupt(command: Command) -> None:
        # As Ctrl-C does to a pipeline: the signal for all, and the end of the pipe soon after.
        command.process.send_signal(signal.SIGINT)
        assert (await command.end())[:2] == (130, [])

    async def kill_node(command: Command) -> None:
        await alice.kill()
        assert (await command.end())[:2] == (69, [])
        await alice.start()

    async def stop_node(command: Command) -> None:
        await alice.stop()
        assert (await command.end())[:2] == (69, [])
        await alice.start()

    await cut_off(command_ended, kill, cancelled=True)
    await cut_off(command_ended, interrupt, cancelled=True)
    await bob.stop()
    async with sending(alice) as command:
        # Nobody is there to be told: it is taken back all the same, and told then.
        await command.write(content(2 * PART))
        row = await command.row()
        await interrupt(command)
    await until(is_(alice, state="cancelled", error=command_ended))
    shown = await alice.ask("sent.show", {"id": row["id"]})
    assert (shown["state"], shown["last_error"]) == ("cancelled", command_ended)
    await bob.start()
    await cut_off(node_ended, kill_node)
    await cut_off(node_ended, stop_node)
    assert await bob.ask("inbox.list", {}) == []

    async def tidy() -> bool:
        folders = (alice.home / "spool", bob.home / "blobs")
        return not any(path for folder in folders for path in folder.iterdir())

    await until(tidy)


async def test_taken_back_longer_than_accepted_and_spooled(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    async with sending(alice) as command:
        await command.write(content(2 * PART))
        row = await command.row()
        await until(is_(bob, state="active"))
        await alice.cli("queue", "cancel", row["id"])
        code, rows, err = await command.end()
    assert (code, rows) == (76, [])
    assert "cancelled by the sender" in err
    await until(is_(bob, state="cancelled", error="cancelled by the sender"))

    await bob.cli("contacts", "edit", "alice", "--accept", "2MB")
    data = content(6 * PART)
    async with sending(alice) as command:
        await command.write(data)
        row = await command.row()
        await until(is_(bob, state="asking"))
        found = await transfer(bob)
        assert found["error"] == (
            "the stream is longer than the 2000000 bytes accepted:"
            f" peerpost transfers accept {found['id']} (or reject)"
        )
        await until(is_(alice, state="asking"))
        assert f"peerpost transfers accept {found['id']}" in (await transfer(alice))["error"]
        accepted = (await bob.cli("transfers", "accept", found["id"])).row
        assert (accepted["state"], accepted["error"]) == ("active", None)
        assert accepted["done_bytes"] >= PART
        code, _, err = await command.end()
        assert code == 0, err
    await alice.delivered(row["id"])
    await received(bob, data)

    async with sending(alice, "--spool") as command:
        await command.write(content(PART))
        await asyncio.sleep(0.5)
        assert await alice.ask("queue.list") == []  # nothing is offered before the end
        code, (row,), err = await command.end()
    assert (code, row["size"]) == (0, PART), err
    await alice.delivered(row["id"])
    await received(bob, content(PART))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_whoever_stops_waiting_is_told_what_goes_on(
    pair: tuple[Friend, Friend], number: int
) -> None:
    alice, bob = pair
    await bob.stop()
    command = (sys.executable, "-m", "peerpost.cli", "--home", str(alice.home), "send", "-c", "bob")
    for arguments, said in (
        (("hello", "--wait", "--timeout", "60s"), "stays queued; see: peerpost queue show"),
        (
            ("--name", "x", "-"),
            "is cancelled: its input was not read to the end; see: peerpost sent",
        ),
    ):
        process = await asyncio.create_subprocess_exec(
            *(*command, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            id_ = (await process.stdout.readline()).split()[0].decode()
        await asyncio.sleep(0.7)
        process.send_signal(number)
        async with asyncio.timeout(WAIT_S):
            _, err = await process.communicate()
        assert process.returncode == 128 + number
        assert f"Interrupted. {id_} {said}" in err.decode()
    listed = await asyncio.create_subprocess_exec(
        *(*command[:5], "sent", "list"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await listed.communicate()
    (line,) = [line for line in out.decode().splitlines() if line.startswith(id_)]
    assert "cancelled" in line
    assert "the command that read the input ended before the input did" in line
