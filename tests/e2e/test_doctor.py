"""What doctor says of a home, as a user asks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peerpost.fastpath import is_native
from tests.support.nodes import Friend

pytestmark = pytest.mark.asyncio


async def test_names_that_are_announced_are_looked_up(friend: Callable[..., Friend]) -> None:
    alice = friend("alice")
    config = alice.home / "config.toml"
    names = '["/dns4/localhost/tcp/4001", "/dns4/nowhere.invalid/tcp/4001", "/ip4/192.0.2.7/tcp/1"]'
    config.write_text(config.read_text().replace("[network]", f"[network]\nannounce = {names}", 1))
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    rows = {row["check"]: row for row in (await alice.cli("doctor", code=1)).rows}
    local, unknown = rows["announced localhost"], rows["announced nowhere.invalid"]
    assert "127.0.0.1" in local["found"]
    assert not local["ok"]
    assert "nowhere.invalid" in unknown["found"]
    assert not unknown["ok"]
    assert "announce" in unknown["hint"]
    assert not any("192.0.2.7" in check for check in rows)


@pytest.mark.parametrize("pure", [False, True])
async def test_it_says_where_slower_modules_serve(
    friend: Callable[..., Friend], monkeypatch: pytest.MonkeyPatch, *, pure: bool
) -> None:
    if pure:
        monkeypatch.setenv("PEERPOST_PURE", "1")
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    rows = (await alice.cli("doctor", code=None)).rows
    (native,) = [row for row in rows if row["check"] == "native code"]
    assert native["ok"] is (is_native() and not pure)
    assert ("slower ones in Python serve" in str(native["hint"])) is not native["ok"]
