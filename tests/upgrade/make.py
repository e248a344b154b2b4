"""Make a home as some version of Peerpost leaves it: `python tests/upgrade/make.py PYTHON NAME`.

PYTHON is the interpreter of an environment where that version is installed, NAME the archive that is written beside
this file. Alice and Bob are made by its own command line, and exchange texts both ways and a file; then Alice queues a
text and a file that Bob, who is stopped, does not get. Alice's home is what is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONFIG = (
    '[network]\nlisten = ["/ip4/127.0.0.1/tcp/0"]\n[storage]\nballast = "64KiB"\nmin_free = 0\n'
)
KEPT = ("keyfile", "store.db", "blobs", "spool")
PATIENCE_S = 60.0


def main(python: str, name: str) -> None:
    """Write the archive."""
    with tempfile.TemporaryDirectory(prefix="pp-old-") as made:
        folder = Path(made)

        def run(who: str, *arguments: str) -> list[dict[str, Any]]:
            command = [python, "-m", "peerpost.cli", "--home", str(folder / who), "--json"]
            out = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
            return [json.loads(line) for line in out.stdout.splitlines()]

        for who in ("alice", "bob"):
            (folder / who).mkdir(mode=0o700)
            (folder / who / "config.toml").write_text(CONFIG)
            run(who, "identity", "new", "--name", who, "--no-passphrase")
        ticket = run("bob", "contacts", "invite", "alice")[0]["ticket"]
        run("alice", "contacts", "add", "bob", ticket)
        wanted = {"alice": {"from bob 1", "from bob 2"}, "bob": {"from alice 1"}}
        for text in sorted(wanted["bob"]):
            run("alice", "send-net", "--contact", "bob", text)
        for text in sorted(wanted["alice"]):
            run("bob", "send-net", "--contact", "alice", text)
        (folder / "photo.bin").write_bytes(bytes(i % 251 for i in range(20_000)))
        run("bob", "send-net", "--contact", "alice", "--file", str(folder / "photo.bin"), "--wait")
        deadline_s = time.monotonic() + PATIENCE_S
        for who, texts in wanted.items():
            while not texts <= {row["preview"] for row in run(who, "inbox", "list")}:
                assert time.monotonic() < deadline_s, who
                time.sleep(0.2)
        run("bob", "node", "stop")
        run("alice", "send-net", "--contact", "bob", "queued for bob")
        run("alice", "send-net", "--contact", "bob", "--file", str(folder / "photo.bin"), "--spool")
        run("alice", "node", "stop")
        with tarfile.open(HERE / f"{name}.tar.xz", "w:xz") as archive:
            for part in KEPT:
                archive.add(folder / "alice" / part, part)


if __name__ == "__main__":
    main(*sys.argv[1:])
