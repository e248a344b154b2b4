"""A folder that is left with neither a process nor a file, as the tests of two processes have it."""

from __future__ import annotations

from tests.e2e.conftest import folder

__all__ = ["folder"]
