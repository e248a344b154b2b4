"""Where a passphrase comes from: the sources in order, of which the first that has one counts.

A descriptor, a file, stdin, the keyring of the system, `PEERPOST_PASSPHRASE`, and the person at the terminal. None of
them is an argument: every user of the machine can read the arguments of every process.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from peerpost import system
from peerpost.errors import BadInputError, LockedError, NoInputError, UsageError

__all__ = ["MAX_BYTES", "VARIABLE", "Secrets", "take_variable"]

VARIABLE = "PEERPOST_PASSPHRASE"
MAX_BYTES = 1024
"""The longest passphrase (`peerpost.crypto.passphrase`): a longer file is something else."""
_ANOTHER_WAY = "hand it over otherwise: --passphrase-fd 3 3< FILE"


def take_variable() -> str | None:
    """Return `PEERPOST_PASSPHRASE` and take it out of the environment, so that no child process has it.

    An empty one counts as not set.
    """
    return os.environ.pop(VARIABLE, None) or None


class Secrets:
    """The sources that one command has been given."""

    __slots__ = ("_fd", "_file", "_stdin", "_variable")

    def __init__(
        self,
        *,
        fd: int | None = None,
        file: str | None = None,
        stdin: bool = False,
        variable: str | None = None,
    ) -> None:
        """Take what the command line names, `file` being a path or `-`, and what `PEERPOST_PASSPHRASE` was."""
        self._fd = fd
        self._file = file
        self._stdin = stdin
        self._variable = variable

    @property
    def named(self) -> bool:
        """Whether the command line names a source. If not, only the surroundings may have one."""
        return self._fd is not None or self._file is not None or self._stdin

    def named_only(self) -> Secrets:
        """Return the sources that the command line names: what the surroundings have is the home's passphrase."""
        return Secrets(fd=self._fd, file=self._file, stdin=self._stdin)

    @property
    def reads_stdin(self) -> bool:
        """Whether one of them is stdin."""
        return self._stdin or self._file == "-" or self._fd == 0

    def find(
        self,
        *,
        keyring: Callable[[], str | None] | None = None,
        prompt: Callable[[], str | None] | None = None,
    ) -> bytes | None:
        """Return the passphrase of the first source that has one, as UTF-8 in NFC; None if none has.

        `keyring` looks into the keyring of the system, and `prompt` asks the person at the terminal. Raises
        UsageError for a source that would show it, NoInputError if one cannot be read, LockedError if others may
        read the file, BadInputError if what it holds is no passphrase.
        """
        given = self._given()
        if given is None and keyring is not None and (kept := keyring()) is not None:
            given = "the keyring", kept.encode()
        if given is None and self._variable is not None:
            given = VARIABLE, os.fsencode(self._variable)
        if given is None and prompt is not None and (typed := prompt()) is not None:
            given = "what was typed", typed.encode("utf-8", "surrogateescape")
        if given is None:
            return None
        # Here, because a home that is locked and stays so is said at once.
        from peerpost.crypto.passphrase import normalize

        source, found = given
        try:
            return normalize(found)
        except BadInputError as error:
            raise BadInputError(f"{source}: {error.message}", hint=error.hint) from None

    def _given(self) -> tuple[str, bytes] | None:
        """Return what the command line names, and what is in it."""
        if self._fd is not None:
            return f"descriptor {self._fd}", _read(self._fd)
        if self._file is not None and self._file != "-":
            return self._file, _read_file(self._file)
        if self._stdin or self._file == "-":
            return "stdin", _read(0)
        return None


def _read(fd: int) -> bytes:
    """Read a passphrase from a descriptor to its end. Raises UsageError for a terminal, NoInputError."""
    from peerpost.stdio import read_up_to

    if os.isatty(fd):
        raise UsageError(
            f"descriptor {fd} is a terminal, which would show the passphrase",
            hint="leave the option out, and you are asked for it",
        )
    return read_up_to(fd, MAX_BYTES + 2)


def _read_file(path: str) -> bytes:
    """Read a passphrase from a file that is plain, ours and closed to others, or that systemd has put there for us.

    It is looked at once it is open, so that no other file can take its place in between.
    """
    try:
        fd = os.open(path, os.O_RDONLY | system.O_NOFOLLOW | system.O_NONBLOCK | system.OPEN)
    except FileNotFoundError:
        raise NoInputError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        if os.path.islink(path):  # noqa: PTH114 - it takes any text
            raise LockedError(f"{path} is a link, not a plain file", hint=_ANOTHER_WAY) from None
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NoInputError(f"{path} cannot be read: {reason}") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise LockedError(f"{path} is not a plain file", hint=_ANOTHER_WAY)
        if not (system.is_mine(found) or system.is_credential(path, found)):
            raise LockedError(
                f"{path} belongs to another user, or others may read it",
                hint=f"close it to others: chmod 600 {path}"
                if system.owns(found)
                else _ANOTHER_WAY,
            )
        return _read(fd)
    finally:
        os.close(fd)
