"""dev.py as a module, which is no part of the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

__all__ = ["load"]


def load() -> ModuleType:
    """Load dev.py anew, so that nobody else sees what a test changes in it."""
    spec = importlib.util.spec_from_file_location("dev", Path(__file__).parents[2] / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
