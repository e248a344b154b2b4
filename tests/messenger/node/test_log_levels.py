"""The levels in force: what counts before what, and that a line that is not logged is not put together."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from peerpost.client.directives import parse
from peerpost.errors import ConfigError, UsageError
from peerpost.node import log_levels


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, levels = logging.getLogger(), log_levels._levels
    kept, level = levels.first, root.level
    yield
    levels.put(parse("info"), "default")
    levels.first = kept
    root.setLevel(level)
    for name in ("libp2p", "trio", "multiaddr", "asyncio", "async_service"):
        logging.getLogger(name).setLevel(logging.NOTSET)


class Costly:
    """Says when it was made a text."""

    def __init__(self) -> None:
        self.asked = 0

    def __str__(self) -> str:
        self.asked += 1
        return "costly"


def effective(name: str) -> int:
    return logging.getLogger(name).getEffectiveLevel()


def test_the_first_that_is_there_counts() -> None:
    for option, environ, origin in (
        ("error", {"PEERPOST_LOG": "info", "RUST_LOG": "debug"}, "--log-level"),
        (None, {"PEERPOST_LOG": "info", "RUST_LOG": "debug"}, "PEERPOST_LOG"),
        (None, {"PEERPOST_LOG": " ", "RUST_LOG": "debug"}, "RUST_LOG"),
        (None, {}, "config.toml"),
    ):
        log_levels.choose(option, environ, "warning")
        assert log_levels.show()["origin"] == origin


def test_what_is_wrong_in_a_variable_of_ours_is_an_error_and_in_one_of_others_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigError, match="PEERPOST_LOG: 'x=loud'"):
        log_levels.choose(None, {"PEERPOST_LOG": "x=loud"}, "info")
    log_levels.choose(None, {"RUST_LOG": "my_crate[span]=debug"}, "info")
    assert log_levels.show()["origin"] == "config.toml"
    assert "RUST_LOG is not heeded" in caplog.text


def test_a_target_covers_what_is_below_it_until_others_are_set() -> None:
    logging.getLogger("peerpost.node.files.spool")
    logging.getLogger("peerpost.node.files")
    assert log_levels.set_("error,peerpost.node.files=trace") == []
    assert effective("peerpost.node.files.spool") == 5
    assert effective("peerpost.node.opened") == logging.ERROR
    log_levels.set_("debug")
    assert effective("peerpost.node.files.spool") == logging.DEBUG
    log_levels.set_("off")
    assert effective("peerpost.node.files.spool") == 100
    log_levels.set_(None)
    assert log_levels.show()["directives"] == log_levels._levels.first[0].text


def test_libraries_are_quiet_unless_they_are_named() -> None:
    log_levels.set_("trace")
    assert effective("trio") == logging.ERROR
    assert effective("libp2p.host") == 100
    log_levels.set_("info,libp2p=debug")
    assert effective("libp2p.host") == logging.DEBUG
    assert logging.getLogger("libp2p").propagate
    logging.getLogger("libp2p").propagate = False  # As the library does when it is loaded.
    log_levels.apply_again()
    assert logging.getLogger("libp2p").propagate
    log_levels.set_("info")
    assert not logging.getLogger("libp2p").propagate


def test_a_mistyped_level_is_no_logger() -> None:
    with pytest.raises(UsageError, match="'degub'") as caught:
        log_levels.set_("degub")
    assert caught.value.hint == "did you mean 'debug'?"
    assert log_levels.set_("info,peerpost.nodes=debug") == ["peerpost.nodes"]


def test_a_line_that_is_not_logged_is_not_put_together() -> None:
    argument, log = Costly(), logging.getLogger("peerpost.node.some")
    log_levels.set_("info,peerpost.node=info")
    log.debug("%s", argument)
    assert argument.asked == 0
    log_levels.set_("debug")
    assert log.isEnabledFor(logging.DEBUG)
    log.debug("%s", argument)
    assert argument.asked > 0


def test_the_file_counts_for_as_long_as_nothing_else_does() -> None:
    log_levels.choose(None, {}, "info")
    assert log_levels.follow_file("debug") is None
    assert effective("peerpost") == logging.DEBUG
    log_levels.set_("error")
    assert log_levels.follow_file("warning") == "log set"
    assert effective("peerpost") == logging.ERROR
    log_levels.set_(None)
    assert effective("peerpost") == logging.WARNING
    log_levels.choose("debug", {}, "info")
    assert log_levels.follow_file("error") == "--log-level"
    assert effective("peerpost") == logging.DEBUG
