"""The functions under test: the pure twin, the compiled ones, and those with each hash kernel."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator
from types import ModuleType

import pytest

from peerpost.fastpath import _pure

KERNELS = ("portable", "neon", "avx2", "avx512")
ARM = platform.machine().lower() in {"aarch64", "arm64"}
OF_THIS_MACHINE = ("portable", "neon") if ARM else ("portable", "avx2", "avx512")
NOT_BUILT = "the native modules are not built: no C compiler when peerpost was installed"


def native(name: str) -> ModuleType:
    """Return a compiled module, whichever form the package serves; skip where there is none."""
    try:
        return importlib.import_module(f"peerpost.fastpath.{name}")
    except ImportError:
        pytest.skip(NOT_BUILT)


@pytest.fixture(params=["pure", *OF_THIS_MACHINE])
def hashing(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """What hashes: the twin, then each kernel; portable, it is never skipped where any is compiled."""
    if request.param == "pure":
        yield _pure
        return
    blake2 = native("blake2")
    before = blake2.kernel()
    try:
        blake2.use_kernel(request.param)
    except RuntimeError as error:
        assert request.param != "portable"
        pytest.skip(str(error))
    assert blake2.kernel() == request.param
    yield blake2
    blake2.use_kernel(before)


@pytest.fixture(params=["pure", "native"])
def padding(request: pytest.FixtureRequest) -> ModuleType:
    return _pure if request.param == "pure" else native("padding")


@pytest.fixture(params=["pure", "native"])
def bucket_class(request: pytest.FixtureRequest) -> type[_pure.TokenBucket]:
    if request.param == "pure":
        return _pure.TokenBucket
    found: type[_pure.TokenBucket] = native("bucket").TokenBucket
    return found
