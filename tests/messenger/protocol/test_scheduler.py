"""The scheduler by its promises: equal shares, urgent first, a floor for bulk, limits that hold up nobody else."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerpost.protocol.limit import Limit, Rate
from peerpost.protocol.scheduler import Flow, Scheduler
from peerpost.wire.inner import Lane

MS = 1_000_000
SECOND = 1000 * MS


class Backlog:
    """Flows that always have a frame to send, and what each of them sent."""

    def __init__(self, scheduler: Scheduler, sizes: dict[Flow, list[int]]) -> None:
        self.scheduler = scheduler
        self.sizes = sizes
        self.at: Counter[Flow] = Counter()
        self.sent: Counter[Flow] = Counter()
        for flow in sizes:
            self.offer(flow)

    def offer(self, flow: Flow) -> None:
        sizes = self.sizes[flow]
        self.scheduler.offer(flow, sizes[self.at[flow] % len(sizes)])

    def run(self, frames: int, now_ns: int = 0) -> None:
        for _ in range(frames):
            flow = self.scheduler.next(now_ns)
            if flow is None:
                return
            sizes = self.sizes[flow]
            self.sent[flow] += sizes[self.at[flow] % len(sizes)]
            self.at[flow] += 1
            self.offer(flow)


def jain(shares: list[int]) -> float:
    return sum(shares) ** 2 / (len(shares) * sum(x * x for x in shares))


@pytest.mark.parametrize("lane", list(Lane))
@pytest.mark.parametrize("quantum", [16 << 10, 1 << 16])
def test_contacts_share_equally_whatever_their_frames(lane: Lane, quantum: int) -> None:
    draw = random.Random(1)
    scheduler = Scheduler(quantum_bytes=quantum)
    kinds = ([100], [1000], [52_432], [65_000], [draw.randint(1, 65_000) for _ in range(50)])
    flows = {Flow(lane, None): sizes for sizes in kinds for _ in range(3)}
    backlog = Backlog(scheduler, flows)
    backlog.run(60_000)
    assert jain(list(backlog.sent.values())) >= 0.99


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(1, 65_000), min_size=1, max_size=5), min_size=2, max_size=8))
def test_any_frames_share_equally_within_a_frame(kinds: list[list[int]]) -> None:
    scheduler = Scheduler()
    backlog = Backlog(scheduler, {Flow(Lane.BULK, None): sizes for sizes in kinds})
    backlog.run(3000)
    shares = list(backlog.sent.values())
    assert max(shares) - min(shares) <= 3 * (1 << 16)


@pytest.mark.parametrize("percent", [5, 20, 50])
def test_bulk_keeps_its_floor_under_an_urgent_flood(percent: int) -> None:
    scheduler = Scheduler(bulk_percent=percent)
    urgent = {Flow(Lane.URGENT, None): [1024] for _ in range(5)}
    bulk = {Flow(Lane.BULK, None): [52_432] for _ in range(2)}
    backlog = Backlog(scheduler, urgent | bulk)
    backlog.run(100_000)
    share = sum(backlog.sent[flow] for flow in bulk) / sum(backlog.sent.values())
    assert share == pytest.approx(percent / 100, abs=0.02)


def test_urgent_waits_for_one_frame_at_most() -> None:
    scheduler = Scheduler()
    bulk = {Flow(Lane.BULK, None): [52_432] for _ in range(100)}
    backlog = Backlog(scheduler, bulk)
    urgent = Flow(Lane.URGENT, None)
    draw = random.Random(2)
    for _ in range(500):
        backlog.run(draw.randrange(20))
        scheduler.offer(urgent, 200)
        ahead = 0
        while (flow := scheduler.next(0)) is not urgent:
            assert flow is not None
            backlog.offer(flow)
            ahead += 1
        assert ahead <= 1


def test_a_first_in_first_out_scheduler_would_not_do() -> None:
    """The same arrival behind a hundred frames: what the promise above is worth."""
    queue = [Flow(Lane.BULK, None) for _ in range(100)]
    urgent = Flow(Lane.URGENT, None)
    queue.append(urgent)
    assert queue.index(urgent) == 100


def test_a_limited_flow_holds_up_nobody_else() -> None:
    scheduler = Scheduler()
    limited = Flow(Lane.BULK, Limit(Rate(bytes_s=1_000_000), 0))
    free = Flow(Lane.BULK, None)
    backlog = Backlog(scheduler, {limited: [50_000], free: [50_000]})
    backlog.run(1000)
    assert backlog.sent[limited] <= 131_072
    assert backlog.sent[free] > 900 * 50_000
    due_ns = scheduler.next_due_ns
    assert due_ns is not None
    assert 0 < due_ns <= 50 * MS
    before = backlog.sent[limited]
    backlog.run(10, due_ns)
    assert backlog.sent[limited] == before + 50_000


def test_a_text_under_a_limit_does_not_wait_for_a_file_under_the_same() -> None:
    limit = Limit(Rate(bytes_s=1_000_000), 0)
    scheduler = Scheduler()
    backlog = Backlog(scheduler, {Flow(Lane.BULK, limit): [50_000]})
    backlog.run(100)
    text = Flow(Lane.URGENT, limit)
    scheduler.offer(text, 200)
    now_ns = 0
    while scheduler.next(now_ns) is not text:
        due_ns = scheduler.next_due_ns
        assert due_ns is not None
        now_ns = due_ns
    assert now_ns <= 1 * MS


@pytest.mark.parametrize("rate", [1_000_000, 10_000_000, 50_000_000])
def test_a_rate_holds_within_two_percent(rate: int) -> None:
    everybody = Limit(Rate(bytes_s=rate), 0)
    flows = {Flow(Lane.BULK, Limit(Rate(), 0, everybody)): [52_432] for _ in range(8)}
    scheduler = Scheduler()
    backlog = Backlog(scheduler, flows)
    now_ns = 0
    while now_ns < 10 * SECOND:
        backlog.run(10**6, now_ns)
        due_ns = scheduler.next_due_ns
        assert due_ns is not None
        now_ns = max(due_ns, now_ns + 1)
    assert sum(backlog.sent.values()) == pytest.approx(10 * rate, rel=0.02)
    assert jain(list(backlog.sent.values())) >= 0.95


@pytest.mark.parametrize("lane", list(Lane))
def test_contacts_share_everybodys_limit_whatever_their_frames(lane: Lane) -> None:
    everybody = Limit(Rate(bytes_s=1_000_000), 0)
    kinds = ([1000], [8000], [32_768], [65_000])
    flows = {Flow(lane, Limit(Rate(), 0, everybody)): kind for kind in kinds for _ in range(2)}
    slow = Flow(lane, Limit(Rate(bytes_s=50_000), 0, everybody))
    scheduler = Scheduler()
    backlog = Backlog(scheduler, {**flows, slow: [30_000]})
    now_ns = 0
    while now_ns < 20 * SECOND:
        backlog.run(10_000, now_ns)
        due_ns = scheduler.next_due_ns
        assert due_ns is not None
        assert due_ns > now_ns
        now_ns = due_ns
    assert jain([backlog.sent[flow] for flow in flows]) >= 0.99
    assert sum(backlog.sent.values()) == pytest.approx(20_000_000, rel=0.02)
    assert backlog.sent[slow] == pytest.approx(1_000_000 + 131_072, rel=0.05)


def test_messages_are_limited_too() -> None:
    limit = Limit(Rate(messages_s=10), 0)
    scheduler = Scheduler()
    flow = Flow(Lane.URGENT, limit)
    sent = 0
    for now_ns in range(0, 3 * SECOND, 10 * MS):
        scheduler.offer(flow, 100, messages=1)
        if scheduler.next(now_ns) is flow:
            sent += 1
    assert sent == pytest.approx(30, abs=2)
    scheduler.offer(flow, 100)
    assert scheduler.next(3 * SECOND) is flow  # a receipt is no message


def test_a_changed_limit_takes_effect_at_once() -> None:
    limit = Limit(Rate(bytes_s=1), 0)
    scheduler = Scheduler()
    flow = Flow(Lane.BULK, limit)
    backlog = Backlog(scheduler, {flow: [60_000]})
    backlog.run(10)
    assert scheduler.next(SECOND) is None
    limit.change(Rate(), SECOND)
    scheduler.limits_changed()
    assert scheduler.next(SECOND) is flow


def test_withdrawn_flows_are_never_chosen() -> None:
    scheduler = Scheduler()
    flows = [Flow(Lane.BULK, None) for _ in range(100)]
    for flow in flows:
        scheduler.offer(flow, 1000)
    for flow in flows[::2]:
        scheduler.withdraw(flow)
    chosen = set()
    while (flow := scheduler.next(0)) is not None:
        chosen.add(flow)
    assert chosen == set(flows[1::2])
    parked = Flow(Lane.BULK, Limit(Rate(bytes_s=1), 0))
    scheduler.offer(parked, 100_000)
    assert scheduler.next(0) is parked
    scheduler.offer(parked, 100_000)
    assert scheduler.next(0) is None
    scheduler.withdraw(parked)
    assert scheduler.next_due_ns is None
    assert scheduler.next(10**18) is None


def test_a_turn_costs_the_same_with_a_thousand_contacts() -> None:
    def cost(count: int) -> float:
        backlog = Backlog(Scheduler(), {Flow(Lane.BULK, None): [1000] for _ in range(count)})
        best = float("inf")
        for _ in range(5):
            started = time.perf_counter()
            backlog.run(5000)
            best = min(best, time.perf_counter() - started)
        return best

    assert cost(1000) < 5 * cost(2)
