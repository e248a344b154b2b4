"""`peerpost demo` and `peerpost bench`: programs of their own, with options of their own."""

from __future__ import annotations

import importlib.util

import click

from peerpost.errors import UnavailableError

from ..process import become

__all__ = ["bench", "demo"]

_ALL = {"ignore_unknown_options": True, "help_option_names": []}


def _become(module: str, arguments: tuple[str, ...]) -> None:
    if importlib.util.find_spec(module) is None:
        raise UnavailableError(f"this installation has no {module}")
    become(module, *arguments)


@click.command(context_settings=_ALL, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """See two nodes exchange a text and a file."""
    _become("peerpost.demo", arguments)


@click.command(context_settings=_ALL, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Run the throughput benchmarks."""
    _become("peerpost.bench", arguments)
