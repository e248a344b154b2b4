"""Passphrases on the command line: the options that name a source, and the person who is asked.

No option takes the passphrase itself, because every user of the machine can read the arguments of a process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import click

from peerpost.client.secrets import Secrets
from peerpost.errors import (
    BadInputError,
    LockedError,
    NoInputError,
    UsageError,
    WrongPassphraseError,
)
from peerpost.stdio import was_handed_over
from peerpost.stopping import Stopped
from peerpost.system import guard_memory

from .terminal import Terminal

__all__ = [
    "HINT",
    "HINT_OF_FILE",
    "NO_ARGUMENTS",
    "OF_FILE",
    "TRIES",
    "Console",
    "Descriptor",
    "about_home",
    "choose",
    "entered",
    "hint",
    "typed",
    "with_sources",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_SOURCES = "--passphrase-file FILE, --passphrase-stdin, --passphrase-fd N or PEERPOST_PASSPHRASE"
HINT = f"name where it is: {_SOURCES}; or be asked for it on a terminal"
OF_FILE = "--passphrase-file FILE, --passphrase-stdin or --passphrase-fd N"
HINT_OF_FILE = f"name where it is: {OF_FILE}; or be asked for it on a terminal"
"""Of a file that has a passphrase of its own: what the surroundings have is the home's."""
NO_ARGUMENTS: dict[str, Any] = {"allow_extra_args": True}
"""Settings of a command without arguments: `with_sources` refuses them itself, because click would repeat them."""
_NEARLY = 0.75
"""How much of a suggestion an entry has in common with it that is meant as the suggestion."""
TRIES = 3
"""How often somebody may mistype a passphrase."""


class Console(Protocol):
    """Who runs a command, as far as they can be asked."""

    @property
    def terminal(self) -> Terminal:
        """Where to ask them."""

    @property
    def has_acted(self) -> bool:
        """Whether something was done by then."""


def hint(app: Console) -> str:
    """Return what to do where no passphrase was given: who was asked at a terminal just now has only to enter it."""
    if app.terminal.json or not app.terminal.can_ask():
        return HINT
    return f"nothing was entered: try again, or name where it is: {_SOURCES}"


def about_home(*, has_code: bool) -> tuple[str, ...]:
    """Return what to say before somebody chooses the passphrase of a home, which has a recovery code or has none."""
    if has_code:
        lost = "If it is lost, only the recovery code opens the home."
    else:
        lost = "Nobody can reset it, and there is no recovery code."
    return ("A passphrase protects this home on the disk.", lost)


class Descriptor(click.ParamType[int]):
    """The number of an open file. What is no number is not repeated: it may be the passphrase."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        if isinstance(value, int):
            return value
        if not (value.isascii() and value.isdigit() and len(value) <= 6):
            self.fail("it is the number of an open file, as in: 3< FILE", param, ctx)
        if not was_handed_over(int(value)):
            raise NoInputError(
                f"cannot read the input: descriptor {value} is not open",
                hint=f"open it, as in: {value}< FILE",
            )
        return int(value)


def _refuse(ctx: click.Context, _: click.Parameter, value: object) -> None:
    if value is not None and not ctx.resilient_parsing:
        raise UsageError(
            "a passphrase is not taken as an argument: others can read it there, and the shell keeps it",
            hint=HINT,
        )


def with_sources(command: F) -> F:
    """Give a command the options that name a source; it gets them as `secrets`, a Secrets."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        passphrase_fd: int | None,
        passphrase_file: str | None,
        passphrase_stdin: bool,
        **more: Any,
    ) -> Any:
        guard_memory()
        ctx = click.get_current_context()
        if ctx.args:
            raise UsageError(
                f"{ctx.command_path} takes no argument (and a passphrase is never one)", hint=HINT
            )
        secrets = Secrets(
            fd=passphrase_fd,
            file=passphrase_file,
            stdin=passphrase_stdin,
            variable=ctx.obj.variable,
        )
        return command(*args, secrets=secrets, **more)

    options = (
        click.option(
            "--passphrase-fd",
            type=Descriptor(),
            metavar="N",
            help="Read the passphrase from this descriptor.",
        ),
        click.option(
            "--passphrase-file",
            metavar="FILE",
            help="Read it from a file that only you may read; - is stdin.",
        ),
        click.option("--passphrase-stdin", is_flag=True, help="Read it from stdin."),
        click.option(
            "--passphrase", hidden=True, expose_value=False, is_eager=True, callback=_refuse
        ),
    )
    result: Any = wrapped
    for option in reversed(options):
        result = option(result)
    return result  # type: ignore[no-any-return]


