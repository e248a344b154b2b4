"""`peerpost config show|path|check|set`.

The command reads the file itself, because with a mistake in it the node would not start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from peerpost.errors import ConfigError, PeerpostError, UsageError

from ..app import App, Group, pass_app
from ..completing import complete_keys
from ..reloaded import Told

if TYPE_CHECKING:
    from peerpost.client.config import Setting

__all__ = ["config"]

ANSWER_TIMEOUT_S = 5.0
"""A node that does not answer for this long is told nothing: the file is written all the same."""
_COLUMNS = (("KEY", "key"), ("VALUE", "shown"), ("FROM", "origin"))


@click.group(
    cls=Group,
    examples="""
    peerpost config show
    peerpost config set storage.accept 500MiB
    peerpost config check
    $EDITOR "$(peerpost config path)"
    PEERPOST__LOG__LEVEL=debug peerpost config show
    """,
)
def config() -> None:
    """Show, check and change the configuration.

    'config set' tells a running node; what you edit yourself it takes by 'peerpost node reload'.
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


@config.command(
    "set",
    examples="""
    peerpost config set log.level debug
    peerpost config set storage.accept 500MiB
    peerpost config set network.listen /ip4/0.0.0.0/tcp/4001 /ip6/::/tcp/4001
    peerpost config set limits.schedule "mon-fri 08:00-18:00 up=1MB/s" "22:00-06:00 up=off"
    peerpost config set --unset log.level
    """,
)
@click.argument("key", shell_complete=complete_keys)
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option("--unset", "unsets", is_flag=True, help="Take KEY out: its default holds.")
@click.option("--no-reload", is_flag=True, help="Do not tell a running node.")
@pass_app
def set_(app: App, key: str, values: tuple[str, ...], unsets: bool, no_reload: bool) -> None:
    """Set KEY to VALUE in config.toml, with its comments kept.

    A key whose value is a list takes several. A running node takes it at once, if it can, and what else was
    changed in the file. It needs no identity.
    """
    from peerpost.client import config_edit
    from peerpost.client.config import settings

    if bool(values) is unsets:
        raise UsageError("give a VALUE, or --unset", hint=f"peerpost config set {key} VALUE")
    home = app.home
    edited = config_edit.unset(home, key) if unsets else config_edit.set_(home, key, values)
    app.has_acted = app.has_acted or edited.changed
    told = None if no_reload else _told(app)
    setting = None
    try:
        # One that was unknown and is taken out is no setting.
        setting = next((one for one in settings(edited.path) if one.key == key), None)
    except ConfigError as error:
        # The file is right by now, so this is about the environment.
        app.terminal.warn(f"It is written; what holds here cannot be told: {error.message}")
    row = {
        "key": key,
        "value": setting and setting.value,
        "origin": setting and setting.origin,
        "path": os.fspath(edited.path),
        "node": told and told.of(key),
    }
    human = f"{key} is {'taken out' if unsets else 'written'}"
    if setting is not None:
        human = f"{key} = {_shown(setting)}  ({setting.origin})"
    app.terminal.record(row, human=human)
    if not edited.changed:
        app.terminal.note("config.toml is as it was.")
    if setting is not None and setting.origin.startswith("PEERPOST__"):
        app.terminal.warn(f"{setting.origin} in the environment overrides what config.toml says.")
    if told is not None:
        told.say(app, key)


def _told(app: App) -> Told | None:
    """Have the running node read the configuration; None if none runs."""
    from peerpost.client.backlog import SilentError
    from peerpost.client.connection import dial

    try:
        found = dial(app.home, on_wait=app.waits, patience_s=ANSWER_TIMEOUT_S)
        if found is None:
            return None
        with found:
            found.give_up_after(ANSWER_TIMEOUT_S)
            return Told(found.call("node.reload"), None)
    except (SilentError, PeerpostError) as error:
        return Told(None, error)
