"""`python -m peerpost.node run`: the node as a process. The command line starts it; people rarely do."""

from __future__ import annotations

from peerpost import stopping

if __name__ == "__main__":
    stopping.quietly()

import sys

from peerpost import stdio

from . import surroundings

if __name__ == "__main__":
    stdio.take_over()
    # This comes before the other imports: they take more processor time than some limits leave.
    surroundings.put_right(in_background="--background" in sys.argv)
    from .daemon import main

    sys.exit(main(sys.argv[1:]))
