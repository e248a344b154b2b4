"""What pyproject.toml cannot say: the packages of the mapped folders, and the native modules.

Every fastpath/NAME.pyx becomes peerpost.fastpath.NAME, with the C files that `SOURCES` gives it.
`cythonize()` is not called: setuptools' own build_ext runs Cython, and so the sdist keeps the .pyx.

Switches (environment):
  PEERPOST_LINETRACE=1       line tracing in the native modules, for coverage; no Limited API
  PEERPOST_REQUIRE_NATIVE=1  a module that does not compile fails the build (wheels to publish);
                             without it the install succeeds and the pure twins serve
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent
FOLDERS = {"peerpost": "messenger", "peerpost.cli": "cli", "peerpost.fastpath": "fastpath"}

# The C files of fastpath/src that each native module is linked with; one not named here has none.
SOURCES = {
    "blake2": ["b2_many.c", "b2_portable.c", "b2_neon.c", "b2_avx2.c", "b2_avx512.c"],
}

TRACE = bool(os.environ.get("PEERPOST_LINETRACE"))
REQUIRED = bool(os.environ.get("PEERPOST_REQUIRE_NATIVE"))
# The tracing hooks and the free-threaded build lie outside the Limited API.
STABLE = not TRACE and not sysconfig.get_config_var("Py_GIL_DISABLED")
LIMITED_API = "0x030B0000"  # 3.11: the first whose Limited API has Py_buffer

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "embedsignature": True,
    "embedsignature.format": "python",
    "auto_pickle": False,
    "autotestdict": False,
    "freethreading_compatible": True,
    "linetrace": TRACE,
}


def packages() -> list[str]:
    """Name every package under the three folders: a folder with an __init__.py is one."""
    found = []
    for name, folder in FOLDERS.items():
        for init in sorted((HERE / folder).rglob("__init__.py")):
            inner = init.parent.relative_to(HERE / folder).parts
            found.append(".".join((name, *inner)))
    return found


def macros() -> list[tuple[str, str | None]]:
    """Return the C macros that choose between the Limited API and the tracing build."""
    if TRACE:
        # Without the last one CPython 3.13 reports no line at all to the coverage plugin.
        return [
            ("CYTHON_TRACE", "1"),
            ("CYTHON_TRACE_NOGIL", "1"),
            ("CYTHON_USE_SYS_MONITORING", "0"),
        ]
    return [("Py_LIMITED_API", LIMITED_API)] if STABLE else []


def native(name: str) -> Extension:
    """Describe the native module peerpost.fastpath.NAME."""
    kernels = [f"fastpath/src/{source}" for source in SOURCES.get(name, [])]
    # Kernels include each other's text, so any change in src/ rebuilds whoever links to C.
    texts = sorted((HERE / "fastpath" / "src").glob("*.[ch]"))
    extension = Extension(
        f"peerpost.fastpath.{name}",
        [f"fastpath/{name}.pyx", *kernels],
        include_dirs=["fastpath/src"],
        depends=[text.relative_to(HERE).as_posix() for text in texts],
        define_macros=macros(),
        extra_compile_args=["/O2"] if sys.platform == "win32" else ["-O3", "-g0", "-Wall"],
        py_limited_api=STABLE,
        optional=not REQUIRED,
    )
    extension.cython_directives = DIRECTIVES
    return extension


setup(
    packages=packages(),
    package_dir=FOLDERS,
    ext_modules=[native(path.stem) for path in sorted((HERE / "fastpath").glob("*.pyx"))],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE else {},
)
