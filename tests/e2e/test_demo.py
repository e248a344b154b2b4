"""The demonstration leaves nothing behind, whatever ends it, and says what it does to programs too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.nodes import WAIT_S, processes_in


def _demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "peerpost.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("until", ["1.", "ok both", "ok delivered"])
def test_no_process_and_no_folder_is_left(folder: Path, number: int, until: str) -> None:
    demo = _demo(folder, "demo")
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.strip().startswith(until):
            break
    if number == signal.SIGINT:
        os.killpg(demo.pid, number)  # as a terminal does: to all that run in it
        time.sleep(0.1)
        demo.send_signal(number)
    else:
        demo.send_signal(number)
    _, err = demo.communicate(timeout=WAIT_S)
    assert demo.returncode == 128 + number
    word = "Interrupted" if number == signal.SIGINT else "Terminated"
    assert err == f"{word}; nothing is left of it.\n"
    assert list(folder.iterdir()) == []
    assert list(processes_in(folder)) == []


def test_a_file_that_is_not_there(folder: Path) -> None:
    for options in ((), ("--json",)):
        demo = _demo(folder, *options, "demo", "--file", str(folder / "none"))
        out, err = demo.communicate(timeout=WAIT_S)
        assert demo.returncode == 66
        assert "no file" in out + err
        assert list(folder.iterdir()) == []
    assert json.loads(err)["error"]["code"] == "no_input"


@pytest.mark.slow
def test_each_line_is_an_object(folder: Path) -> None:
    file = folder / "photo.jpg"
    file.write_bytes(os.urandom(300_000))
    demo = _demo(folder, "demo", "--json", "--file", str(file))
    out, err = demo.communicate(timeout=2 * WAIT_S)
    assert (demo.returncode, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert {event["event"] for event in events} == {"act", "command", "note", "done", "result"}
    assert events[-1]["ok"] is True
    assert list(folder.iterdir()) == [file]
