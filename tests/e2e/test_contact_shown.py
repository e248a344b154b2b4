"""What `contacts show` knows of a contact: its keys, what waits for it, and when something failed last."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tests.support.nodes import Friend, until

pytestmark = pytest.mark.asyncio


def age_s(text: str) -> float:
    return time.time() - datetime.fromisoformat(text).astimezone(UTC).timestamp()


async def test_it(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    shown = (await bob.cli("contacts", "show", "alice")).row
    assert [(key["use"], key["type"]) for key in shown["keys"] if key["use"] != "prekey"] == [
        ("identity", "ed25519"),
        ("encryption", "x25519"),
        ("transport", "ed25519"),
    ]
    assert all(-5 < age_s(key["since"]) < 120 for key in shown["keys"])
    assert shown["in_force"] == {"accept": 100 << 20, "quota": 20 << 30}
    assert (shown["queued_bytes"], shown["last_error"], shown["last_error_at"]) == (0, None, None)
    await bob.cli("contacts", "edit", "alice", "--accept", "5MB", "--quota", "1GB")
    await alice.stop()

    async def offline() -> bool:
        return not (await bob.ask("contacts.show", {"name": "alice"}))["online"]

    await until(offline)
    await bob.cli("send", "-c", "alice", "x" * 1000)
    await bob.cli("send", "-c", "alice", "y" * 500)
    shown = (await bob.cli("contacts", "show", "alice")).row
    assert shown["in_force"] == {"accept": 5_000_000, "quota": 1_000_000_000}
    assert (shown["queued"], shown["queued_bytes"]) == (2, 1500)
    assert shown["last_error"]
    assert -5 < age_s(shown["last_error_at"]) < 60
    await alice.start()

    async def online() -> bool:
        return bool((await bob.ask("contacts.show", {"name": "alice"}))["online"])

    await until(online)
    shown = (await bob.cli("contacts", "show", "alice")).row
    assert (shown["last_error"], shown["last_error_at"]) == (None, None)
