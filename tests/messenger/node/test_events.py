"""Who hears of what."""

from __future__ import annotations

import asyncio

from peerpost.node.events import Event, Events


def test_who_listens_to_one_id_hears_of_that_alone() -> None:
    async def main() -> None:
        events = Events()
        with events.subscribe() as everything, events.subscribe("b") as one:
            events.publish("entry", "a", "sent")
            events.publish("entry", "b", "sent")
            assert await one.next() == Event(kind="entry", id="b", state="sent")
            assert [(await everything.next()).id for _ in range(2)] == ["a", "b"]
            with events.subscribe("b") as second:
                events.publish("entry", "b", "delivered")
                assert (await second.next()).state == (await one.next()).state == "delivered"
            events.publish("entry", "b", "late")
            assert (await one.next()).state == "late"
        events.publish("entry", "b", "nobody listens")

    asyncio.run(main())
