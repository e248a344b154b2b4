"""What an unknown command was probably meant to be: another spelling or word, or a command of another group."""

from __future__ import annotations

import difflib

import click

__all__ = ["ELSEWHERE", "UnknownCommandError", "meant"]

MOST = 4
"""How many commands a hint names at most."""
_TYPING = 0.75
"""The least similarity of a typing error. A typing error is more likely than another word for the same."""
_VAGUE = 0.5
_SAME = (
    ("remove", "delete", "cancel", "reject", "rm", "del", "forget", "drop", "erase", "revoke"),
    ("list", "ls", "all", "log", "history"),
    ("show", "save", "get", "read", "view", "cat", "info", "open", "print", "describe"),
    ("new", "invite", "add", "create", "make", "init", "generate", "register"),
    ("edit", "set", "rename", "change", "update", "modify"),
    ("start", "run", "up", "serve", "restart", "daemon", "launch"),
    ("stop", "end", "kill", "down", "quit", "shutdown", "exit"),
    ("retry", "resend", "again", "flush", "sync"),
    ("accept", "take", "allow", "approve"),
    ("reject", "refuse", "deny", "decline"),
    ("verify", "trust", "compare", "fingerprint"),
    ("block", "ban", "mute"),
)
"""Words with the same meaning, the likelier commands first."""
ELSEWHERE = {
    "whoami": "identity show",
    "me": "identity show",
    "id": "identity show",
    "address": "identity show",
    "init": "identity new",
    "setup": "identity new",
    "keygen": "identity new",
    "login": "identity new",
    "ticket": "contacts invite",
    "join": "contacts add",
    "pair": "contacts add",
    "friends": "contacts list",
    "peers": "contacts list",
    "who": "contacts list",
    "message": "send",
    "msg": "send",
    "text": "send",
    "file": "send",
    "upload": "send",
    "push": "send",
    "put": "send",
    "receive": "inbox save",
    "recv": "inbox save",
    "download": "inbox save",
    "pull": "inbox save",
    "messages": "inbox list",
    "mail": "inbox list",
    "find": "inbox search",
    "grep": "inbox search",
    "outbox": "queue list",
    "pending": "queue list",
    "progress": "transfers list",
    "speed": "limits show",
    "rate": "limits show",
    "throttle": "limits set",
    "daemon": "node run",
    "check": "doctor",
    "diagnose": "doctor",
    "ping": "doctor",
    "test": "doctor",
    "settings": "config show",
    "loglevel": "log set",
    "debug": "log set",
    "trace": "log set",
    "version": "--version",
}
"""Words that are no synonyms of a command's name, but are typed for it."""


class UnknownCommandError(click.UsageError):
    """There is no command of that name; `meant` are those that may have been meant."""

    def __init__(self, name: str, group: click.Group, ctx: click.Context) -> None:
        super().__init__(f"there is no command {name!r}", ctx=ctx)
        self.meant = meant(name, group, ctx)


def meant(name: str, group: click.Group, ctx: click.Context) -> list[str]:
    """Return the commands that may have been meant, the likeliest first.

    A command of the group is returned by its name, any other as a whole line.
    """
    name = name.casefold()
    here = group.list_commands(ctx)
    root = ctx.find_root()
    if near := difflib.get_close_matches(name, here, n=1, cutoff=_TYPING):
        return near
    is_root = ctx is root
    if not is_root and (words := _synonyms(name, here)):
        return words[:1]
    everywhere = _everywhere(root)
    if name in ELSEWHERE:
        return [f"peerpost {ELSEWHERE[name]}"]
    if not is_root and name in root.command.list_commands(root):  # type: ignore[attr-defined]
        return [f"peerpost {name}"]
    lasts = {path: path.split()[-1] for path in everywhere}
    exact = [path for path, last in lasts.items() if last == name]
    exact = exact or [p for word in _synonyms(name, list(dict.fromkeys(lasts.values())))
                      for p, last in lasts.items() if last == word]  # fmt: skip
    if not exact:
        close = difflib.get_close_matches(name, set(lasts.values()), n=1, cutoff=_TYPING)
        exact = [path for path, last in lasts.items() if last in close]
    if exact:
        return [f"peerpost {path}" for path in exact[:MOST]]
    return difflib.get_close_matches(name, here, n=1, cutoff=_VAGUE)


def _synonyms(name: str, among: list[str]) -> list[str]:
    """Return the words of a list that mean the same."""
    return [word for words in _SAME if name in words for word in words if word in among]


def _everywhere(root: click.Context) -> list[str]:
    """Return the paths of all commands of groups. This imports every group, so it is only done for a hint."""
    paths: list[str] = []
    command = root.command
    if not isinstance(command, click.Group):
        return paths
    for name in command.list_commands(root):
        found = command.get_command(root, name)
        if isinstance(found, click.Group):
            paths += [f"{name} {sub}" for sub in found.list_commands(root)]
    return paths
