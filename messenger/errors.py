"""Every error Peerpost raises on purpose: one hierarchy, each with an exit code, a stable word and a hint.

Two branches under the root, as in h11: `LocalError` if the caller or this machine is the cause, and
`RemoteError` if the peer is. The command line prints `message` and `hint` and exits with `exit_code`;
`--json` prints `code`. Exit codes are those of the command-line contract (docs/cli.md, "Exit codes").
"""

from __future__ import annotations

from .raw_bytes import shown

__all__ = [
    "AlreadyRunningError",
    "AmbiguousError",
    "BadInputError",
    "CannotCreateError",
    "ConfigError",
    "DamagedError",
    "EquivocationError",
    "ExistsError",
    "ExpiredError",
    "LocalError",
    "LockedError",
    "NoIdentityError",
    "NoInputError",
    "NotFoundError",
    "PeerpostError",
    "ProtocolError",
    "QuotaError",
    "ReaderLeftError",
    "RefusedError",
    "RemoteError",
    "RevokedError",
    "RollbackError",
    "ShortMemoryError",
    "SourceChangedError",
    "StorageError",
    "StoreFullError",
    "TicketError",
    "TimedOutError",
    "TransientError",
    "UnavailableError",
    "UnprintedError",
    "UntrustedError",
    "UsageError",
    "WrongPassphraseError",
]


class PeerpostError(Exception):
    """Something Peerpost knows how to explain."""

    code = "error"
    exit_code = 1
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # An error is stored, logged and sent to contacts and sockets. A file name in it that is no valid text must not
        # fail there.
        self.message = shown(message)
        super().__init__(self.message)
        if hint is not None:
            self.hint = shown(hint)


class LocalError(PeerpostError):
    """The caller, a file or this machine is the cause."""


class RemoteError(PeerpostError):
    """The peer is the cause; the connection to it is closed."""

    code = "peer"
    exit_code = 76


class UsageError(LocalError):
    """The command makes no sense as it was given."""

    code = "usage"
    exit_code = 2


class BadInputError(LocalError):
    """A file, ticket, bundle or keyfile is damaged or is something else."""

    code = "bad_input"
    exit_code = 65


class NoInputError(LocalError):
    """An input file does not exist or cannot be read."""

    code = "no_input"
    exit_code = 66


class SourceChangedError(NoInputError):
    """A file that was queued by reference is not what it was."""

    code = "source_changed"


class NotFoundError(LocalError):
    """No contact, message or queue entry of that name or id."""

    code = "not_found"
    exit_code = 67


class AmbiguousError(NotFoundError):
    """A prefix fits more than one id."""

    code = "ambiguous"


class UnavailableError(LocalError):
    """The node is not running, or the peer cannot be reached now."""

    code = "unavailable"
    exit_code = 69


class AlreadyRunningError(LocalError):
    """Another node holds this home."""

    code = "already_running"
    exit_code = 71


class CannotCreateError(LocalError):
    """The output exists or its folder cannot be written."""

    code = "cannot_create"
    exit_code = 73


class ExistsError(CannotCreateError):
    """A thing of that name is there already."""

    code = "exists"


class StorageError(LocalError):
    """Reading or writing this machine's disk failed."""

    code = "io"
    exit_code = 74


class TransientError(StorageError):
    """The disk or the system fails for now: nothing is lost, and trying again may help."""


class StoreFullError(TransientError):
    """The disk is full: nothing was accepted and nothing is lost."""

    code = "disk_full"


class ShortMemoryError(TransientError):
    """There is not enough memory for what a passphrase is turned into a key with."""

    code = "memory"
    hint = "end other programs and try again; nothing was changed"


class QuotaError(StoreFullError):
    """A contact has used up its quota: only its own messages wait."""


class ReaderLeftError(StorageError):
    """The reader of the pipe that was being written to has left."""

    code = "reader_left"
    exit_code = 141


class DamagedError(StorageError):
    """The store does not contain what was written to it."""

    code = "damaged"
    hint = (
        "stop the node (peerpost node stop), copy the home folder aside, look at the disk, and put a backup of the "
        "whole home in its place; contacts send again what the backup lacks"
    )


class UnprintedError(LocalError):
    """The command was carried out, but its result could not be printed."""

    code = "unprinted"
    exit_code = 79
    hint = (
        "do not repeat it: it was done; `sent list`, `inbox list` and `contacts list` show what is"
    )


class TimedOutError(LocalError):
    """Queued, and not delivered within the time that --wait was given."""

    code = "timeout"
    exit_code = 75


class ExpiredError(LocalError):
    """Not delivered within the time that --expires gave, and given up."""

    code = "expired"
    exit_code = 76


class TicketError(LocalError):
    """A ticket is expired or was used."""

    code = "ticket"
    exit_code = 76


class LockedError(LocalError):
    """The home is locked, the passphrase is wrong, or permissions are too open."""

    code = "locked"
    exit_code = 77


class WrongPassphraseError(LockedError):
    """The passphrase, recovery code or key opens no slot of the keyfile."""

    code = "wrong_passphrase"


class ConfigError(LocalError):
    """The configuration is wrong."""

    code = "config"
    exit_code = 78


class NoIdentityError(ConfigError):
    """This home has no identity yet."""

    code = "no_identity"


class ProtocolError(RemoteError):
    """The peer sent what PROTOCOL.md forbids."""

    code = "protocol"


class UntrustedError(RemoteError):
    """The peer's key is unknown, changed or does not prove itself."""

    code = "untrusted"


class EquivocationError(UntrustedError):
    """The peer's identity has signed two different key statements of one number."""

    code = "equivocation"


class RollbackError(UntrustedError):
    """The peer shows an older key statement than it has shown before."""

    code = "rollback"


class RevokedError(UntrustedError):
    """The peer's identity was ended by its owner."""

    code = "revoked"


class RefusedError(RemoteError):
    """The peer refused."""

    code = "refused"
