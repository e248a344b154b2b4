"""What was typed and what was probably meant: a file's name as a text, a contact without its option."""

from __future__ import annotations

import shlex
from pathlib import Path

from peerpost.errors import NoInputError, UsageError

from .app import App
from .asking import answer
from .inputs import nearest
from .safe import safe

__all__ = ["is_meant_as_file", "meant_option", "needs_contact", "one_text", "require_files"]

_ELSEWHERE = {
    "-f": "--file PATH",
    "--attach": "--file PATH",
    "--attachment": "--file PATH",
    "--files": "--file PATH",
    "-a": "--file PATH",
    "-t": "--contact NAME",
    "--to": "--contact NAME",
    "-r": "--contact NAME",
    "--recipient": "--contact NAME",
    "--receiver": "--contact NAME",
    "-m": "the text itself, as an argument",
    "--message": "the text itself, as an argument",
}
"""Options that other programs have, and what `send` has for them."""
MAX_WORDS = 8
"""Words of a command line that a hint repeats."""


def is_meant_as_file(app: App, words: tuple[str, ...]) -> bool:
    """Return whether to send the file or folder that has the name given as a text: a person at a terminal is asked.

    Without a terminal the text is sent, and stderr says so. Raises click.Abort.
    """
    if len(words) != 1 or words[0] == "-" or not _is_here(words[0]):
        return False
    kind = "folder" if Path(words[0]).is_dir() else "file"
    if app.terminal.can_ask() and not app.terminal.json:
        question = f"{safe(words[0])} is a {kind} here. Send the {kind}, or the text? ({kind}, text; f, t): "
        while (said := answer(app.terminal, question).casefold()) == "" or (
            kind.startswith(said) is "text".startswith(said)
        ):
            app.terminal.warn(f"Say {kind} or text (f or t).")
        return kind.startswith(said)
    app.terminal.note(
        f"This sends the text {_quoted(words[:1])}. For the {kind} of that name: --file {_quoted(words[:1])}; "
        "--text says that the text is meant."
    )
    return False


def one_text(words: tuple[str, ...]) -> UsageError:
    """Return the error for several words where one text is expected."""
    if all(_is_here(word) for word in words):
        return UsageError(
            "a text is one argument, and these are files here",
            hint=f"send them: --file {_quoted(words)}",
        )
    return UsageError("a text is one argument", hint=f'quote it: "{" ".join(words)[:60]}"')


def require_files(files: tuple[str, ...], words: tuple[str, ...], contact: str) -> None:
    """Raise NoInputError if a word after `--file PATH` is no file: it is most likely a text to go with the file."""
    if all(word == "-" or _is_here(word) for word in words):
        return
    gone = [name for name in (*files, *words) if name != "-" and not _is_here(name)]
    hints = [near for near in (nearest(name) for name in gone) if near]
    if len(gone) == 1:
        text = f"peerpost send --contact {_quoted((contact,))} {_quoted((gone[0],))}"
        hints.append(f"a text goes by itself: {text}")
    raise _no_files(gone, hints)


def _no_files(names: list[str], hints: list[str]) -> NoInputError:
    """Return the error for files that do not exist. It names all of them, so that the user can correct all at once."""
    what = f"is no file {names[0]}" if len(names) == 1 else f"are no files {', '.join(names)}"
    return NoInputError(f"there {what}", hint=" ".join(dict.fromkeys(hints)) or None)


def meant_option(option: str) -> str | None:
    """Return the option of `send` that is called like this in other programs."""
    return _ELSEWHERE.get(option)


def needs_contact(words: tuple[str, ...], files: tuple[str, ...]) -> UsageError:
    """Return the error for a missing --contact, with the command line that was probably meant."""
    names_one = bool(words) and len(words) + bool(files) > 1
    name, rest = (words[0], words[1:]) if names_one else ("NAME", words)
    if files:
        what = f"--file {_quoted((*files, *rest))}"
    elif len(rest) > 1 and all(_is_here(word) for word in rest):
        what = f"--file {_quoted(rest)}"
    else:
        what = _quoted((" ".join(rest),)) if rest else "TEXT"
    return UsageError(
        "missing option '--contact'",
        hint=f"peerpost send --contact {_quoted((name,))} {what}   (see: peerpost send --help)",
    )


def _is_here(word: str) -> bool:
    try:
        Path(word).lstat()
    except (OSError, ValueError):
        return False
    return bool(word)


def _quoted(words: tuple[str, ...]) -> str:
    more = " ..." if len(words) > MAX_WORDS else ""
    return shlex.join(words[:MAX_WORDS]) + more
