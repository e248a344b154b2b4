"""The history of a home, record by record, as `inbox export` takes it from the node."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from peerpost.bundle.record import Card, Record

from .app import App
from .piped import take

__all__ = ["Held", "HomeHistory"]

Direction = Literal["received", "sent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A message, and whether its bytes are a file of the home."""

    record: Record
    has_file: bool


class HomeHistory:
    """What is to be exported: some messages by their ids, or all of a contact or of everybody."""

    def __init__(
        self, app: App, ids: Iterable[str], contact: str | None, since_ms: int | None
    ) -> None:
        """Find the messages that are named. Raises NotFoundError, AmbiguousError."""
        self._app = app
        self._named: list[tuple[Held, str]] | None = None
        self._params = {"contact": contact, "since": since_ms}
        self.cards: dict[str, Card] = {}
        """The contacts of the messages that were given out so far, by id."""
        ids = list(ids)
        if ids:
            self._named = []
            for id_ in ids:
                self._named += self._taken(app.call("inbox.export.find", {"id": id_}))

    def newest_first(self) -> Iterator[Held]:
        """Yield all that was received, then all that was sent, each the newest first."""
        for direction in ("received", "sent"):
            yield from self._direction(direction, oldest=False)

    def oldest_first(self) -> Iterator[Held]:
        """Yield both directions, by the times at which the messages were here."""
        both = [self._direction(direction, oldest=True) for direction in ("received", "sent")]
        yield from heapq.merge(*both, key=lambda held: _time_ms(held.record))

    def _direction(self, direction: str, *, oldest: bool) -> Iterator[Held]:
        if self._named is not None:
            of_it = {
                held.record.id: held
                for held, _ in self._named
                if held.record.direction == direction
            }
            ordered = sorted(of_it.values(), key=lambda held: _time_ms(held.record))
            yield from ordered if oldest else reversed(ordered)
            return
        given = {"direction": direction, "oldest": oldest or None, **self._params}
        params: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        while found := self._taken(self._app.call("inbox.export", params)):
            for held, cursor in found:
                params["after"] = cursor
                yield held

    def _taken(self, answer: dict[str, Any]) -> list[tuple[Held, str]]:
        for card in answer["cards"]:
            self.cards[card["id"]] = msgspec.convert(card, Card)
        return [
            (
                Held(record=msgspec.convert(row["record"], Record), has_file=row["file"]),
                row["cursor"],
            )
            for row in answer["records"]
        ]

    def digest(self, record: Record) -> str:
        """Return the hash of a message's file, all of which is read and checked for it. Raises PeerpostError."""
        return str(self.read(record, lambda _: None)["blake2b"])

    def read(self, record: Record, into: Callable[[bytes], object]) -> dict[str, Any]:
        """Hand over the bytes of a message's file; return what the node says of it. Raises PeerpostError, OSError."""
        params = {"id": record.id, "mark": False}
        return take(self._app.home, lambda fd: self._app.call("inbox.save", params, fds=[fd]), into)


def _time_ms(record: Record) -> int:
    """Return when a message was here first: received, or queued."""
    return record.sent_ms if record.direction == "sent" else record.at_ms or 0
