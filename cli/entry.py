"""Where `peerpost` begins: signals first, then what takes time to import."""

import os

try:
    from peerpost import stopping

    stopping.quietly()
except KeyboardInterrupt:
    os._exit(130)

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    from .main import main as run_and_leave

    run_and_leave()
