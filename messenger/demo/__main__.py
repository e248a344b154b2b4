"""`peerpost demo`: two nodes in a temporary folder, a text, a file, and what can go wrong on the way."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from peerpost import stdio
from peerpost.errors import NoInputError, PeerpostError, ReaderLeftError
from peerpost.stdio import OutputError

from .program import Program
from .stage import Stage

DEFAULT_BYTES = 10_000_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="peerpost demo", description=__doc__)
    parser.add_argument("--file", type=Path, help="send this file instead of 10 MB of random bytes")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    return parser.parse_args()


def _file(given: Path | None, folder: Path) -> Path:
    if given is None:
        path = folder / "holiday.bin"
        path.write_bytes(os.urandom(DEFAULT_BYTES))
        return path
    if not given.is_file():
        raise NoInputError(f"no file {given}", hint="give --file the path of a readable file")
    return given.resolve()


async def _perform(folder: Path, file: Path, program: Program) -> None:
    stage = Stage(folder, file, program)
    try:
        await stage.act_meet()
        await stage.act_text()
        await stage.act_file()
        await stage.act_hostile()
        await stage.act_killed(stage.bob)
        await stage.act_killed(stage.alice)
    finally:
        await stage.close()


def main() -> int:
    """Perform. Return 0 only if all that was received equals what was sent."""
    arguments = _arguments()
    program = Program()
    folder = Path(tempfile.mkdtemp(prefix="peerpost-demo-"))
    started = time.monotonic()
    good = False
    try:
        program.line(f"Alice and Bob are two nodes, two processes, in {folder}")
        asyncio.run(_perform(folder, _file(arguments.file, folder), program))
        good = True
    except OutputError:
        good = True  # Nobody would read where the folder is.
        raise
    except (PeerpostError, TimeoutError) as error:
        message = error.message if isinstance(error, PeerpostError) else "that took too long"
        program.result(f"The demonstration failed: {message}", good=False)
        if isinstance(error, PeerpostError) and error.hint:
            program.line(error.hint)
    except KeyboardInterrupt:
        return 130
    else:
        took_s = time.monotonic() - started
        program.result(
            f"All that Bob has equals what Alice sent. {took_s:.1f} s in all.", good=True
        )
    finally:
        if arguments.keep or not good:
            program.line(f"the folder with both homes and their logs is kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


def run() -> int:
    """Perform, whatever stdout is. Return the exit code."""
    stdio.take_over()
    try:
        return main()
    except OutputError as error:
        if error.reader_left:
            return ReaderLeftError.exit_code
        sys.stderr.write(f"error: {error.message}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(run())
