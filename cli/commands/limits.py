"""`peerpost limits show|set|test`."""

from __future__ import annotations

import math
from typing import Any

import click

from ..app import App, Group, pass_app
from ..completing import contact_option
from ..in_full import in_full
from ..inputs import MAX_SIZE_BYTES, Duration, Size

__all__ = ["limits"]

_COLUMNS = (
    ("CONTACT", "contact"),
    ("UP B/S", "up_bytes_s"),
    ("DOWN B/S", "down_bytes_s"),
    ("MESSAGES/S", "messages_s"),
    ("BURST", "burst_bytes"),
    ("SCHEDULE", "schedule"),
)
OFF = "off"


class OrOff(click.ParamType[int | str]):
    """100MiB, off: a size or the word."""

    name = "size"
    unit: click.ParamType[int] = Size(math.inf)
    per = ""
    """What may follow the number."""
    is_not: str | None = None
    """The error for anything else, if the unit's own does not fit."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Return a number, or `off`."""
        if value == OFF:
            return OFF
        try:
            number = int(self.unit.convert(str(value).removesuffix(self.per), param, ctx))
        except click.BadParameter:
            if self.is_not is None:
                raise
            self.fail(f"{str(value)!r} {self.is_not}", param, ctx)
        if not 1 <= number <= MAX_SIZE_BYTES:
            least = f"from 1 to {MAX_SIZE_BYTES}; for no limit write {OFF}"
            self.fail(f"{str(value)!r} is not possible: a limit is {least}", param, ctx)
        return number


class RateOption(OrOff):
    """500kB/s, 10MiB/s, off: bytes per second."""

    name = "rate"
    per = "/s"
    is_not = "is not a rate in bytes a second; write 500kB/s, 5MB/s, 10MiB/s or off"


class Count(OrOff):
    """100, 100/s, off: messages per second."""

    name = "count"
    unit = click.INT
    per = "/s"
    is_not = "is not a number of messages a second; write 50/s or off"


@click.group(
    cls=Group,
    examples="""
    peerpost limits show
    peerpost limits set --up 5MB/s
    peerpost limits set --contact nas --up off --down 20MB/s
    """,
)
def limits() -> None:
    """See and change how fast the node sends and receives.

    A contact's limits hold under everybody's. Text goes before files under a limit too.
    """


@limits.command(examples="peerpost limits show\npeerpost limits show --contact nas")
@contact_option("Of this contact alone.")
@pass_app
def show(app: App, contact: str | None) -> None:
    """Show the limits in force.

    The row without a contact is everybody's.
    """
    params = {"contact": contact} if contact else {}
    app.terminal.records(app.call("limits.show", params), _COLUMNS, empty="Nothing is limited.")


@limits.command("set", examples="peerpost limits set --up 5MB/s --messages 50/s")
@contact_option("Of this contact alone.")
@click.option("--up", type=RateOption(), metavar="RATE|off", help="Bytes per second sent.")
@click.option("--down", type=RateOption(), metavar="RATE|off", help="Bytes per second received.")
@click.option("--messages", type=Count(), metavar="N|off", help="Messages per second, each way.")
@click.option("--burst", type=OrOff(), metavar="SIZE|off", help="How much may go at once.")
@pass_app
def set_(
    app: App,
    contact: str | None,
    up: int | str | None,
    down: int | str | None,
    messages: int | str | None,
    burst: int | str | None,
) -> None:
    """Change limits, at once.

    What is not named stays.
    """
    wanted = {"up_bytes_s": up, "down_bytes_s": down, "messages_s": messages, "burst_bytes": burst}
    params: dict[str, Any] = {
        key: None if value == OFF else value for key, value in wanted.items() if value is not None
    }
    if not params:
        raise click.UsageError("name a limit: --up, --down, --messages or --burst")
    if contact:
        params["contact"] = contact
    app.terminal.row(app.call("limits.set", params), _COLUMNS)
    for way, rate in (("up", up), ("down", down)):
        if isinstance(rate, int):
            app.terminal.note(in_full(way, rate, "/s"))


@limits.command(examples="peerpost limits test --size 1GB\npeerpost limits test --contact nas")
@click.option("--size", type=Size(), metavar="SIZE", help="Tell how long so much takes at best.")
@contact_option("Of this contact alone.")
@click.option(
    "--seconds",
    type=Duration(1, 60),
    metavar="DURATION",
    default="5s",
    show_default=True,
    help="How long to measure.",
)
@pass_app
def test(app: App, size: int | None, contact: str | None, seconds: float) -> None:
    """Tell how long SIZE takes, or measure a contact's pace.

    With --size, how long it takes at best under the limits in force.

    Without --size, filler that the contact drops is sent for some seconds as a file would be, beside
    whatever else is under way, and the pace is shown next to the limit.
    """
    if size is None and contact is None:
        raise click.UsageError("name a --size, or a --contact to measure")
    params: dict[str, Any] = {"contact": contact} if contact else {}
    params |= {"seconds": seconds} if size is None else {"size": size}
    app.terminal.record(app.call("limits.test", params))
