"""Which lines are logged, in the syntax of RUST_LOG: `info`, `debug,libp2p=warn`, `peerpost.node.files=trace`, `off`.

The parts are separated by commas. A level alone is for everything of Peerpost, `TARGET=LEVEL` for the loggers of that
name and below it, and a target alone for all of it. Rust's `::` between the parts of a name is read as a dot. Levels
are numbers of `logging`, which is not imported here, because the command line reads this too.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Final

__all__ = ["LEVELS", "MAX_CHARS", "Directives", "parse"]

LEVELS: Final = {
    "trace": 5,
    "debug": 10,
    "info": 20,
    "warn": 30,
    "warning": 30,
    "error": 40,
    "off": 100,
}
"""The least number that is logged, by its word."""
MAX_CHARS: Final = 4096
"""A longer text is no list of directives."""
_TARGET: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_QUIETEST: Final = "warn"
"""For what is not named where no level stands alone. (Rust has `error` here, which hides what the user has to know.)"""


@dataclass(frozen=True, slots=True)
class Directives:
    """What was asked for."""

    text: str
    everything: int
    """The level of all that no target covers."""
    targets: dict[str, int] = field(default_factory=dict)
    """Levels by the name of a logger, with dots."""
    alone: tuple[str, ...] = ()
    """The targets without a level: a level that is mistyped looks like one."""


def parse(text: str) -> Directives:
    """Return the directives in a text. Raises ValueError naming the part that is wrong."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"longer than {MAX_CHARS} characters")
    if "[" in text or "{" in text:
        raise ValueError(f"{text!r}: filters by span ('[...]') are not supported; name a target")
    everything: int | None = None
    targets: dict[str, int] = {}
    alone: list[str] = []
    for part in text.split(","):
        name, equals, level = (piece.strip() for piece in part.partition("="))
        if not part.strip():
            continue
        if not equals and name.lower() in LEVELS:
            everything = LEVELS[name.lower()]
            continue
        target = name.replace("::", ".")
        if not _TARGET.fullmatch(target):
            raise ValueError(f"{part.strip()!r}: {name!r} is neither a level nor a logger")
        if equals and level.lower() not in LEVELS:
            raise ValueError(f"{part.strip()!r}: there is no level {level!r}{_meant(level)}")
        targets[target] = LEVELS[level.lower()] if equals else LEVELS["trace"]
        if not equals:
            alone.append(target)
    if everything is None and not targets:
        raise ValueError(f"nothing is named; the levels are {', '.join(_words())}")
    return Directives(
        text=text.strip(),
        everything=LEVELS[_QUIETEST] if everything is None else everything,
        targets=targets,
        alone=tuple(alone),
    )


def _words() -> list[str]:
    return [word for word in LEVELS if word != "warning"]


def _meant(level: str) -> str:
    near = difflib.get_close_matches(level.lower(), LEVELS, n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else f"; known: {', '.join(_words())}"
