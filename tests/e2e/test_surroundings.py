"""What whoever starts a node has, and the machine it starts on: closed files, lifted limits, nobody's home."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nodes import Friend, processes_in, until

pytestmark = pytest.mark.asyncio

NEW = ("identity", "new", "--name", "alice", "--no-passphrase")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


async def without_home(home: str, *command: str, wrap: tuple[str, ...] = (), **env: str) -> str:
    """Run a command with nothing in its environment but what is given; return its code and last words."""
    process = await asyncio.create_subprocess_exec(
        *wrap,
        *(sys.executable, "-m", "peerpost.cli", *(["--home", home] if home else []), *command),
        env={"PATH": os.environ["PATH"], **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return f"{process.returncode} {out.decode()}{err.decode()}"


def rights(folder: Path) -> dict[str, int]:
    return {
        path.name: stat.S_IMODE(path.lstat().st_mode) & 0o077
        for path in [folder, *folder.rglob("*")]
        if not path.is_symlink()
    }


def inside(pid: int) -> tuple[str, bytes]:
    """Return the folder that a process works in, and its environment."""
    proc = Path("/proc", str(pid))
    return os.fspath((proc / "cwd").readlink()), (proc / "environ").read_bytes()


def standard_streams(pid: int) -> list[Path]:
    return [Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)]


def powerless() -> tuple[str, ...]:
    """Return what runs a command without root's power over every file, as anybody's else is run."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may read every file, and there is no setpriv to give that up with")
    return (setpriv, "--bounding-set=-all", "--inh-caps=-all")


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def give_away(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 54321, 54321)


async def test_whatever_the_umask_nothing_is_open_to_others(folder: Path) -> None:
    alice = Friend("alice", folder)
    alice.home = folder / "a" / "b" / "alice"
    wrap = ("sh", "-c", 'umask 0; exec "$@"', "sh")
    await alice.cli(*NEW, wrap=wrap)
    await alice.cli("node", "start", wrap=wrap)
    found = rights(folder / "a")
    assert {"store.db", "store.db-wal", "keyfile", "node.log", "lock", "b"} <= found.keys()
    assert not any(found.values()), found
    await alice.cli("node", "stop")
    (alice.home / "store.db").chmod(0o666)
    await alice.cli("inbox", "list")
    assert not any(rights(folder / "a").values())


@pytest.mark.parametrize("umask", ["0777", "0700", "0277"])
async def test_whatever_the_umask_nothing_is_closed_to_the_owner(folder: Path, umask: str) -> None:
    alice = Friend("alice", folder)
    alice.home = folder / "a" / "alice"
    wrap = ("sh", "-c", f'umask {umask}; exec "$@"', "sh")
    await alice.cli(*NEW, wrap=wrap)
    await alice.cli("node", "start", wrap=wrap)
    everything = [alice.home, *alice.home.rglob("*")]
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in everything}
    assert {"spawn.lock", "node.log", "store.db", "keyfile", "lock"} <= modes.keys()
    assert not [name for name, mode in modes.items() if mode & 0o600 != 0o600], modes
    assert (await alice.cli("inbox", "list", wrap=wrap)).rows == []


@pytest.mark.parametrize(
    ("where", "mode"),
    [("", 0o500), ("blobs", 0), ("spool", 0), ("spool", 0o500), ("", 0), ("", 0o300)],
)
async def test_a_folder_without_rights_is_named_with_what_opens_it(
    folder: Path, where: str, mode: int
) -> None:
    alice = Friend("alice", folder)
    alice.home = folder / "a b"
    await alice.cli(*NEW)
    await alice.cli("node", "stop")
    closed = alice.home / where
    closed.chmod(mode)
    wrap = powerless()
    refused = await alice.cli("inbox", "list", code=77, wrap=wrap)
    _, _, rest = refused.error["hint"].partition(": ")
    command = rest.partition("; or")[0]
    assert command == f"chmod u+rwx '{closed}'"
    assert await (await asyncio.create_subprocess_shell(command)).wait() == 0
    assert (await alice.cli("inbox", "list", wrap=wrap)).rows == []


