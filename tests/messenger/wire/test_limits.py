from __future__ import annotations

from pathlib import Path

from peerpost.wire import limits


def test_buckets_are_ascending_and_fit_a_frame() -> None:
    assert list(limits.PADDING_BUCKETS) == sorted(set(limits.PADDING_BUCKETS))
    assert len(limits.PADDING_BUCKETS) <= limits.MAX_BUCKETS
    assert limits.PADDING_BUCKETS[0] >= limits.MIN_BUCKET_BYTES
    assert limits.PADDING_BUCKETS[-1] - limits.FRAME_HEADER_BYTES <= limits.MAX_FRAME_BYTES


def test_hello_carries_the_longest_statement() -> None:
    assert limits.MAX_STATEMENT_BYTES + 1024 < limits.MAX_HELLO_BYTES
    assert limits.MAX_STATEMENT_BYTES + 64 <= limits.MAX_EXT_VALUE_BYTES


def test_a_leaf_page_and_a_receipt_fit_an_envelope() -> None:
    assert limits.LEAF_BYTES * limits.LEAVES_PER_PAGE + 64 <= limits.MAX_INNER_BYTES
    assert limits.PADDING_BUCKETS[0] >= limits.MAX_SACK_BYTES + 64 + 136


def test_every_limit_has_its_reason() -> None:
    lines = Path(limits.__file__).read_text().splitlines()
    for number, line in enumerate(lines):
        if ": Final" in line:
            assert lines[number + 1].startswith('"""'), line
