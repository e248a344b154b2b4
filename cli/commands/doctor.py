"""`peerpost doctor`."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import click

from peerpost.errors import BadInputError, LockedError, StorageError
from peerpost.system import is_mine

from ..app import App, Command, pass_app

__all__ = ["doctor"]

_COLUMNS = (("CHECK", "check"), ("OK", "ok"), ("FOUND", "found"), ("HINT", "hint"))


@click.command(cls=Command, examples="peerpost doctor\npeerpost --json doctor")
@click.pass_context
@pass_app
def doctor(app: App, ctx: click.Context) -> None:
    """Check this installation and this home.

    There is a hint for each problem. The exit code is 1 if there is one.
    """
    rows = _home_rows(app.home)
    try:
        rows += app.call("doctor")
    except (BadInputError, LockedError, StorageError) as error:
        # A node that cannot begin is what most people ask about: that is a row, beside those of the home.
        rows.append(_row("node", False, error.message, error.hint))
    shown = [row for row in rows if not (app.terminal.quiet and row["ok"])]
    app.terminal.records(shown, _COLUMNS, empty="")
    if not all(row["ok"] for row in rows):
        ctx.exit(1)


def _home_rows(home: Path) -> list[dict[str, Any]]:
    """Check the home itself: if something is wrong there, the node would not start."""
    if not home.exists():
        return [_row("home", True, f"{home} (not made yet)")]
    rows = [_row("home", os.access(home, os.R_OK | os.W_OK | os.X_OK), str(home), "make it yours")]
    found = home.stat()
    private = is_mine(found)
    mode = f"{stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}"
    rows.append(_row("permissions", private, mode, f"chmod 700 {home}"))
    return rows


def _row(check: str, ok: bool, found: str, hint: str | None = None) -> dict[str, Any]:
    return {"check": check, "ok": ok, "found": found, "hint": None if ok else hint}
