"""`peerpost inbox export`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peerpost.client.units import format_size
from peerpost.errors import ReaderLeftError, StorageError, UsageError
from peerpost.stdio import write_all

from ..app import App, Command, pass_app
from ..completing import complete_files, complete_ids, contact_option
from ..counting import Counting
from ..inputs import Moment
from ..output import into, raw_on_terminal, require_free, unwritten
from ..passphrases import HINT_OF_FILE, choose, with_sources

if TYPE_CHECKING:
    from peerpost.client.secrets import Secrets

    from ..exporting import Exporting
    from ..history import HomeHistory

__all__ = ["export"]

_WHOSE = "Passphrase of the bundle"
_ABOUT = (
    "An encrypted bundle has a passphrase of its own. Whoever has the file and the",
    "passphrase can read all that is in it; without it nobody can.",
)


@click.command(
    cls=Command,
    examples="""
    peerpost inbox export --all --out archive.zip
    peerpost inbox export --all --contact bob --since 2026-01-01 --out bob.zip
    peerpost inbox export k3f9 --out one.zip
    peerpost inbox export --all --encrypt --passphrase-file ~/.archive --out archive.peerpost
    peerpost inbox export --all --contact bob --format html --out bob.html
    peerpost inbox export --all --format jsonl --out -
    """,
)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_ids("inbox.list", {}))
@click.option("--all", "every", is_flag=True, help="All that was received and sent.")
@contact_option("Of --all, what NAME sent and got.")
@click.option("--since", type=Moment(), metavar="T", help="Of --all, what is not older.")
@click.option(
    "--out",
    metavar="FILE|-",
    required=True,
    shell_complete=complete_files,
    help="Where to; '-' is stdout.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["bundle", "jsonl", "html"]),
    default="bundle",
    help="bundle (a zip, the default) for `inbox import`; jsonl for programs; html to read.",
)
@click.option("--encrypt", is_flag=True, help="Seal the bundle under a passphrase.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@with_sources
@pass_app
def export(
    app: App,
    ids: tuple[str, ...],
    every: bool,
    contact: str | None,
    since: int | None,
    out: str,
    form: str,
    encrypt: bool,
    force: bool,
    secrets: Secrets,
) -> None:
    """Write messages to a file, to be imported or read.

    A bundle has all that was received and sent: texts, the bytes of received files, ids, times and
    order, and who each contact is. It is readable by whoever has it, unless you --encrypt it. Files
    that you sent are not in it, as Peerpost does not keep them once they have arrived.
    """
    from ..history import HomeHistory

    if bool(ids) == every:
        raise UsageError(
            "either ID... or --all says what to export", hint="ids: peerpost inbox list"
        )
    if (contact is not None or since is not None) and not every:
        raise UsageError("--contact and --since go with --all")
    if encrypt and form != "bundle":
        raise UsageError("only a bundle is encrypted", hint="leave out --format")
    if out == "-" and form == "bundle" and sys.stdout.isatty():
        raise raw_on_terminal()
    if out != "-" and (not Path(out).exists() or Path(out).is_file()):
        require_free(Path(out), force=force)
    secret = None
    if encrypt:
        secret = choose(app, secrets.named_only(), about=_ABOUT, what=_WHOSE)
        if secret is None:
            raise UsageError("no passphrase was given for the bundle", hint=HINT_OF_FILE)
    elif secrets.named:
        raise UsageError("a passphrase goes with --encrypt")
    history = HomeHistory(app, ids, contact, since)
    with Counting(app.terminal, "export", Path(out).name) as counting:
        # Whoever has it can read it, so it is for its owner alone.
        (exporting, size), in_data = into(
            out,
            lambda fd: _written(app, fd, out, form, secret, history, counting),
            force=force,
            mode=0o600,
        )
    if not in_data:
        _print(app, exporting, out, form, size, encrypted=encrypt)
    if exporting.missing:
        raise StorageError(
            f"{len(exporting.missing)} files could not be read, and are not in it: {', '.join(exporting.missing[:5])}",
            hint="all else is in it; see: peerpost doctor",
        )


def _written(
    app: App,
    fd: int,
    name: str,
    form: str,
    secret: bytes | None,
    history: HomeHistory,
    counting: Counting,
) -> tuple[Exporting, int]:
    from ..exporting import Exporting

    exporting = Exporting(app, history, counting.more)
    raw = _Counted(fd)
    out = io.BufferedWriter(raw, 256 << 10)
    try:
        if form == "bundle":
            exporting.bundle(out, secret)
        else:
            (exporting.lines if form == "jsonl" else exporting.page)(out)
        out.flush()
    except BrokenPipeError:
        raise SystemExit(ReaderLeftError.exit_code) from None
    except OSError as error:
        raise unwritten(Path(name), error) from None
    finally:
        raw.give_up()
    return exporting, raw.size


class _Counted(io.RawIOBase):
    """A descriptor of somebody else's, written in order, that counts what was written."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = 0
        self._given_up = False

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any, /) -> int:
        """Write all of it, as fast as it is taken."""
        size = memoryview(data).nbytes
        if not self._given_up:
            write_all(self._fd, data)
            self.size += size
        return size

    def give_up(self) -> None:
        """Drop what else is written: a buffer that is closed after an error would try it once more."""
        self._given_up = True


def _print(
    app: App, exporting: Exporting, out: str, form: str, size: int, *, encrypted: bool
) -> None:
    row = {
        "path": out,
        "format": form,
        "encrypted": encrypted,
        "messages": exporting.messages,
        "files": exporting.files,
        "size": size,
        "missing": exporting.missing,
    }
    much = f"{exporting.messages} messages, {exporting.files} files, {format_size(size)}"
    app.terminal.record(row, human=f"{out}  {much}")
    if form == "bundle" and not encrypted:
        app.terminal.note("It can be read by whoever has it; --encrypt seals it.")
    elif form != "bundle" and not exporting.missing:
        app.terminal.note("Files are named in it, and are not in it.")
