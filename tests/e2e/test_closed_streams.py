"""Real nodes and commands whose standard streams are closed, full, or do not wait."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeFriend
from tests.support.nodes import WAIT_S, Friend, content, until

pytestmark = pytest.mark.asyncio


def line_of(who: Friend, *arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "peerpost.cli", "--home", str(who.home), *arguments])


async def run(line: str) -> int:
    """Run a line of a shell; return its exit code."""
    process = await asyncio.create_subprocess_shell(line)
    async with asyncio.timeout(WAIT_S):
        return await process.wait()


@pytest.mark.parametrize(
    "streams", [">&-", ">&- 2>&- <&-", ">/dev/full 2>/dev/full", "1</dev/null"]
)
async def test_a_text_is_sent_once_and_said_to_be(
    pair: tuple[Friend, Friend], streams: str
) -> None:
    alice, bob = pair
    # As a script does that takes 79 for what it means.
    send = f"{line_of(alice, 'send', '-c', 'bob', 'once')} {streams}"
    again = f"for i in 1 2 3; do {send}; case $? in 0|79) exit 0;; esac; done; exit 1"
    assert await run(again) == 0

    async def came() -> bool:
        return bool(await bob.texts())

    await until(came)
    assert await bob.texts() == ["once"]
    assert len((await alice.cli("sent", "list")).rows) == 1


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&- <&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("json_", [(), ("--json",)])
async def test_a_node_runs(friend: MakeFriend, streams: str, json_: tuple[str, ...]) -> None:
    alice = friend("alice")
    await alice.start()
    await alice.create()
    await alice.stop()
    command = f"exec {line_of(alice, 'node', 'run', *json_)} {streams}"
    process = await asyncio.create_subprocess_shell(command)

    async def answers() -> bool:
        return await alice.node_pid() == process.pid

    await until(answers)
    await alice.cli("node", "stop")
    async with asyncio.timeout(WAIT_S):
        assert await process.wait() == 0


@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
async def test_a_file_into_a_pipe_that_does_not_wait(
    pair: tuple[Friend, Friend], folder: Path, out: str
) -> None:
    alice, bob = pair
    data = content(1_500_000)
    await alice.delivered(await alice.queue_file("bob", "a", data))
    (item,) = (await bob.cli("inbox", "list")).rows
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    command = ("-m", "peerpost.cli", "--home", str(bob.home), "inbox", "save", item["id"])
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--out", out, stdout=write_end
    )
    os.close(write_end)
    await asyncio.sleep(1)  # Until it is full.
    with os.fdopen(read_end, "rb") as reader:
        assert await asyncio.to_thread(reader.read) == data
    assert await process.wait() == 0
    assert await run(f"{{ {line_of(bob, 'inbox', 'save', item['id'], '--out', out)}; echo $? "
                     f"> {folder}/code; }} | head -c 10 > {folder}/head") == 0  # fmt: skip
    assert (folder / "head").read_bytes() == data[:10]
    assert (folder / "code").read_text() == "141\n"


@pytest.mark.parametrize("body", ["short", "long " * 40_000])
@pytest.mark.parametrize("json_", [(), ("--json",)])
async def test_what_nobody_was_shown_stays_unread(
    pair: tuple[Friend, Friend], body: str, json_: tuple[str, ...]
) -> None:
    alice, bob = pair
    sent = (await alice.cli("send", "--contact", "bob", "-", stdin=body.encode())).row
    await alice.delivered(sent["id"])
    (row,) = await bob.ask("inbox.list", {})
    show = line_of(bob, *json_, "inbox", "show", row["id"])
    for streams, code in ((">/dev/full", 74), (">&-", 74), ("| true", 0)):
        assert await run(f"{show} {streams} 2>/dev/null") == code
        assert (await bob.ask("inbox.list", {}))[0]["unread"]
    assert await run(f"{show} >/dev/null") == 0
    assert not (await bob.ask("inbox.list", {}))[0]["unread"]


async def test_what_only_looks_does_not_say_that_it_was_done(pair: tuple[Friend, Friend]) -> None:
    alice, _bob = pair
    await alice.cli("contacts", "invite", "carol")
    for looks in (("contacts", "invites"), ("contacts", "verify", "bob"), ("inbox", "list")):
        full = 0 if looks[0] == "inbox" else 74
        assert await run(f"{line_of(alice, *looks)} >/dev/full 2>/dev/null") == full
