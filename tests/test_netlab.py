"""The lab measures what it is measured with: its link is as slow, as short and as bad as it was asked to be."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netlab import ADDRESSES, Lab, Quality, missing
from tests.support.netlab.link import Way

PACKET = bytes(1000)
lab_here = pytest.mark.skipif(bool(missing()), reason=missing())


def arrivals(way: Way, until_s: float) -> list[tuple[float, bytes]]:
    """Take packets whenever they are due."""
    found: list[tuple[float, bytes]] = []
    while (due_s := way.due_s) is not None and due_s <= until_s:
        found += [(due_s, packet) for packet in way.take(due_s)]
    return found


def test_packets_arrive_at_the_rate_after_the_delay() -> None:
    way = Way(Quality(rate_bytes_s=100_000, delay_s=0.5))
    for _ in range(10):
        way.offer(PACKET, 1.0)
    times = [at_s for at_s, _ in arrivals(way, 9.0)]
    assert times == pytest.approx([1.51 + 0.01 * i for i in range(10)])


def test_what_the_queue_does_not_hold_is_dropped() -> None:
    way = Way(Quality(rate_bytes_s=100_000, queue_bytes=5 * len(PACKET)))
    for _ in range(8):
        way.offer(PACKET, 0.0)
    assert len(arrivals(way, 9.0)) == 5
    assert (way.counts.dropped, way.counts.queue_peak_bytes) == (3, 5000)


def test_a_new_rate_holds_for_what_waits() -> None:
    way = Way(Quality(rate_bytes_s=1_000))
    for _ in range(3):
        way.offer(PACKET, 0.0)
    way.change(Quality(rate_bytes_s=100_000), 0.5)
    assert [at_s for at_s, _ in arrivals(way, 9.0)] == pytest.approx([0.51, 0.52, 0.53])
    way.offer(PACKET, 1.0)
    way.change(Quality(delay_s=0.1), 1.0)
    assert [at_s for at_s, _ in arrivals(way, 9.0)] == [1.1]


def test_jitter_keeps_the_order_and_reorder_does_not() -> None:
    for quality, ordered in (
        (Quality(delay_s=0.01, jitter_s=0.05), True),
        (Quality(delay_s=0.01, reorder=0.2, reorder_s=0.05), False),
    ):
        way = Way(quality)
        sent = [number.to_bytes(4, "big") for number in range(200)]
        for number, packet in enumerate(sent):
            way.offer(packet, number * 0.001)
        came = [packet for _, packet in arrivals(way, 9.0)]
        assert sorted(came) == sent
        assert (came == sent) is ordered


def test_loss_is_as_asked_and_the_same_for_a_seed() -> None:
    def lost(seed: int) -> int:
        way = Way(Quality(loss=0.1), seed)
        for number in range(5000):
            way.offer(PACKET, number * 0.001)
        return way.counts.lost

    assert 400 <= lost(1) <= 600
    assert lost(1) == lost(1)
    assert lost(1) != lost(2)


def test_a_cut_loses_what_is_under_way() -> None:
    way = Way(Quality(rate_bytes_s=100_000, delay_s=0.1))
    for at_s in (0.0, 0.0, 0.0):
        way.offer(PACKET, at_s)
    way.change(Quality(cut=True), 0.05)
    way.offer(PACKET, 0.06)
    assert arrivals(way, 9.0) == []
    assert way.counts.lost == 4
    way.change(Quality(), 1.0)
    way.offer(PACKET, 1.0)
    assert len(arrivals(way, 9.0)) == 1


# -- the real thing


@contextlib.contextmanager
def datagrams(lab: Lab) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket on each side, each with the other as its peer."""
    with (
        lab.socket("left", socket.SOCK_DGRAM) as left,
        lab.socket("right", socket.SOCK_DGRAM) as right,
    ):
        left.bind((lab.addresses["left"], 5000))
        right.bind((lab.addresses["right"], 5000))
        left.connect((lab.addresses["right"], 5000))
        right.connect((lab.addresses["left"], 5000))
        for one in (left, right):
            one.settimeout(5.0)
        yield left, right


@pytest.mark.slow
@lab_here
def test_the_round_trip_is_twice_the_delay() -> None:
    with Lab(Quality(delay_s=0.02)) as lab, datagrams(lab) as (left, right):
        took = []
        for _ in range(20):
            begun_s = time.perf_counter()
            left.send(b"ping")
            right.send(right.recv(100))
            left.recv(100)
            took.append(time.perf_counter() - begun_s)
    assert min(took) >= 0.04
    assert statistics.median(took) <= 0.05


@pytest.mark.slow
@lab_here
def test_tcp_gets_the_rate_and_no_more() -> None:
    rate = 1_250_000
    with Lab(Quality(rate_bytes_s=rate, delay_s=0.005)) as lab:
        with lab.socket("right", socket.SOCK_STREAM) as server:
            server.bind((lab.addresses["right"], 0))
            server.listen()
            near = lab.socket("left", socket.SOCK_STREAM)
            near.connect(server.getsockname())
            far, _ = server.accept()
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).startswith(b"cubic")
        with near, far:
            size = rate * 3 // 2
            sender = subprocess.Popen(
                ["head", "-c", str(size), "/dev/zero"],
                stdout=near.fileno(),
                pass_fds=[near.fileno()],
            )
            near.close()
            begun_s, left = time.perf_counter(), size
            while left:
                left -= len(far.recv(1 << 20))
            pace = size / (time.perf_counter() - begun_s)
            sender.wait()
    assert 0.75 * rate <= pace <= rate


@pytest.mark.slow
@lab_here
def test_loss_cut_and_a_new_address() -> None:
    with Lab(Quality(loss=0.3), Quality()) as lab:
        with datagrams(lab) as (left, right):
            right.settimeout(0.2)
            came = 0
            for _ in range(5):  # A socket does not hold them all.
                for _ in range(100):
                    left.send(b"x")
                with contextlib.suppress(TimeoutError):
                    while right.recv(100):
                        came += 1
            assert 300 <= came <= 400
            assert lab.counts()[0].lost == 500 - came

            lab.change(Quality())
            lab.cut()
            left.send(b"into the void")
            with pytest.raises(TimeoutError):
                right.recv(100)
            lab.heal()
            left.send(b"back")
            assert right.recv(100) == b"back"
        lab.readdress("right", "10.77.0.9")
        with datagrams(lab) as (left, right):
            left.send(b"there")
            assert right.recv(100) == b"there"


@pytest.mark.slow
@lab_here
def test_nothing_is_left_also_when_its_maker_is_killed() -> None:
    program = (
        "import subprocess, time; from tests.support.netlab import Lab, Quality;"
        "lab = Lab(Quality()); print(lab._process.pid, flush=True); time.sleep(60)"
    )
    maker = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert maker.stdout is not None
    driver = Path("/proc") / maker.stdout.readline().strip()
    assert (driver / "fd").is_dir()
    os.kill(maker.pid, signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
    deadline_s = time.monotonic() + 5.0
    # Ended, it may wait for a parent that collects it.
    while driver.exists() and " Z " not in (driver / "stat").read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.slow
@lab_here
def test_a_process_inside_sees_only_the_link() -> None:
    with Lab(Quality()) as lab:
        shown = subprocess.check_output([*lab.inside("right"), "ip", "-o", "-4", "addr"], text=True)
    assert ADDRESSES["right"] in shown
    assert {line.split()[1] for line in shown.splitlines()} == {"lo", "lab0"}


def test_what_is_missing_is_said() -> None:
    assert "tcp_nonesuch" in missing("nonesuch") or missing()
