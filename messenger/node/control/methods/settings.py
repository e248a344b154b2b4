"""`node reload`, `config show`, `log set|show`: the settings of the running node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.client.rpc import Request
from peerpost.node import log_levels

if TYPE_CHECKING:
    from peerpost.node.host import Host

__all__ = ["config_show", "log_set", "log_show", "reload"]


class _LogSet(msgspec.Struct, forbid_unknown_fields=True):
    directives: str | None
    """None for those that the node began with."""


async def config_show(host: Host, request: Request[None]) -> dict[str, Any]:
    """Return the settings in force."""
    request.require_no_params()
    shown: dict[str, Any] = msgspec.to_builtins(host.config)
    return shown


async def reload(host: Host, request: Request[None]) -> dict[str, Any]:
    """Read the configuration anew and apply what can be. Raises ConfigError, with nothing changed."""
    request.require_no_params()
    found = await host.reload()
    overridden = [{"key": key, "by": by} for key, by in found.overridden.items()]
    return {
        "applied": found.applied,
        "needs_restart": found.needs_restart,
        "overridden": overridden,
    }


async def log_set(_host: Host, request: Request[_LogSet]) -> dict[str, Any]:
    """Log by other directives until the node ends. Raises UsageError naming the part that is wrong."""
    strange = log_levels.set_(request.params_as(_LogSet).directives)
    return log_levels.show() | {"unknown": strange}


async def log_show(_host: Host, request: Request[None]) -> dict[str, Any]:
    """Return the directives in force, and where they are from."""
    request.require_no_params()
    return log_levels.show()
