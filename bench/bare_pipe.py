"""The lower bound for the cost of our work: one process seals and sends, another receives and opens, nothing else.

There is no multiplexing, no loop, and one blocking socket. `connection` moves bytes as `bench transport` does, with a
cipher and TCP. `file` does the work of `bench transfer`: one process reads a file, seals and hashes each chunk, and
seals it again for the connection; the other opens that, hashes it, writes the sealed chunks past the page cache in a
thread, and flushes. There are no requests, no answers, no records of progress, and nothing else shares the line.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peerpost import fastpath
from peerpost.system.processes import keep_freed_memory

TAG_BYTES = 16
RECORD_BYTES = 65535 - TAG_BYTES
CHUNK_BYTES = 1 << 18
CHUNKS = 4
"""How many chunks are hashed at once, for the lanes of the kernel."""
SEALED_BYTES = CHUNKS * (CHUNK_BYTES + TAG_BYTES)
BLOCK_BYTES = -(-SEALED_BYTES // 4096) * 4096
BATCH_BYTES = 4 * RECORD_BYTES
"""The size of a batch on a connection without a file."""
BUFFERS = 8
NONCE = bytes(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What moving bytes took."""

    rate_mb_s: float
    sender_ns: float
    receiver_ns: float


def connection(size_bytes: int) -> Cost:
    """Move bytes between two processes."""
    count = size_bytes // BATCH_BYTES
    return _measure(BATCH_BYTES, count * BATCH_BYTES, _same(bytes(BATCH_BYTES), count))


def file(path: Path, folder: Path) -> Cost:
    """Move a file into the folder, except the rest that is less than a batch of chunks."""
    count = path.stat().st_size // (CHUNKS * CHUNK_BYTES)
    size = count * CHUNKS * CHUNK_BYTES
    with tempfile.TemporaryDirectory(dir=folder) as name:
        return _measure(SEALED_BYTES, size, _chunks(path, count), Path(name, "sealed"))


def _measure(
    batch_bytes: int, size_bytes: int, batches: Iterator[bytes | memoryview], *to: Path
) -> Cost:
    command = [sys.executable, __file__, str(batch_bytes), *map(str, to)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        with socket.create_connection(json.loads(receiver.stdout.readline())) as near:
            started_s, used_s = time.perf_counter(), time.process_time()
            _send(near, batches)
            sender_s = time.process_time() - used_s
            receiver_s = json.loads(receiver.stdout.readline())
            took_s = time.perf_counter() - started_s
    return Cost(
        rate_mb_s=size_bytes / took_s / 1e6,
        sender_ns=sender_s / size_bytes * 1e9,
        receiver_ns=receiver_s / size_bytes * 1e9,
    )


def _cipher() -> ChaCha20Poly1305:
    return ChaCha20Poly1305(bytes(32))


def _hash(sealed: memoryview) -> None:
    fastpath.leaves(
        sealed[: CHUNKS * CHUNK_BYTES],
        CHUNK_BYTES,
        key=bytes(32),
        person=bytes(16),
        first_index=0,
        last=False,
    )


def _same(batch: bytes, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield batch


def _chunks(path: Path, count: int) -> Iterator[memoryview]:
    """Yield a file's chunks, sealed, some at a time."""
    cipher = _cipher()
    plain, sealed = (memoryview(bytearray(size)) for size in (CHUNKS * CHUNK_BYTES, SEALED_BYTES))
    step = CHUNK_BYTES + TAG_BYTES
    with path.open("rb", buffering=0) as source:
        for _ in range(count):
            source.readinto(plain)
            for at in range(CHUNKS):
                chunk = plain[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES]
                cipher.encrypt_into(NONCE, chunk, None, sealed[at * step : (at + 1) * step])
            _hash(sealed)
            yield sealed


def _send(near: socket.socket, batches: Iterator[bytes | memoryview]) -> None:
    cipher = _cipher()
    out = memoryview(bytearray(SEALED_BYTES + CHUNKS * CHUNK_BYTES))
    for batch in batches:
        plain, end = memoryview(batch), 0
        for at in range(0, len(plain), RECORD_BYTES):
            record = plain[at : at + RECORD_BYTES]
            begin, end = end, end + len(record) + TAG_BYTES
            cipher.encrypt_into(NONCE, record, None, out[begin:end])
        near.sendall(out[:end])
    near.shutdown(socket.SHUT_WR)


def _receive(
    far: socket.socket, batch_bytes: int, take: Callable[[memoryview], memoryview]
) -> None:
    """Open what arrives; `take` gets each batch, and returns the buffer for the next."""
    cipher = _cipher()
    whole, rest = divmod(batch_bytes, RECORD_BYTES)
    sizes = [RECORD_BYTES] * whole + [rest] * bool(rest)
    view = memoryview(bytearray(batch_bytes + len(sizes) * TAG_BYTES))
    out = memoryview(mmap.mmap(-1, BLOCK_BYTES))
    while far.recv_into(view, len(view), socket.MSG_WAITALL) == len(view):
        begin = end = 0
        for size in sizes:
            record = view[begin : begin + size + TAG_BYTES]
            cipher.decrypt_into(NONCE, record, None, out[end : end + size])
            begin, end = begin + len(record), end + size
        out = take(out)


class Writer(threading.Thread):
    """Writes blocks to a file, past the page cache if that is possible."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        flags = os.O_WRONLY | os.O_CREAT
        try:
            self._fd = os.open(path, flags | getattr(os, "O_DIRECT", 0), 0o600)
        except OSError:
            self._fd = os.open(path, flags, 0o600)
        self._full: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(memoryview(mmap.mmap(-1, BLOCK_BYTES)))
        self.start()

    def run(self) -> None:
        at = 0
        while (block := self._full.get()) is not None:
            at += os.pwrite(self._fd, block, at)
            self._free.put(block)
        os.fsync(self._fd)
        os.close(self._fd)

    def take(self, block: memoryview) -> memoryview:
        """Check a block of chunks, and write it; return the buffer for the next."""
        _hash(block)
        self._full.put(block)
        return self._free.get()

    def finish(self) -> None:
        """Return when all is on the disk."""
        self._full.put(None)
        self.join()


def main() -> int:
    """Be the receiver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("batch_bytes", type=int)
    parser.add_argument("path", type=Path, nargs="?")
    arguments = parser.parse_args()
    keep_freed_memory()
    writer = None if arguments.path is None else Writer(arguments.path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(json.dumps(server.getsockname()), flush=True)
        far, _ = server.accept()
        with far:
            used_s = time.process_time()
            if writer is None:
                _receive(far, arguments.batch_bytes, lambda out: out)
            else:
                _receive(far, arguments.batch_bytes, writer.take)
                writer.finish()
            print(json.dumps(time.process_time() - used_s), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
