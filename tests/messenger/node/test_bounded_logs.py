"""Lines of one cause are bounded in number, and what is left out is told."""

from __future__ import annotations

import logging

from peerpost.node.logs import LINES_PER_MIN, Bounded


def test_one_cause_writes_so_many_lines_a_minute() -> None:
    bounded = Bounded()

    def record(created: float, template: str = "turned away %s") -> logging.LogRecord:
        made = logging.LogRecord("net", logging.INFO, "", 0, template, ("them",), None)
        made.created = created
        return made

    assert sum(bool(bounded.filter(record(100.0))) for _ in range(1000)) == LINES_PER_MIN
    assert bounded.filter(record(100.0, "another cause %s"))
    after = record(161.0)
    assert bounded.filter(after)
    assert f"{1000 - LINES_PER_MIN} more" in after.getMessage()
