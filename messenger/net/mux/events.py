"""What a Yamux tells its owner."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Data", "Ended", "Event", "GoneAway", "Pong", "Reset", "StreamOpened"]


class StreamOpened(NamedTuple):
    """The peer opened a stream."""

    stream_id: int


class Data(NamedTuple):
    """Bytes arrived; tell `consumed` once they are read."""

    stream_id: int
    data: memoryview


class Ended(NamedTuple):
    """The peer ended its direction cleanly."""

    stream_id: int


class Reset(NamedTuple):
    """The peer broke the stream; it is gone."""

    stream_id: int


class Pong(NamedTuple):
    """The peer answered a ping."""

    value: int


class GoneAway(NamedTuple):
    """The peer will not go on with the connection."""

    code: int


Event = StreamOpened | Data | Ended | Reset | Pong | GoneAway
