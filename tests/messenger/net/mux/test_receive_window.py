from __future__ import annotations

import pytest

from peerpost.net.interface import Priority
from peerpost.net.mux.receive_window import BULK_WINDOW_BYTES, INITIAL_WINDOW_BYTES
from peerpost.net.mux.yamux import Yamux, YamuxLimits
from tests.support.yamux_pair import DATA, SYN, WINDOW, opened, parse
from tests.support.yamux_pair import frame as packed

URGENT, BULK = Priority.URGENT, Priority.BULK


def grow(
    yamux: Yamux,
    *,
    rtt_s: float | None,
    every_s: float,
    times: int = 40,
    priority: Priority = URGENT,
) -> int:
    """Read half a window at a time, at some pace; return the window in the end."""
    yamux.rtt_s = rtt_s
    yamux.set_priority(1, priority)
    now, window = 0.0, INITIAL_WINDOW_BYTES
    for _ in range(times):
        now += every_s
        half = window // 2
        yamux.receive(packed(DATA, 0, 1, bytes(half)), now)
        yamux.consumed(1, 1, half, now)
        [update] = parse(*yamux.next_records(0))
        assert (update.kind, update.stream_id) == (WINDOW, 1)
        window += update.length - half
    return window


def test_window_grows_only_where_it_limits_and_only_so_far() -> None:
    # A window in each round trip: it is what limits the stream.
    assert grow(opened(), rtt_s=0.1, every_s=0.05) == YamuxLimits().window_bytes
    # Half a window in five round trips: the sender or the reader is.
    assert grow(opened(), rtt_s=0.01, every_s=0.05) == INITIAL_WINDOW_BYTES
    assert grow(opened(), rtt_s=None, every_s=0.05) == INITIAL_WINDOW_BYTES
    assert (
        grow(opened(YamuxLimits(window_bytes=1)), rtt_s=1.0, every_s=0.05) == INITIAL_WINDOW_BYTES
    )


def test_window_does_not_grow_for_a_burst() -> None:
    """What has waited is read at once, but that is not how fast it comes."""
    yamux = opened()
    yamux.set_priority(1, URGENT)
    yamux.rtt_s = 0.0001
    now, eighth = 0.0, INITIAL_WINDOW_BYTES // 8
    for _ in range(50):
        now += 0.01
        for _ in range(8):
            now += 0.000001
            yamux.receive(packed(DATA, 0, 1, bytes(eighth)), now)
            yamux.consumed(1, 1, eighth, now)
    assert yamux._grown_bytes == 0


@pytest.mark.parametrize(("reaction_s", "grows"), [(0.0002, False), (0.005, True), (60, False)])
def test_window_grows_for_a_peer_that_looks_for_credit_only_now_and_then(
    reaction_s: float, grows: bool
) -> None:
    """Not for one that had nothing to send."""
    yamux = opened()
    yamux.set_priority(1, URGENT)
    yamux.rtt_s = 0.0002
    now, window = 1.0, INITIAL_WINDOW_BYTES
    for _ in range(100):
        for _ in range(0, window, 65536):
            yamux.receive(packed(DATA, 0, 1, bytes(65536)), now)
        now += 0.001
        yamux.consumed(1, window // 65536, window, now)
        [update] = parse(*yamux.next_records(0))
        window = update.length
        now += reaction_s
    assert window == (YamuxLimits().window_bytes if grows else INITIAL_WINDOW_BYTES)


def test_window_grows_twofold_each_time() -> None:
    yamux = opened()
    assert grow(yamux, rtt_s=0.1, every_s=0.05, times=4) == 2 * INITIAL_WINDOW_BYTES


def test_bulk_that_is_used_gets_a_window_to_work_with() -> None:
    assert grow(opened(), rtt_s=None, every_s=1.0, times=1, priority=BULK) == BULK_WINDOW_BYTES
    # From there on it is need that counts.
    assert grow(opened(), rtt_s=0.01, every_s=1.0, priority=BULK) == BULK_WINDOW_BYTES
    limited = opened(YamuxLimits(window_bytes=300_000))
    assert grow(limited, rtt_s=None, every_s=1.0, priority=BULK) == 300_000


def test_all_windows_together_grow_by_half_the_buffer_at_most() -> None:
    """So whoever keeps to the windows of a few streams is never cut off for it."""
    yamux = Yamux(client=False)
    yamux.rtt_s = 1.0
    windows = {}
    for number in range(1, 41, 2):
        yamux.receive(packed(WINDOW, SYN, number, 0), 0.0)
        windows[number] = INITIAL_WINDOW_BYTES
    yamux.next_records(0)
    for turn in range(1, 12):
        for number in list(windows):
            for half in range(8):
                # In all, four windows in two round trips.
                size, now = windows[number] // 2, 2.0 * turn + half / 4
                yamux.receive(packed(DATA, 0, number, bytes(size)), now)
                yamux.consumed(number, 1, size, now)
                [update] = parse(*yamux.next_records(0))
                windows[number] += update.length - size
    grown = sum(windows.values()) - len(windows) * INITIAL_WINDOW_BYTES
    assert grown == YamuxLimits().buffered_bytes // 2
    for number, window in windows.items():
        for at in range(0, window, 65000):
            yamux.receive(packed(DATA, 0, number, bytes(min(65000, window - at))), 0.0)
    # And what a stream had comes free with it.
    yamux.reset(1)
    yamux.reset(3)
    assert yamux._grown_bytes < grown
