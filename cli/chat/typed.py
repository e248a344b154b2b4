"""What is typed: a text to send, or a command, which begins with a slash."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMANDS", "NoCommandError", "TypedCommand", "TypedText", "read_line"]

COMMANDS = {
    "help": ("", "what can be typed, and the keys"),
    "to": ("NAME", "turn to a contact"),
    "contacts": ("", "all contacts, with what was not read"),
    "more": ("", "older messages"),
    "file": ("PATH", "send a file or a folder"),
    "accept": ("[ID]", "take a file that asks"),
    "reject": ("[ID]", "refuse a file, or give up one that comes in"),
    "pause": ("[ID]", "stop a file until it is resumed"),
    "resume": ("[ID]", "go on with a file that was paused"),
    "save": ("[ID] [PATH]", "save a message: in this folder under its own name, or as PATH"),
    "read": ("[ID]", "a message as a whole"),
    "again": ("", "send once more what could not be sent"),
    "drop": ("", "forget what could not be sent"),
    "cancel": ("ID", "take back what is not delivered yet"),
    "search": ("TERM", "find messages by a part of their text or name"),
    "go": ("N", "jump to a message that was found"),
    "me": ("", "your own name, id and fingerprint"),
    "number": ("", "the safety number with this contact, and all about them"),
    "quit": ("", "leave"),
}
"""What each command takes and does. Without an ID the newest message that fits is meant."""
NEEDED = frozenset({"to", "file", "cancel", "search", "go"})
"""Those that make no sense alone."""


class NoCommandError(Exception):
    """What was typed begins with a slash and is no command."""


@dataclass(frozen=True, slots=True)
class TypedText:
    """A text to send."""

    text: str


@dataclass(frozen=True, slots=True)
class TypedCommand:
    """A command, with what stands behind its name."""

    name: str
    rest: str

    @property
    def words(self) -> tuple[str, str]:
        """Return the first word of what stands behind it, and what stands behind that."""
        first, _, rest = self.rest.partition(" ")
        return first, rest.strip()


def read_line(typed: str) -> TypedText | TypedCommand | None:
    """Return what was typed; None of nothing. Raises NoCommandError.

    A text that begins with a slash is typed with two of them. A command is one line; more lines are a text.
    """
    if not typed.strip():
        return None
    if typed.startswith("//"):
        return TypedText(typed[1:])
    if not typed.startswith("/"):
        return TypedText(typed)
    line = typed.strip()
    name, _, rest = line[1:].partition(" ")
    rest = rest.strip()
    if name not in COMMANDS or "\n" in line:
        raise NoCommandError(
            f"there is no command /{name.splitlines()[0][:20] if name else ''}: /help has them;"
            " a text that begins with / is typed with two: //"
        )
    takes, _ = COMMANDS[name]
    if name in NEEDED and not rest:
        raise NoCommandError(f"/{name} needs {takes}: /{name} {takes}")
    if rest and not takes:
        raise NoCommandError(
            f"/{name} stands alone; a text that begins with / is typed with two: //"
        )
    return TypedCommand(name, rest)
