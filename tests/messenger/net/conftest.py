from __future__ import annotations

import functools

import pytest

from tests.support.net_rig import Kind, StockDefectError, kinds
from tests.support.stock_net import mixed

KINDS = {
    **kinds(),
    "ours-stock": functools.partial(mixed, stock_dials=False),
    "stock-ours": functools.partial(mixed, stock_dials=True),
}
"""Of the mixed ones, the side that dials first."""

OUR_OWN = "it tells of nothing but our own transport, which runs on the other side"
T7 = "defect T7: to stock, a reset and a loss look like the end, or take away what was read before"
T6 = "defect T6: stock is the one that gives up"
T9 = "defect T9: stock is the one that dials"
GATE = "stock has no gate"
NOT_QUEUED = "stock's write returns only when the reader has taken it all; it does not queue"

FAILS = {
    ("ours-stock", "test_reset_is_told_from_the_end[ours-stock-True]"): T7,
    ("ours-stock", "test_what_ended_cleanly_can_be_read_whatever_comes_then"): T7,
    ("ours-stock", "test_close_of_a_connection_flushes"): T7,
    ("ours-stock", "test_loss_of_the_connection_reaches_everybody"): T7,
    ("stock-ours", "test_loss_of_the_connection_reaches_everybody"): T7,
}
"""What stock, on its side, does not do, in a test or in a case of it; each must go on failing there. The defects
are those of test_defects.py."""

SOMETIMES = {("ours-stock", "test_reset_is_told_from_the_end[ours-stock-False]"): T7}
"""The same where it depends on which of its tasks stock runs first: there only our own side must do right."""

NOT_TRIED = {
    ("ours-stock", "test_gate_refuses_before_there_is_a_connection"): GATE,
    ("ours-stock", "test_stranger_has_one_stream_until_it_is_admitted"): GATE,
    (
        "ours-stock",
        "test_unread_stream_that_was_closed_does_not_hold_up_its_peer",
    ): "stock gives no credit for what it does not read: enough only where its window has grown",
    ("ours-stock", "test_stranger_that_says_too_much_is_shown_out"): GATE,
    ("ours-stock", "test_ninth_stranger_evicts_the_oldest_that_was_not_admitted"): GATE,
    ("stock-ours", "test_stranger_has_one_stream_until_it_is_admitted"): NOT_QUEUED,
    ("stock-ours", "test_wrong_peer_id_is_refused"): "stock is the one that refuses",
    ("stock-ours", "test_dead_address_does_not_hide_a_live_one"): T9,
    ("stock-ours", "test_dial_names_the_cause_of_each_address"): T9,
    ("stock-ours", "test_cancelled_dials_leave_nothing"): T9,
    ("stock-ours", "test_cancelled_write_is_whole_or_nothing_and_hurts_no_other"): T6,
    ("stock-ours", "test_cancelled_waiting_takes_nothing_away"): T6,
    (
        "stock-ours",
        "test_closed_here_is_no_clean_end_either",
    ): "stock reads on for ever on what it has closed",
    ("stock-ours", "test_close_of_a_connection_flushes"): NOT_QUEUED,
    ("stock-ours", "test_close_of_a_stream_waits_for_a_slow_reader"): NOT_QUEUED,
    **{
        (kind, name): OUR_OWN
        for kind in ("ours-stock", "stock-ours")
        for name in ("test_address_that_is_taken", "test_peer_id_is_that_of_the_key")
    },
}
"""What would tell nothing, or wait for ever."""


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each implementation of the transport in turn, and ours with stock on the other side."""
    case = (request.param, request.node.originalname)
    if case in NOT_TRIED:
        pytest.skip(NOT_TRIED[case])
    for named in (case, (request.param, request.node.name)):
        if fails := FAILS.get(named) or SOMETIMES.get(named):
            always = named in FAILS
            mark = pytest.mark.xfail(reason=fails, raises=StockDefectError, strict=always)
            request.applymarker(mark)
    return KINDS[request.param]()
