"""What holds for every test: no setting of the person who runs them reaches a test, and none of
their own state is touched."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.foreign_vectors import CASES, Ran

# A suite that a script has put into the background ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).parent

# How long an example takes says more of the machine than of the code.
settings.register_profile("peerpost", deadline=None)
settings.load_profile("peerpost")

# PEERPOST_PURE and the like choose what is tested and stay; these would change what is expected.
SETTINGS = {
    "PEERPOST_CONTROL",
    "PEERPOST_HOME",
    "PEERPOST_LOG",
    "PEERPOST_LOOP",
    "PEERPOST_PASSPHRASE",
}
SETTINGS |= {"RUST_LOG", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"}
HOMES = ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")


PROCESSES = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec"}
"""What the audit hook of Python calls the ways to start a process."""
SLOW_FOLDERS = ("e2e", "interop", "upgrade", "wheels", "messenger/net")
"""Their tests are all about processes, or about connections that fail."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="leave out what is slow or starts processes"
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("quick"):
        return
    ours = os.getpid()

    def refuse(event: str, _: object) -> None:
        # Only during a test: workers and their helpers are processes too.
        if event in PROCESSES and os.getpid() == ours and "PYTEST_CURRENT_TEST" in os.environ:
            pytest.fail("a test that starts a process has to be marked slow")

    sys.addaudithook(refuse)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("quick"):
        return
    folders = [TESTS / folder for folder in SLOW_FOLDERS]
    slow = {
        item
        for item in items
        if item.get_closest_marker("slow") or any(map(item.path.is_relative_to, folders))
    }
    config.hook.pytest_deselected(items=list(slow))
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session", autouse=True)
def own_environment() -> Iterator[None]:
    """Give the whole run, and every process it starts, an environment of its own."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        for name in list(os.environ):
            if name in SETTINGS or name.startswith("PEERPOST__"):
                patch.delenv(name)
        for name in HOMES:
            patch.setenv(name, os.path.join(folder, name))  # noqa: PTH118
        yield


@pytest.fixture
def ran(record_property: Callable[[str, object], None]) -> Ran:
    """Say how many published vectors a test has run; the summary of the run shows it."""
    return lambda cases: record_property(CASES, cases)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", []):
        if (cases := dict(report.user_properties).get(CASES)) is not None:
            terminalreporter.write_line(f"{cases} vectors: {report.nodeid}")