def typed(app: Console, what: str = "Passphrase") -> str | None:
    """Ask for a passphrase, without showing it. Return None if nobody can be asked, or nothing is typed.

    A signal at the question says that nothing was done, if that is so.
    Raises BadInputError if it is no text.
    """
    if app.terminal.json or not app.terminal.can_ask():
        return None
    import getpass
    import sys

    try:
        return getpass.getpass(f"{what}: ", stream=sys.stderr) or None
    except Stopped as stopped:
        if not app.has_acted:
            stopped.tell("Nothing was changed")
        raise
    except EOFError:
        app.terminal.leave_question()
        return None
    except UnicodeDecodeError:
        raise BadInputError("what was typed is no text in the encoding of this terminal") from None


def entered(
    app: Console, secrets: Secrets, attempt: Callable[[bytes], T], *, what: str, again: bool
) -> T:
    """Return what `attempt` makes of the passphrase of a file; one that is typed may be wrong a few times, if `again`.

    Raises LockedError if there is none, WrongPassphraseError, and what `attempt` raises.
    """
    asked = 0

    def prompt() -> str | None:
        nonlocal asked
        asked += 1
        return typed(app, what)

    while True:
        secret = secrets.find(prompt=prompt)
        if secret is None:
            nothing = f"nothing was entered: try again, or name where it is: {OF_FILE}"
            hint = nothing if asked and app.terminal.can_ask() else HINT_OF_FILE
            raise LockedError(f"no passphrase was given: {what.lower()}", hint=hint)
        try:
            return attempt(secret)
        except WrongPassphraseError as error:
            if not 0 < asked < TRIES or not again:
                raise
            app.terminal.warn(f"{error.message[:1].upper()}{error.message[1:]}. Try again.")


def choose(
    app: Console, secrets: Secrets, about: tuple[str, ...], what: str = "New passphrase"
) -> bytes | None:
    """Return a new passphrase that is strong enough: of a source, or entered twice at the terminal after `about`.

    `what` is asked for there: it says whose it is where a command has to do with two of them.
    Returns None if no source has one and nobody can be asked. Raises BadInputError for a weak one
    and for a recovery code: it is known already, and written down where a passphrase is not.
    """
    from peerpost.crypto.recovery import is_recovery_code

    from .strength import judge

    found = secrets.find()
    if found is not None:
        if is_recovery_code(found.decode()):
            raise BadInputError(
                "that is a recovery code, and no passphrase",
                hint="choose another one; the code goes on opening its home",
            )
        strength = judge(found.decode())
        if strength.is_weak:
            raise BadInputError(
                f"the passphrase is {strength.words}",
                hint="take six words or more, or 20 random characters; on a terminal one is suggested",
            )
        return found
    if app.terminal.json or not app.terminal.can_ask():
        return None
    return _enter_new(app, about, what)


def _enter_new(app: Console, about: tuple[str, ...], what: str) -> bytes:
    from peerpost.crypto.recovery import is_recovery_code

    from .strength import judge, six_words

    for line in about:
        app.terminal.warn(line)
    suggested, is_shown = six_words(), False
    for _ in range(TRIES):
        entered = typed(app, f"{what} (Enter: have one made)")
        if entered is None:
            is_shown = True
            _show(app, suggested)
            entered = typed(app, "Passphrase")
        if entered is None:
            continue
        if is_shown and entered != suggested and _is_meant_as(entered, suggested):
            app.terminal.warn("This is not the one shown, but nearly. Enter it as it is shown.")
            continue
        if is_recovery_code(entered):
            app.terminal.warn("That is a recovery code, and no passphrase. Choose another one.")
            continue
        strength = judge(entered)
        app.terminal.warn(f"Strength: {strength.words}.")
        if strength.is_weak:
            app.terminal.warn("That is too weak. Take several words that do not belong together.")
            continue
        again = entered if entered == suggested else typed(app, "Once more")
        if again == entered:
            return _normal(entered)
        app.terminal.warn("These are not the same.")
    raise UsageError("no passphrase was chosen; nothing was done", hint="try again")


def _show(app: Console, suggested: str) -> None:
    """Show a passphrase, with no line that the terminal would break inside a word."""
    import shutil
    import textwrap

    app.terminal.warn("")
    for line in textwrap.wrap(suggested, max(20, shutil.get_terminal_size().columns - 8)):
        app.terminal.warn(f"    {line}")
    app.terminal.warn("")
    app.terminal.warn("Write it down, then enter it, with one space between two words.")


def _is_meant_as(entered: str, suggested: str) -> bool:
    """Return whether an entry is a suggestion with slips in it, and no passphrase of somebody's own."""
    from difflib import SequenceMatcher

    found, meant = ("".join(text.lower().split()) for text in (entered, suggested))
    return SequenceMatcher(None, found, meant, autojunk=False).ratio() >= _NEARLY


def _normal(text: str) -> bytes:
    found = Secrets().find(prompt=lambda: text)
    if found is None:
        raise BadInputError("the passphrase is empty")
    return found
