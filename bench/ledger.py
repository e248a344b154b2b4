"""Where the CPU time of a transfer goes: what its parts cost alone, and what remains.

The parts are measured on this machine, in this run, with the sizes that the transfer uses; the total is the CPU time of
each node. What remains is Python, the loop, threads taking turns, and the kernel beyond copying.
"""

from __future__ import annotations

import mmap
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peerpost import fastpath
from peerpost.fastpath import LANES
from peerpost.system.processes import keep_freed_memory

CHUNK_BYTES = 1 << 18
RECORD_BYTES = 65519
SENT_BYTES = 64 << 20


def _ns_per_byte(work: Callable[[], object], size_bytes: int, times: int = 40) -> float:
    work()
    before = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - before) / times / size_bytes * 1e9


def _aead(size_bytes: int) -> float:
    cipher, nonce, plain = ChaCha20Poly1305(bytes(32)), bytes(12), os.urandom(size_bytes)
    return _ns_per_byte(lambda: cipher.encrypt(nonce, plain, None), size_bytes)


def _leaves() -> float:
    data = memoryview(os.urandom(LANES * CHUNK_BYTES))
    return _ns_per_byte(
        lambda: fastpath.leaves(
            data, CHUNK_BYTES, key=bytes(32), person=bytes(16), first_index=0, last=False
        ),
        len(data),
        10,
    )


def _copy() -> float:
    piece = memoryview(os.urandom(RECORD_BYTES))
    return _ns_per_byte(lambda: b"".join((b"head", piece)), RECORD_BYTES)


def _read(folder: Path) -> float:
    path = folder / "ledger"
    size = LANES * CHUNK_BYTES
    path.write_bytes(os.urandom(size))
    fd = os.open(path, os.O_RDONLY)
    try:
        return _ns_per_byte(lambda: os.pread(fd, size, 0), size, 20)
    finally:
        os.close(fd)
        path.unlink()


def _write(folder: Path) -> float:
    """Return what a write past the page cache costs, or into it if that is not possible."""
    path = folder / "ledger"
    block = mmap.mmap(-1, LANES * CHUNK_BYTES)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_DIRECT", 0), 0o600)
    except OSError:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        return _ns_per_byte(lambda: os.pwrite(fd, block, 0), len(block), 20)
    finally:
        os.close(fd)
        path.unlink()


def _tcp() -> tuple[float, float]:
    """Return what the kernel takes to send and to receive over loopback, in writes of 256 KiB."""
    received: list[float] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        far, _ = server.accept()

        def receive() -> None:
            buffer = bytearray(CHUNK_BYTES)
            before = time.thread_time()
            while far.recv_into(buffer):
                pass
            received.append(time.thread_time() - before)

        thread = threading.Thread(target=receive)
        thread.start()
        block = bytes(CHUNK_BYTES)
        before = time.thread_time()
        for _ in range(SENT_BYTES // CHUNK_BYTES):
            near.sendall(block)
        sent = time.thread_time() - before
        near.shutdown(socket.SHUT_WR)
        thread.join()
        far.close()
    return sent / SENT_BYTES * 1e9, received[0] / SENT_BYTES * 1e9


def measure(folder: Path) -> dict[str, tuple[float, float]]:
    """Return nanoseconds for each byte, of the sender and the receiver, by part."""
    keep_freed_memory()  # As the nodes do. Otherwise page faults would be most of the cost of copying.
    chunk, record, leaves = _aead(CHUNK_BYTES), _aead(RECORD_BYTES), _leaves()
    send, receive = _tcp()
    copy = _copy()
    return {
        "BLAKE2b of the chunks": (leaves, leaves),
        "ChaCha20-Poly1305 of the chunks": (chunk, chunk),
        "ChaCha20-Poly1305 of the connection": (record, record),
        "TCP over loopback": (send, receive),
        "copying": (copy, copy),
        "reading the file, writing the sealed one": (_read(folder), _write(folder)),
    }


def table(parts: dict[str, tuple[float, float]], total: tuple[float, float]) -> str:
    """Return the ledger in Markdown; `total` is each side's CPU time per byte."""
    rest = tuple(total[side] - sum(part[side] for part in parts.values()) for side in (0, 1))
    rows = [*parts.items(), ("Python, the loop, threads", rest), ("in all", total)]
    lines = ["| nanoseconds for each byte | sender | receiver |", "|---|---|---|"]
    return "\n".join(lines + [f"| {name} | {a:.2f} | {b:.2f} |" for name, (a, b) in rows])