async def test_doctor_names_a_folder_that_a_running_node_may_not_use(folder: Path) -> None:
    alice = Friend("alice", folder)
    wrap = powerless()
    await alice.cli(*NEW, wrap=wrap)
    await alice.cli("node", "start", wrap=wrap)
    for name in ("blobs", "spool", ""):
        closed = alice.home / name
        closed.chmod(0o500)

        async def said(check: str = f"home {name or 'folder'}") -> bool:
            rows = (await alice.cli("doctor", code=None, wrap=wrap)).rows
            found = [row for row in rows if row["check"] == check and not row["ok"]]
            return bool(found) and "chmod u+rwx" in found[0]["hint"]

        await until(said)
        closed.chmod(0o700)


@as_root
async def test_the_home_of_somebody_else_is_named_however_it_is_given(folder: Path) -> None:
    home = folder / "theirs"
    home.mkdir(0o700)
    give_away(home)
    wrap = powerless()
    for given, env in ((str(home), {}), ("", {"PEERPOST_HOME": str(home)})):
        said = await without_home(given, "inbox", "list", wrap=wrap, **env)
        assert said.startswith("77 "), said
        assert f"the folder {home} belongs to another user" in said


async def test_what_is_closed_to_the_owner_is_opened_by_the_hint(folder: Path) -> None:
    alice = Friend("alice", folder)
    alice.home = folder / "a b"
    await alice.cli(*NEW)
    await alice.cli("node", "stop")
    (alice.home / "spawn.lock").chmod(0)
    wrap = powerless()
    refused = await alice.cli("inbox", "list", code=77, wrap=wrap)
    _, _, command = refused.error["hint"].partition(": ")
    assert await (await asyncio.create_subprocess_shell(command)).wait() == 0
    assert (await alice.cli("inbox", "list", wrap=wrap)).rows == []
    await alice.cli("node", "stop")
    # Nor is a home without any rights for its owner made, which nobody could use.
    alice.home = folder / "c" / "alice"
    await alice.cli(*NEW, wrap=("sh", "-c", 'umask 0777; exec "$@"', "sh"))
    await alice.cli("node", "stop")


async def test_a_node_has_nothing_of_the_job_that_needed_it_first(
    friend: Callable[..., Friend], tmp_path: Path
) -> None:
    alice = friend("alice")
    job = tmp_path / "job.lock"
    # As flock(1) in a crontab: the lock is held for as long as anybody has the descriptor.
    shell = f'exec 9>"{job}"; flock 9; ulimit -S -n 256; ulimit -S -t 900; nice -n 3 "$@"'
    wrap = ("env", "TZ=Pacific/Kiritimati", "sh", "-c", shell, "sh")
    await alice.cli(*NEW, wrap=wrap)
    with job.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    row = (await alice.cli("node", "status")).row
    assert (row["niceness"], row["held_back"]) == (3, [])
    if hasattr(resource, "prlimit"):
        folder, environ = inside(row["pid"])
        assert folder == str(alice.home)
        assert b"TZ=" not in environ
        files, _ = resource.prlimit(row["pid"], resource.RLIMIT_NOFILE)
        assert files > 256
    assert "niceness 3" in alice.log_text()
    doctor = await alice.cli("doctor")
    assert {"check": "niceness", "ok": True, "found": "3", "hint": None} in doctor.rows
    await alice.cli("node", "stop")
    # A limit that cannot be lifted is told, where one looks.
    wrap = ("sh", "-c", 'ulimit -t 900; exec "$@"', "sh")
    doctor = await alice.cli("doctor", wrap=wrap, code=1)
    (bad,) = [row for row in doctor.rows if not row["ok"]]
    assert (bad["check"], "900 s of processor time" in bad["found"]) == ("surroundings", True)


async def test_doctor_is_well_where_it_has_to_start_the_node(
    friend: Callable[..., Friend],
) -> None:
    alice = friend("alice")
    await alice.cli(*NEW)
    await alice.cli("node", "stop")
    rows = (await alice.cli("doctor")).rows
    (listening,) = [row for row in rows if row["check"] == "listening"]
    assert listening["found"].startswith("/ip4/127.0.0.1/tcp/")
    await alice.cli("node", "stop")
    assert (await alice.cli("node", "start")).row["addresses"]


NOBODY = ("setpriv", "--reuid", "54321", "--clear-groups")


