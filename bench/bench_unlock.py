"""A locked home: how long unlocking takes and how much memory, and what a command costs while it is locked.

    python3 dev.py bench unlock [--rounds 7]

A home with a passphrase, as `identity new` makes it. Each round starts its node, which is locked, asks it for the
contacts (refused), unlocks it and stops it. Beside that stands one derivation of a key with the parameters of other
programs, by the same libraries in the same run: what somebody who guesses passphrases pays for a try.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import psutil

from peerpost.crypto.passphrase import Cost, derive
from peerpost.store import keyfile_form

PASSPHRASE = "correct horse battery staple of the bench"
SALT = bytes(16)
AGE_LOG_N = 18
"""The work factor that age gives scrypt, with r=8 and p=1: 256 MiB."""
BORG = Cost(64 << 10, 3, 4)
"""What Borg 2 gives argon2id; it runs the four lanes at once."""


class Home:
    """A protected home and the commands on it, with the passphrase only where it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = folder.with_name("passphrase")
        self.secret.touch(0o600)
        self.secret.write_text(PASSPHRASE)
        self.run("identity", "new", "--name", "bench", "--passphrase-file", str(self.secret))
        self.run("node", "stop")  # It is open, since it was just made.

    def run(self, *words: str, code: int = 0) -> tuple[float, str]:
        """Run a command; return how many seconds it took and what it printed."""
        env = {
            name: value for name, value in os.environ.items() if not name.startswith("PEERPOST_")
        }
        command = [sys.executable, "-m", "peerpost.cli", "--home", str(self.folder), *words]
        begun_s = time.perf_counter()
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        took_s = time.perf_counter() - begun_s
        if done.returncode != code:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return took_s, done.stdout


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds some work takes."""
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


def one_round(home: Home) -> dict[str, float]:
    """Lock, ask, unlock, stop; return the figures."""
    home.run("node", "start")
    pid = json.loads(home.run("node", "status", "--json")[1])["pid"]
    locked_mb = psutil.Process(pid).memory_info().rss / 1e6
    refused_s, _ = home.run("contacts", "list", code=77)
    unlock_s, _ = home.run("identity", "unlock", "--passphrase-file", str(home.secret))
    peak = machine.peak_mb(pid)
    listed_s, _ = home.run("contacts", "list")
    home.run("node", "stop")
    return {
        "refused": refused_s, "unlock": unlock_s, "listed": listed_s, "locked_mb": locked_mb,
        "peak_mb": peak,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="peerpost-bench-") as folder:
        home = Home(Path(folder, "home"))
        slots = keyfile_form.slots_of(keyfile_form.read(home.folder / "keyfile"))
        cost = next(slot.cost for slot in slots if slot.kind == "passphrase")
        scrypt = {"n": 1 << AGE_LOG_N, "r": 8, "p": 1, "maxmem": 1 << 29}
        keys: dict[str, Callable[[], object]] = {
            f"Peerpost: argon2id, {cost.memory_kib >> 10} MiB, {cost.passes} passes, 1 lane": (
                lambda: derive(PASSPHRASE.encode(), SALT, cost)
            ),
            "Borg 2: argon2id, 64 MiB, 3 passes, 4 lanes": (
                lambda: derive(PASSPHRASE.encode(), SALT, BORG)
            ),
            "age: scrypt, 256 MiB (N = 2^18, r = 8)": (
                lambda: hashlib.scrypt(PASSPHRASE.encode(), salt=SALT, dklen=32, **scrypt)
            ),
        }
        rounds, tries = [], {name: list[float]() for name in keys}
        for _ in range(options.rounds):
            rounds.append(one_round(home))
            for name, work in keys.items():
                tries[name].append(timed(work))
    median = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    print(f"medians of {options.rounds}; {machine.describe()}\n")
    print("| one try of a passphrase | seconds |\n|---|---|")
    for name, took in tries.items():
        print(f"| {name} | {statistics.median(took):.2f} |")
    print("\n| a locked home | |\n|---|---|")
    print(f"| `contacts list` while it is locked (exit 77) | {median['refused'] * 1e3:.0f} ms |")
    print(f"| `contacts list` once it is open | {median['listed'] * 1e3:.0f} ms |")
    print(f"| `identity unlock`, until the node listens | {median['unlock']:.2f} s |")
    print(f"| memory of the node while it is locked | {median['locked_mb']:.0f} MB |")
    print(f"| its peak while it is unlocked | {median['peak_mb']:.0f} MB |")


if __name__ == "__main__":
    main()
