"""`peerpost limits show|set|test`."""

from __future__ import annotations

from typing import Any

import click

from ..app import App, Group, complete_contacts, pass_app
from ..inputs import Size

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


class RateOption(click.ParamType[int | str]):
    """500kB/s, 10MiB, off: bytes per second."""

    name = "rate"
    unit: click.ParamType[int] = Size()

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Return a number, or `off`."""
        if value == OFF:
            return OFF
        return int(self.unit.convert(str(value).removesuffix("/s"), param, ctx))


class Count(RateOption):
    """100, 100/s, off: messages per second."""

    name = "count"
    unit = click.INT


@click.group(
    cls=Group,
    examples="""
    peerpost limits show
    peerpost limits set --up 5MB/s
    peerpost limits set --contact nas --up off --down 20MB/s
    """,
)
def limits() -> None:
    """See and change how fast the node sends and receives, while it runs.

    A contact's limits hold under everybody's. Text goes before files under a limit too.
    """


@limits.command(examples="peerpost limits show\npeerpost limits show --contact nas")
@click.option("--contact", "-c", metavar="NAME", shell_complete=complete_contacts)
@pass_app
def show(app: App, contact: str | None) -> None:
    """Show the limits in force; the row without a contact is everybody's."""
    params = {"contact": contact} if contact else {}
    app.terminal.records(app.call("limits.show", params), _COLUMNS, empty="Nothing is limited.")


@limits.command("set", examples="peerpost limits set --up 5MB/s --messages 50/s")
@click.option("--contact", "-c", metavar="NAME", shell_complete=complete_contacts)
@click.option("--up", type=RateOption(), metavar="RATE|off", help="Bytes per second sent.")
@click.option("--down", type=RateOption(), metavar="RATE|off", help="Bytes per second received.")
@click.option("--messages", type=Count(), metavar="N|off", help="Messages per second, each way.")
@click.option("--burst", type=RateOption(), metavar="SIZE|off", help="How much may go at once.")
@pass_app
def set_(
    app: App,
    contact: str | None,
    up: int | str | None,
    down: int | str | None,
    messages: int | str | None,
    burst: int | str | None,
) -> None:
    """Change limits; what is not named stays, and takes effect at once."""
    wanted = {"up_bytes_s": up, "down_bytes_s": down, "messages_s": messages, "burst_bytes": burst}
    params: dict[str, Any] = {
        key: None if value == OFF else value for key, value in wanted.items() if value is not None
    }
    if not params:
        raise click.UsageError("name a limit: --up, --down, --messages or --burst")
    if contact:
        params["contact"] = contact
    app.terminal.record(app.call("limits.set", params))


@limits.command(examples="peerpost limits test --size 1GB\npeerpost limits test --contact nas")
@click.option("--size", type=Size(), metavar="SIZE", help="Tell how long so much takes at best.")
@click.option("--contact", "-c", metavar="NAME", shell_complete=complete_contacts)
@click.option("--seconds", type=click.FloatRange(1, 60), default=5, show_default=True)
@pass_app
def test(app: App, size: int | None, contact: str | None, seconds: float) -> None:
    """Tell how long SIZE takes under the limits in force, or measure what a contact gets.

    Without --size, filler that the contact drops is sent for some seconds as a file would be, beside
    whatever else is under way, and the pace is shown next to the limit.
    """
    if size is None and contact is None:
        raise click.UsageError("name a --size, or a --contact to measure")
    params: dict[str, Any] = {"contact": contact} if contact else {}
    params |= {"seconds": seconds} if size is None else {"size": size}
    app.terminal.record(app.call("limits.test", params))
