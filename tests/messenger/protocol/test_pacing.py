"""How much is under way and how long is waited: windows, backoff, patience."""

from __future__ import annotations

import pytest

from peerpost.protocol import backoff
from peerpost.protocol import message_window as outgoing
from peerpost.protocol.assembly import Assembly, BufferPool, Fit
from peerpost.protocol.backoff import Backoff
from peerpost.protocol.chunk_window import MAX_WINDOW_BYTES, MIN_WINDOW_BYTES, ChunkWindow
from peerpost.protocol.message_window import OutgoingWindow
from peerpost.protocol.patience import Patience, ReceivePolicy

CHUNK = 1 << 18


def arrive(
    window: ChunkWindow, rate_bytes_per_s: float, *, from_s: float = 0.0, seconds: float = 2.0
) -> None:
    at_s = from_s
    while at_s < from_s + seconds:
        window.arrived(CHUNK, at_s)
        at_s += CHUNK / rate_bytes_per_s


def test_the_window_follows_the_rate_between_its_bounds() -> None:
    window = ChunkWindow(CHUNK)
    assert window.size * CHUNK == MIN_WINDOW_BYTES
    arrive(window, 100e3, seconds=30)
    assert window.size * CHUNK == MIN_WINDOW_BYTES
    window = ChunkWindow(CHUNK)
    arrive(window, 16e6)
    assert 0.25 * 16e6 <= window.size * CHUNK <= 0.25 * 16e6 + 2 * CHUNK
    arrive(window, 10e9, from_s=2.0, seconds=0.3)
    assert window.size * CHUNK == MAX_WINDOW_BYTES
    window.reset()
    assert window.size * CHUNK == MIN_WINDOW_BYTES


def test_a_long_link_gets_two_answer_times() -> None:
    window = ChunkWindow(CHUNK)
    window.answered(0.5)
    window.answered(0.3)
    window.answered(0.9)
    assert window.answer_s == 0.3
    arrive(window, 8e6)
    assert 0.6 * 8e6 <= window.size * CHUNK <= 0.6 * 8e6 + 2 * CHUNK


@pytest.mark.parametrize("chunk_log2", [14, 18, 20])
def test_at_least_two_chunks_are_under_way(chunk_log2: int) -> None:
    window = ChunkWindow(1 << chunk_log2, 1)
    assert window.size == window.largest == 2


def test_backoff_doubles_to_its_caps_and_starts_over() -> None:
    waits = Backoff()
    queued = [waits.next_wait_s(0.999, queued=True) for _ in range(12)]
    assert queued[:4] == [0.999 * 2**n for n in range(4)]
    assert max(queued) <= backoff.QUEUED_CAP_S
    assert waits.next_wait_s(0.999, queued=False) > backoff.QUEUED_CAP_S
    assert waits.next_wait_s(0.0, queued=False) > 0
    waits.reset()
    assert waits.next_wait_s(0.999, queued=False) == 0.999
    for _ in range(50):
        assert waits.next_wait_s(0.999, queued=False) <= backoff.IDLE_CAP_S


def test_the_outgoing_window_is_bounded_by_entries_and_by_bytes() -> None:
    window = OutgoingWindow()
    for row in range(outgoing.WINDOW_ENTRIES):
        assert window.room == outgoing.WINDOW_ENTRIES - row
        window.sent(row, 1)
    assert (window.room, window.cursor) == (0, outgoing.WINDOW_ENTRIES - 1)
    window.settled(3)
    window.settled(3)
    window.settled(99_999)
    assert (window.room, len(window)) == (1, outgoing.WINDOW_ENTRIES - 1)
    window = OutgoingWindow()
    window.sent(1, outgoing.WINDOW_BYTES)
    assert window.room == 0
    window.settled(1)
    assert window.room == outgoing.WINDOW_ENTRIES


def test_what_is_queued_follows_only_where_all_before_it_has_left() -> None:
    window = OutgoingWindow()
    mine, other = bytes(16), bytes([1]) * 16
    assert not window.follows(mine, 1)
    window.end = (mine, 4)
    assert window.follows(mine, 5)
    assert not any(window.follows(mine, seq) for seq in (3, 4, 6))
    assert not window.follows(other, 5)
    window.sent(9, outgoing.WINDOW_BYTES)
    assert not window.follows(mine, 5)
    window.settled(9)
    assert window.follows(mine, 5)


def test_patience_grows_and_any_byte_restores_it() -> None:
    patience = Patience(ReceivePolicy(ask_timeout_s=5, ask_timeout_max_s=60))
    patience.start(100.0)
    assert patience.ask_due_s == 105.0
    assert patience.ran_out(105.0, counts=True) == 1
    assert patience.ask_due_s == 115.0
    for n in range(2, 9):
        assert patience.ran_out(200.0, counts=True) == n
    assert patience.ask_due_s == 260.0
    patience.heard(210.0, 2.0)
    assert patience.ask_due_s == 218.0
    assert patience.ran_out(218.0, counts=False) == 0
    assert patience.ran_out(300.0, counts=True) == 1


def test_a_transfer_counts_as_stalled_once_until_something_good_comes() -> None:
    patience = Patience(ReceivePolicy(stall_s=120))
    patience.start(0.0)
    assert patience.stall_due_s == 120.0
    patience.stalled = True
    assert patience.stall_due_s is None
    patience.good(130.0)
    assert patience.stall_due_s == 250.0


def test_a_chunk_is_put_together_in_order_only() -> None:
    chunk = Assembly(BufferPool(10))
    assert chunk.put(0, b"abc", 10) is Fit.TAKEN
    assert chunk.put(0, b"abc", 10) is Fit.IGNORED
    assert chunk.put(5, b"xx", 10) is Fit.IGNORED
    assert chunk.put(7, b"xyz", 10) is Fit.GAP_AT_END
    assert chunk.put(1, b"zz", 10) is Fit.IGNORED
    assert chunk.put(3, b"defghijk", 10) is Fit.TOO_LONG
    assert bytes(chunk.view()) == b"abc"
    assert chunk.put(0, b"AB", 10) is Fit.TAKEN
    assert chunk.put(2, b"CDEFGHIJ", 10) is Fit.WHOLE
    assert bytes(chunk.view()) == b"ABCDEFGHIJ"


def test_buffers_are_used_again() -> None:
    pool = BufferPool(4)
    first = Assembly(pool)
    first.put(0, b"abcd", 4)
    first.drop()
    first.drop()
    assert (first.received, bytes(first.view())) == (0, b"")
    second, third = Assembly(pool), Assembly(pool)
    second.put(0, b"ef", 4)
    third.put(0, b"gh", 4)
    assert (bytes(second.view()), bytes(third.view())) == (b"ef", b"gh")


def test_an_empty_beginning_is_nothing() -> None:
    chunk = Assembly(BufferPool(4))
    assert chunk.put(0, b"", 4) is Fit.TAKEN
    assert chunk.reached == 0
