"""A receiver against a contact that breaks every rule: the right file, or a cause, and bounded memory."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peerpost.protocol import transfer as commands
from peerpost.protocol.receiving import ReceivePolicy
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import End, SealedFile
from tests.support.file_rig import Chaos, FileRig, HostileSide, ReceiverSide
from tests.support.hostile_sender import ALWAYS, Faults, HostileSender

LOG2 = 14
CHUNK = 1 << LOG2
COUNT = 12
SIZE = (COUNT - 1) * CHUNK + 99
WINDOW = 8
POLICY = ReceivePolicy(max_window_bytes=WINDOW * CHUNK)
PER_CHUNK = (
    "wrong", "moved", "forged", "short", "long", "gap", "shuffled", "missing", "withheld",
    "wrong_leaf", "no_leaf",
)  # fmt: skip


class Meeting:
    """A hostile sender and our receiver."""

    def __init__(
        self, folder: Path, faults: Faults, *, stream: bool = False, seed: int = 1
    ) -> None:
        self.data = random.Random(seed).randbytes(SIZE)
        self.hostile = HostileSender(
            self.data, faults=faults, chunk_log2=LOG2, segment_bytes=4096, stream=stream, seed=seed
        )
        self.rig = FileRig(seed, Chaos())
        HostileSide(self.rig, self.hostile)
        self.keys = Sealer(file_id=self.hostile.file_id, key=self.hostile.key, chunk_log2=LOG2)
        size = None if stream else SIZE
        self.receiver = ReceiverSide(self.rig, self.keys, folder, size=size, policy=POLICY)
        self.folder = folder

    def run(self) -> object:
        """Return how it ended. The rig holds that memory stays within the window."""
        self.rig.connect()
        self.rig.run(lambda: self.receiver.outcome is not None)
        while self.hostile.cancelled is None and self.rig.clock.step():
            pass  # What is said last is still on its way.
        return self.receiver.outcome

    def saved(self) -> bytes:
        finish = self.hostile.finish
        end = End(size=finish.size, count=finish.count, root=finish.root)
        target = self.folder / "saved"
        sealed = SealedFile.open(self.receiver.final, self.keys)
        with sealed, target.open("wb") as file:
            sealed.read_out(end, file.write)
        return target.read_bytes()

    def check(self) -> None:
        """Hold that the file is right, or that there is a cause, told to the sender, and no file."""
        outcome = self.receiver.outcome
        if isinstance(outcome, commands.Completed):
            assert self.saved() == self.data
            assert self.hostile.completed
        else:
            assert isinstance(outcome, commands.Failed)
            assert outcome.cause
            assert self.hostile.cancelled == outcome.cause
            assert not self.receiver.final.exists()

    def close(self) -> None:
        self.rig.close()


Meet = Callable[..., Meeting]


@pytest.fixture
def meet(tmp_path: Path) -> Iterator[Meet]:
    with contextlib.ExitStack() as stack:

        def meet(faults: Faults, **more: bool | int) -> Meeting:
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            meeting = Meeting(folder, faults, **more)  # type: ignore[arg-type]
            return stack.enter_context(contextlib.closing(meeting))

        yield meet


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_an_honest_one_delivers(meet: Meet, stream: bool) -> None:
    meeting = meet(Faults(), stream=stream)
    assert isinstance(meeting.run(), commands.Completed)
    meeting.check()


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("index", [0, 5, COUNT - 1])
@pytest.mark.parametrize("fault", PER_CHUNK)
def test_a_chunk_that_is_wrong_twice_is_asked_for_again(
    meet: Meet, fault: str, index: int, stream: bool
) -> None:
    meeting = meet(Faults(**{fault: {index: 2}}), stream=stream)  # type: ignore[arg-type]
    assert isinstance(meeting.run(), commands.Completed)
    assert meeting.hostile.made[fault]
    meeting.check()


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("index", [0, 5, COUNT - 1])
@pytest.mark.parametrize("fault", [f for f in PER_CHUNK if f != "shuffled"])  # by chance in order
def test_a_chunk_that_is_always_wrong_fails_the_file_and_is_named(
    meet: Meet, fault: str, index: int, stream: bool
) -> None:
    meeting = meet(Faults(**{fault: {index: ALWAYS}}), stream=stream)  # type: ignore[arg-type]
    outcome = meeting.run()
    meeting.check()
    assert isinstance(outcome, commands.Failed)
    assert f"chunk {index} " in outcome.cause


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("lie", ["size", "count", "root", "two ends", "early", "leaves beyond"])
def test_a_lie_about_the_end_fails_the_file(meet: Meet, lie: str, stream: bool) -> None:
    meeting = meet(Faults(lie=lie), stream=stream)
    assert isinstance(meeting.run(), commands.Failed)
    assert meeting.hostile.made["lie"]
    meeting.check()


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_an_end_that_is_never_told(meet: Meet, stream: bool) -> None:
    meeting = meet(Faults(silent_end=True), stream=stream)
    assert isinstance(meeting.run(), commands.Failed)
    meeting.check()


def test_a_flood_of_what_nobody_asked_for_ends_it(meet: Meet) -> None:
    meeting = meet(Faults(unasked=1000, wrong={3: ALWAYS}))
    assert isinstance(meeting.run(), commands.Failed)
    assert "floods" in meeting.receiver.outcome.cause
    meeting.check()


@pytest.mark.parametrize("seed", range(60))
def test_any_mixture_gives_the_file_or_a_cause(meet: Meet, seed: int) -> None:
    draw = random.Random(seed)
    faults = Faults(
        **{
            fault: {draw.randrange(COUNT): draw.choice([1, 2, 2, ALWAYS]) for _ in range(2)}
            for fault in draw.sample(PER_CHUNK, draw.randrange(1, 4))
        },
        duplicate=frozenset(draw.sample(range(COUNT), 3)),
        reordered=draw.random() < 0.5,
        unasked=draw.choice([0, 0, 1, 3]),
    )
    meeting = meet(faults, stream=draw.random() < 0.3, seed=seed)
    meeting.run()
    meeting.check()
