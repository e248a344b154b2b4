"""The search: how long it takes in a home of a million messages, how large its index is, and what it costs to receive.

    python3 dev.py bench search [--messages 1000000] [--pipelined 10000] [--json FILE]

The messages are received from ten contacts: words that are made up, drawn by Zipf's law, in texts of lengths as people
write them (half of them have less than 120 characters, one in a hundred more than 900). They are put into the store of
a home whose node is down; then the node makes the index, as it does after an update. Each term is searched for by a
connection to the node, and by the command. For comparison, texts are sent pipelined by a pair of nodes with the index
and without: without, the statements that keep it are taken out of the schema.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import machine
from bench_messages import pipelined
from pair import CONFIG, Client, Pair, command

from peerpost.crypto.keys import Ed25519KeyPair
from peerpost.store import keyfile
from peerpost.store.db.engine import Store
from peerpost.store.tables import contacts, inbox
from peerpost.wire import inner as wire

SEED = 7
CONTACTS = 10
WORDS = 30_000
TIMES = 15
BATCH = 1000
LIMIT = 20
NOW_MS = time.time_ns() // 1_000_000
ONSETS = [*"bcdfghjklmnprstvw", "st", "tr", "br", "pl", "gr", "th", "sh", "ch"]
NUCLEI = [*"aeiou", "ee", "ai", "ou"]
CODAS = ["", "", "", "n", "r", "s", "t", "l", "nd", "ng", "st", "m"]
ON_TRIGGERS = ("item_added_to_slice", "entry_added_to_slice", "long_text_added")


def word(draw: random.Random) -> str:
    """Return a word of one to four syllables."""
    syllables = draw.choice((1, 1, 2, 2, 2, 3, 3, 4))
    return "".join(
        draw.choice(ONSETS) + draw.choice(NUCLEI) + draw.choice(CODAS) for _ in range(syllables)
    )


class Language:
    """Words, the commonest first, and texts of them."""

    def __init__(self) -> None:
        self._draw = random.Random(SEED)
        found: dict[str, None] = {}
        while len(found) < WORDS:
            found[word(self._draw)] = None
        # Common words are short.
        self.words = sorted(found, key=lambda one: len(one) + self._draw.random() * 8)
        self._weights = list(itertools.accumulate(1 / (at + 2.7) for at in range(WORDS)))

    def text(self) -> str:
        """Return a text."""
        count = min(3000, max(1, int(self._draw.lognormvariate(2.9, 0.95))))
        chosen = self._draw.choices(self.words, cum_weights=self._weights, k=count)
        return " ".join(chosen)[:60_000]


def receive(db: apsw.Connection, contact_id: str, first: int, texts: list[str]) -> None:
    messages = [
        wire.Message(
            kind=wire.Kind.TEXT,
            outbox_id=bytes(16),
            lane=0,
            seq=first + at,
            prev=bytes(16),
            sent_at_ms=NOW_MS,
            body=text.encode(),
        )
        for at, text in enumerate(texts)
    ]
    linked = [(one, one.seq.to_bytes(16, "big")) for one in messages]
    inbox.receive_many(db, contact_id, linked, NOW_MS, quota_bytes=1 << 50)


def friend(db: apsw.Connection, number: int) -> str:
    made = contacts.add(
        db,
        name=f"friend{number}",
        id_public=Ed25519KeyPair.from_seed(number.to_bytes(32, "big")).public,
        state="active",
        now_ms=NOW_MS,
    )
    return made.id


async def fill(home: Path, count: int, language: Language) -> int:
    """Put messages into the store; return the bytes of their texts."""
    store = await opened(home)
    size = 0
    try:
        ids = [await store.write(friend, number + 1) for number in range(CONTACTS)]
        for at in range(0, count, BATCH):
            texts = [language.text() for _ in range(min(BATCH, count - at))]
            size += sum(map(len, texts))
            which = at // BATCH
            first = which // CONTACTS * BATCH + 1
            await store.write_lazily(receive, ids[which % CONTACTS], first, texts)
    finally:
        await store.close()
    return size


async def opened(home: Path) -> Store:
    loop = asyncio.get_running_loop()
    return await Store.open(home / "store.db", keyfile.unlock(home), loop=loop, ballast_bytes=0)


def sizes(db: apsw.Connection) -> dict[str, int]:
    """Return the bytes that each table takes with its indexes."""
    found: dict[str, int] = dict(
        db.execute(
            "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY tbl_name"
        )
    )
    return found


async def index_share(home: Path) -> dict[str, int]:
    store = await opened(home)
    try:
        tables = await store.read(sizes)
    finally:
        await store.close()
    return {
        "store": sum(tables.values()),
        "index": sum(size for name, size in tables.items() if "gram" in name or "slice" in name),
    }


@contextlib.contextmanager
def node(home: Path) -> Iterator[float]:
    """Run a node in the foreground; give the seconds until it was ready."""
    started_s = time.perf_counter()
    process = subprocess.Popen(
        command(home, "node", "run"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield time.perf_counter() - started_s
    finally:
        process.terminate()
        process.wait()


async def until_built(home: Path) -> float:
    started_s = time.perf_counter()
    async with Client(home) as client:
        while True:
            progress = await client.call("inbox.searchable")
            if not progress["left"]:
                return time.perf_counter() - started_s
            await asyncio.sleep(0.5)


def terms(language: Language) -> dict[str, list[str]]:
    """Return terms of each kind."""
    words = language.words
    long = [one for one in words if len(one) >= 6]
    return {
        "common": [words[0] + " ", words[20], long[5]],
        "rare": [long[-1], long[-200], long[len(long) // 2]],
        "two words": [f"{words[3]} {words[11]}", f"{long[10]} {long[40]}"],
        "absent, of odd letters": ["xyzzyq", "qqq"],
        "absent, of common letters": [absent(language, at) for at in range(4)],
        "one letter": ["e", "j", "q", "7"],
        "two letters": ["st", "zz", "jo", "x7", "vu"],
    }


def absent(language: Language, number: int) -> str:
    """Return what might be a word, and is in none."""
    draw = random.Random(number)
    while True:
        made = word(draw) + word(draw)
        if 6 <= len(made) <= 9 and not any(made in one for one in language.words):
            return made


async def timed(home: Path, found: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """Return how long the node takes for each term: in the first call, and in the others."""
    result: dict[str, list[dict[str, Any]]] = {}
    async with Client(home) as client:
        for kind, some in found.items():
            rows = result[kind] = []
            for term in some:
                took = []
                for _ in range(TIMES):
                    from_s = time.perf_counter()
                    hits = await client.call("inbox.search", term=term, limit=LIMIT)
                    took.append(1e3 * (time.perf_counter() - from_s))
                rows.append(
                    {
                        "term": term,
                        "hits": len(hits),
                        "first_ms": took[0],
                        "ms": statistics.median(took),
                        "max_ms": max(took[1:]),
                    }
                )
    return result


def by_command(home: Path, some: list[str]) -> float:
    """Return the median time of the whole command beyond that of the node, in milliseconds."""
    took = []
    for term in some * 3:
        from_s = time.perf_counter()
        subprocess.run(
            command(home, "inbox", "search", term, "--limit", str(LIMIT)),
            check=True,
            capture_output=True,
        )
        took.append(1e3 * (time.perf_counter() - from_s))
    return statistics.median(took)


def without_index(db: apsw.Connection) -> None:
    """Take out of the schema what keeps the index when a message comes."""
    for name in ON_TRIGGERS:
        db.execute(f"DROP TRIGGER {name}")


async def change(homes: list[Path], work: Any) -> None:
    for home in homes:
        store = await opened(home)
        try:
            await store.write(work)
        finally:
            await store.close()


def rates(folder: Path, count: int) -> dict[str, list[float]]:
    """Return texts a second with their receipts, with the index and without, in turns."""
    found: dict[str, list[float]] = {"with": [], "without": []}
    for turn, kind in enumerate(("with", "without", "without", "with")):
        here = folder / f"pair{turn}"
        here.mkdir()
        with Pair(here, here) as pair:
            if kind == "without":
                for name in pair.homes:
                    pair.run(name, "node", "stop")
                asyncio.run(change(list(pair.homes.values()), without_index))
                for name in pair.homes:
                    pair.run(name, "node", "start")
                while not pair.run("bob", "contacts", "show", "alice")[0]["online"]:
                    time.sleep(0.05)
            asyncio.run(pipelined(pair.homes["alice"], 500))
            found[kind].append(asyncio.run(pipelined(pair.homes["alice"], count)))
    return found


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    language = Language()
    home = folder / "home"
    home.mkdir(0o700)
    (home / "config.toml").write_text(CONFIG)
    subprocess.run(
        command(home, "identity", "new", "--name", "me", "--no-passphrase"),
        check=True,
        capture_output=True,
    )
    subprocess.run(command(home, "node", "stop"), check=True, capture_output=True)
    result: dict[str, Any] = {"machine": machine.describe(), "messages": options.messages}
    result["text_bytes"] = asyncio.run(fill(home, options.messages, language))
    print("filled", file=sys.stderr, flush=True)
    with node(home) as ready_s:
        result["ready_s"] = ready_s
        result["built_s"] = asyncio.run(until_built(home))
        print(f"built in {result['built_s']:.0f} s", file=sys.stderr, flush=True)
    result |= asyncio.run(index_share(home))
    with node(home):
        found = terms(language)
        result["terms"] = asyncio.run(timed(home, found))
        every = [some[0] for some in found.values()]
        in_node = statistics.median(rows[0]["ms"] for rows in result["terms"].values())
        result["command_ms"] = by_command(home, every)
        result["in_node_ms"] = in_node
    result["per_s"] = rates(folder, options.pipelined) if options.pipelined else {}
    return result


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['messages']} messages, {result['text_bytes'] / 1e6:.0f} MB of text; {result['machine']}",
        "",
        "| term | in the node, median | worst | the first time |",
        "|---|---|---|---|",
    ]
    for kind, rows in result["terms"].items():
        median, worst, first = (
            max(row[key] for row in rows) for key in ("ms", "max_ms", "first_ms")
        )
        hits = ", ".join(f"{row['term']!r} {row['hits']} {row['ms']:.1f}" for row in rows)
        lines.append(f"| {kind} | {median:.1f} ms | {worst:.1f} ms | {first:.1f} ms |  {hits}")
    share = result["index"] / result["store"]
    lines += [
        "",
        f"The command: {result['command_ms']:.0f} ms, of which the node {result['in_node_ms']:.1f} ms.",
        f"Index: {result['index'] / 1e6:.0f} MB of a store of {result['store'] / 1e6:.0f} MB ({share:.0%}).",
        f"That is {result['index'] / result['text_bytes']:.2f} times the text; made in {result['built_s']:.0f} s.",
    ]
    for kind, per_s in result["per_s"].items():
        lines.append(
            f"Pipelined, {kind} the index: {', '.join(f'{one:.0f}' for one in per_s)} texts a second."
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--pipelined", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="on which disk to work")
    parser.add_argument("--json", type=Path, help="append the raw figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pp-bench-", dir=options.folder) as folder:
        result = measure(options, Path(folder))
    print(table(result))
    if options.json is not None:
        with options.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
