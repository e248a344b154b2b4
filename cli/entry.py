"""Where `peerpost` begins: signals first, then what takes time to import."""

import os
import sys


def _unbegun(word: str) -> None:
    """Say that a signal has ended the command before it began. Uses no module that might not be loaded yet."""
    options = sys.argv[1 : sys.argv.index("--") if "--" in sys.argv else None]
    said = "Interrupted. Nothing was done"
    if "--json" in options:
        said = f'{{"error": {{"code": "{word}", "message": "Nothing was done", "hint": null}}}}'
    try:  # noqa: SIM105 - an import may be cut short here
        os.write(2, f"{said}\n".encode())
    except OSError:
        pass  # Nobody can be told.


try:
    from peerpost import stopping

    stopping.quietly(_unbegun)
except KeyboardInterrupt:
    _unbegun("interrupted")
    os._exit(130)

__all__ = ["main"]


def _in_utf8() -> None:
    """Begin again in Python's UTF-8 mode, where the locale knows ASCII alone and somebody has switched the mode off.

    Python could then read and print no name or text but in ASCII, while the files and the node have them in UTF-8.
    """
    if sys.getfilesystemencoding() == "ascii":  # Never so on Windows.
        stopping.block()
        os.environ["PYTHONUTF8"] = "1"  # For the programs that start from here.
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - no shell wanted


def main() -> None:
    """Run the command line and leave with its exit code."""
    _in_utf8()
    from .main import main as run_and_leave

    run_and_leave()
