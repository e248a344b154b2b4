"""The program that the node runs for each message: in order, with nothing passed over, and bounded in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.nodes import Friend, meet, processes_in, until

from .conftest import MakeFriend

pytestmark = pytest.mark.asyncio


class Hooked:
    """Bob, whose node runs a script, and what the script was given."""

    def __init__(self, bob: Friend, folder: Path) -> None:
        self.bob = bob
        self.folder = folder
        self.program = folder / "on message"
        self.got = folder / "got"

    def write(self, script: str, *, limit: str = "20s") -> None:
        self.program.write_text(f"#!/bin/sh\ncd {self.folder} || exit 9\n{script}\n")
        self.program.chmod(0o755)
        config = self.bob.home / "config.toml"
        before = config.read_text().partition("[hooks]")[0]
        argv = json.dumps([str(self.program), "a b", "$HOME"])
        config.write_text(f'{before}[hooks]\non_message = {argv}\ntime_limit = "{limit}"\n')

    def rows(self) -> list[dict[str, Any]]:
        if not self.got.exists():
            return []
        return [json.loads(line) for line in self.got.read_text().splitlines()]

    async def bodies(self, *wanted: str) -> None:
        async def here() -> bool:
            return len(self.rows()) >= len(wanted)

        await until(here)
        assert [row["body"] for row in self.rows()] == list(wanted)

    async def failing(self) -> str:
        """Wait until the node says that it fails; return what it says."""
        found: list[str] = []

        async def said() -> bool:
            status = await self.bob.ask("node.status")
            found[:] = [row["error"] for row in status["failing"] if row["name"] == "run-hook"]
            return bool(found)

        await until(said)
        return found[0]


@pytest_asyncio.fixture
async def met(friend: MakeFriend, folder: Path) -> tuple[Friend, Hooked]:
    """Alice, and Bob whose node is down: each test has a program of its own."""
    alice, bob = friend("alice"), friend("bob")
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(alice, bob)
    await send(alice, "from before")

    async def arrived() -> bool:
        return len(await bob.ask("inbox.list")) == 1

    await until(arrived)
    await bob.stop()
    return alice, Hooked(bob, folder)


async def send(alice: Friend, *texts: str) -> None:
    for text in texts:
        await alice.ask("send-net", {"contact": "bob", "text": text})


async def test_each_message_that_comes_is_handed_over_once_and_in_order(
    met: tuple[Friend, Hooked],
) -> None:
    alice, hooked = met
    hooked.write('printf "%s|" "$@" "$PEERPOST_HOME" > how; cat >> got')
    await hooked.bob.start()
    await until(lambda: hooked.bob.ask("inbox.readers"))
    hostile = "a'; touch bad #\x1b[31m\u202e\n`touch bad`"
    await send(alice, "one", hostile, "three")
    await hooked.bodies("one", hostile, "three")
    assert (hooked.folder / "how").read_text() == f"a b|$HOME|{hooked.bob.home}|"
    assert not (hooked.folder / "bad").exists()
    listed = await hooked.bob.ask("inbox.list", {"oldest": True})
    assert hooked.rows() == [
        row | {"body": text, "error": None}
        for row, text in zip(listed[1:], ("one", hostile, "three"), strict=True)
    ]
    (reader,) = await hooked.bob.ask("inbox.readers")
    assert reader["reader"] == "hook"
    await hooked.bob.stop()
    await hooked.bob.start()
    await send(alice, "four")
    await hooked.bodies("one", hostile, "three", "four")


async def test_it_is_run_again_until_it_exits_with_0_and_nothing_overtakes(
    met: tuple[Friend, Hooked],
) -> None:
    alice, hooked = met
    hooked.write("echo . >> tries; [ -e well ] || exit 3; cat >> got")
    await hooked.bob.start()
    await until(lambda: hooked.bob.ask("inbox.readers"))
    await send(alice, "one", "two")
    said = await hooked.failing()
    assert "ended with exit code 3" in said
    assert not hooked.got.exists()
    doctor = {row["check"]: row for row in await hooked.bob.ask("doctor")}
    assert not doctor["duty run-hook"]["ok"]
    (hooked.folder / "well").touch()
    await hooked.bodies("one", "two")
    assert len((hooked.folder / "tries").read_text().split()) > 2


async def test_what_takes_too_long_ends_with_all_that_it_has_started(
    met: tuple[Friend, Hooked],
) -> None:
    alice, hooked = met
    hooked.write(f"sh -c 'sleep 300; : {hooked.folder}' & wait", limit="500ms")
    await hooked.bob.start()
    await until(lambda: hooked.bob.ask("inbox.readers"))
    await send(alice, "one")
    assert "longer than 0.5 s" in await hooked.failing()
    # To pass it over is up to the user.
    newest = (await hooked.bob.ask("inbox.list"))[0]["cursor"]
    await hooked.bob.cli("inbox", "ack", newest, "--as", "hook")
    hooked.write("cat >> got")
    await send(alice, "two")
    await hooked.bodies("two")
    assert [line for _, line in processes_in(hooked.folder) if "sleep 300" in line] == []


@pytest.mark.parametrize(
    ("program", "says"),
    [("exit 0 < /dev/null", None), ("kill -9 $$", "signal 9"), (None, "cannot be started")],
)
async def test_what_a_program_may_do(
    met: tuple[Friend, Hooked], program: str | None, says: str | None
) -> None:
    alice, hooked = met
    hooked.write(program or "")
    if program is None:
        hooked.program.unlink()
    await hooked.bob.start()
    await until(lambda: hooked.bob.ask("inbox.readers"))
    await send(alice, "long " * 30_000)
    if says is not None:
        assert says in await hooked.failing()
        return

    async def done() -> bool:
        (reader,) = await hooked.bob.ask("inbox.readers")
        return bool(reader["cursor"] == "2")

    await until(done)


async def test_nothing_is_passed_over_by_kill_9_and_a_stop_does_not_wait(
    met: tuple[Friend, Hooked],
) -> None:
    alice, hooked = met
    hooked.write("cat >> got; sleep 0.2")
    texts = [f"text {number}" for number in range(20)]
    await hooked.bob.start()
    await until(lambda: hooked.bob.ask("inbox.readers"))
    await send(alice, *texts)
    for _ in range(3):
        await asyncio.sleep(0.7)
        pid = await hooked.bob.node_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await hooked.bob.kill()
        await hooked.bob.start()

    async def all_there() -> bool:
        return {row["body"] for row in hooked.rows()} == set(texts)

    await until(all_there)
    firsts = list(dict.fromkeys(row["body"] for row in hooked.rows()))
    assert firsts == texts
    assert len(hooked.rows()) <= len(texts) + 3
    hooked.write("echo . > begun; sleep 300")
    await send(alice, "the last")

    async def begun() -> bool:
        return (hooked.folder / "begun").exists()

    await until(begun)
    began_s = asyncio.get_running_loop().time()
    await hooked.bob.stop()
    assert asyncio.get_running_loop().time() - began_s < 10
