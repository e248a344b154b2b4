"""The Yamux machine: frame by frame, and then whatever two of them can be made to say to each other."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerpost.net.interface import Priority
from peerpost.net.mux.events import Data, Ended, Event, GoneAway, Pong, Reset, StreamOpened
from peerpost.net.mux.records import Inbound, RecordOpener, RecordSealer
from peerpost.net.mux.yamux import (
    FRAME_COST_BYTES,
    INITIAL_WINDOW_BYTES,
    MAX_CONTROL_BYTES,
    MAX_RECORD_BYTES,
    Yamux,
    YamuxError,
    YamuxLimits,
)
from tests.support.yamux_pair import DATA, SYN, WINDOW, Pair, opened, parse
from tests.support.yamux_pair import frame as packed

URGENT, BULK = Priority.URGENT, Priority.BULK


def header(version: int, kind: int, flags: int, stream_id: int, length: int) -> bytes:
    return struct.pack("!BBHII", version, kind, flags, stream_id, length)


# -- what goes over the wire


def test_frames_are_those_of_the_specification() -> None:
    yamux = Yamux(client=True)
    number = yamux.open(URGENT, 0.0)
    yamux.write(number, b"hello")
    yamux.end(number)
    yamux.ping(7)
    yamux.go_away(2)
    [record] = yamux.next_records(1000)
    assert record == b"".join(
        [
            bytes.fromhex("00 01 0001 00000001 00000000"),  # window update, SYN, stream 1
            bytes.fromhex("00 02 0001 00000000 00000007"),  # ping
            bytes.fromhex("00 03 0000 00000000 00000002"),  # go away
            bytes.fromhex("00 00 0000 00000001 00000005") + b"hello",  # data
            bytes.fromhex("00 01 0004 00000001 00000000"),  # window update, FIN: never with data
        ]
    )


def test_a_mark_asked_for_once_all_is_counted_follows_the_data_in_the_same_records() -> None:
    yamux = Yamux(client=True)
    number = yamux.open(BULK, 0.0)
    yamux.next_records(0)
    yamux.write(number, bytes(100))
    counted: list[int] = []

    def mark() -> None:
        counted.append(yamux.bulk_sent_bytes)
        yamux.ping(9)

    [record] = yamux.next_records(1000, then=mark)
    assert counted == [100]
    assert record[-12:] == bytes.fromhex("00 02 0001 00000000 00000009")
    assert not yamux.has_output


def test_numbers_of_the_two_sides_never_meet() -> None:
    pair = Pair()
    assert [pair.a.open(BULK, 0.0) for _ in range(3)] == [1, 3, 5]
    assert [pair.b.open(BULK, 0.0) for _ in range(3)] == [2, 4, 6]
    pair.run()
    assert {e.stream_id for e in pair.events[0]} == {2, 4, 6}
    assert {e.stream_id for e in pair.events[1]} == {1, 3, 5}


def test_small_frames_share_a_record_and_none_is_larger_than_one() -> None:
    yamux = Yamux(client=True)
    first, second, third = (yamux.open(URGENT, 0.0) for _ in range(3))
    yamux.write(first, bytes(150_000))
    yamux.write(second, b"small")
    yamux.write(third, b"tiny")
    records = yamux.next_records(1 << 20)
    assert all(len(record) <= MAX_RECORD_BYTES for record in records)
    order = [[f.stream_id for f in parse(record)] for record in records]
    assert order == [[first, second, third], [first], [second, third], [first], [first]]
    pings = Yamux(client=True)
    for value in range(8000):
        pings.ping(value)
    assert [len(r) for r in pings.next_records(0)] == [MAX_RECORD_BYTES, 96000 - MAX_RECORD_BYTES]


def test_a_large_frame_of_bulk_is_cut_into_records_without_being_copied() -> None:
    yamux = Yamux(client=True)
    number = yamux.open(BULK, 0.0)
    yamux.receive(packed(WINDOW, 0, number, 1 << 20), 0.0)
    yamux.next_records(0)
    chunk = bytes(range(256)) * 1024
    for _ in range(2):
        yamux.write(number, b"head", memoryview(chunk))
        records = yamux.next_records(1 << 20)
        [frame] = parse(*records)
        assert frame.data == b"head" + chunk
        assert list(map(len, records)) == [16, *[MAX_RECORD_BYTES] * 4, 68]
        assert [isinstance(r, memoryview) and r.obj is chunk for r in records[1:5]] == [True] * 4
    # Many small writes make one frame too, whose records are full.
    for _ in range(100):
        yamux.write(number, bytes(2000))
    records = yamux.next_records(1 << 20)
    assert [f.length for f in parse(*records)] == [200_000]
    assert all(MAX_RECORD_BYTES - 2000 < len(record) <= MAX_RECORD_BYTES for record in records[:-1])


def test_one_frame_never_takes_more_than_half_of_the_window_if_it_is_large() -> None:
    yamux = Yamux(client=True)
    number = yamux.open(BULK, 0.0)
    yamux.write(number, bytes(400_000))
    sizes = [f.length for f in parse(*yamux.next_records(1 << 20)) if f.kind == DATA]
    assert sizes[:2] == [INITIAL_WINDOW_BYTES // 2, INITIAL_WINDOW_BYTES // 4]
    assert sum(sizes) == INITIAL_WINDOW_BYTES
    assert max(sizes[2:]) == YamuxLimits().frame_bytes


def test_budget_is_kept_and_control_frames_do_not_wait_for_it() -> None:
    yamux = Yamux(client=True)
    number = yamux.open(BULK, 0.0)
    yamux.write(number, bytes(200_000))
    assert [f.kind for f in parse(*yamux.next_records(0))] == [WINDOW]
    sent = sum(map(len, yamux.next_records(100_000)))
    assert sent == INITIAL_WINDOW_BYTES // 2 + 12, "one frame, as large as the window lets it be"
    assert yamux.queued_bytes(number) == yamux.unsent_bytes == 200_000 - sent + 12


def test_urgent_goes_first_and_equals_take_turns() -> None:
    yamux = Yamux(client=True)
    bulk, other, urgent = (yamux.open(p, 0.0) for p in (BULK, BULK, URGENT))
    for number in (bulk, other):
        yamux.write(number, bytes(200_000))
    yamux.next_records(0)
    order = [f.stream_id for f in parse(*yamux.next_records(270_000))]
    assert order == [bulk, other, bulk]
    yamux.write(urgent, b"now")
    yamux.set_priority(other, URGENT)
    order = [f.stream_id for f in parse(*yamux.next_records(1 << 20))]
    assert order[0] == urgent
    assert order.index(other) < len(order) - 1 - order[::-1].index(bulk)
    yamux.set_priority(999, URGENT)


# -- windows


def test_sender_keeps_to_the_window() -> None:
    yamux = Yamux(client=True)
    number = yamux.open(BULK, 0.0)
    yamux.write(number, bytes(400_000))
    yamux.end(number)
    sent = sum(len(f.data) for f in parse(*yamux.next_records(1 << 30)))
    assert sent == INITIAL_WINDOW_BYTES
    assert not yamux.has_output
    assert yamux.unsent_bytes == 400_000 - INITIAL_WINDOW_BYTES
    yamux.receive(packed(WINDOW, 0, number, 100_000), 0.0)
    yamux.receive(packed(WINDOW, 0, number, 100_000), 0.0)
    frames = parse(*yamux.next_records(1 << 30))
    assert sum(len(f.data) for f in frames) == 400_000 - INITIAL_WINDOW_BYTES
    assert [f.flags for f in frames] == [0] * (len(frames) - 1) + [4]


def test_a_write_leaves_in_one_frame_where_it_fits() -> None:
    yamux = Yamux(client=True)
    number = yamux.open(URGENT, 0.0)
    for head, body in ((b"one", bytes(40_000)), (b"two", bytes(30_000)), (b"three", bytes(10))):
        yamux.write(number, head, memoryview(body))
    frames = [f.data for f in parse(*yamux.next_records(1 << 20)) if f.kind == DATA]
    assert [bytes(data[:3]) for data in frames] == [b"one", b"two"]
    assert sum(map(len, frames)) == 3 + 40_000 + 3 + 30_000 + 5 + 10
    # What fits nowhere fills frames, across its end too.
    yamux.write(number, bytes(70_000))
    yamux.write(number, bytes(70_000))
    frames = [f.data for f in parse(*yamux.next_records(1 << 20))]
    assert list(map(len, frames)) == [YamuxLimits().frame_bytes] * 2 + [
        140_000 - 2 * YamuxLimits().frame_bytes
    ]


def test_credit_is_given_in_halves_of_a_window() -> None:
    yamux = opened()
    yamux.receive(packed(DATA, 0, 1, bytes(200_000)), 0.0)
    yamux.consumed(1, 0, 131_071, 0.0)
    assert not yamux.has_output
    yamux.consumed(1, 1, 1, 0.0)
    assert yamux.has_output


# -- ends


def test_stream_is_over_when_both_have_ended_and_all_is_read() -> None:
    yamux = opened()
    assert yamux.receive(packed(DATA, 4, 1, b"last"), 0.0) == [Data(1, b"last"), Ended(1)]
    yamux.end(1)
    yamux.next_records(100)
    assert yamux.is_open(1), "what is unread still counts"
    yamux.consumed(1, 1, 4, 0.0)
    assert not yamux.is_open(1)
    assert yamux._buffered_bytes == yamux._remote_open == 0
    yamux.consumed(1, 1, 4, 0.0)
    yamux.end(1)
    yamux.reset(1)
    assert not yamux.has_output


def test_reset_drops_what_was_queued_and_tells_the_peer_once() -> None:
    pair = Pair()
    number = pair.a.open(BULK, 0.0)
    pair.a.write(number, bytes(300_000))
    pair.a.reset(number)
    pair.a.reset(number)
    assert pair.a.unsent_bytes == 0
    pair.run()
    assert pair.events[1] == [StreamOpened(number), Reset(number)]
    assert pair.events[0] == []
    # What was under way to the one who reset it is nobody's any more.
    pair.a.receive(packed(DATA, 0, number, b"late") + packed(WINDOW, 0, number, 5), 0.0)


def test_data_and_end_before_a_reset_are_told_in_their_order() -> None:
    yamux = opened()
    events = yamux.receive(packed(DATA, 0, 1, b"abc") + packed(WINDOW, 8, 1, 0), 0.0)
    assert events == [Data(1, b"abc"), Reset(1)]
    assert yamux._buffered_bytes == 0


def test_nothing_opens_after_a_goodbye() -> None:
    pair = Pair()
    pair.a.go_away()
    pair.run()
    assert pair.events[1] == [GoneAway(0)]
    for side in (pair.a, pair.b):
        with pytest.raises(YamuxError, match="no more streams"):
            side.open(BULK, 0.0)
    # Who did not hear it in time is refused, not cut off.
    pair.a.receive(packed(WINDOW, SYN, 2, 0), 0.0)
    assert [f.flags for f in parse(*pair.a.next_records(0))] == [8]


def test_numbers_run_out() -> None:
    yamux = Yamux(client=True)
    yamux._next_id = 2**32 - 1
    assert yamux.open(BULK, 0.0) == 2**32 - 1
    with pytest.raises(YamuxError):
        yamux.open(BULK, 0.0)


def test_pings_are_answered_and_answers_are_told() -> None:
    pair = Pair()
    pair.a.ping(0xFFFFFFFF)
    pair.run()
    assert pair.events == ([Pong(0xFFFFFFFF)], [])


# -- limits


@pytest.mark.parametrize(
    "bad",
    [
        header(1, DATA, 0, 1, 0),
        header(0, 4, 0, 1, 0),
        header(0, DATA, SYN, 1, 0),
        header(0, WINDOW, SYN, 2, 0),
        header(0, WINDOW, SYN, 0, 0),
        header(0, DATA, 0, 3, 0),
        header(0, WINDOW, 0, 2, 0),
        header(0, DATA, 0, 0, 0),
        header(0, DATA, 0, 1, INITIAL_WINDOW_BYTES + 1),
        header(0, DATA, 4, 1, 0) + header(0, DATA, 0, 1, 1),
        header(0, WINDOW, 0, 1, 2**32 - 1) * 2,
        header(0, WINDOW, 8, 1, 0) + header(0, DATA, 0, 1, 2**24),
        header(0, 2, SYN, 0, 0) * (MAX_CONTROL_BYTES // 12 + 1),
    ],
)
def test_what_breaks_the_rules_is_an_error(bad: bytes) -> None:
    with pytest.raises(YamuxError):
        opened().receive(bad, 0.0)


def test_window_is_enforced_to_the_byte() -> None:
    yamux = opened()
    for _ in range(INITIAL_WINDOW_BYTES // 65536):
        yamux.receive(packed(DATA, 0, 1, bytes(65536)), 0.0)
    with pytest.raises(YamuxError, match="window"):
        yamux.receive(packed(DATA, 0, 1, b"x"), 0.0)


def test_streams_are_refused_beyond_the_limit_and_come_free() -> None:
    yamux = Yamux(client=False, limits=YamuxLimits(streams=2))
    events = yamux.receive(b"".join(packed(WINDOW, SYN, n, 0) for n in (1, 3, 5)), 0.0)
    assert events == [StreamOpened(1), StreamOpened(3)]
    flags = {f.stream_id: f.flags for f in parse(*yamux.next_records(0))}
    assert flags == {1: 2, 3: 2, 5: 8}
    yamux.receive(packed(DATA, 0, 5, bytes(1000)), 0.0)
    yamux.receive(packed(WINDOW, 8, 1, 0), 0.0)
    assert yamux.receive(packed(WINDOW, SYN, 7, 0), 0.0) == [StreamOpened(7)]
    # Our own do not count.
    assert [yamux.open(BULK, 0.0) for _ in range(5)] == [2, 4, 6, 8, 10]


def test_frames_of_one_byte_are_not_free() -> None:
    limit = 1000 * (1 + FRAME_COST_BYTES)
    yamux = opened(YamuxLimits(buffered_bytes=limit))
    yamux.receive(packed(DATA, 0, 1, b"x") * 1000, 0.0)
    with pytest.raises(YamuxError, match="anybody reads"):
        yamux.receive(packed(DATA, 0, 1, b"x"), 0.0)


def test_small_piece_does_not_hold_a_large_record() -> None:
    yamux = opened()
    record = packed(DATA, 0, 1, b"small") + packed(2, 2, 0, 0) * 5000
    [data] = [e for e in yamux.receive(record, 0.0) if isinstance(e, Data)]
    assert data.data.nbytes == 5
    assert len(data.data.obj) == 5  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_bytes", [66_000, 130_000, 170_000, 300_000])
def test_what_is_held_is_at_most_twice_what_is_counted(batch_bytes: int) -> None:
    yamux, sealer = Yamux(client=False), RecordSealer(bytes(32), 0)
    inbound = Inbound(RecordOpener(bytes(32), 0))
    events: list[Event] = []
    for stream_id in range(1, 21, 2):
        # Half and a little is for a stream that nobody reads; the rest says nothing.
        batch = packed(WINDOW, SYN, stream_id, 0)
        batch += packed(DATA, 0, stream_id, bytes(batch_bytes // 2 + 100))
        batch += packed(WINDOW, 0, stream_id, 0) * ((batch_bytes - len(batch)) // 12)
        wire = sealer.seal([batch[at : at + 65_000] for at in range(0, len(batch), 65_000)])
        inbound.room()[: len(wire)] = wire
        yamux.receive(inbound.received(len(wire))[0], 0.0, events)
    pieces = [e.data for e in events if isinstance(e, Data)]
    held = {id(piece.obj): memoryview(piece.obj).nbytes for piece in pieces}
    assert sum(held.values()) <= 2 * yamux._buffered_bytes


# -- properties

step = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 1), st.sampled_from([URGENT, BULK])),
    st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, 9), st.integers(0, 90_000)),
    st.tuples(st.just("end"), st.integers(0, 1), st.integers(0, 9)),
    st.tuples(st.just("reset"), st.integers(0, 1), st.integers(0, 9)),
    st.tuples(st.just("priority"), st.integers(0, 1), st.integers(0, 9), st.sampled_from([0, 1])),
    st.tuples(st.just("send"), st.integers(0, 1), st.integers(0, 200_000)),
    st.tuples(st.just("deliver"), st.integers(0, 1), st.integers(1, 70_000)),
    st.tuples(st.just("read"), st.integers(0, 1), st.integers(0, 9), st.integers(1, 5)),
    st.tuples(st.just("ping"), st.integers(0, 1), st.integers(0, 2**32 - 1)),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(step, min_size=15, max_size=80), st.sampled_from([None, 0.001, 0.1]))
def test_whatever_the_order_all_bytes_arrive_in_order(
    steps: list[tuple[str, int, int, int]], rtt_s: float | None
) -> None:
    """Two machines joined by streams of bytes that are cut anywhere."""
    pair = Pair(rtt_s=rtt_s)
    for name, side, *arguments in steps:
        pair.apply(name, side, *arguments)
        pair.check()
    pair.finish()
    pair.check_all_arrived()


@settings(deadline=None, max_examples=150)
@given(
    st.lists(step, min_size=5, max_size=40),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=5),
    st.integers(0, 10**6),
)
def test_changed_bytes_raise_yamux_errors_and_nothing_else(
    steps: list[tuple[str, int, int, int]], flips: list[tuple[int, int]], cut: int
) -> None:
    pair = Pair()
    for name, side, *arguments in steps:
        if name not in {"deliver", "read"}:
            pair.apply(name, side, *arguments)
    data = bytearray(pair.wire[1])
    for at, mask in flips if data else []:
        data[at % len(data)] ^= mask
    del data[cut % (len(data) + 1) :]
    victim = Yamux(client=False)
    check_one(victim, bytes(data))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=3000), st.booleans())
def test_random_bytes_raise_yamux_errors_and_nothing_else(data: bytes, client: bool) -> None:
    check_one(Yamux(client=client), data)


frames = st.builds(
    lambda kind, flags, number, length, body: (
        header(0, kind, flags, number, len(body) if kind == 0 else length)
        + (body if kind == 0 else b"")
    ),
    st.integers(0, 3),
    st.integers(0, 15),
    st.integers(0, 7),
    st.sampled_from([0, 1, 2**18, 2**31, 2**32 - 1]),
    st.binary(max_size=40),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(frames, max_size=60), st.booleans())
def test_any_frames_raise_yamux_errors_and_nothing_else(
    sequence: list[bytes], client: bool
) -> None:
    victim = Yamux(client=client)
    victim.open(BULK, 0.0)
    victim.open(URGENT, 0.0)
    check_one(victim, b"".join(sequence))


def check_one(victim: Yamux, data: bytes) -> None:
    """Feed bytes; whatever they are, what they cost is bounded and the machine goes on speaking frames."""
    events: list[Event] = []
    try:
        for at in range(0, len(data), 1000):
            events += victim.receive(data[at : at + 1000], 0.0)
            assert victim._buffered_bytes <= victim.limits.buffered_bytes
    except YamuxError:
        pass
    told = sum(len(e.data) for e in events if isinstance(e, Data))
    assert told <= len(data)
    for record in victim.next_records(1 << 20):
        assert len(record) <= MAX_RECORD_BYTES
        parse(record)
