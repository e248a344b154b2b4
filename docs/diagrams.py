"""Draw the generated parts of docs/architecture.md again: `python3 dev.py diagrams`.

The folders come from the table that tests/test_imports.py holds, the states from the tables that the code uses. A
generated part stands between the lines `<!-- made: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from peerpost.protocol import hello, receiving, sending
from peerpost.store.tables import states
from tests.test_imports import BELOW, FOLDERS, GROUPS, STORE, TOOLS

__all__ = ["PAGE", "main", "render"]

PAGE = Path(__file__).with_name("architecture.md")
PART = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
SETS = {"*core*": BELOW, "*tools*": TOOLS, "*store*": STORE}
"""Names for what many folders may import, the largest first where one is part of another."""


def shown(name: str) -> str:
    """Return a folder, group or module as the page writes it."""
    if name in GROUPS:
        return f"*{name.partition('.')[2]}*"
    if name in FOLDERS or not name:
        return f"`{name.replace('.', '/') or 'peerpost'}`"
    return f"`{name.replace('.', '/')}.py`"


def reduced(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Leave out each arrow that a longer way replaces."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        left = [start]
        while left:
            for name in arrows[left.pop()] - found:
                found.add(name)
                left.append(name)
        return found

    beyond = {name: reached(name) for name in arrows}
    return {
        name: {to for to in targets if not any(to in beyond[other] for other in targets - {to})}
        for name, targets in arrows.items()
    }


def folders_picture() -> str:
    """Draw who may import whom among the folders, without what everybody may import."""
    drawn = [name for name in FOLDERS if name and name not in TOOLS]
    arrows = {name: FOLDERS[name] & set(drawn) for name in drawn}
    lines = [f'    {key(name)}["{label(name)}"]' for name in drawn]
    for name, targets in reduced(arrows).items():
        lines += [f"    {key(name)} --> {key(to)}" for to in drawn if to in targets]
    return mermaid("flowchart TD", lines)


def key(name: str) -> str:
    """Return a name that mermaid takes for a box."""
    return name.replace(".", "_")


def label(name: str) -> str:
    """Return what stands in the box of a folder or group."""
    if name in GROUPS:
        return f"{name.partition('.')[0]}/: {name.partition('.')[2]}"
    return name.replace(".", "/") + "/"


def folders_table() -> str:
    """Write who may import whom, all of it."""
    lines = ["| in | may be imported |", "|---|---|"]
    for name, rule in FOLDERS.items():
        rest, words = set(rule), list[str]()
        for word, members in SETS.items():
            if members <= rest:
                rest -= members
                words.append(word)
        words += [shown(one) for one in [*FOLDERS, *sorted(rest - set(FOLDERS))] if one in rest]
        lines.append(f"| {shown(name)} | {', '.join(words) or 'nothing of ours'} |")
    lines += ["", *(f"- {word}: {members_of(word)}" for word in ("*tools*", "*core*", "*store*"))]
    for group, modules in GROUPS.items():
        files = ", ".join(f"`{name}.py`" for name in modules)
        lines.append(f"- {shown(group)}, modules in `{group.partition('.')[0]}`: {files}")
    return "\n".join(lines)


def members_of(word: str) -> str:
    """List what one of SETS has in it."""
    members = SETS[word]
    if word == "*core*":
        return ", ".join(["*tools*", *(shown(n) for n in FOLDERS if n in members - TOOLS)])
    return ", ".join(shown(name) for name in FOLDERS if name in members)


def states_picture(following: Mapping[Any, Iterable[Any]], *begins: Any) -> str:
    """Draw a table of states: which may follow which."""
    kind = type(next(iter(following)))
    # A table made of sets has another order in each run; that of the states themselves stays.
    order = list(kind) if issubclass(kind, enum.Enum) else list(following)
    names = {state: getattr(state, "value", state) for state in order}
    lines = [f"    [*] --> {names[state]}" for state in begins]
    for state in order:
        targets = set(following[state])
        lines += [f"    {names[state]} --> {names[to]}" for to in order if to in targets]
        lines += [] if targets else [f"    {names[state]} --> [*]"]
    return mermaid("stateDiagram-v2", lines)


def mermaid(kind: str, lines: Iterable[str]) -> str:
    """Return a diagram as the page holds it."""
    return "\n".join(["```mermaid", kind, *lines, "```"])


PARTS: dict[str, Callable[[], str]] = {
    "folders": folders_picture,
    "imports": folders_table,
    "message": lambda: states_picture(states.ENTRY_NEXT, "queued"),
    "transfer": lambda: states_picture(states.TRANSFER_NEXT, "offered"),
    "sending": lambda: states_picture(
        sending.NEXT, sending.SendState.OFFERED, sending.SendState.ACTIVE
    ),
    "receiving": lambda: states_picture(receiving.NEXT, receiving.State.PREPARING),
    "hello": lambda: states_picture(hello.NEXT, hello.HelloState.START),
}


def render(text: str) -> str:
    """Return the page with each generated part as it must be now. Raises KeyError for a part that nobody makes."""
    return PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
