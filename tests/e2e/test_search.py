"""The search, between real nodes: what came and went, and is deleted, locked, backed up and put back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from peerpost.store import keyfile
from peerpost.store.db.engine import Store
from peerpost.store.tables import contacts, indexing, outbox
from peerpost.store.tables.grams import SLICE_ROWS
from peerpost.wire import inner as wire
from tests.support import indexed
from tests.support.nodes import Friend, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

LONG = "The long report. " + "x " * 40_000 + "its end."
NOWHERE = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWFgFmJ9RcH6C89wR99TtToEhrXvjQWAaLrbZpwDrExotc"
NOW_MS = 1_800_000_000_000
SECRET = b"umber lattice quiver saddle topaz morning\n"


async def previews(one: Friend, *arguments: str) -> list[str]:
    """Return what a search finds, each by its match."""
    return [row["match"] for row in (await one.cli("inbox", "search", *arguments)).rows]


async def delivered(alice: Friend, *texts: str) -> None:
    """Send texts and wait until all are there."""
    for text in texts:
        await alice.cli("send-net", "--contact", "bob", text, "--wait")


async def test_received_and_sent(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, bob = pair
    await delivered(alice, "Die Straße ist gesperrt", '100% of *this* is "plain"', "zz top")
    (folder / "Report.PDF").write_bytes(b"x" * 2000)
    await alice.cli("send-net", "--contact", "bob", "--file", str(folder / "Report.PDF"), "--wait")
    await bob.cli("send-net", "--contact", "alice", "which strasse?", "--wait")

    (row,) = (await bob.cli("inbox", "search", "STRASSE")).rows
    (listed,) = [r for r in (await bob.cli("inbox", "list")).rows if r["id"] == row["id"]]
    assert {key: row[key] for key in listed} == listed
    assert row.keys() - listed.keys() == {"match", "match_start", "match_end", "direction"}
    assert row["match"][row["match_start"] : row["match_end"]] == "Straße"
    assert row["direction"] == "in"

    both = (await bob.cli("inbox", "search", "strasse", "--sent")).rows
    assert [r["direction"] for r in both] == ["out", "in"]
    (sent,) = [r for r in (await bob.cli("sent", "list")).rows if r["id"] == both[0]["id"]]
    assert all(both[0][key] == sent[key] for key in sent.keys() - {"cursor"})
    first = await bob.cli("inbox", "search", "strasse", "--sent", "--limit", "1")
    more = json.loads(first.err)["more"]
    rest = (await bob.cli("inbox", "search", "strasse", "--sent", "--after", more)).rows
    assert [r["id"] for r in (*first.rows, *rest)] == [r["id"] for r in both]

    for term in ('*this* is "', "100%", "ZZ", "z", "%"):
        assert len(await previews(bob, term)) == 1, term
    assert await previews(bob, "report.pdf") == ["Report.PDF"]
    assert await previews(bob, "e", "--files") == ["Report.PDF"]
    assert await previews(alice, "report", "--sent") == ["Report.PDF"]
    assert await previews(bob, "strasse", "--since", "2099-01-01") == []
    assert await previews(bob, "strasse", "--contact", "alice") == ["Die Straße ist gesperrt"]
    assert await previews(bob, "   ") == []
    missing = await bob.cli("inbox", "search", "x", "--contact", "nobody", code=67)
    assert missing.error["code"] == "not_found"


@pytest.mark.parametrize(("term", "code"), [("", 2), ("x" * 257, 2)])
async def test_no_term_to_search_for(pair: tuple[Friend, Friend], term: str, code: int) -> None:
    done = await pair[0].cli("inbox", "search", term, code=code)
    assert done.error["code"] == "usage"
    assert done.error["hint"]


async def test_terms_over_the_socket_that_are_no_text(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await delivered(alice, "nothing odd")
    for term, is_text in (("\ud800", False), ("a\0b", True), ("\0", True)):
        request = {"jsonrpc": "2.0", "id": 1, "method": "inbox.search", "params": {"term": term}}
        reader, writer = await asyncio.open_unix_connection(bob.home / "control.sock")
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            answer = json.loads(await reader.readline())
        finally:
            writer.close()
        assert answer["result"] == [] if is_text else "error" in answer


async def test_a_long_text_by_its_beginning(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await alice.ask("send-net", {"contact": "bob", "text": LONG, "wait": True})
    found = await bob.cli("inbox", "search", "LONG REPORT")
    assert [row["size"] for row in found.rows] == [len(LONG)]
    assert found.rows[0]["match"].startswith("The long report.")
    assert found.err == ""
    # As docs/cli.md says: its end is beyond what is searched.
    assert await previews(bob, "its end") == []
    await bob.cli("inbox", "delete", found.rows[0]["id"])
    assert await previews(bob, "long report") == []


async def test_deleted_forgotten_encrypted_anew_and_put_back(
    pair: tuple[Friend, Friend], friend: Callable[..., Friend], folder: Path
) -> None:
    alice, bob = pair
    await delivered(alice, "needle one", "needle two", "hay")
    await bob.cli("send-net", "--contact", "alice", "a needle of bob's", "--wait")
    (last, _) = (await bob.cli("inbox", "search", "needle")).rows
    await bob.cli("inbox", "delete", last["id"])
    assert await previews(bob, "needle") == ["needle one"]

    secret = folder / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    by = ("--passphrase-file", str(secret))
    await bob.cli("identity", "passphrase", "set", *by)
    assert await previews(bob, "needle", "--sent") == ["a needle of bob's", "needle one"]
    await bob.cli("backup", "create", str(folder / "backup"), *by)
    await bob.cli("identity", "lock")
    locked = await bob.cli("inbox", "search", "needle", code=77)
    assert locked.error["code"] == "locked"
    await bob.cli("identity", "unlock", *by)

    await bob.cli("contacts", "remove", "alice", "--forget", "--yes")
    assert await previews(bob, "needle", "--sent") == []
    await bob.stop()

    back = friend("back")
    await back.cli("backup", "restore", str(folder / "backup"), *by)
    await back.cli("identity", "unlock", *by)
    assert await previews(back, "needle", "--sent") == ["a needle of bob's", "needle one"]
    await back.cli("node", "stop")


async def test_what_retention_deletes_is_found_no_more(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await delivered(alice, "needle one", "needle two", "needle three")
    await bob.stop()
    config = bob.home / "config.toml"
    text = config.read_text()
    config.write_text(text.replace("[storage]", "[storage]\nkeep_count = 1\nkeep_unread = false"))
    await bob.start()

    async def one_is_left() -> bool:
        return await previews(bob, "needle") == ["needle three"]

    await until(one_is_left)


# -- a home that has none yet


async def with_store(alice: Friend, work: Callable[[Store], Awaitable[Any]]) -> Any:
    """Do something with the store of a home whose node is down."""
    key, loop = keyfile.unlock(alice.home), asyncio.get_running_loop()
    store = await Store.open(alice.home / "store.db", key, loop=loop, ballast_bytes=0)
    try:
        return await work(store)
    finally:
        await store.close()


async def filled(alice: Friend, count: int) -> None:
    """Queue texts in a home whose node is down."""

    async def fill(store: Store) -> None:
        bob = (await store.read(contacts.find, "bob")).id
        for at in range(0, count, 1000):
            drafts = [
                outbox.Draft(
                    contact_id=bob,
                    lane=0,
                    message_kind=wire.Kind.TEXT,
                    body=f"number {number}".encode(),
                    size=10,
                    now_ms=NOW_MS,
                )
                for number in range(at, at + 1000)
            ]
            await store.write(outbox.enqueue_many, drafts)

    await alice.ask("contacts.add", {"name": "bob", "id": "57" * 32, "address": NOWHERE})
    await alice.stop()
    await with_store(alice, fill)


async def checked(alice: Friend) -> int:
    """Check the index of a home whose node is down; return how many slices have none."""

    async def look(store: Store) -> int:
        await store.read(indexed.check)
        return (await store.read(indexing.progress)).left

    left: int = await with_store(alice, look)
    return left


async def test_kill_9_while_the_index_is_built(friend: Callable[..., Friend]) -> None:
    """Whatever kills the node, the index goes on where it was; and what is asked meanwhile is answered."""
    slices = 5
    count = slices * 5000
    alice = friend("alice")
    await alice.start()
    await alice.create()
    await filled(alice, count)
    left = [await checked(alice)]
    assert left == [count // SLICE_ROWS]
    draw = random.Random(14)
    for _ in range(12):
        node = await alice.run_node()
        await asyncio.sleep(draw.uniform(0, 1.5))
        done = (await alice.cli("inbox", "search", "number 77", "--sent", "--limit", "5")).rows
        assert len(done) == 5
        os.kill(node.pid, signal.SIGKILL)
        await node.wait()
        left.append(await checked(alice))
        if not left[-1]:
            break
    assert left == sorted(left, reverse=True)
    assert len(left) > 2, "it was built too soon to be killed"
    node = await alice.run_node()
    # A message does not wait for it.
    await alice.cli("send-net", "--contact", "bob", "number new")

    async def whole() -> bool:
        return not (await alice.ask("inbox.searchable"))["left"]

    await until(whole)
    found = (await alice.cli("inbox", "search", "number", "--sent")).rows
    assert len({row["id"] for row in found}) == len(found) == count + 1
    os.kill(node.pid, signal.SIGTERM)
    await node.wait()
    assert await checked(alice) == 0
