"""`peerpost demo`: two nodes in a temporary folder, a text, a file, and what can go wrong on the way.

However it ends, no node and no folder is left. Only after a failure, or with --keep, the folder stays to be inspected.
"""

from __future__ import annotations

from peerpost import stopping

if __name__ == "__main__":
    stopping.quietly()

import argparse
import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from peerpost import stdio
from peerpost.errors import NoInputError, PeerpostError, ReaderLeftError
from peerpost.stdio import OutputError
from peerpost.stopping import Stopped

from .program import Program
from .stage import Stage

DEFAULT_BYTES = 10_000_000


class _Stop:
    """Handles the first signal by ending what runs in good order; later signals must not interrupt that."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.cancel: Callable[[], object] = lambda: None
        stopping.hand_to(self)

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Be the handler."""
        if self.number is None:
            self.number = number
            self.cancel()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="peerpost demo", description=__doc__)
    parser.add_argument("--file", type=Path, help="send this file instead of 10 MB of random bytes")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    parser.add_argument("--json", action="store_true", help="one object per line")
    return parser.parse_args()


def _given(path: Path) -> Path:
    """Return the file to send. Raises NoInputError if it cannot be read."""
    try:
        if not path.is_file():
            raise NoInputError(f"no file {path}", hint="give --file the path of a readable file")
        with path.open("rb"):
            return path.resolve()
    except OSError as error:
        raise NoInputError(f"{path} cannot be read: {error.strerror}") from None


def _made(folder: Path) -> Path:
    path = folder / "holiday.bin"
    path.write_bytes(os.urandom(DEFAULT_BYTES))
    return path


async def _perform(folder: Path, file: Path | None, program: Program) -> None:
    stage = Stage(folder, file or _made(folder), program)
    try:
        await stage.act_meet()
        await stage.act_text()
        await stage.act_file()
        await stage.act_hostile()
        await stage.act_killed(stage.bob)
        await stage.act_killed(stage.alice)
    finally:
        await stage.close()


async def _until_stopped(stop: _Stop, folder: Path, file: Path | None, program: Program) -> None:
    """Perform until the end or a signal; afterwards none of its processes is left."""
    loop = asyncio.get_running_loop()
    performing = loop.create_task(_perform(folder, file, program))
    stop.cancel = lambda: loop.call_soon_threadsafe(performing.cancel)
    if stop.number is not None:
        performing.cancel()
    try:
        await performing
    except asyncio.CancelledError:
        if stop.number is None:
            raise
    finally:
        stop.cancel = lambda: None


def main() -> int:
    """Perform. Return 0 only if all that was received equals what was sent."""
    arguments = _arguments()
    program = Program(as_json=arguments.json)
    started = time.monotonic()
    try:
        file = None if arguments.file is None else _given(arguments.file)
    except NoInputError as error:
        program.failed(error)
        return error.exit_code
    # A process that is being made while a signal comes is killed, and asyncio would report its end to a closed loop.
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    stop, kept = _Stop(), True
    folder = Path(tempfile.mkdtemp(prefix="peerpost-demo-"))
    try:
        program.line(f"Alice and Bob are two nodes, two processes, in {folder}")
        asyncio.run(_until_stopped(stop, folder, file, program))
        kept = arguments.keep
    except OutputError:
        kept = arguments.keep  # Nobody would read where the folder is.
        raise
    except PeerpostError as error:
        program.failed(error)
        return 1
    except TimeoutError:
        program.failed(PeerpostError("that took too long"))
        return 1
    else:
        if stop.number is not None:
            if not kept:
                # Removed before it is said to be gone.
                shutil.rmtree(folder, ignore_errors=True)
            program.stopped(Stopped(stop.number, in_doubt=False).word, kept=kept)
            return 128 + stop.number
        took_s = time.monotonic() - started
        program.result(f"All that Bob has equals what Alice sent. {took_s:.1f} s in all.")
        return 0
    finally:
        if kept:
            program.line(f"the folder with both homes and their logs is kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def run() -> int:
    """Perform, even if stdout is closed or full. Return the exit code."""
    stdio.take_over()
    try:
        code = main()
    except OutputError as error:
        code = ReaderLeftError.exit_code if error.reader_left else error.exit_code
        if not error.reader_left:
            sys.stderr.write(f"error: {error.message}\n")
    stopping.over(code)
    return code


if __name__ == "__main__":
    sys.exit(run())
