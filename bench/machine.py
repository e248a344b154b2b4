"""What the machine itself can do, so that a figure can be read on another one."""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
from pathlib import Path

BLOCK_BYTES = 1 << 20


def describe() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has had in use so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kib) * 1024 / 1e6


def disk_mb_s(folder: Path, size_bytes: int) -> float:
    """Write a file and sync it: what any receiver on this disk can reach at most."""
    block = os.urandom(BLOCK_BYTES)
    path = folder / "ceiling"
    started = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(size_bytes // BLOCK_BYTES):
            file.write(block)
        os.fsync(file.fileno())
    took_s = time.perf_counter() - started
    path.unlink()
    return size_bytes / took_s / 1e6


def tcp_mb_s(size_bytes: int) -> float:
    """Send bytes through a socket of loopback to another thread."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        far, _ = server.accept()

        def send() -> None:
            block = bytes(BLOCK_BYTES)
            for _ in range(size_bytes // BLOCK_BYTES):
                near.sendall(block)
            near.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        buffer = bytearray(BLOCK_BYTES)
        started = time.perf_counter()
        thread.start()
        while far.recv_into(buffer):
            pass
        took_s = time.perf_counter() - started
        thread.join()
        far.close()
    return size_bytes / took_s / 1e6
