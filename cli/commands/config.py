"""`peerpost config show|path|check`.

The command reads the file itself, because with a mistake in it the node would not start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from ..app import App, Group, pass_app

if TYPE_CHECKING:
    from peerpost.client.config import Setting

__all__ = ["config"]

_COLUMNS = (("KEY", "key"), ("VALUE", "shown"), ("FROM", "origin"))


@click.group(
    cls=Group,
    examples="""
    peerpost config show
    peerpost config check
    $EDITOR "$(peerpost config path)"
    PEERPOST__LOG__LEVEL=debug peerpost config show
    """,
)
def config() -> None:
    """Show and check the configuration.

    A running node takes what was changed by 'peerpost node reload'.
    """


@config.command(examples="peerpost config show\npeerpost --json config show")
@pass_app
def show(app: App) -> None:
    """Show every key, its value and where that comes from."""
    from peerpost.client.config import settings
    from peerpost.client.paths import HomePaths

    rows: list[dict[str, Any]] = []
    for setting in settings(HomePaths(app.home).config):
        row = {"key": setting.key, "value": setting.value, "origin": setting.origin}
        rows.append(row if app.terminal.json else row | {"shown": _shown(setting)})
    app.terminal.records(rows, _COLUMNS, empty="")


def _shown(setting: Setting) -> str:
    from peerpost.client.units import format_duration, format_size

    match setting.value:
        case tuple() as several:
            return ", ".join(str(part) for part in several) or "(none)"
        case bool() as yes:
            return "true" if yes else "false"
        case int() | float() as number if setting.unit == "duration":
            return format_duration(number)
        case int() as number if setting.unit == "size":
            return format_size(number)
        case other:
            return str(other)


@config.command(examples='$EDITOR "$(peerpost config path)"')
@pass_app
def path(app: App) -> None:
    """Print where the configuration lies."""
    from peerpost.client.paths import HomePaths

    where = os.fspath(HomePaths(app.home).config)
    app.terminal.record({"path": where}, human=where)


@config.command(examples="peerpost config check")
@pass_app
def check(app: App) -> None:
    """Check the configuration. If it is wrong, name the key and exit with 78."""
    from peerpost.client.config import read
    from peerpost.client.paths import HomePaths

    where = HomePaths(app.home).config
    read(where)
    found = os.fspath(where) if where.exists() else f"{where} (not written yet: the defaults hold)"
    app.terminal.record({"path": os.fspath(where), "ok": True}, human=f"{found}: all right")
