"""An alert from cron on a disk that is full for long: a short text is taken every time, out of the reserve."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.test_full_disk import Small, alice, bob, says_full
from tests.support.nodes import Friend, until

__all__ = ["alice", "bob"]

pytestmark = pytest.mark.asyncio

ALERTS = 25
TEXT = "disk almost full on db3: " + "x" * 4000


@pytest.fixture
def folder_with_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reserve of 768 KiB: the eighth of a disk of 6 MiB, as much as there may be."""
    monkeypatch.setenv("PEERPOST__STORAGE__BALLAST", "4MiB")


@pytest.mark.usefixtures("folder_with_reserve")
async def test_a_short_text_is_taken_every_time(
    friend: Callable[..., Friend], bob: Small, alice: Friend
) -> None:
    await alice.stop()
    await bob.fill(leave_bytes=0)
    kept = []
    for number in range(ALERTS):
        if number == ALERTS // 2:
            await bob.cli("node", "stop")
        row = (await bob.cli("send", "--contact", "alice", f"{number} {TEXT}")).row
        assert row["state"] == "queued"
        kept.append(row["id"])
        # Whatever has filled the disk takes what was given back of the reserve.
        await bob.shell(f"cat /dev/zero >> {bob.home}/filler 2> /dev/null || true")
    quiet = await bob.cli("send", "-q", "--contact", "alice", f"{ALERTS} {TEXT}")
    assert (len(quiet.rows), quiet.err) == (1, "")
    says_full(await bob.cli("send", "--contact", "alice", "x" * 40_000, code=74))
    path = alice.home.parent / "file"
    path.write_bytes(b"x" * 200_000)
    says_full(await bob.cli("send", "--contact", "alice", "--file", str(path), code=74))
    rows = (await bob.cli("doctor", code=1)).rows
    (disk,) = [row for row in rows if row["check"] == "home disk"]
    assert "make room" in disk["hint"]
    assert "backup" not in disk["hint"]
    found = disk["found"]
    assert "the disk is full" in found
    assert "texts of up to 8 KiB" in found

    await alice.start()
    await bob.cli("queue", "retry", kept[0], code=None)

    async def all_there() -> bool:
        return len(await alice.texts()) == ALERTS + 1

    await until(all_there)
    assert [text.split()[0] for text in await alice.texts()] == [str(n) for n in range(ALERTS + 1)]
