"""The acts of the demonstration. Each does something real and checks it; one that fails ends the demonstration."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from peerpost.errors import PeerpostError

from .person import Person
from .program import Program

__all__ = ["Stage", "StageError"]

WAIT_S = 300.0
"""Longest that anything of the demonstration may take, on a slow and busy machine."""
THROTTLE_BYTES_S = 4 << 20
"""Pace of the slow link: ten megabytes take long enough to be interrupted."""


class StageError(PeerpostError):
    """Something was not as it must be."""

    code = "demo"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


class Stage:
    """Alice and Bob, and what happens to them."""

    def __init__(self, folder: Path, file: Path, program: Program) -> None:
        self.file = file
        self.size = file.stat().st_size
        self.digest = _digest(file)
        self.folder = folder
        self.alice = Person("alice", folder)
        self.bob = Person("bob", folder)
        self.say = program

    async def close(self) -> None:
        """End both nodes and their links."""
        await asyncio.gather(self.alice.close(), self.bob.close())

    # -- acts

    async def act_meet(self) -> None:
        """Make two homes and join them by one ticket."""
        self.say.act("Two people, one ticket")
        await asyncio.gather(self.alice.start(), self.bob.start())
        for person in (self.alice, self.bob):
            await person.create()
            shown = await person.ask("identity.show")
            self.say.command(f"peerpost identity new --name {person.name}")
            self.say.line(f"{person.name} is {shown['peer_id']}")
        self.say.command("peerpost contacts invite alice")
        ticket = (await self.bob.ask("contacts.invite", {"name": "alice", "expires_s": 3600}))[
            "ticket"
        ]
        self.say.line(f"{ticket[:48]}... ({len(ticket)} characters, good once, for an hour)")
        self.say.command("peerpost contacts add bob TICKET")
        started = time.monotonic()
        await self.alice.ask("contacts.add", {"name": "bob", "ticket": ticket})
        await self._contact_is(self.alice, "bob", "active")
        self.say.done("both know each other", started)

    async def act_text(self) -> None:
        """Send a text and wait for its receipt."""
        self.say.act("A text")
        text = "Hello Bob, no server was asked to carry this."
        self.say.command(f'peerpost send --contact bob --wait "{text}"')
        started = time.monotonic()
        sent = await self._send(self.alice, {"text": text})
        self._expect(sent["state"], "delivered", "the text's state")
        self.say.done("delivered: it is on Bob's disk, and Alice has the receipt", started)
        item = await self._newest(self.bob)
        shown = await self.bob.ask("inbox.show", {"id": item["id"]})
        self.say.command(f"peerpost inbox show {item['id']}")
        self.say.line(shown["body"])
        self._expect(shown["body"], text, "the text that Bob reads")

    async def act_file(self) -> None:
        """Send a file, as fast as it goes."""
        self.say.act(f"A file of {self.say.size(self.size)}")
        self.say.command(f"peerpost send --contact bob --wait --file {self.file.name}")
        started = time.monotonic()
        sent = await self._send_file()
        self._expect(sent["state"], "delivered", "the file's state")
        self.say.done("delivered: every chunk verified with BLAKE2b", started, self.size)
        await self._check_saved("1")

    async def act_hostile(self) -> None:
        """Send the same file by a sender that lies."""
        self.say.act("The same file, from a sender that corrupts, drops, cuts short and repeats")
        await self.alice.stop()
        await self.alice.start("peerpost.demo.hostile")
        started = time.monotonic()
        sent = await self._send_file()
        self._expect(sent["state"], "delivered", "the file's state")
        self.say.done(
            "delivered all the same: what was wrong was asked for again", started, self.size
        )
        for line in self._hostile_report():
            self.say.line(line)
        await self._check_saved("2")
        await self.alice.stop()
        await self.alice.start()

    async def act_killed(self, victim: Person) -> None:
        """Send the same file over a slow link, with one side killed in the middle."""
        self.say.act(
            f"The same file over a slow link, and {victim.name.title()}'s node is killed on the way"
        )
        links = (self.alice.link, self.bob.link)
        for link in links:
            link.faults.rate_bytes_s = THROTTLE_BYTES_S
        before = self._carried()
        started = time.monotonic()
        entry = await self._queue_file()
        await self._carry_to(before + self.size // 2)
        await victim.kill()
        self.say.line(
            f"kill -9 after {self.say.size(self._carried() - before)}; nothing is told to the other side"
        )
        await victim.start()
        self.say.line("restarted; no command is given")
        await self._delivered(entry["id"])
        carried = self._carried() - before
        for link in links:
            link.faults.rate_bytes_s = None
        self.say.done("delivered: it went on where it was", started, self.size)
        again = max(0, carried - self.size)
        self.say.line(
            f"{self.say.size(carried)} crossed the link, {self.say.size(again)} more than the file"
        )
        await self._check_saved(f"3-{victim.name}")

    # -- helpers

    def _expect(self, found: object, wanted: object, what: str) -> None:
        if found != wanted:
            raise StageError(f"{what} should be {wanted!r}, and is {found!r}")

    def _carried(self) -> int:
        """Bytes that went towards Bob, whoever dialled the connection."""
        return self.bob.link.forwarded_bytes + self.alice.link.returned_bytes

    async def _carry_to(self, total: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while self._carried() < total:
                await asyncio.sleep(0.02)

    async def _send(self, person: Person, params: dict[str, Any], fds: tuple[int, ...] = ()) -> Any:
        wanted = {"contact": "bob", "wait": True, "timeout_s": WAIT_S, **params}
        return await person.ask("send-net", wanted, fds=fds)

    def _file_params(self) -> dict[str, Any]:
        return {
            "contact": "bob",
            "file": {
                "name": os.fsencode(self.file.name).decode(errors="replace"),
                "fd_index": 0,
                "path_hex": os.fsencode(self.file).hex(),
                "size": self.size,
            },
        }

    async def _send_file(self) -> Any:
        with self.file.open("rb") as file:
            return await self._send(self.alice, self._file_params(), (file.fileno(),))

    async def _queue_file(self) -> Any:
        with self.file.open("rb") as file:
            return await self.alice.ask("send-net", self._file_params(), fds=(file.fileno(),))

    async def _delivered(self, entry_id: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    entry = await self.alice.ask("sent.show", {"id": entry_id})
                except PeerpostError:
                    entry = {"state": "unknown"}
                if entry["state"] == "delivered":
                    return
                if entry["state"] in ("refused", "cancelled", "expired"):
                    raise StageError(f"the file was {entry['state']}: {entry.get('last_error')}")
                await asyncio.sleep(0.1)

    async def _contact_is(self, person: Person, name: str, state: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while (await person.ask("contacts.show", {"name": name}))["state"] != state:
                await asyncio.sleep(0.05)

    async def _newest(self, person: Person) -> Any:
        items = await person.ask("inbox.list", {"limit": 1})
        if not items:
            raise StageError(f"{person.name}'s inbox is empty")
        return items[0]

    async def _check_saved(self, label: str) -> None:
        """Save what Bob received and compare it with what Alice sent, byte for byte."""
        item = await self._newest(self.bob)
        target = self.folder / f"received-{label}"
        with tempfile.TemporaryFile(dir=self.folder) as file:
            await self.bob.ask("inbox.save", {"id": item["id"]}, fds=(file.fileno(),))
            file.seek(0)
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
            size = os.fstat(file.fileno()).st_size
        self.say.command(f"peerpost inbox save {item['id']} --out {target.name}")
        self._expect((size, digest), (self.size, self.digest), "size and BLAKE2b of what Bob saved")
        self.say.line(f"blake2b {digest[:32]}... equals the original")

    def _hostile_report(self) -> list[str]:
        path = self.alice.home / "hostile.txt"
        return path.read_text().splitlines() if path.exists() else []
