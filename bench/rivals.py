"""What a user would choose instead, run as that user would run it: magic-wormhole and scp, each with its own servers.

Everything stays on loopback. A program that is not available here says why, and is left out of the table.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

WORMHOLE = ("magic-wormhole", "magic-wormhole-mailbox-server", "magic-wormhole-transit-relay")
TIMEOUT_S = 600


class NotHereError(Exception):
    """The rival is not on this machine, and why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise NotHereError(f"{process.args} does not listen")


class _Servers:
    """Started on entering, ended on leaving."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            arguments,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._running.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait()


class Wormhole(_Servers):
    """magic-wormhole with a mailbox server and a transit relay on loopback, in a venv beside ours."""

    name = "magic-wormhole"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._venv = Path(sys.prefix) / "wormhole"
        self._mailbox, self._transit = free_port(), free_port()

    def __enter__(self) -> Self:
        twist = self._bin("twist")
        if not twist.exists():
            subprocess.run([sys.executable, "-m", "venv", str(self._venv)], check=True)
            pip = [str(self._bin("python")), "-m", "pip", "install", "-q", *WORMHOLE]
            if subprocess.run(pip, check=False).returncode:
                raise NotHereError("magic-wormhole could not be installed")
        mailbox = self.start(
            str(twist), "wormhole-mailbox", f"--port=tcp:{self._mailbox}:interface=127.0.0.1"
        )
        transit = self.start(
            str(twist), "transitrelay", f"--port=tcp:{self._transit}:interface=127.0.0.1"
        )
        wait_for(self._mailbox, mailbox)
        wait_for(self._transit, transit)
        return self

    def _bin(self, name: str) -> Path:
        return self._venv / "bin" / name

    def send(self, file: Path, target: Path) -> float:
        """Return the seconds from both commands started to both ended and the file synced."""
        common = [
            str(self._bin("wormhole")),
            f"--relay-url=ws://127.0.0.1:{self._mailbox}/v1",
            f"--transit-helper=tcp:127.0.0.1:{self._transit}",
        ]
        code = f"1-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = time.perf_counter()
        sender = subprocess.Popen(
            [*common, "send", "--hide-progress", f"--code={code}", str(file)],
            **quiet,  # type: ignore[arg-type]
        )
        receiver = subprocess.Popen(
            [*common, "receive", "--hide-progress", "--accept-file", f"-o{target}", code],
            **quiet,  # type: ignore[arg-type]
        )
        codes = (sender.wait(TIMEOUT_S), receiver.wait(TIMEOUT_S))
        sync(target)
        took_s = time.perf_counter() - started
        if any(codes):
            raise NotHereError(f"wormhole left with {codes}")
        return took_s


class Scp(_Servers):
    """scp to a private sshd on loopback, with one cipher."""

    def __init__(self, folder: Path, cipher: str) -> None:
        super().__init__(folder)
        self.name = f"scp, {cipher.partition('@')[0]}"
        self._cipher = cipher
        self._port = free_port()

    def __enter__(self) -> Self:
        sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
        if sshd is None or shutil.which("scp") is None:
            raise NotHereError("no sshd and scp: install openssh-server")
        for name in ("host", "user"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            if not (self.folder / name).exists():
                subprocess.run(key, check=True)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        settings = {
            "Port": self._port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host",
            "PidFile": self.folder / "sshd.pid",
            "AuthorizedKeysFile": self.folder / "authorized",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "Subsystem": "sftp internal-sftp",
        }
        config = self.folder / "sshd_config"
        config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd, run by root, wants its empty folder
        wait_for(self._port, self.start(sshd, "-D", "-e", "-f", str(config)))
        return self

    def send(self, file: Path, target: Path) -> float:
        """Return the seconds until the command has ended and the file is synced."""
        command = ["scp", "-q", "-B", f"-P{self._port}", f"-c{self._cipher}"]
        command += [f"-i{self.folder / 'user'}", "-oStrictHostKeyChecking=no"]
        command += ["-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, str(file), f"127.0.0.1:{target}"], check=False, timeout=TIMEOUT_S
        )
        sync(target)
        took_s = time.perf_counter() - started
        if done.returncode:
            raise NotHereError(f"scp left with {done.returncode}")
        return took_s


def sync(path: Path) -> None:
    """Make a file survive a power cut, which Peerpost's receipt guarantees already."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
