"""From a passphrase to a key: its one form in bytes, and argon2id with a cost that is bounded before it is paid."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from peerpost.errors import BadInputError, ShortMemoryError

__all__ = [
    "DEFAULT",
    "FLOOR",
    "KEY_BYTES",
    "MAX_PASSPHRASE_BYTES",
    "SALT_BYTES",
    "Cost",
    "calibrate",
    "derive",
    "normalize",
    "require_memory",
]

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
MAX_PASSPHRASE_BYTES: Final = 1024
MAX_MEMORY_KIB: Final = 2 << 20
MAX_PASSES: Final = 16
MAX_LANES: Final = 16
TARGET_S: Final = 1.0
"""How long one try may take here, and so takes whoever guesses, on a machine like this."""
FREE_PART: Final = 4
"""At most this part of the free memory is taken, a quarter: an unlock must not push other programs out."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one try costs in argon2id: memory in KiB, passes over it, and lanes."""

    memory_kib: int
    passes: int
    lanes: int

    @classmethod
    def parse(cls, given: object) -> Cost:
        """Return the cost of a mapping with `memory_kib`, `passes` and `lanes`, or of three numbers in that order.

        Raises BadInputError beyond 2 GiB, 16 passes or 16 lanes, or if it is no cost at all. Nothing is allocated.
        """
        numbers: list[Any]
        if isinstance(given, dict):
            numbers = [given.get(name) for name in ("memory_kib", "passes", "lanes")]
        elif isinstance(given, (list, tuple)):
            numbers = list(given)
        else:
            numbers = []
        if len(numbers) != 3 or not all(type(number) is int for number in numbers):
            raise BadInputError("the cost of a passphrase is three whole numbers")
        memory_kib, passes, lanes = numbers
        if not (
            1 <= passes <= MAX_PASSES
            and 1 <= lanes <= MAX_LANES
            and 8 * lanes <= memory_kib <= MAX_MEMORY_KIB
        ):
            raise BadInputError(
                f"the cost of a passphrase is out of bounds: {memory_kib} KiB, {passes} passes, {lanes} lanes"
            )
        return cls(memory_kib, passes, lanes)

    @property
    def work_kib(self) -> int:
        """How much memory is written over in one try; the time that it takes grows with this."""
        return self.memory_kib * self.passes


DEFAULT: Final = Cost(256 << 10, 3, 1)
"""One lane, as libsodium has it, so that other programs can do the same."""
FLOOR: Final = Cost(64 << 10, 3, 1)
"""What a passphrase costs at least."""


def normalize(text: bytes | str) -> bytes:
    r"""Return the bytes of a passphrase: UTF-8 in the form NFC, without the one line end that may close it.

    A line end is "\n" or "\r\n". Raises BadInputError if nothing is left, it is no UTF-8, or too long.
    """
    too_long = BadInputError(f"a passphrase has at most {MAX_PASSPHRASE_BYTES} bytes")
    if len(text) > MAX_PASSPHRASE_BYTES + 2:
        raise too_long
    try:
        given = text if isinstance(text, str) else text.decode()
        given = given.removesuffix("\n").removesuffix("\r") if given.endswith("\n") else given
        passphrase = unicodedata.normalize("NFC", given).encode()
    except UnicodeError:
        raise BadInputError("the passphrase is not valid UTF-8") from None
    if not passphrase:
        raise BadInputError("the passphrase is empty")
    if len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise too_long
    return passphrase


def require_memory(cost: Cost, free_bytes: int | None) -> None:
    """Raise ShortMemoryError where taking so much would have the system end some process, and perhaps this one.

    `free_bytes` is how much memory is free, None if nobody knows.
    """
    if free_bytes is not None and free_bytes < cost.memory_kib << 10:
        raise ShortMemoryError(
            f"the passphrase needs {cost.memory_kib >> 10} MiB of memory, and {free_bytes >> 20} MiB are free"
        )


def derive(secret: bytes, salt: bytes, cost: Cost) -> bytes:
    """Return the key of 32 bytes that argon2id 1.3 makes of a secret and a salt of 16 bytes.

    Raises ShortMemoryError if the system does not give that much memory.
    """
    # Here, because the command line normalizes passphrases without deriving anything.
    from argon2.exceptions import HashingError
    from argon2.low_level import Type, hash_secret_raw

    if len(salt) != SALT_BYTES:
        raise BadInputError(f"a salt has {SALT_BYTES} bytes")
    try:
        return hash_secret_raw(
            secret,
            salt,
            time_cost=cost.passes,
            memory_cost=cost.memory_kib,
            parallelism=cost.lanes,
            hash_len=KEY_BYTES,
            type=Type.ID,
        )
    except (HashingError, MemoryError) as error:
        raise ShortMemoryError(
            f"the passphrase needs {cost.memory_kib >> 10} MiB of memory, which are not free"
        ) from error


def calibrate(
    clock: Callable[[], float],
    free_bytes: int | None = None,
    *,
    memory_kib: int = DEFAULT.memory_kib,
) -> Cost:
    """Return the cost that takes about a second here, never under FLOOR: first less memory, then more passes.

    `clock` returns seconds; `free_bytes` is how much memory is free, None if nobody knows.
    """
    begun = clock()
    derive(b"calibrate", bytes(SALT_BYTES), FLOOR)
    kib_per_s = FLOOR.work_kib / max(clock() - begun, 1e-3)
    affordable_kib = int(kib_per_s * TARGET_S)
    most_kib = min(memory_kib, affordable_kib // FLOOR.passes)
    if free_bytes is not None:
        most_kib = min(most_kib, free_bytes // FREE_PART >> 10)
    memory_kib = max(FLOOR.memory_kib, most_kib >> 10 << 10)  # whole MiB
    passes = min(MAX_PASSES, max(FLOOR.passes, affordable_kib // memory_kib))
    return Cost(memory_kib, passes, FLOOR.lanes)
