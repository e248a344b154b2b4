"""The compiled core, compared with its pure twin, hashlib, PyNaCl and blake3.

    python3 dev.py bench fastpath [--passes 8] [--no-history]
    python3 -m pytest bench/bench_fastpath.py     the same suite, in the tables of pytest-benchmark

All are run in turn, several times, and the best time of each counts, because other work on the machine can
only slow a run down. The result is appended to bench/history.jsonl.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nacl.bindings import crypto_generichash_blake2b_salt_personal as nacl_blake2b

from peerpost.fastpath import _pure

try:
    from peerpost.fastpath import blake2, bucket, padding
except ImportError:
    sys.exit("the native modules are not built: there is nothing to measure")

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "fastpath" / "src"
HISTORY = ROOT / "bench" / "history.jsonl"
CHUNKS = 8
KEY, PERSON, SALT = bytes(32), b"peerpost/v1/leaf", bytes(16)
SIZES = (65536, 262144)
CALLS = 1000  # small functions are timed as many times in one go
THREADED = 32  # batches of each thread, so that starting it does not count
KERNELS = blake2.kernels()

Function = Callable[[], Any]


# --- what is measured --------------------------------------------------------------------------


@functools.cache
def data_of(chunk_bytes: int) -> bytes:
    return os.urandom(CHUNKS * chunk_bytes)


def parts(chunk_bytes: int) -> list[memoryview]:
    return _pure.cut(data_of(chunk_bytes), chunk_bytes)


def by_hashlib(chunk_bytes: int) -> None:
    for chunk in parts(chunk_bytes):
        hashlib.blake2b(chunk, digest_size=32, key=KEY, salt=SALT, person=PERSON).digest()


def by_nacl(chunk_bytes: int) -> None:
    for chunk in parts(chunk_bytes):
        nacl_blake2b(bytes(chunk), digest_size=32, key=KEY, salt=SALT, person=PERSON)


def by_blake3(chunk_bytes: int) -> None:
    blake3 = pytest.importorskip("blake3").blake3
    for chunk in parts(chunk_bytes):
        blake3(chunk, key=KEY).digest()


def by_ours(chunk_bytes: int, *, module: Any = blake2, into: bytearray | None = None) -> Function:
    return functools.partial(
        module.leaves,
        data_of(chunk_bytes),
        chunk_bytes,
        key=KEY,
        person=PERSON,
        first_index=0,
        last=False,
        into=into,
    )


def by_two_threads(chunk_bytes: int) -> None:
    """Hash `THREADED` batches in each of two threads."""
    work = repeated(by_ours(chunk_bytes), count=THREADED)
    other = threading.Thread(target=work)
    other.start()
    work()
    other.join()


def hashers(chunk_bytes: int) -> Iterator[tuple[str, Function]]:
    """Yield all that hash 8 chunks."""
    for name, function in (("hashlib", by_hashlib), ("PyNaCl", by_nacl), ("blake3", by_blake3)):
        yield name, functools.partial(function, chunk_bytes)
    for kernel in ("twin", *KERNELS):
        module = _pure if kernel == "twin" else blake2
        yield kernel, by_ours(chunk_bytes, module=module)
        into = bytearray(CHUNKS * chunk_bytes)
        yield f"{kernel}, copying", by_ours(chunk_bytes, module=module, into=into)
    yield "2 threads", functools.partial(by_two_threads, chunk_bytes)


def repeated(function: Callable[..., Any], *arguments: Any, count: int = CALLS) -> Function:
    """Return what calls a function some times."""

    def run() -> None:
        for _ in itertools.repeat(None, count):
            function(*arguments)

    return run


def small() -> Iterator[tuple[str, Function]]:
    """Yield the functions whose cost is mostly that of the call, compiled and pure."""
    text, frame = bytes(900), bytearray(1024)
    for form, pads, buckets in (("native", padding, bucket), ("twin", _pure, _pure)):
        plenty = 2**62
        alone = buckets.TokenBucket(plenty, plenty, 0)
        under = buckets.TokenBucket(plenty, plenty, 0, buckets.TokenBucket(plenty, plenty, 0))
        padded = pads.pad(text, 1024)
        yield f"TokenBucket.take, {form}", repeated(alone.take, 1000, 5)
        yield f"take under a parent, {form}", repeated(under.take, 1000, 5)
        yield f"pad to 1 KiB, {form}", repeated(pads.pad, text, 1024)
        yield f"pad_into 1 KiB, {form}", repeated(pads.pad_into, frame, 900)
        yield f"unpad 1 KiB, {form}", repeated(pads.unpad, padded)
    for kernel in KERNELS:
        yield f"leaves of 8 x 128 bytes, {kernel}", repeated(by_ours(128))


CASES: dict[str, Function] = {
    **{f"{size} {name}": function for size in SIZES for name, function in hashers(size)},
    **dict(small()),
}


@pytest.mark.parametrize("name", CASES)
def test_speed(benchmark: Any, name: str) -> None:
    benchmark.group = name.partition(" ")[0] if name[0].isdigit() else "calls, 1000 at a time"
    benchmark.extra_info["name"] = name
    words = name.replace(",", "").split()
    before = blake2.kernel()
    blake2.use_kernel(next((kernel for kernel in KERNELS if kernel in words), ""))
    benchmark.pedantic(CASES[name], rounds=15, iterations=1, warmup_rounds=1)
    blake2.use_kernel(before)


# --- the C harness, which knows nothing of Python ----------------------------------------------


def harness(folder: Path) -> Callable[[], dict[str, float]] | None:
    """Compile the self-test as the modules are; return what measures with it, if that worked."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    program = folder / "selftest"
    files = [str(path) for path in SOURCE.glob("*.c")]
    command = [*compiler, "-O3", "-I", str(SOURCE), *files, "-o", str(program)]
    if shutil.which(command[0]) is None or subprocess.run(command, check=False).returncode:
        return None

    def measure() -> dict[str, float]:
        done = subprocess.run([program, "bench"], text=True, capture_output=True, check=True)
        found = {}
        for line in done.stdout.splitlines():
            kernel, size, alone, copying = line.split()
            found[f"{size} {kernel}"] = float(alone) * 1e-9
            found[f"{size} {kernel}, copying"] = float(copying) * 1e-9
        return found

    return measure