def can_be_nobody() -> bool:
    """Whether this interpreter may be run by somebody who has no home: it may itself lie in one."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    program = (*NOBODY, sys.executable, "-c", "import peerpost.cli.main")
    return subprocess.run(program, capture_output=True, check=False).returncode == 0


async def test_without_a_home_folder(folder: Path) -> None:
    if can_be_nobody():
        said = await without_home("", "contacts", "list", wrap=NOBODY)
        assert said.startswith("78 "), said
        assert "HOME is not set" in said
        assert "hint:  set HOME or PEERPOST_HOME, or choose a home folder: --home DIR" in said
        closed = await without_home(str(folder / "x"), "contacts", "list", wrap=NOBODY)
        assert closed.startswith("77 "), closed
    for env in ({"PEERPOST_HOME": "~nobody-of-that-name/x"}, {"HOME": "some/where"}):
        said = await without_home("", "contacts", "list", **env)
        assert said.startswith("78 "), said
    # Empty is not set: never the root of the file system.
    said = await without_home("", "config", "path", HOME="")
    assert said.startswith("0 "), said
    assert " /.local" not in said
    data = {"HOME": str(folder), "XDG_DATA_HOME": "some/where"}
    said = await without_home("", "config", "path", **data)
    assert f"{folder}/.local/share/peerpost/config.toml" in said
    long = await without_home(str(folder / ("x" * 300)), "contacts", "list")
    assert long.split()[0] in {"69", "73", "77", "78"}, long


async def test_a_folder_that_is_gone(folder: Path) -> None:
    gone = ("sh", "-c", f'mkdir {folder}/gone; cd {folder}/gone; rmdir ../gone; exec "$@"', "sh")
    said = await without_home("home", "contacts", "list", wrap=gone)
    assert said.startswith("78 "), said
    assert "the folder this runs in is gone" in said
    said = await without_home(str(folder / "home"), *NEW, wrap=gone)
    assert said.startswith("0 "), said
    await without_home(str(folder / "home"), "node", "stop")


async def test_closed_streams_are_no_place_for_the_database(friend: Callable[..., Friend]) -> None:
    alice = friend("alice")
    await alice.cli(*NEW)
    closed = ("sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh")
    node = await asyncio.create_subprocess_exec(
        *closed, sys.executable, "-m", "peerpost.node", "run", "--home", str(alice.home)
    )
    try:

        async def has_it() -> bool:
            return bool(await alice.node_pid() == node.pid)

        await until(has_it)
        if hasattr(resource, "prlimit"):
            assert {os.fspath(path) for path in standard_streams(node.pid)} == {os.devnull}
    finally:
        node.send_signal(signal.SIGTERM)
    assert await node.wait() == 143


@as_root
@pytest.mark.parametrize("there", ["a home", "a folder", "nothing"])
async def test_root_leaves_nothing_in_a_home_of_somebody_else(folder: Path, there: str) -> None:
    theirs = folder / "theirs"
    theirs.mkdir(mode=0o700)
    home = theirs / "peerpost"
    if there != "nothing":
        home.mkdir(mode=0o700)
    if there == "a home":
        (home / "keyfile").write_text("x")
    give_away(theirs)
    before = everything_in(folder)
    commands = [
        *(("doctor",), ("node", "run"), ("node", "start"), ("inbox", "list"), NEW),
        *(("node", "status"), ("node", "stop"), ("config", "show"), ("send", "-c", "x", "y")),
    ]
    for command in commands:
        said = await without_home(str(home), *command)
        assert said.startswith("77 "), said
        assert "belongs to another user (#54321)" in said
        assert "sudo -u" in said
    assert everything_in(folder) == before
    assert not list(processes_in(folder))


async def test_a_terminal_that_closes_stops_it(friend: Callable[..., Friend]) -> None:
    alice = friend("alice")
    await alice.cli(*NEW)
    process = await alice.run_node()
    process.send_signal(signal.SIGHUP)
    assert await process.wait() == 129
    assert "stopping: SIGHUP" in alice.log_text()
    # Under nohup(1) it is to stay.
    ignoring = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    with (alice.home / "run.log").open("ab") as log:
        node = await asyncio.create_subprocess_exec(
            *ignoring, sys.executable, "-m", "peerpost.node", "run", "--home", str(alice.home),
            stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    async def it_runs() -> bool:
        return bool(await alice.node_pid() == node.pid)

    try:
        await until(it_runs)
        node.send_signal(signal.SIGHUP)
        await asyncio.sleep(1)
        assert await it_runs()
    finally:
        node.send_signal(signal.SIGTERM)
    assert await node.wait() == 143
