"""Which form serves: the compiled one where it can, the twin where that is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from peerpost import fastpath
from peerpost.fastpath import _pure
from tests.fastpath.conftest import KERNELS, native

SAY = "from peerpost import fastpath as f; print(f.is_native(), f.kernel(), *f.kernels())"


def say(**settings: str) -> str:
    """Return what a fresh interpreter says of itself, or the last line of its complaint."""
    env = {name: value for name, value in os.environ.items() if "PEERPOST" not in name}
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        env={**env, **settings},
        text=True,
        capture_output=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("value", ["1", "0", "no"])
def test_whoever_asks_gets_the_twin(value: str) -> None:
    assert say(PEERPOST_PURE=value) == "False pure pure"


@pytest.mark.slow
def test_an_empty_setting_asks_for_nothing() -> None:
    assert say(PEERPOST_PURE="", PEERPOST_KERNEL="") == say()


@pytest.mark.slow
def test_the_best_kernel_serves() -> None:
    kernels = native("blake2").kernels()
    assert say() == " ".join(["True", kernels[-1], *kernels])


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_asked_for_serves_or_is_an_error(name: str) -> None:
    kernels = native("blake2").kernels()
    expected = f"True {name} " if name in kernels else "RuntimeError: "
    assert say(PEERPOST_KERNEL=name).startswith(expected)
    assert say(PEERPOST_KERNEL=name, PEERPOST_PURE="1").startswith("RuntimeError: ")


@pytest.mark.slow
@pytest.mark.parametrize("pure", ["", "1"])
def test_a_kernel_that_nobody_knows_is_an_error(pure: str) -> None:
    assert say(PEERPOST_KERNEL="sse9", PEERPOST_PURE=pure).startswith("ValueError: ")


def test_both_forms_offer_the_same() -> None:
    compiled = {name: native(name) for name in ("blake2", "bucket", "padding")}
    offered = {name for module in compiled.values() for name in dir(module)}
    assert set(_pure.__all__) - {"Tree", "cut", "leaf_salt"} <= offered
    assert set(fastpath.__all__) == {*_pure.__all__, "LANES", "is_native"}
    public = {name for name in dir(_pure.TokenBucket) if not name.startswith("_")}
    assert public == {n for n in dir(compiled["bucket"].TokenBucket) if not n.startswith("_")}
