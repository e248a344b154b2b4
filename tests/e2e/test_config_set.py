"""`config set` as commands of a shell: with no home, with a node that runs, and many at once."""

from __future__ import annotations

import asyncio
import tomllib
from typing import Any

import pytest

from tests.support.nodes import Friend, processes_in

from .conftest import MakeFriend

pytestmark = pytest.mark.asyncio


def config(friend: Friend) -> dict[str, Any]:
    return tomllib.loads((friend.home / "config.toml").read_text())


async def test_it_needs_neither_node_nor_identity(friend: MakeFriend, folder: Any) -> None:
    bob = friend("bob")
    (bob.home / "config.toml").unlink()
    bob.home.rmdir()
    done = await bob.cli("config", "set", "storage.accept", "500MiB")
    assert done.row == {
        "key": "storage.accept",
        "value": 500 << 20,
        "origin": "config.toml",
        "path": str(bob.home / "config.toml"),
        "node": None,
    }
    assert bob.home.stat().st_mode & 0o777 == 0o700
    assert (await bob.cli("config", "show")).rows[3]["value"] == 500 << 20
    error = (await bob.cli("config", "set", "storage.acept", "1", code=78)).error
    assert error["hint"] == "did you mean 'storage.accept'?"
    for wrong in (
        ("config", "set"),
        ("config", "set", "a.b"),
        ("config", "set", "a.b", "1", "--unset"),
    ):
        await bob.cli(*wrong, code=2)
    done = await bob.cli("config", "set", "--unset", "storage.accept")
    assert (done.row["value"], done.row["origin"]) == (100 << 20, "default")
    assert not list(processes_in(folder))


async def test_many_at_once_lose_nothing(friend: MakeFriend) -> None:
    bob = friend("bob")
    wanted = {
        "node.idle_exit": "9min", "storage.quota": "1GiB", "storage.keep_count": "7", "log.kept": "5",
        "log.level": "debug", "hooks.time_limit": "5s", "storage.keep_for": "9d", "log.size": "1MiB",
    }  # fmt: skip
    await asyncio.gather(*(bob.cli("config", "set", key, value) for key, value in wanted.items()))
    found = config(bob)
    for key, value in wanted.items():
        section, _, name = key.partition(".")
        assert str(found[section][name]) == value
    assert found["network"] == {"listen": ["/ip4/127.0.0.1/tcp/0"]}


async def test_a_running_node_takes_it(pair: tuple[Friend, Friend]) -> None:
    _, bob = pair
    done = await bob.cli("config", "set", "storage.quota", "1GiB")
    assert done.row["node"] == "applied"
    assert (await bob.ask("config.show"))["storage"]["quota"] == 1 << 30
    done = await bob.cli("config", "set", "padding.mode", "off")
    assert done.row["node"] == "needs_restart"
    assert "next start" in done.err
    done = await bob.cli("config", "set", "network.listen", "/ip4/127.0.0.1/tcp/0")
    # A variable in the environment of the node, not of the command.
    assert (done.row["node"], done.row["origin"]) == ("overridden", "config.toml")
    assert "PEERPOST__NETWORK__LISTEN" in done.err
    done = await bob.cli("config", "set", "storage.quota", "2GiB", "--no-reload")
    assert done.row["node"] is None
    assert (await bob.ask("config.show"))["storage"]["quota"] == 1 << 30
    done = await bob.cli("config", "set", "storage.quota", "2GiB")
    assert done.row["node"] == "applied"
    assert "as it was" in done.err
    assert (await bob.ask("config.show"))["storage"]["quota"] == 2 << 30
    assert (await bob.cli("config", "set", "storage.quota", "--", "-1", code=78)).error[
        "code"
    ] == "config"
    assert (await bob.ask("config.show"))["storage"]["quota"] == 2 << 30


async def test_what_the_environment_overrides_is_said(
    friend: MakeFriend, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = friend("bob")
    monkeypatch.setenv("PEERPOST__LOG__LEVEL", "error")
    done = await bob.cli("config", "set", "log.level", "debug")
    assert (done.row["value"], done.row["origin"]) == ("error", "PEERPOST__LOG__LEVEL")
    assert "overrides" in done.err
    assert config(bob)["log"]["level"] == "debug"


async def test_a_variable_that_is_wrong_is_not_taken_for_the_file(
    friend: MakeFriend, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = friend("bob")
    monkeypatch.setenv("PEERPOST__LOG__KEPT", "many")
    done = await bob.cli("config", "set", "log.level", "debug")
    assert (done.row["value"], done.row["origin"]) == (None, None)
    assert "It is written" in done.err
    assert "PEERPOST__LOG__KEPT" in done.err
    assert config(bob)["log"]["level"] == "debug"
