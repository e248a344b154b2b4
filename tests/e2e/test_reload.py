"""`node reload`: what was changed in config.toml holds at once, or is named as waiting for a new start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import Friend, content, processes_in, until

pytestmark = pytest.mark.asyncio


def write(friend: Friend, section: str, line: str) -> None:
    """Put a line at the top of a section, in the place of one with the same key."""
    path = friend.home / "config.toml"
    text = path.read_text()
    key = line.partition(" =")[0]
    text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
    if f"[{section}]" not in text:
        text += f"[{section}]\n"
    path.write_text(text.replace(f"[{section}]\n", f"[{section}]\n{line}\n"))


async def reload(friend: Friend) -> dict[str, Any]:
    return (await friend.cli("node", "reload")).row


async def test_it_applies_what_it_can(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, bob = pair
    assert await reload(bob) == {"applied": [], "needs_restart": [], "overridden": [
        {"key": "network.listen", "by": "PEERPOST__NETWORK__LISTEN"}
    ]}  # fmt: skip

    # A file that asks is taken once it fits.
    write(bob, "storage", 'accept = "10KiB"')
    assert (await reload(bob))["applied"] == ["storage.accept"]
    id_ = await alice.queue_file("bob", "large", content(100_000))

    async def asks() -> bool:
        return bool(await bob.ask("transfers.asking"))

    await until(asks)
    write(bob, "storage", 'accept = "1MiB"')
    assert (await reload(bob))["applied"] == ["storage.accept"]
    await alice.delivered(id_)

    # A schedule holds at once, and is gone at once.
    write(bob, "limits", 'schedule = ["00:00-24:00 up=1MB/s"]')
    assert (await reload(bob))["applied"] == ["limits.schedule"]
    everybody, *_ = await bob.ask("limits.show")
    assert everybody["up_bytes_s"] == 1_000_000
    write(bob, "limits", "schedule = []")
    await reload(bob)
    everybody, *_ = await bob.ask("limits.show")
    assert (everybody["up_bytes_s"], everybody["schedule"]) == (None, None)

    # A program for each message begins, and another takes its place.
    got = folder / "got"
    for number in (1, 2):
        program = folder / f"hook{number}"
        program.write_text(f"#!/bin/sh\ncat > /dev/null\necho {number} >> {got}\n")
        program.chmod(0o755)
        write(bob, "hooks", f'on_message = ["{program}"]')
        assert (await reload(bob))["applied"] == ["hooks.on_message"]

        async def is_reader() -> bool:
            return any(row["reader"] == "hook" for row in await bob.ask("inbox.readers"))

        await until(is_reader)
        await alice.cli("send", "-c", "bob", "x", "--wait")

        async def ran(wanted: int = number) -> bool:
            return got.exists() and got.read_text().split()[-1] == str(wanted)

        await until(ran)
    write(bob, "hooks", "on_message = []")
    await reload(bob)
    assert got.read_text().split() == ["1", "2"]

    # What is read is deleted by a rule that was not there before.
    for row in await bob.ask("inbox.list"):
        await bob.cli("inbox", "mark", row["id"])
    write(bob, "storage", "keep_count = 1")
    assert (await reload(bob))["applied"] == ["storage.keep_count"]

    async def one_left() -> bool:
        return len(await bob.ask("inbox.list")) == 1

    await until(one_left)


async def test_what_it_cannot_apply_waits_and_is_named_each_time(
    pair: tuple[Friend, Friend],
) -> None:
    _, bob = pair
    write(bob, "padding", 'mode = "off"')
    write(bob, "log", "kept = 7")
    write(bob, "storage", 'quota = "1GiB"')
    first, second = await reload(bob), await reload(bob)
    assert first["applied"] == ["storage.quota"]
    assert second["applied"] == []
    assert first["needs_restart"] == second["needs_restart"] == ["padding.mode", "log.kept"]
    held = await bob.ask("config.show")
    assert (held["padding"]["mode"], held["log"]["kept"]) == ("buckets", 3)
    await bob.stop()
    await bob.start()
    held = await bob.ask("config.show")
    assert (held["padding"]["mode"], held["log"]["kept"]) == ("off", 7)
    assert (await reload(bob))["needs_restart"] == []


@pytest.mark.parametrize(
    "text",
    [
        "[storage]\nacept = 1\n",
        "[storage\n",
        "[storage]\nquota = -1\n",
        "\xff",
        "[log]\nlevel='a=b'",
    ],
)
async def test_a_file_that_is_wrong_changes_nothing(friend: Any, text: str) -> None:
    bob = friend("bob")
    await bob.start()
    await bob.create()
    before = await bob.ask("config.show")
    path = bob.home / "config.toml"
    good = path.read_text()
    path.write_bytes(
        (good.replace("[storage]", '[storage]\nquota = "1GiB"') + text).encode("latin-1")
    )
    refused = await bob.cli("node", "reload", code=78)
    assert refused.error["code"] == "config"
    assert await bob.ask("config.show") == before
    path.write_text(good.replace("[storage]", '[storage]\nquota = "1GiB"'))
    assert (await reload(bob))["applied"] == ["storage.quota"]


async def test_a_home_is_locked_by_itself_once_it_is_told_to(friend: Any) -> None:
    bob = friend("bob")
    await bob.start()
    await bob.ask(
        "identity.new",
        {"name": "bob", "protect": "passphrase", "passphrase": "wooden spoon lake 77"},
    )
    write(bob, "security", 'lock_after = "1s"')
    assert (await reload(bob))["applied"] == ["security.lock_after"]

    async def locked() -> bool:
        return bool((await bob.ask("node.status"))["state"] == "locked")

    await until(locked)
    # A locked home is reloaded too.
    write(bob, "security", 'lock_after = "off"')
    write(bob, "storage", "keep_count = 9")
    assert (await reload(bob))["applied"] == ["storage.keep_count", "security.lock_after"]


async def test_one_that_a_command_has_started_leaves_when_it_is_told_to(
    friend: Any, folder: Path
) -> None:
    bob = friend("bob", idle_exit="1h")
    await bob.cli("identity", "new", "--name", "bob", "--no-passphrase")
    assert list(processes_in(folder))
    bob.configure(idle_exit="1s")
    assert (await reload(bob))["applied"] == ["node.idle_exit"]

    async def gone() -> bool:
        return not list(processes_in(folder))

    await until(gone)
    assert (await bob.cli("node", "reload", code=69)).error["code"] == "unavailable"


async def test_the_log_has_another_level_at_once(friend: Any) -> None:
    bob = friend("bob")
    await bob.start()
    await bob.create()
    write(bob, "log", 'level = "error"')
    assert (await reload(bob))["applied"] == ["log.level"]
    assert (await bob.cli("log", "show")).row == {"directives": "error", "origin": "config.toml"}
    length = len(bob.log_text())
    await bob.cli("node", "reload")
    assert len(bob.log_text()) == length
    shown = await bob.cli("log", "set", "debug,peerpost.node.reloading=debug")
    assert shown.row["origin"] == "log set"
    assert "until the node ends" in shown.err
    await bob.cli("node", "reload")
    assert "the configuration was read again" in bob.log_text()[length:]
    write(bob, "log", 'level = "warning"')
    answer = await reload(bob)
    assert answer["applied"] == []
    assert {"key": "log.level", "by": "log set"} in answer["overridden"]
    assert (await bob.cli("log", "set", "--reset")).row["directives"] == "warning"


async def test_log_set_names_what_is_wrong(friend: Any) -> None:
    bob = friend("bob")
    await bob.start()
    for text, named in (
        ("info,a=loud", "'a=loud'"),
        ("inof", "'inof'"),
        ("a[b]", "span"),
        ("", "nothing"),
    ):
        error = (await bob.cli("log", "set", text, code=2)).error
        assert named in error["message"], error
    await bob.cli("log", "set", code=2)
    await bob.cli("log", "set", "info", "--reset", code=2)
    assert (await bob.cli("log", "show")).row["origin"] == "config.toml"
    strange = await bob.cli("log", "set", "info,peerpost.files=debug")
    assert strange.row["unknown"] == ["peerpost.files"]
    assert "No logger is called peerpost.files" in strange.err


async def test_the_environment_says_what_is_logged(
    friend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = friend("bob")
    monkeypatch.setenv("RUST_LOG", "hyper[span]=debug")
    await bob.cli("identity", "new", "--name", "bob", "--no-passphrase")
    assert (await bob.cli("log", "show")).row["origin"] == "config.toml"
    assert "RUST_LOG is not heeded" in (bob.home / "node.log").read_text()
    await bob.cli("node", "stop")
    monkeypatch.setenv("PEERPOST_LOG", "error,peerpost::node=debug")
    await bob.cli("node", "start")
    assert (await bob.cli("log", "show")).row["origin"] == "PEERPOST_LOG"
    await bob.cli("node", "stop")
    monkeypatch.setenv("PEERPOST_LOG", "louder,x=y")
    assert "PEERPOST_LOG: 'x=y'" in (await bob.cli("node", "start", code=78)).error["message"]
