"""js-libp2p, installed by npm beside the script that runs it (tests/interop/peer.mjs).

`PEERPOST_JS_MODULES` names a folder where it is installed already, for whoever runs this often.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["NotHereError", "install"]

HERE = Path(__file__).parents[1] / "interop"
INSTALL = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")


class NotHereError(Exception):
    """Why js-libp2p cannot be run on this machine."""


def install(folder: Path) -> Path:
    """Return the script, beside all that it needs; in `folder`, or where the environment says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotHereError("Node.js and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        raise NotHereError(f"Node.js {version.strip()} is older than 20")
    folder = Path(os.environ.get("PEERPOST_JS_MODULES") or folder)
    for name in ("package.json", "peer.mjs"):
        shutil.copy(HERE / name, folder / name)
    if not (folder / "node_modules" / "@libp2p" / "ping").exists():
        try:
            subprocess.run(
                [npm, *INSTALL], cwd=folder, capture_output=True, timeout=150, check=True
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise NotHereError(f"npm cannot install it ({type(error).__name__})") from error
    return folder / "peer.mjs"
