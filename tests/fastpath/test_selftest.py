"""The C files by themselves: under sanitizers here, and compiled for machines that are not here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "fastpath" / "src"
FILES = [str(path) for path in sorted(SOURCE.glob("*.c"))]
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", str(SOURCE)]
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# Target of zig, and what runs its programs.
TARGETS = {
    "x86_64-linux-musl": "env",
    "aarch64-linux-musl": "qemu-aarch64",
    "s390x-linux-musl": "qemu-s390x",  # big-endian
    "x86-linux-musl": "qemu-i386",  # 32 bits
    "x86_64-windows-gnu": "wine64",
    "aarch64-windows-gnu": None,
    "x86_64-macos": None,
    "aarch64-macos": None,
}


def run(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **settings}, text=True, capture_output=True, check=False
    )


def compiler() -> str:
    found = shutil.which(os.environ.get("CC") or "cc")
    if found is None or sys.platform == "win32":
        pytest.skip("no C compiler")
    return found


@pytest.mark.slow
def test_no_compiler_warning(tmp_path: Path) -> None:
    cc = compiler()
    for source in FILES:
        done = run(cc, *FLAGS, "-O3", "-c", source, "-o", str(tmp_path / "x.o"))
        if "Werror" not in done.stderr and done.returncode:
            pytest.skip(f"{cc} does not compile")
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_sanitizers_find_nothing(tmp_path: Path) -> None:
    cc, program = compiler(), tmp_path / "selftest"
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
    probe = run(cc, *SANITIZERS, str(tmp_path / "empty.c"), "-o", str(program))
    if probe.returncode or run(str(program)).returncode:
        pytest.skip("the compiler has no sanitizers that run here")
    done = run(cc, *FLAGS, *SANITIZERS, *FILES, "-o", str(program))
    assert done.returncode == 0, done.stderr
    done = run(str(program))
    assert done.returncode == 0, done.stdout + done.stderr


# Valgrind follows what is undefined, and complains of each branch and address that depends on it.
SECRET = """
#include <stdlib.h>
#include <valgrind/memcheck.h>
#include "padding.h"
int main(void) {
    for (size_t size = 0; size < 70; size++) {
        uint8_t *data = calloc(size + 1, 1);
        if (size > 3) data[size - 3] = 0x80;
        VALGRIND_MAKE_MEM_UNDEFINED(data, size);
        ptrdiff_t found = pad_find(data, size);
        VALGRIND_MAKE_MEM_DEFINED(&found, sizeof found);
        if (found != (size > 3 ? (ptrdiff_t)size - 3 : -1)) return 2;
        if (LEAK && data[size / 2]) return 3;
        free(data);
    }
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3"])
def test_unpadding_branches_on_no_secret(level: str, tmp_path: Path) -> None:
    cc, program = compiler(), str(tmp_path / "secret")
    (tmp_path / "secret.c").write_text(SECRET)
    build = [cc, level, "-I", str(SOURCE), str(tmp_path / "secret.c"), "-o", program]
    if shutil.which("valgrind") is None or run(*build, "-DLEAK=0").returncode:
        pytest.skip("valgrind and its headers are not installed")
    check = ["valgrind", "-q", "--error-exitcode=99", program]
    done = run(*check)
    assert done.returncode == 0, done.stderr
    assert run(*build, "-DLEAK=1").returncode == 0
    assert run(*check).returncode == 99  # it would have been seen


@pytest.mark.slow
@pytest.mark.timeout(900)  # zig builds the C library of a target when it first links for it
@pytest.mark.parametrize("target", TARGETS)
def test_it_compiles_for(target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed: it has the compilers for other machines")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-O2", *FLAGS]
    zig.append("-fno-sanitize=undefined")
    for source in FILES:
        done = run(*zig, "-c", source, "-o", str(tmp_path / "x.o"))
        assert done.returncode == 0, done.stderr
    runner = TARGETS[target]
    found = runner and (shutil.which(runner) or shutil.which(f"{runner}-static"))
    if not found or (runner == "env" and sys.platform != "linux"):
        pytest.skip(f"it compiles; nothing here runs programs for {target}")
    program = tmp_path / "selftest.exe"
    done = run(*zig, *FILES, "-o", str(program))
    assert done.returncode == 0, done.stderr
    done = run(found, str(program), WINEDEBUG="-all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("neon" in done.stdout) == target.startswith("aarch64")
    assert "portable" in done.stdout
