"""Draw both pictures of the session, docs/session.svg and docs/recording.svg: `python3 dev.py picture`."""

from __future__ import annotations

import sys

from . import recording, session

__all__ = ["main"]


def main() -> int:
    """Play the session twice; return the exit code."""
    return session.main() or recording.main()


if __name__ == "__main__":
    sys.exit(main())
