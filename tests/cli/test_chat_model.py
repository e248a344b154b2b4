"""What a chat knows: two lists in one order without a gap, drafts that are never lost, marks, files under way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.cli.chat import events
from peerpost.cli.chat.conversation import PAGE_ROWS, Conversation, Side, Unqueued
from peerpost.cli.chat.model import Model
from peerpost.cli.chat.rows import ChatMessage


def at(ms: int) -> str:
    return f"2026-11-30T12:{ms // 60000:02}:{ms // 1000 % 60:02}.{ms % 1000:03}Z"


def received(place: int, ms: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"in{place}",
        "contact": "bob",
        "kind": "text",
        "size": 5,
        "received_at": at(place * 10 if ms is None else ms),
        "unread": False,
        "gap": False,
        "preview": "hello",
        "body": f"received {place}",
        "cursor": str(place),
    } | more


def sent(place: int, ms: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"out{place}",
        "contact": "bob",
        "kind": "text",
        "size": 5,
        "created": at(place * 10 + 5 if ms is None else ms),
        "state": "queued",
        "preview": "hello",
        "body": f"sent {place}",
        "cursor": str(place),
    } | more


def contact(name: str = "bob", **more: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "state": "active", "unread": 0} | more


@pytest.fixture
def model() -> Model:
    model = Model()
    model.apply(events.ContactsCame([contact(), contact("carol")]))
    model.apply(events.TurnedTo("id-bob"))
    return model


def page(
    model: Model,
    incoming: bool,
    rows: list[dict[str, Any]],
    *,
    after: int | None = None,
    last: bool,
) -> None:
    model.apply(events.PageCame("id-bob", incoming, rows, after, last))


def ids(model: Model) -> list[str]:
    return [one.id for one in model.conversation.messages()]


# Two sides in one order


@st.composite
def histories(draw: Any) -> tuple[list[ChatMessage], list[ChatMessage]]:
    """Both sides, oldest first. The clock of a machine may go back, so a later place may have an earlier time."""
    times = st.integers(0, 50)
    incoming = [
        ChatMessage.received(received(place, ms))
        for place, ms in enumerate(draw(st.lists(times, max_size=30)), 1)
    ]
    outgoing = [
        ChatMessage.sent(sent(place, ms))
        for place, ms in enumerate(draw(st.lists(times, max_size=30)), 1)
    ]
    return incoming, outgoing


def load(side: Side, messages: list[ChatMessage], count: int) -> None:
    """Load the next page of a side, as the node would give it."""
    after = side.oldest_place
    newest_first = [one for one in messages[::-1] if after is None or one.place < after]
    side.page(newest_first[:count], after=after, is_last=len(newest_first) < count)


@given(histories(), st.lists(st.tuples(st.booleans(), st.integers(1, 7)), max_size=20))
def test_what_is_shown_never_has_a_gap(
    history: tuple[list[ChatMessage], list[ChatMessage]], pages: list[tuple[bool, int]]
) -> None:
    incoming, outgoing = history
    whole = Conversation()
    load(whole.received, incoming, 1000)
    load(whole.sent, outgoing, 1000)
    everything = whole.messages()
    assert {one.id for one in everything} == {one.id for one in [*incoming, *outgoing]}
    partly = Conversation()
    for is_incoming, count in pages:
        load(partly.side(incoming=is_incoming), incoming if is_incoming else outgoing, count)
        shown = partly.messages()
        assert shown == everything[len(everything) - len(shown) :]


@given(histories(), st.integers(1, 9))
def test_loading_what_is_lacking_comes_to_the_beginning(
    history: tuple[list[ChatMessage], list[ChatMessage]], count: int
) -> None:
    incoming, outgoing = history
    conversation = Conversation()
    for _ in range(200):
        if not (lacking := conversation.lacking()):
            break
        for is_incoming in lacking:
            load(
                conversation.side(incoming=is_incoming),
                incoming if is_incoming else outgoing,
                count,
            )
    assert conversation.is_whole
    assert len(conversation.messages()) == len(incoming) + len(outgoing)


def test_pages_join_and_nothing_is_there_twice(model: Model) -> None:
    page(model, True, [received(n) for n in (9, 8, 7)], last=False)
    page(model, False, [sent(n) for n in (9, 8)], last=True)
    # in7 is the oldest that is known of one side: what of the other is older has to wait.
    assert ids(model) == ["in7", "in8", "out8", "in9", "out9"]
    page(model, True, [received(n) for n in (6, 5)], after=7, last=True)
    model.apply(events.MessageCame(received(10)))
    model.apply(events.MessageCame(received(10)))
    page(model, True, [received(n) for n in (10, 9, 8)], last=False)
    assert ids(model) == ["in5", "in6", "in7", "in8", "out8", "in9", "out9", "in10"]
    assert model.conversation.is_whole


def test_a_newest_page_that_does_not_reach_what_is_known_leaves_no_gap(model: Model) -> None:
    page(model, True, [received(n) for n in (3, 2, 1)], last=True)
    page(model, False, [], last=True)
    page(model, True, [received(n) for n in (90, 89)], last=False)
    assert ids(model) == ["in89", "in90"]
    assert not model.conversation.is_whole
    assert model.conversation.lacking() == [True]


def test_a_state_of_something_older_than_what_is_known_makes_no_gap(model: Model) -> None:
    page(model, True, [], last=True)
    page(model, False, [sent(n) for n in range(100, 100 - PAGE_ROWS, -1)], last=False)
    before = ids(model)
    model.apply(events.SentCame(sent(3, state="delivered")))
    assert ids(model) == before


# What is typed


def test_what_was_typed_is_shown_until_the_node_tells_of_it(model: Model) -> None:
    page(model, True, [], last=True)
    page(model, False, [], last=True)
    model.begin_sending("id-bob", [Unqueued(key="k", text="hello")])
    model.apply(events.Queued("id-bob", "k", {"id": "out1"}))
    assert [one.id for one in model.conversation.unqueued] == ["out1"]
    model.apply(events.SentCame(sent(1)))
    assert (model.conversation.unqueued, ids(model)) == ([], ["out1"])


def test_a_row_that_is_told_before_the_answer_is_shown_once(model: Model) -> None:
    page(model, True, [], last=True)
    page(model, False, [], last=True)
    model.begin_sending("id-bob", [Unqueued(key="k", text="hello")])
    model.apply(events.SentCame(sent(1)))
    model.apply(events.Queued("id-bob", "k", {"id": "out1"}))
    assert (model.conversation.unqueued, ids(model)) == ([], ["out1"])


def type_and_send(model: Model, *texts: str) -> list[Unqueued]:
    found = []
    for text in texts:
        model.apply(events.Typed("id-bob", text))
        found.append(model.take_draft("id-bob", f"key of {text}"))
        model.begin_sending("id-bob", found[-1:])
    return found


def test_what_could_not_be_sent_goes_back_to_the_input_and_keeps_its_key(model: Model) -> None:
    type_and_send(model, "one")
    assert model.conversation.draft == ""
    model.apply(events.NotSent("id-bob", "key of one", "the node is away", 69))
    assert (model.notice, model.is_error) == ("the node is away", True)
    assert (model.conversation.draft, model.conversation.unqueued) == ("one", [])
    again = model.take_draft("id-bob", "another key")
    assert (again.text, again.key) == ("one", "key of one")


def test_another_text_than_the_one_that_came_back_has_a_key_of_its_own(model: Model) -> None:
    type_and_send(model, "one")
    model.apply(events.NotSent("id-bob", "key of one", "no", 69))
    model.apply(events.Typed("id-bob", "one and more"))
    assert model.take_draft("id-bob", "another key").key == "another key"
    model.apply(events.Typed("id-bob", "one"))
    assert model.take_draft("id-bob", "a third key").key == "a third key"


def test_of_several_that_could_not_be_sent_none_is_lost_nor_changes_its_place(
    model: Model,
) -> None:
    type_and_send(model, "one", "two")
    model.apply(events.Typed("id-bob", "three"))
    assert model.unsent() == [("bob", "one"), ("bob", "two"), ("bob", "three")]
    for text in ("one", "two"):
        model.apply(events.NotSent("id-bob", f"key of {text}", "the node is away", 69))
    assert model.conversation.draft == "three", "what is being typed stays"
    assert [(one.text, one.why) for one in model.conversation.failed] == [
        ("one", "the node is away"),
        ("two", "the node is away"),
    ]
    third = model.take_draft("id-bob", "k")
    ordered = sorted([third, *model.conversation.failed], key=lambda one: one.number)
    assert [one.text for one in ordered] == ["one", "two", "three"]
    model.begin_sending("id-bob", ordered)
    assert model.conversation.failed == []


def test_the_first_of_several_goes_to_the_free_input_and_stays_the_first(model: Model) -> None:
    type_and_send(model, "one", "two")
    for text in ("one", "two"):
        model.apply(events.NotSent("id-bob", f"key of {text}", "no", 69))
    assert model.conversation.draft == "one"
    first = model.take_draft("id-bob", "k")
    assert first.number < model.conversation.failed[0].number


def test_a_file_that_could_not_be_sent_stays_where_it_is_shown(model: Model) -> None:
    model.begin_sending("id-bob", [model.file_to_send("k", "~/x.bin")])
    model.apply(events.NotSent("id-bob", "k", "the node is away", 69))
    assert [(one.path, one.why) for one in model.conversation.failed] == [
        ("~/x.bin", "the node is away")
    ]
    assert model.unsent() == [("bob", "~/x.bin")]
    assert model.drop_failed("id-bob") == 1
    assert model.unsent() == []


def test_a_file_that_is_not_there_is_not_tried_for_ever(model: Model) -> None:
    model.begin_sending("id-bob", [model.file_to_send("k", "~/x.bin")])
    model.apply(events.NotSent("id-bob", "k", "there is no file", 66))
    assert model.conversation.unqueued == []
    assert model.notice == "there is no file"


def test_drafts_are_kept_for_each_contact(model: Model) -> None:
    model.apply(events.Typed("id-bob", "for bob"))
    model.apply(events.TurnedTo("id-carol"))
    assert model.conversation.draft == ""
    model.apply(events.TurnedTo("id-bob"))
    assert model.conversation.draft == "for bob"


# What was not read


def test_the_mark_stands_before_the_first_that_was_not_read_until_one_turns_away(
    model: Model,
) -> None:
    page(model, True, [received(n, unread=n > 2) for n in (4, 3, 2, 1)], last=True)
    page(model, False, [], last=True)
    assert model.conversation.new_from == "in3"
    model.apply(events.MarkedRead(["in3", "in4"]))
    assert not any(one.unread for one in model.conversation.messages())
    assert model.conversation.new_from == "in3", "it stays while one reads"
    model.apply(events.TurnedTo("id-carol"))
    model.apply(events.TurnedTo("id-bob"))
    assert model.conversation.new_from == ""


def test_what_comes_while_somebody_looks_has_no_mark_and_else_it_has(model: Model) -> None:
    page(model, True, [], last=True)
    page(model, False, [], last=True)
    model.apply(events.MessageCame(received(1, unread=True)))
    assert model.conversation.new_from == ""
    model.apply(events.MarkedRead(["in1"]))
    model.is_watched = False
    model.apply(events.MessageCame(received(2, unread=True)))
    model.apply(events.MessageCame(received(3, unread=True)))
    assert model.conversation.new_from == "in2"


def test_a_message_of_a_contact_that_has_just_been_renamed_is_not_lost(model: Model) -> None:
    page(model, True, [], last=True)
    page(model, False, [], last=True)
    model.apply(events.MessageCame(received(1, contact="robert")))
    assert ids(model) == []
    model.apply(events.ContactsCame([contact() | {"name": "robert"}, contact("carol")]))
    assert ids(model) == ["in1"]


def test_unread_of_others_are_counted_and_invited_ones_are_none(model: Model) -> None:
    rows = [contact(unread=2), contact("carol", unread=3), contact("eve", state="invited")]
    model.apply(events.ContactsCame(rows))
    assert model.unread_elsewhere() == 3
    assert "id-eve" not in model.contacts


def test_a_row_with_the_beginning_alone_does_not_replace_a_text(model: Model) -> None:
    page(model, True, [], last=True)
    page(model, False, [sent(1)], last=True)
    row = {key: value for key, value in sent(1, state="delivered").items() if key != "body"}
    model.apply(events.SentCame(row))
    (one,) = model.conversation.messages()
    assert (one.text, one.state, one.is_cut) == ("sent 1", "delivered", False)


# Files under way


def transfer(state: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "t1",
        "message": None,
        "contact": "bob",
        "direction": "in",
        "name": "x.bin",
        "state": state,
    } | more


def test_an_incoming_file_is_shown_until_it_is_a_message_and_a_failure_stays(model: Model) -> None:
    model.apply(events.TransferCame(transfer("active")))
    assert [one.state for one in model.files_of("id-bob")] == ["active"]
    assert model.files_of("id-carol") == []
    model.apply(events.TransferCame(transfer("done")))
    assert model.files_of("id-bob") == []
    model.apply(events.TransferCame(transfer("failed", error="why")))
    model.apply(events.Linked(""))
    assert [one.state for one in model.files_of("id-bob")] == ["failed"]


def test_files_under_way_are_told_anew_by_another_stream_and_not_forgotten_by_a_look(
    model: Model,
) -> None:
    model.apply(events.TransferCame(transfer("active")))
    model.apply(events.LookAgain())
    assert len(model.files_of("id-bob")) == 1
    model.apply(events.Linked("There is no node"))
    assert len(model.files_of("id-bob")) == 1
    model.apply(events.Linked(""))
    assert model.files_of("id-bob") == []


def test_an_outgoing_file_is_found_by_its_message_until_it_has_ended(model: Model) -> None:
    model.apply(events.TransferCame(transfer("active", direction="out", message="out1")))
    assert model.going_out("out1") is not None
    model.apply(events.TransferCame(transfer("failed", direction="out", message="out1")))
    assert model.going_out("out1") is None
