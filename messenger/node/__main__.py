"""`python -m peerpost.node run`: the node as a process. The command line starts it; people rarely do."""

from __future__ import annotations

import sys

from peerpost import stdio

from .daemon import main

if __name__ == "__main__":
    stdio.take_over()
    sys.exit(main(sys.argv[1:]))
