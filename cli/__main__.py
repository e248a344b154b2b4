"""`python -m peerpost.cli`: the same as `peerpost`, where that is not on the path."""

from __future__ import annotations

from .main import main

main()
