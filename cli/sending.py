"""The options of all commands that send: to whom it goes, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from peerpost.errors import UsageError

from .completing import complete_contacts, complete_tags
from .inputs import Duration

__all__ = ["MAX_KEY_CHARS", "MAX_TEXT_BYTES", "how", "in_lane", "request_params", "to_whom"]

MAX_TEXT_BYTES = 60 << 10
"""Longest text that goes as one message."""
MAX_KEY_CHARS = 200

F = TypeVar("F", bound=Callable[..., Any])


def to_whom(command: F) -> F:
    """Add --contact and --to-tag, as `contacts` and `tags`."""
    contacts = click.option(
        "--contact",
        "-c",
        "contacts",
        multiple=True,
        metavar="NAME",
        shell_complete=complete_contacts,
        help="To whom; several: -c bob -c carol.",
    )
    tags = click.option(
        "--to-tag",
        "tags",
        multiple=True,
        metavar="TAG",
        shell_complete=complete_tags,
        help="To all who have this tag.",
    )
    return contacts(tags(command))


def in_lane(about: str) -> Callable[[F], F]:
    """Add --lane."""
    return click.option("--lane", type=click.Choice(["urgent", "bulk"]), help=about)


def how(command: F) -> F:
    """Add --wait, --timeout, --expires and --once."""
    wait = click.option("--wait", is_flag=True, help="Wait until it is delivered.")
    timeout = click.option(
        "--timeout",
        type=Duration(),
        metavar="DURATION",
        help="With --wait: exit 75 after this.  [30s, or 30s in which nothing of a file moves]",
    )
    expires = click.option(
        "--expires",
        type=Duration(least_s=0.001),
        metavar="DURATION",
        help="Give up after this long.",
    )
    once = click.option(
        "--once",
        metavar="KEY",
        help="Send nothing if this contact was sent something under KEY before.",
    )
    return wait(timeout(expires(once(command))))


def request_params(
    *,
    lane: str | None,
    wait: bool,
    timeout: float | None,
    expires: float | None,
    once: str | None,
    spool: bool = False,
) -> dict[str, Any]:
    """Return what the options mean for each thing that is sent. Raises UsageError."""
    if timeout is not None and not wait:
        raise UsageError("--timeout needs --wait")
    if once is not None and not 1 <= len(once) <= MAX_KEY_CHARS:
        raise UsageError(f"--once takes a key of 1 to {MAX_KEY_CHARS} characters")
    options = {"lane": lane, "expires_s": expires, "spool": spool or None, "once": once}
    params: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if wait:
        params |= {"wait": True} | ({} if timeout is None else {"timeout_s": timeout})
    return params