# --- tables ------------------------------------------------------------------------------------


def run_suite(folder: Path, passes: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the best seconds of each case, and of the C harness."""
    best: dict[str, float] = {}
    bare: dict[str, float] = {}
    measure = harness(folder)
    for turn in range(passes):
        print(f"pass {turn + 1} of {passes}", file=sys.stderr, flush=True)
        report = folder / "report.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        command += [f"--benchmark-json={report}", str(Path(__file__))]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        for row in json.loads(report.read_text())["benchmarks"]:
            keep_best(best, {row["extra_info"]["name"]: row["stats"]["min"]})
        keep_best(bare, measure() if measure else {})
    return best, bare


def keep_best(best: dict[str, float], found: dict[str, float]) -> None:
    for name, seconds in found.items():
        best[name] = min(seconds, best.get(name, seconds))


GOALS = {"portable": 1.05, "avx2": 1.6, "avx512": 3.5}


def hash_table(best: dict[str, float], bare: dict[str, float]) -> Iterator[str]:
    yield "| one thread, 8 chunks a call | 64 KiB, MB/s | of hashlib | 256 KiB, MB/s | of hashlib |"
    yield "|---|---|---|---|---|"
    names = [name for name, _ in hashers(SIZES[0])]
    for name in names:
        cells = [name]
        for size in SIZES:
            seconds = best.get(f"{size} {name}")
            if seconds is None:
                cells += ["-", "-"]
                continue
            batches = 2 * THREADED if name == "2 threads" else 1
            ratio = best[f"{size} hashlib"] / seconds * batches
            goal = f" (goal {GOALS[name]})" if name in GOALS else ""
            cells += [f"{batches * CHUNKS * size / seconds / 1e6:.0f}", f"{ratio:.2f}{goal}"]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield "| what it costs | 64 KiB | 256 KiB | goal |"
    yield "|---|---|---|---|"
    for kernel in KERNELS:
        costs = [best[f"{s} {kernel}, copying"] / best[f"{s} {kernel}"] - 1 for s in SIZES]
        yield f"| to copy as well, {kernel} | {costs[0]:+.1%} | {costs[1]:+.1%} | 10 % |"
        if bare:
            costs = [best[f"{s} {kernel}"] / bare[f"{s} {kernel}"] - 1 for s in SIZES]
            yield f"| to come from Python, {kernel} | {costs[0]:+.1%} | {costs[1]:+.1%} | 5 % |"


def call_table(best: dict[str, float], bare: dict[str, float]) -> Iterator[str]:
    goals = {"TokenBucket.take": 100, "pad to 1 KiB": 300, "unpad 1 KiB": 300}
    yield "| a call, ns | compiled | pure | goal |"
    yield "|---|---|---|---|"
    for name, seconds in best.items():
        what, _, form = name.partition(", ")
        if form == "native":
            twin = best[f"{what}, twin"]
            yield (
                f"| {what} | {seconds / CALLS * 1e9:.0f} | {twin / CALLS * 1e9:.0f} "
                f"| {goals.get(what, '')} |"
            )
    for kernel in KERNELS if bare else ():
        ours = best[f"leaves of 8 x 128 bytes, {kernel}"] / CALLS
        over = (ours - bare[f"128 {kernel}"]) * 1e9
        yield f"| 8 leaves, over their hashing, {kernel} | {over:.0f} | | 1000 |"


def said(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    return done.stdout.strip()


def record(best: dict[str, float], bare: dict[str, float]) -> None:
    """Append a line to the history."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    model = next((line for line in lines if line.startswith("model name")), "")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    entry = {
        "bench": "fastpath",
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": said("git", "rev-parse", "--short", "HEAD")
        + ("+" if said("git", "status", "--porcelain", "fastpath") else ""),
        "cpu": model.partition(":")[2].strip(),
        "flags": [f for f in flags.split() if f.startswith(("avx", "bmi", "asimd", "sha"))],
        "compiler": (said(compiler, "--version").splitlines() or ["?"])[0],
        "python": sys.version.split()[0],
        "ns": {name: round(seconds * 1e9) for name, seconds in best.items()},
        "harness_ns": {name: round(seconds * 1e9) for name, seconds in bare.items()},
    }
    with HISTORY.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=8, help="how often all are run in turn")
    parser.add_argument("--no-history", action="store_true", help="leave bench/history.jsonl alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        best, bare = run_suite(Path(folder), options.passes)
    print("\n".join([*hash_table(best, bare), "", *call_table(best, bare)]))
    if not options.no_history:
        record(best, bare)


if __name__ == "__main__":
    main()
