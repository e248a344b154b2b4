"""Who hears of what: the journal of the store feeds the events, whoever changes it."""

from __future__ import annotations

import ast
import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peerpost.node.events import LOOK, Event, Events, Subscription
from peerpost.store.db import follower
from peerpost.store.tables import contacts, inbox, transfers
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, chain, message, offer, public_of

NODE = Path(__file__).parents[3] / "messenger"
WAIT_S = 30


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as made:
        made.make_identity()
        yield made


@contextmanager
def listening(rig: Rig, id_: str | None = None) -> Iterator[Callable[[], list[Event]]]:
    """Listen; yields what returns the events since the last time."""
    with Events(rig.store).subscribe(id_) as events:
        # The first commit after a subscription may stand for any.
        yield lambda: rig.run(_taken(rig, events))


async def _taken(rig: Rig, events: Subscription) -> list[Event]:
    await rig.store.behind_what_is_queued()
    found: list[Event] = []
    while True:
        try:
            async with asyncio.timeout(0):
                found.append(await events.next())
        except TimeoutError:
            return found


def said(events: list[Event]) -> list[tuple[Any, ...]]:
    return [(event.kind, event.state, event.what) for event in events]


def test_adding_editing_and_removing_a_contact_is_told(rig: Rig) -> None:
    with listening(rig) as heard:
        bob = rig.write(contacts.add, name="bob", id_public=public_of("bob"), now_ms=NOW_MS)
        rig.write(contacts.edit, bob.id, name="bobby")
        rig.write(contacts.edit, bob.id, note="a friend")
        entry = rig.queue(bob.id)
        assert [(event.id, event.state, event.what) for event in heard()] == [
            (bob.id, "pending", None),
            (bob.id, "pending", "renamed"),
            (bob.id, "pending", "edited"),
            (entry.id, "queued", None),
        ]
        rig.write(contacts.remove, bob.id)
        # What was queued for it ends with it.
        assert said(heard()) == [("entry", "cancelled", None), ("contact", None, None)]


def test_an_offer_is_told_as_soon_as_it_is_here(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    with listening(rig) as heard:
        rig.write(contacts.edit, bob, note="x")
        heard()
        made = message(1, kind=wire.Kind.OFFER, body=offer(bytes(16)), lane=1)
        rig.write(inbox.receive_many, bob, [made], NOW_MS)
        (row,) = rig.read(transfers.of_contact, bob)
        (event,) = heard()
        assert (event.kind, event.id, event.state) == ("download", row.id, "offered")


def test_who_listens_to_one_id_hears_of_that_alone(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    first, second = rig.queue(bob), rig.queue(bob)
    with listening(rig, second.id) as heard:
        rig.write(contacts.edit, bob, note="x")
        heard()
        rig.acknowledge(first, 1)
        assert heard() == []
        rig.acknowledge(second, 2)
        (event,) = heard()
        assert (event.id, event.state, event.at_ms) == (second.id, "delivered", NOW_MS + 1)


def test_who_begins_to_listen_during_a_commit_is_told_to_look(rig: Rig) -> None:
    events = Events(rig.store)
    began, goes_on = threading.Event(), threading.Event()

    def change(db: Any) -> None:
        began.set()
        assert goes_on.wait(WAIT_S)
        db.execute("INSERT INTO rate_limits (up_bytes_s) VALUES (5)")

    async def main() -> list[Event]:
        committing = asyncio.ensure_future(rig.store.write(change))
        assert await asyncio.to_thread(began.wait, WAIT_S)
        with events.subscribe("any") as heard:
            goes_on.set()
            await committing
            return await _taken(rig, heard)

    assert LOOK in rig.run(main())


def test_a_slow_listener_is_told_to_look_and_then_hears_the_rest(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    with listening(rig) as heard:
        rig.write(contacts.edit, bob, note="x")
        heard()
        # In several commits, none of which is too large to be told.
        for outbox in range(3):
            messages = chain(follower.TOLD_ROWS // 2, outbox_id=bytes([outbox]) * 16)
            rig.write(inbox.receive_many, bob, messages, NOW_MS)
        rig.write(contacts.edit, bob, note="y")
        events = heard()
        assert events[0] == LOOK
        assert said(events[-1:]) == [("contact", "active", "edited")]
        assert len(events) <= 1024


def test_presence_is_told_though_no_store_has_it(rig: Rig) -> None:
    events = Events(rig.store)
    with events.subscribe() as heard:
        events.presence("bob", "online")
        assert rig.run(_taken(rig, heard)) == [Event(kind="presence", id="bob", state="online")]
    events.presence("bob", "offline")


@pytest.mark.slow
def test_nobody_else_makes_events() -> None:
    """The store is the one source: whoever made an event of its own would tell what the journal lacks."""
    makers = set()
    for path in sorted(NODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called.endswith((".presence", "._publish", ".push")) and "events" in called:
                    makers.add(path.name)
    assert makers == {"peer.py"}
