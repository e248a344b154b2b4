"""What holds for every test: no setting of the person who runs them reaches a test, and none of
their own state is touched."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from tests.support.foreign_vectors import CASES, Ran

# A suite that a script has put into the background ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
