"""Make the frozen vectors: `python tests/vectors/make.py` writes the *.json beside this file.

They freeze the wire. tests/messenger/test_vectors.py makes them again and wants the same bytes, and
puts every case through the parsers; a difference is a change of the protocol. Every random value is
the BLAKE2b of its name. Each case says what must come of it in "expect": "success", or what must be
wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import vector_backup  # noqa: E402
import vector_crypto  # noqa: E402
import vector_keyfile  # noqa: E402
import vector_trust  # noqa: E402
import vector_wire  # noqa: E402
from vector_people import Case  # noqa: E402

FILES: dict[str, Callable[[], list[Case]]] = {
    "home/backup.json": vector_backup.make_backups,
    "chunk.json": vector_crypto.make_chunks,
    "envelope.json": vector_crypto.make_envelopes,
    "frame.json": vector_wire.make_frames,
    "hello.json": vector_trust.make_hello,
    "inner.json": vector_wire.make_inner,
    "home/keyfile.json": vector_keyfile.make_keyfiles,
    "keys.json": vector_trust.make_keys,
    "noise.json": vector_crypto.make_noise,
    "segment.json": vector_wire.make_segments,
    "statement.json": vector_trust.make_statements,
    "ticket.json": vector_trust.make_tickets,
}


def render(cases: list[Case]) -> str:
    """Return the text of a file of cases."""
    return json.dumps(cases, indent=1, ensure_ascii=True) + "\n"


def main() -> None:
    """Write all files."""
    for name, make in FILES.items():
        (HERE / name).write_text(render(make()), encoding="ascii")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
