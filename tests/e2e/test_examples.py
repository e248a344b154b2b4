"""The examples at the foot of each help page, pasted into a shell and run.

Names and ids in them are put in the place of real ones first. What only a person or another program can do is left out
by name, with the reason; every other line has to end as expected.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from peerpost.cli.app import CONTEXT
from peerpost.cli.main import root
from peerpost.crypto.keys import peer_id
from tests.support.machines import Machine
from tests.support.nodes import leave_nothing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        shutil.which("bash") is None or sys.platform == "win32", reason="the examples are for bash"
    ),
]

PASSPHRASE = "wooden spoon lake 77"
FOREVER_S = 3
STUBS = {
    "pg_dump": "echo dump",
    "crontab": "test $1 != -l && cat > /dev/null || true",
    "pass": f"echo '{PASSPHRASE}'",
    "jq": "cat",
    "editor": "true",
    # `ssh alice` and `ssh nas` are the other machine.
    "ssh": 'shift; HOME="$THERE" exec sh -c "cd; $*"',
}
"""Programs of others, where they are not part of what is tried."""
NOT_RUN = {
    "peerpost demo": "tests/e2e/test_demo.py runs it",
    "peerpost demo --file photo.jpg": "as well",
    "peerpost demo --json": "as well",
    "peerpost identity keyring": "tests/e2e/test_passphrase_sources.py has a keyring",
    "peerpost identity keyring --forget": "as well",
    "peerpost chat": "tests/e2e/test_chat_pane.py has a terminal",
    "peerpost chat bob": "as well",
}
FOREVER = re.compile(r"peerpost( --json)? (node run|inbox watch(?!.*--limit)|transfers .*--follow)")
"""What runs until it is stopped: it must still run after some seconds."""
CODES = {
    # A person would be asked.
    "peerpost identity new": 2,
    "peerpost identity new --name alice": 2,
    "peerpost identity unlock": 77,
    "peerpost identity passphrase set": 2,
    "peerpost identity passphrase change": 77,
    "peerpost identity passphrase remove": 77,
    "peerpost identity delete": 2,
    "peerpost contacts remove bob": 2,
    "peerpost backup create ~/peerpost-backup": 2,
    "peerpost backup restore ~/peerpost-backup": 73,
    "peerpost --home ~/new-home backup restore ~/peerpost-backup": 77,
    # The home has an identity already.
    "ssh nas 'cat peerpost-backup' | peerpost backup restore - --passphrase-file ~/.backup-passphrase": 73,
    # Nobody is there to measure with, and other numbers are compared.
    "peerpost limits test --contact nas": 69,
    'peerpost contacts verify bob "12345 67890 ..."': 65,
}
"""What ends with another code than 0 here."""


def pages() -> dict[str, list[str]]:
    """Return the examples of each command by its name."""
    found: dict[str, list[str]] = {}

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        lines = [line.strip() for line in getattr(command, "examples", "").strip().splitlines()]
        if path != ("send-net",):
            found[" ".join(path)] = lines
        if isinstance(command, click.Group):
            context = click.Context(command, **CONTEXT)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                walk(inner, (*path, name))

    walk(root, ())
    return found


PAGES = pages()
LEAVES = [path for path, lines in PAGES.items() if lines and path != ""]
OWN_HOME = re.compile(
    r"peerpost .*(identity (?!show)|backup )|contacts (add|remove|block|unblock|edit \S+ --rename)"
)
"""Lines that change who one is or whom one knows: each gets a home of its own."""


class World:
    """Two machines that know each other, and what the examples name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.there = Machine(folder, "there")
        stubs = folder / "stubs"
        stubs.mkdir()
        for name, text in STUBS.items():
            (stubs / name).write_text(f"#!/bin/sh\n{text}\n")
            (stubs / name).chmod(0o755)
        self._stubs = stubs
        self.there.bash("peerpost identity new --name bob --no-passphrase; peerpost node start")
        self.here = self.machine()
        self.prepare()

    def machine(self, passphrase: str | None = None) -> Machine:
        """Make a machine with an identity and the files that the examples name."""
        self.count += 1
        made = Machine(self.folder, f"here{self.count}")
        made.env |= {"THERE": str(self.there.home), "EDITOR": "editor"}
        made.env["PATH"] = f"{self._stubs}:{made.env['PATH']}"
        made.env["PEERPOST__SECURITY__KDF_MEMORY"] = "64MiB"
        for name in ("report.pdf", "photo.jpg", "photos/one.jpg"):
            path = made.home / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(secrets.token_bytes(1000))
        for name in ("passphrase", "old", "new", ".backup-passphrase", ".archive"):
            path = made.home / name
            path.write_text(f"{PASSPHRASE}{' and more' if name == 'new' else ''}\n")
            path.chmod(0o600)
        how = "--no-passphrase" if passphrase is None else "--passphrase-file old"
        made.bash(f"peerpost identity new --name alice {how} --home ~/.local/share/peerpost")
        return made

    def prepare(self) -> None:
        """Fill the inbox, the queue and the transfers of the machine that most lines run on."""
        here, there = self.here, self.there
        ticket = self.ticket("alice")
        here.bash(f"peerpost contacts add bob {ticket}")
        for name in ("nas", "ops", "mallory", "alice", "web1"):
            self.add_stranger(here, name)
        here.bash("peerpost contacts edit ops --tag ops; peerpost contacts invite carol > invite")
        here.bash("peerpost send -c nas --file report.pdf")
        here.bash('mkdir from-web1; echo \'{"body": "disk full"}\' > alerts.jsonl')
        there.bash("mkdir photos; echo x > photos/one.jpg; head -c 50000 /dev/zero > big")
        self.receive()

    def archive(self) -> None:
        """Have bundles, here and there."""
        self.here.bash(
            "rm -f archive.*; peerpost inbox export --all --out archive.zip;"
            " peerpost inbox export --all --encrypt --passphrase-file .archive --out archive.peerpost"
        )
        shutil.copy(self.here.home / "archive.zip", self.there.home / "archive.zip")

    def offer(self) -> None:
        """Have a file that asks to be accepted."""
        self.here.bash("peerpost contacts edit bob --accept ask")
        self.there.bash("peerpost send -c alice --file big")
        for _ in range(100):
            if any(row["state"] == "asking" for row in self.rows("transfers list")):
                return
            time.sleep(0.1)

    def add_stranger(self, machine: Machine, name: str) -> None:
        """Add a contact that is nowhere."""
        who = peer_id(secrets.token_bytes(32))
        address = f"/ip4/127.0.0.1/tcp/1/p2p/{who}"
        machine.bash(
            f"peerpost contacts add {name} --id {secrets.token_hex(32)} --address {address}"
        )

    def ticket(self, name: str) -> str:
        return self.there.bash(
            f'peerpost --json contacts invite {name} | sed \'s/.*"ticket": "//; s/".*//\''
        ).strip()

    def rows(self, command: str) -> list[dict[str, str]]:
        return [
            json.loads(line) for line in self.here.bash(f"peerpost --json {command}").splitlines()
        ]

    def real(self, page: str, line: str) -> str:
        """Return a line with what is real in this world."""
        for theirs, ours in (
            ("/etc/peerpost/passphrase", "passphrase"), ("%d/passphrase", "passphrase"),
            ("~/.config/peerpost/passphrase", "passphrase"), ("/tmp/trial", "~/trial"),
            ("0.0.0.0/tcp/4001", "127.0.0.1/tcp/0"), ("/ip6/::/tcp/4001", "/ip6/::1/tcp/0"),
        ):  # fmt: skip
            line = line.replace(theirs, ours)
        if "PP1..." in line or "ticket.txt" in line:
            ticket = self.ticket(f"guest{self.count}")
            line = line.replace("PP1...", ticket)
            line = f"echo {ticket} > ticket.txt; {line}"
        if "ID --address" in line:
            me = json.loads(self.there.bash("peerpost --json identity show"))
            line = line.replace("--id ID", f"--id {me['id']}").replace("PEER_ID", me["peer_id"])
        for fake in ("k3f9", "7hq2", "3f9a", "4711"):
            if fake in line:
                line = line.replace(fake, self.id_for(page, fake, line))
        return line

    def receive(self) -> None:
        """Have a text and a folder in the inbox, the text first."""
        self.here.bash("peerpost contacts edit bob --accept default")
        self.there.bash("peerpost send -c alice --wait 'invoice 17: disk full'")
        self.there.bash("peerpost send -c alice --file photos --wait")

    def id_for(self, page: str, fake: str, line: str) -> str:
        group = page.partition(" ")[0]
        if group == "inbox" or fake == "k3f9":
            inbox = self.rows("inbox list --oldest")
            if {"text", "file"} - {row["kind"] for row in inbox}:
                self.receive()
                inbox = self.rows("inbox list --oldest")
            texts = [row for row in inbox if row["kind"] == "text"]
            row = next(row for row in inbox if row["directory"]) if fake == "7hq2" else texts[0]
            return str(row["cursor"] if fake == "4711" else row["id"])
        if group == "contacts":
            return str(self.rows("contacts invites")[0]["id"])
        if group == "transfers":
            kinds = [
                row
                for row in self.rows("transfers list")
                if row["state"] not in ("done", "cancelled")
            ]
            asking = [row for row in kinds if row["state"] == "asking"]
            mine = [row for row in kinds if row["direction"] == "out"]
            decides = re.search(" (accept|reject) ", line) is not None
            if decides and not asking:
                self.offer()
                return self.id_for(page, fake, line)
            return str((asking if decides else mine)[0]["id"])
        self.here.bash("peerpost send -c nas 'to be taken back'")
        return str(self.rows("queue list")[-1]["id"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="pp-ex-") as name:
        try:
            yield World(Path(name))
        finally:
            leave_nothing(Path(name))


def machine_for(world: World, line: str) -> Machine:
    """Return the machine that a line runs on."""
    if OWN_HOME.search(line) is None:
        return world.here
    protected = re.search(r"unlock|lock$|passphrase (change|remove)", line) is not None
    made = world.machine(PASSPHRASE if protected else None)
    if "contacts" in line and " add " not in line:
        for name in ("bob", "mallory"):
            world.add_stranger(made, name)
    made.bash("peerpost node stop")
    if "identity new" in line:
        shutil.rmtree(made.home / ".local" / "share" / "peerpost")
    if "trial" in line:
        made.bash("peerpost --home ~/trial identity new --no-passphrase")
    if "restore" in line:
        made.bash("peerpost backup create ~/peerpost-backup --passphrase-file ~/.backup-passphrase")
        shutil.copy(made.home / "peerpost-backup", world.there.home / "peerpost-backup")
    return made


def run(machine: Machine, line: str) -> subprocess.CompletedProcess[str]:
    # What is saved gets its own name in a folder that is empty.
    folder = machine.home / "downloaded" if " save " in line else machine.home
    if folder != machine.home:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder, env=machine.env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("page", LEAVES)
def test_the_examples_of(world: World, page: str) -> None:
    if page == "inbox import":
        world.archive()
    for line in PAGES[page]:
        if line in NOT_RUN:
            continue
        machine = machine_for(world, line)
        real = world.real(page, line)
        if "node run" in line or "--listen" in line or page == "node start":
            run(machine, "peerpost node stop")
        forever = FOREVER.match(line) is not None
        if forever:
            command, bar, rest = real.partition(" | ")
            real = f"timeout -s TERM {FOREVER_S} {command}{bar}{rest}"
        done = run(machine, real)
        wanted = 124 if forever else CODES.get(line, 0)
        assert done.returncode == wanted, f"{line}\n{real}\n{done}"


def test_what_is_named_here_is_there() -> None:
    lines = {line for page in PAGES.values() for line in page}
    assert set(NOT_RUN) | set(CODES) <= lines
