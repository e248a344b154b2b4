"""`peerpost chat --linear` through pipes, with real nodes: what it prints, what it sends, and a node that is killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chatting import LinearChat
from tests.support.nodes import Friend, content, until
from tests.support.terminal import shown_by

pytestmark = pytest.mark.asyncio

Open = Callable[..., LinearChat]
HOSTILE = "hi\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp\x00\r\n* error: the home is locked\nbob: yes"


@pytest.fixture
def opened() -> Iterator[Open]:
    chats: list[LinearChat] = []

    def open_(who: Friend, *arguments: str, cwd: Path | None = None) -> LinearChat:
        chats.append(LinearChat(who.home, *arguments, cwd=cwd))
        return chats[-1]

    yield open_
    for chat in chats:
        chat.close()


async def in_thread(work: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    return await asyncio.to_thread(work, *arguments, **more)


async def test_what_stands_in_a_pipe_is_sent_in_order_and_then_it_ends(
    pair: tuple[Friend, Friend], opened: Open, folder: Path
) -> None:
    alice, bob = pair
    (folder / "note.txt").write_bytes(b"a note")
    chat = opened(alice, "bob", cwd=folder)
    chat.type(*(f"line {n}" for n in range(30)), "//slash", "/file note.txt")
    assert await in_thread(chat.end) == 0

    async def all_there() -> bool:
        return len(await bob.texts()) == 32

    await until(all_there)
    assert await bob.texts() == [*(f"line {n}" for n in range(30)), "/slash", "note.txt"]


async def test_each_sees_what_the_other_types_and_that_it_arrived(
    pair: tuple[Friend, Friend], opened: Open, folder: Path
) -> None:
    alice, bob = pair
    of_alice, of_bob = opened(alice, "bob"), opened(bob, "alice", cwd=folder)
    await in_thread(of_alice.until, "With bob: online")
    await in_thread(of_bob.until, "With alice: online")
    of_alice.type("how late is it?")
    await in_thread(of_bob.until, "alice: how late is it?")
    await in_thread(of_alice.until, "delivered: how late is it?")
    of_bob.type("late")
    await in_thread(of_alice.until, "bob: late")
    path = folder / "x.bin"
    path.write_bytes(content(300_000))
    of_alice.type(f"/file {path}")
    await in_thread(of_bob.until, "alice: file: x.bin")
    of_bob.type("/save")
    await in_thread(of_bob.until, "saved  x (1).bin")
    assert (folder / "x (1).bin").read_bytes() == path.read_bytes()

    async def all_read() -> bool:
        return not (await bob.ask("contacts.list"))[0]["unread"]

    await until(all_read)
    assert (await in_thread(of_alice.end), await in_thread(of_bob.end)) == (0, 0)


async def test_a_file_that_asks_is_accepted_or_rejected_here(
    pair: tuple[Friend, Friend], opened: Open
) -> None:
    alice, bob = pair
    await bob.ask("contacts.edit", {"name": "alice", "accept": "ask"})
    chat = opened(bob, "alice")
    await in_thread(chat.until, "With alice")
    await alice.queue_file("bob", "first.bin", content(1000))
    await in_thread(chat.until, "asks to be accepted: /accept")
    chat.type("/accept")
    await in_thread(chat.until, "alice: file: first.bin")
    await alice.queue_file("bob", "second.bin", content(1000))
    await in_thread(chat.until, "asks to be accepted: /accept", times=2)
    chat.type("/reject")
    await in_thread(chat.until, "second.bin: cancelled")
    assert await in_thread(chat.end) == 0
    assert await bob.texts() == ["first.bin"]


async def test_nothing_that_a_peer_writes_acts_or_looks_like_a_line_of_ours(
    pair: tuple[Friend, Friend], opened: Open
) -> None:
    alice, bob = pair
    await alice.ask("send-net", {"contact": "bob", "text": HOSTILE})

    async def came() -> bool:
        return bool(await bob.texts())

    await until(came)
    chat = opened(bob, "alice")
    await in_thread(chat.until, "| bob: yes")
    await alice.ask("send-net", {"contact": "bob", "text": HOSTILE})
    printed = await in_thread(chat.until, "| bob: yes", times=2)
    chat.type("/search owned", "/read")
    printed = await in_thread(chat.until, "| bob: yes", times=3)
    assert await in_thread(chat.end) == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", printed), repr(printed)
    assert "<U+001B>" in printed
    # Whatever is in a text, its lines begin with who wrote it, or with the bar.
    assert not re.search(r"^(\* error: the home|bob: yes)", printed, re.MULTILINE), printed


async def test_nothing_is_lost_or_doubled_while_the_node_is_killed(
    pair: tuple[Friend, Friend], opened: Open
) -> None:
    alice, bob = pair
    chat = opened(bob, "alice")
    await in_thread(chat.until, "With alice: online")
    for life in range(3):
        for number in range(4):
            await alice.ask("send-net", {"contact": "bob", "text": f"{life}.{number}"})
            chat.type(f"back {life}.{number}")
        await in_thread(chat.until, f"alice: {life}.0")
        await bob.kill() if life == 0 else await kill_node(bob)
        await alice.ask("send-net", {"contact": "bob", "text": f"{life}.away"})
        chat.type(f"back {life}.away")
    texts = [f"{life}.{what}" for life in range(3) for what in (0, 1, 2, 3, "away")]
    await in_thread(chat.until, f"alice: {texts[-1]}")
    await in_thread(chat.until, f"delivered: back {texts[-1]}")
    assert await in_thread(chat.end) == 0
    came = re.findall(r"^\d\d:\d\d alice: (\S+)$", chat.printed, re.MULTILINE)
    assert came == texts
    assert await alice.texts() == [f"back {text}" for text in texts]


async def kill_node(who: Friend) -> None:
    """Kill the node that the chat has started."""

    async def runs() -> bool:
        return await who.node_pid() is not None

    await until(runs)
    pid = await who.node_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def test_what_cannot_be_sent_is_said_and_printed_again(
    pair: tuple[Friend, Friend], opened: Open
) -> None:
    alice, _ = pair
    await alice.ask("contacts.block", {"name": "bob"})
    chat = opened(alice, "bob")
    chat.type("not lost", "/nope")
    assert await in_thread(chat.end) == 2
    assert "not sent: bob is blocked" in chat.printed
    assert "| not lost" in chat.printed
    assert "there is no command /nope" in chat.printed
    assert not await alice.ask("sent.list")


async def test_older_messages_come_page_by_page_and_a_hit_is_jumped_to(
    pair: tuple[Friend, Friend], opened: Open
) -> None:
    alice, bob = pair
    for number in range(60):
        await alice.ask("send-net", {"contact": "bob", "text": f"old {number}"})

    async def all_there() -> bool:
        return len(await bob.texts()) == 60

    await until(all_there)
    await bob.ask("inbox.mark", {"ids": [r["id"] for r in await bob.ask("inbox.list")]})
    chat = opened(bob, "alice")
    await in_thread(chat.until, "alice: old 59")
    assert "old 40" not in chat.printed
    for _ in range(4):
        chat.type("/more")
    await in_thread(chat.until, "That was all.")
    numbers = [int(n) for n in re.findall(r"alice: old (\d+)", chat.printed)]
    assert sorted(numbers) == list(range(60)), "each once"
    chat.type("/search old 7", "/go 1")
    await in_thread(chat.until, "alice: old 7\n", times=2)
    assert await in_thread(chat.end) == 0


async def test_a_home_that_is_locked_meanwhile_stays_so_until_somebody_unlocks_it(
    pair: tuple[Friend, Friend], opened: Open
) -> None:
    alice, bob = pair
    secret = "correct horse battery staple ground"
    await bob.cli("identity", "passphrase", "set", "--passphrase-stdin", stdin=secret.encode())
    chat = opened(bob, "alice")
    await in_thread(chat.until, "With alice")
    await bob.cli("identity", "lock")
    await in_thread(chat.until, "The home is locked")
    chat.type("typed while locked")
    await in_thread(chat.until, "not sent: ")
    await alice.ask("send-net", {"contact": "bob", "text": "while locked"})
    await asyncio.sleep(2.5)
    assert (await bob.ask("node.status"))["state"] == "locked"
    await bob.cli("identity", "unlock", "--passphrase-stdin", stdin=secret.encode())
    await in_thread(chat.until, "alice: while locked")
    chat.type("/again")
    await in_thread(chat.until, "delivered: typed while locked")
    await in_thread(chat.end)
    assert await alice.texts() == ["typed while locked"]


WITHOUT = """
import sys
sys.modules["textual"] = None
from peerpost.cli.main import main
sys.argv = ["peerpost", "--home", {home!r}, "chat"]
main()
"""


async def test_without_the_extra_it_says_what_to_install(pair: tuple[Friend, Friend]) -> None:
    alice, _ = pair
    program = [sys.executable, "-c", WITHOUT.format(home=str(alice.home))]
    code, written = await in_thread(shown_by, program)
    assert code == 69
    assert b"pip install 'peerpost[tui]'" in written
    assert b"--linear" in written


@pytest.mark.parametrize("term", ["dumb", ""])
async def test_a_terminal_that_cannot_draw_is_told_what_to_use(
    pair: tuple[Friend, Friend], term: str
) -> None:
    alice, _ = pair
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(alice.home), "chat", "bob"]
    code, written = await in_thread(shown_by, command, env=os.environ | {"TERM": term})
    assert code == 2
    assert b"--linear needs no screen" in written
    done = await alice.cli("chat", "bob", code=2)
    assert done.error["code"] == "usage"
