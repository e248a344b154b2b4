"""The inbox as a stream between two real nodes: `inbox watch`, `inbox ack`, `Client`, over every kind of end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import peerpost
from peerpost.client import AsyncClient, Client
from peerpost.errors import (
    BadInputError,
    ExistsError,
    LockedError,
    NoInputError,
    NotFoundError,
    UsageError,
)
from tests.support.nodes import WAIT_S, Friend, content, meet, until
from tests.support.protected import Protected

pytestmark = pytest.mark.asyncio

CLI = (sys.executable, "-m", "peerpost.cli")


class Watch:
    """A running `inbox watch`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def row(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = await self.process.stdout.readline()
        found: dict[str, Any] = json.loads(line)
        return found

    async def bodies(self, count: int) -> list[str]:
        return [(await self.row())["body"] for _ in range(count)]

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def watching(one: Friend, *options: str) -> AsyncIterator[Watch]:
    process = await asyncio.create_subprocess_exec(
        *CLI, "--home", str(one.home), "--json", "inbox", "watch", *options,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, limit=1 << 26,
    )  # fmt: skip
    watch = Watch(process)
    try:
        yield watch
    finally:
        await watch.kill()


async def send(one: Friend, contact: str, *texts: str) -> None:
    for text in texts:
        row = await one.ask("send-net", {"contact": contact, "text": text})
        await one.delivered(row["id"])


async def test_what_is_there_then_what_comes_and_acknowledged_is_done(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await send(alice, "bob", "one", "two")
    async with watching(bob, "--as", "bot") as watch:
        first = await watch.row()
        assert first["body"] == "one"
        assert await watch.bodies(1) == ["two"]
        await send(alice, "bob", "three")
        assert await watch.bodies(1) == ["three"]
        assert (await bob.cli("inbox", "ack", first["cursor"], "--as", "bot")).row[
            "reader"
        ] == "bot"
    done = await bob.cli("inbox", "watch", "--as", "bot", "--limit", "2")
    assert [row["body"] for row in done.rows] == ["two", "three"]
    (reader,) = (await bob.cli("inbox", "readers")).rows
    assert (reader["reader"], reader["cursor"], reader["waiting"]) == ("bot", first["cursor"], 2)
    assert all(row["unread"] for row in await bob.ask("inbox.list"))
    await bob.cli("inbox", "ack", "4711", code=65)
    await bob.cli("inbox", "watch", "--after", "4711", code=65)


async def test_it_goes_on_over_kill_9_of_the_node_and_starts_the_next(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    async with watching(bob) as watch:
        for round_ in range(3):
            await send(alice, "bob", f"before {round_}")
            assert await watch.bodies(1) == [f"before {round_}"]
            pid = await bob.node_pid()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

            async def another(pid: int = pid) -> bool:
                return await bob.node_pid() not in (None, pid)

            await until(another)
            await alice.ask("send-net", {"contact": "bob", "text": f"after {round_}"})
            # Bob's new node dials Alice by itself.
            assert await watch.bodies(1) == [f"after {round_}"]
        assert watch.process.returncode is None
        children = psutil.Process(watch.process.pid).children()
        assert len(children) <= 2, "the nodes that were killed stay in the table of processes"


async def test_it_follows_a_takeover_and_holds_nobody_up(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.stop()
    async with watching(bob) as watch:
        await until(bob.node_pid)
        began_s = asyncio.get_running_loop().time()
        process = await bob.run_node()
        try:
            await send(alice, "bob", "to the one that stays")
            assert await watch.bodies(1) == ["to the one that stays"]
            stopping_s = asyncio.get_running_loop().time()
            process.terminate()
            await process.wait()
            assert asyncio.get_running_loop().time() - stopping_s < 4
            assert asyncio.get_running_loop().time() - began_s < WAIT_S
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def test_with_no_spawn_it_waits_for_a_node(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    async with watching(bob, "--no-spawn") as watch:
        await send(alice, "bob", "one")
        assert await watch.bodies(1) == ["one"]
        await bob.kill()
        await asyncio.sleep(1)
        assert await bob.node_pid() is None
        assert watch.process.returncode is None
        await bob.start()
        await send(alice, "bob", "two")
        assert await watch.bodies(1) == ["two"]


async def test_it_waits_while_the_home_is_locked(folder: Path) -> None:
    alice, bob = Protected("alice", folder), Protected("bob", folder)
    try:
        for one in (alice, bob):
            await one.start()
            await one.create()
        await meet(bob, alice)
        async with watching(bob) as watch:
            await send(alice, "bob", "one")
            assert await watch.bodies(1) == ["one"]
            began_s = asyncio.get_running_loop().time()
            await bob.lock()
            assert asyncio.get_running_loop().time() - began_s < 3
            assert watch.process.stderr is not None
            said = json.loads(await watch.process.stderr.readline())
            assert "locked" in said["note"]
            await asyncio.sleep(2.5)
            assert (await bob.ask("node.status"))["state"] == "locked", "nobody asked to unlock it"
            await alice.ask("send-net", {"contact": "bob", "text": "two"})
            await bob.unlock()
            assert await watch.bodies(1) == ["two"]
        await bob.lock()
        await bob.cli("inbox", "watch", code=77)
    finally:
        await alice.close()
        await bob.close()


async def test_it_does_not_keep_a_home_unlocked(folder: Path) -> None:
    bob = Protected("bob", folder)
    config = bob.home / "config.toml"
    config.write_text(config.read_text() + 'lock_after = "2s"\n')
    try:
        await bob.start()
        await bob.create()
        async with watching(bob) as watch:

            async def locked() -> bool:
                return bool((await bob.ask("node.status"))["state"] == "locked")

            await until(locked)
            await asyncio.sleep(2)
            assert await locked()
            assert watch.process.returncode is None
    finally:
        await bob.close()


async def test_a_reader_that_is_stopped_takes_no_memory_of_the_node(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    count, body = 1200, "x" * 50_000
    pid = await bob.node_pid()
    assert pid is not None
    async with watching(bob) as watch:
        await send(alice, "bob", "first")
        assert await watch.bodies(1) == ["first"]
        watch.process.send_signal(signal.SIGSTOP)
        for number in range(count):
            text = f"{number} {body}"
            last = await alice.ask("send-net", {"contact": "bob", "text": text})
            if number == count // 4:
                await alice.delivered(last["id"])
                before = psutil.Process(pid).memory_info().rss
        await alice.delivered(last["id"])
        grown = psutil.Process(pid).memory_info().rss - before
        assert grown < count * len(body) // 4, f"{grown} bytes more, of {count * len(body)}"
        watch.process.send_signal(signal.SIGCONT)
        numbers = [int(text.split()[0]) for text in await watch.bodies(count)]
        assert numbers == list(range(count))


async def test_messages_and_files_of_all_kinds(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, bob = pair
    long = "ä line\n" * 20_000
    await send(alice, "bob", "short", long)
    data = content(300_000)
    sent = await alice.queue_file("bob", "report.pdf", data)
    await alice.delivered(sent)
    async with watching(bob) as watch:
        short, text, file = [await watch.row() for _ in range(3)]
    assert (short["body"], text["body"]) == ("short", long)
    assert (file["kind"], file["body"], file["name"]) == ("file", None, "report.pdf")
    client = Client(bob.home)
    saved = await asyncio.to_thread(client.save, file["id"], folder / "saved.pdf")
    assert saved.read_bytes() == data
    with pytest.raises(ExistsError):
        await asyncio.to_thread(client.save, file["id"], folder / "saved.pdf")
    assert (folder / "saved.pdf").read_bytes() == data
    with pytest.raises(NotFoundError):
        await asyncio.to_thread(client.save, "zzzzz", folder / "none")
    assert not await asyncio.to_thread(lambda: list(folder.glob(".*part*")))
    assert not (folder / "none").exists()


async def test_the_api(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, bob = pair
    assert peerpost.Client is Client
    client, other = Client(alice.home), AsyncClient(bob.home, reader="bot")

    def first_steps() -> None:
        (contact,) = client.contacts()
        assert (contact.name, contact.state) == ("bob", "active")
        sent = client.send("bob", "hello", once="k", wait=True)
        assert (sent.state, sent.repeated) == ("delivered", False)
        assert client.send("bob", "hello again", once="k").repeated
        (folder / "a.bin").write_bytes(b"bytes")
        assert client.send("bob", file=folder / "a.bin", wait=True).name == "a.bin"
        for wrong, error in (
            (lambda: client.send("bob"), UsageError),
            (lambda: client.send("bob", "x", file="y"), UsageError),
            (lambda: client.send("nobody", "x"), NotFoundError),
            (lambda: client.send("bob", file=folder / "none"), NoInputError),
            (lambda: client.send("bob", file=folder), NoInputError),
            (lambda: client.ack("4711"), BadInputError),
            (lambda: client.ack("x"), UsageError),
        ):
            with pytest.raises(error):
                wrong()

    await asyncio.to_thread(first_steps)
    async with aclosing(other.messages()) as messages:
        async with asyncio.timeout(WAIT_S):
            text, file = [await anext(messages), await anext(messages)]
        assert (text.body, text.contact, file.kind, file.name) == (
            "hello",
            "alice",
            "file",
            "a.bin",
        )
        await other.ack(text)
        # One that is given up while nothing comes ends.
        waiting = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0.2)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    async with aclosing(other.messages()) as messages:
        async with asyncio.timeout(WAIT_S):
            assert (await anext(messages)).name == "a.bin"
    assert [contact.name for contact in await other.contacts()] == ["alice"]
    assert (await other.send("alice", "done")).state == "queued"


async def test_a_locked_home_is_said_to_be_to_a_program(folder: Path) -> None:
    bob = Protected("bob", folder)
    try:
        await bob.start()
        await bob.create()
        await bob.lock()
        with pytest.raises(LockedError):
            await asyncio.to_thread(next, Client(bob.home).messages())
    finally:
        await bob.close()


async def test_a_program_is_served_by_json_rpc(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    process = await asyncio.create_subprocess_exec(
        *CLI, "--home", str(bob.home), "rpc",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(id_: int, method: str, **params: Any) -> None:
        assert process.stdin is not None
        request = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        process.stdin.write(json.dumps(request).encode() + b"\n")

    async def hear() -> dict[str, Any]:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            found: dict[str, Any] = json.loads(await process.stdout.readline())
        return found

    try:
        ask(1, "inbox.watch", reader="bot")
        assert (await hear())["params"]["event"] == {"after": "0"}
        await send(alice, "bob", "one")
        item = (await hear())["params"]["event"]["item"]
        ask(2, "inbox.ack", reader="bot", cursor=item["cursor"])
        assert (await hear())["result"]["cursor"] == item["cursor"]
        for _ in range(2):
            ask(3, "send-net", contact="alice", text="ONE", once=f"answer {item['cursor']}")
        assert [(await hear())["result"]["repeated"] for _ in range(2)] == [False, True]
        await bob.kill()
        assert (await hear())["error"]["data"]["code"] == "unavailable"
        ask(4, "inbox.watch", reader="bot", after=item["cursor"])
        assert (await hear())["params"]["event"] == {"after": item["cursor"]}
        process.stdin.close()
        assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
