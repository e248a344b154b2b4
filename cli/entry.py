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


def main() -> None:
    """Run the command line and leave with its exit code."""
    from .main import main as run_and_leave

    run_and_leave()
