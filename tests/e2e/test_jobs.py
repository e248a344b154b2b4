"""The pages of docs/jobs: each command in them is run as it stands, on two machines that are two HOMEs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client

from tests.support.machines import Machine, blocks
from tests.support.nodes import processes_in

NOBODY = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDoAjwXNPQhKAxPgVaxMhAr34X9SgodshFg5LicSnqAEm"
JOBS = Path(__file__).parents[2] / "docs" / "jobs"
pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or sys.platform == "win32", reason="the pages are for bash"
)


Meet = Callable[..., tuple[Machine, Machine]]


@pytest.fixture
def meet(folder: Path) -> Iterator[Meet]:
    """Make two machines that know each other."""
    made: list[Machine] = []

    def meet(one: str, other: str) -> tuple[Machine, Machine]:
        here, there = Machine(folder, one), Machine(folder, other)
        made.extend((here, there))
        for machine in made:
            machine.bash(f"peerpost identity new --name {machine.name} --no-passphrase")
        here.bash(f"peerpost contacts invite {other} --no-qr > {folder}/ticket")
        there.bash(f"peerpost contacts add {one} --ticket-file {folder}/ticket")
        return here, there

    yield meet
    for machine in made:
        machine.bash("peerpost node stop || true")


def run(page: str, *machines: Machine) -> list[str]:
    """Run all commands of a page; return what each block printed."""
    named = {machine.name: machine for machine in machines}
    return [named[block.whose].run(block) for block in blocks(JOBS / page)]


def test_every_page_is_linked_and_run() -> None:
    pages = {path.name for path in JOBS.glob("*.md")} - {"README.md"}
    contents = (JOBS / "README.md").read_text(encoding="utf-8")
    assert pages == set(re.findall(r"\(([\w-]+\.md)\)", contents))
    assert all(f'"{page}"' in Path(__file__).read_text(encoding="utf-8") for page in pages)


def test_an_archive(meet: Meet) -> None:
    alice, bob = meet("alice", "bob")
    out = run("archive.md", alice, bob)
    assert "archive.zip  2 messages, 0 files" in out[1]
    assert "2 were here already" in out[3]
    assert "Shall we meet at noon?" in out[4]


def test_an_alert_from_cron(meet: Meet) -> None:
    _, by_cron, tried, read = run("alert-from-cron.md", *meet("db3", "ops"))
    assert by_cron == ""
    assert tried == ""
    assert "% full" in read


def test_a_backup_through_a_pipe(meet: Meet) -> None:
    db3, nas = meet("db3", "nas")
    (db3.home / "data").mkdir()
    (db3.home / "data" / "table").write_bytes(os.urandom(1_000_000))
    _, sent, saved = run("backup-by-pipe.md", db3, nas)
    assert sent == ""
    assert "backup-20" in saved
    nas.bash("mkdir out && tar -xzf backups/backup-*.tar.gz -C out")
    arrived = (nas.home / "out" / "table").read_bytes()
    assert arrived == (db3.home / "data" / "table").read_bytes()
    assert nas.bash("peerpost --json inbox list") == ""


def test_a_nightly_backup_of_a_home(meet: Meet) -> None:
    alice, _ = meet("alice", "ops")
    alice.bash("mkdir backups && touch -d '20 days ago' backups/peerpost-2020-01-01.backup")
    *_, by_cron, listed = run("backup-of-a-home.md", alice)
    assert by_cron == ""
    made, *doctor = listed.splitlines()
    assert re.fullmatch(r"peerpost-20\d\d-\d\d-\d\d\.backup", made)
    assert made != "peerpost-2020-01-01.backup"
    assert "the last one was made" in "\n".join(doctor)
    back = f"~/backups/{made} --passphrase-file ~/.backup-passphrase"
    alice.bash(f"peerpost --home ~/anew backup restore {back}")
    alice.bash("peerpost --home ~/anew node stop || true")
    (line,) = [block for block in blocks(JOBS / "backup-of-a-home.md") if block.shell == "cron"]
    alice.run(line)
    assert alice.bash("ls backups").split() == [made], "that of the same day is replaced"


def test_a_home_with_a_passphrase_unattended(folder: Path) -> None:
    db3 = Machine(folder, "db3")
    keep, at_boot, send = blocks(JOBS / "unattended.md")
    try:
        given = "--passphrase-file .peerpost-passphrase --no-recovery-code"
        typed = "echo velvet canary under nine green lamps |"
        db3.bash(keep.text.replace("cat >", f"{typed} cat >"))
        db3.bash(f"peerpost identity new --name db3 {given}")
        db3.bash(f"peerpost contacts add ops --id {'1' * 64} --address {NOBODY}")
        db3.bash("peerpost node stop")
        refused = db3.bash(f"({send.text}) 2>&1 || echo exit $?")
        assert refused.endswith("exit 77\n")
        assert "node start --passphrase-file" in refused
        db3.bash("peerpost node stop")
        assert db3.run(at_boot) == ""
        db3.run(send)
        assert "db3 is up" in db3.bash("peerpost queue list")
    finally:
        db3.bash("peerpost node stop || true")


def test_a_bot_that_answers(meet: Meet) -> None:
    bot, alice = meet("bot", "alice")
    *_, read = run("bot.md", bot, alice)
    assert "HOW LATE IS IT?" in read
    assert bot.bash("cat ~/answer.log") == ""
    listed = "peerpost --json inbox readers"
    bot.bash(f'until {listed} | grep -q \'"reader": "answer"\'; do sleep 0.1; done')
    assert json.loads(bot.bash(listed))["waiting"] == 0
    # It ends before its node does: it would start another. A kill is what it stands, and is never ignored.
    (pid,) = [pid for pid, command in processes_in(bot.home) if "answer.py" in command]
    os.kill(pid, signal.SIGKILL)
    while pid in dict(processes_in(bot.home)):
        time.sleep(0.1)


def test_an_assistant_that_reads_the_inbox(meet: Meet) -> None:
    desk, web1 = meet("desk", "web1")
    desk.bash(f"peerpost contacts add ops --id {'1' * 64} --address {NOBODY}")
    web1.bash("peerpost send --contact desk --wait 'it is up'")
    install, config = blocks(JOBS / "assistant.md")
    assert "mcp" in desk.run(install)
    (told,) = json.loads(config.text)["mcpServers"].values()
    (desk.home / "saved").mkdir()
    arguments = [
        str(desk.home / "saved") if one.startswith("/home/me/") else one for one in told["args"]
    ]
    program = shutil.which(told["command"], path=desk.env["PATH"])
    assert program is not None
    server = StdioServerParameters(command=program, args=arguments, env=desk.env)

    async def session() -> tuple[set[str], Any, Any]:
        async with stdio_client(server) as (reads, writes), ClientSession(reads, writes) as model:
            await model.initialize()
            tools = {tool.name for tool in (await model.list_tools()).tools}
            listed = await model.call_tool("list", {})
            sent = await model.call_tool("send", {"contact": "ops", "text": "web1 is up"})
            return tools, listed.structured_content, sent.structured_content

    tools, listed, sent = asyncio.run(session())
    assert tools == {"contacts", "list", "search", "show", "save", "send"}
    assert [row["untrusted"]["preview"] for row in listed["rows"]] == ["it is up"]
    assert sent["row"]["state"] == "queued"
    assert "web1 is up" in desk.bash("peerpost sent list")


def test_a_folder_of_photos(meet: Meet) -> None:
    alice, bob = meet("alice", "bob")
    (alice.home / "photos" / "2026").mkdir(parents=True)
    for name in ("a.jpg", "2026/ä b.jpg"):
        (alice.home / "photos" / name).write_bytes(os.urandom(100_000))
    *_, listed = run("photos.md", alice, bob)
    assert listed.splitlines()[-2:] == ["2026", "a.jpg"]
    assert bob.bash(f"diff -r from-alice/photos {alice.home}/photos") == ""


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_forwarded_port(folder: Path) -> None:
    """The port is another here, and the world is this machine."""
    home, away = Machine(folder, "home", listen=None), Machine(folder, "away")
    port = free_port()
    for machine in (home, away):
        machine.bash(f"peerpost identity new --name {machine.name} --no-passphrase")
    printed: list[str] = []
    for block in blocks(JOBS / "forwarded-port.md"):
        text = block.text.replace("/ip4/0.0.0.0/tcp/4001", f"/ip4/127.0.0.1/tcp/{port}")
        text = text.replace("home.example.org/tcp/4001", f"localhost/tcp/{port}")
        printed.append((home if block.whose == "home" else away).bash(text))
        if "contacts invite" in text:
            (ticket,) = re.findall(r"PP1\w+", printed[-1])
            away.bash(f"peerpost contacts add home {ticket}")
    assert f"/dns4/localhost/tcp/{port}" in printed[0]
    assert "from outside" in home.bash("peerpost inbox list")
    for machine in (home, away):
        machine.bash("peerpost node stop")
