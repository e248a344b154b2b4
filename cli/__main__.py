"""`python -m peerpost.cli`: the same as `peerpost`, where that is not on the path."""

from .entry import main

main()
