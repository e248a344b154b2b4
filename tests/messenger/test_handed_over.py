"""Descriptors that the user names by number: those that were open when the process began, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from peerpost import stdio
stdio.take_over()
given = int(sys.argv[1])
ours = os.open(os.devnull, os.O_RDONLY)
print([stdio.was_handed_over(fd) for fd in (0, given, ours, 500, 1 << 40)])
print([stdio.inherited(f"/dev/fd/{fd}") for fd in (given, ours, 500)] == [given, None, None])
os.close(given)
print(stdio.was_handed_over(given))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="descriptors are not handed over there")
def test_only_what_was_open_at_first_is_the_users(tmp_path: Path) -> None:
    with (tmp_path / "given").open("w") as file:
        command = [sys.executable, "-c", PROGRAM, str(file.fileno())]
        done = subprocess.run(
            command, pass_fds=[file.fileno()], capture_output=True, text=True, check=True
        )
    assert done.stdout.splitlines() == ["[True, True, False, False, False]", "True", "False"]
