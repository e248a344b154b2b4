"""The chat on the whole screen, driven by Textual's pilot, with two real nodes as processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from peerpost.cli.app import App
from peerpost.cli.chat.calls import Calls
from peerpost.cli.chat.screen.chat import ChatApp
from peerpost.cli.chat.screen.composer import Composer
from peerpost.cli.chat.screen.history import History
from peerpost.cli.chat.screen.lines import Lines
from peerpost.cli.chat.screen.pages import TextPage
from tests.support.nodes import Friend, content, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]


class Screen:
    """A chat on a screen of a given size."""

    def __init__(self, chat: ChatApp, pilot: Pilot[int]) -> None:
        self.chat = chat
        self.pilot = pilot

    @property
    def history(self) -> History:
        return self.chat.screen_stack[0].query_one(History)

    @property
    def composer(self) -> Composer:
        return self.chat.screen_stack[0].query_one(Composer)

    @property
    def lines(self) -> list[str]:
        """Return all lines of the conversation that are laid out."""
        return text_of(self.history)

    @property
    def on_screen(self) -> list[str]:
        """Return what is drawn of the conversation."""
        height = self.history.scrollable_content_region.height
        return [self.history.render_line(y).text.rstrip() for y in range(height)]

    async def type(self, text: str) -> None:
        for char in text:
            await self.pilot.press(
                {" ": "space", "\n": "ctrl+j", "/": "slash", ".": "full_stop"}.get(char, char)
            )

    async def say(self, text: str) -> None:
        await self.type(text)
        await self.pilot.press("enter")

    async def until(self, condition: Callable[[], object]) -> None:
        async def holds() -> object:
            await self.pilot.pause()
            return condition()

        try:
            await until(holds, timeout_s=30)
        except AssertionError:
            raise AssertionError("\n".join([*self.lines, self.chat.desk.model.notice])) from None


def text_of(widget: Lines) -> list[str]:
    return ["".join(text for text, _ in line.parts) for _, line in widget._rows]


@asynccontextmanager
async def chatting(
    who: Friend, contact: str = "", *, size: tuple[int, int] = (80, 24), spawn: bool = True
) -> AsyncIterator[Screen]:
    app = App()
    app.given_home, app.spawn = who.home, spawn
    contacts = await who.ask("contacts.list")
    ids = {row["name"]: row["id"] for row in contacts}
    chat = ChatApp(app, contacts, ids.get(contact, ""))
    try:
        async with chat.run_test(size=size) as pilot:
            await pilot.pause()
            yield Screen(chat, pilot)
    finally:
        chat.end()


async def say(who: Friend, contact: str, *texts: str) -> None:
    for text in texts:
        await who.ask("send-net", {"contact": contact, "text": text})


async def has(who: Friend, count: int) -> None:
    async def came() -> bool:
        return len(await who.texts()) == count

    await until(came)


async def test_old_messages_come_as_one_scrolls_and_what_is_looked_at_stays(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    for number in range(150):
        await say(alice, "bob", f"in {number}")
        if number % 3 == 0:
            await say(bob, "alice", f"out {number}")
    await has(bob, 150)
    async with chatting(bob, "alice") as screen:
        await screen.until(lambda: "  in 149" in screen.lines)
        assert "  in 50" not in screen.lines, "not all at once"
        assert "  in 149" in screen.on_screen
        for _ in range(200):
            await screen.pilot.press("pageup")
            if screen.chat.desk.model.conversation.is_whole and not screen.history.scroll_offset.y:
                break
            await asyncio.sleep(0.02)
        await screen.until(lambda: "  in 0" in screen.on_screen)
        shown = [line.strip() for line in screen.lines if line.startswith("  in ")]
        assert shown == [f"in {number}" for number in range(150)], "each once, in order"
        sent = [line.strip() for line in screen.lines if line.startswith("  out ")]
        assert sent == [f"out {number}" for number in range(0, 150, 3)]
        before = screen.on_screen
        await say(alice, "bob", "one more")
        await screen.until(lambda: "  one more" in screen.lines)
        assert screen.on_screen == before, "what is looked at stays where it is"


async def test_only_what_was_on_the_screen_is_read(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await say(alice, "bob", *(f"text {number}" for number in range(40)))
    await has(bob, 40)

    async def unread() -> int:
        return len(await bob.ask("inbox.list", {"unread": True}))

    async with chatting(bob) as screen:
        await screen.pilot.pause(0.5)
        assert await unread() == 40, "nobody has opened it"
        await screen.pilot.press("enter")
        await screen.until(lambda: "  text 39" in screen.on_screen)

        async def some() -> bool:
            return await unread() < 40

        await until(some)
        await screen.pilot.pause(0.3)
        left = await unread()
        assert left >= 40 - 24, "what is above the screen was not seen"
        assert "---- new ----" in screen.lines
        screen.chat.on_app_blur()
        await say(alice, "bob", "while away")
        await screen.until(lambda: "  while away" in screen.lines)
        await screen.pilot.pause(0.3)
        assert await unread() == left + 1
        screen.chat.on_app_focus()

        async def seen() -> bool:
            return await unread() == left

        await until(seen)


async def test_a_text_that_cannot_be_sent_stays_in_the_input_and_is_sent_once(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    async with chatting(alice, "bob", spawn=False) as screen:
        await screen.until(lambda: not screen.chat.desk.is_busy)
        await alice.stop()
        await screen.say("keep me")
        await screen.until(lambda: screen.composer.text == "keep me")
        assert screen.chat.desk.model.is_error
        await screen.until(lambda: "no node" in screen.chat.desk.model.link.lower())
        await alice.start()
        await screen.until(lambda: not screen.chat.desk.model.link)
        await screen.pilot.press("enter")
        await has(bob, 1)
        await screen.until(lambda: any("delivered" in line for line in screen.lines))
        assert screen.composer.text == ""
        assert screen.lines.count("  keep me") == 1
    assert await bob.texts() == ["keep me"]


async def test_what_fails_is_not_asked_for_without_end(
    pair: tuple[Friend, Friend], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = pair
    await say(bob, "alice", *(f"text {number}" for number in range(60)))
    await has(alice, 60)
    asked = 0
    page = Calls.page

    def counted(self: Calls, *arguments: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        return page(self, *arguments, **more)

    monkeypatch.setattr(Calls, "page", counted)
    async with chatting(alice, "bob", size=(80, 60), spawn=False) as screen:
        await alice.stop()
        await screen.pilot.press("pageup")
        await screen.until(lambda: screen.chat.desk.model.link)
        before = asked
        await screen.pilot.pause(2)
        assert asked - before < 8
        await alice.start()
        for _ in range(30):
            await screen.pilot.press("pageup")
        await screen.until(lambda: "  text 0" in screen.lines)


async def test_what_to_do_about_a_contact_is_said_in_full(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await bob.ask("contacts.remove", {"name": "alice"})
    async with chatting(alice, "bob", size=(60, 20)) as screen:

        def about() -> str:
            region = screen.chat.query_one("#about").region
            strips = [screen.chat.query_one("#about").render_line(y) for y in range(region.height)]
            return " ".join("".join(strip.text for strip in strips).split())

        await screen.until(lambda: "peerpost contacts invite bob" in about())


async def test_fast_typing_goes_to_the_message_it_belongs_to(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    async with chatting(alice, "bob") as screen:
        keys = [char for number in range(8) for char in (*f"m{number}", "enter")]
        await screen.pilot.press(*keys, *"rest")
        await screen.until(lambda: not screen.chat.desk.is_busy)
        assert screen.composer.text == "rest"
        await has(bob, 8)
    assert await bob.texts() == [f"m{number}" for number in range(8)]
    assert screen.chat.desk.model.unsent() == [("bob", "rest")]


async def test_each_contact_has_its_draft_and_a_wrong_command_is_not_sent(
    pair: tuple[Friend, Friend], friend: Any
) -> None:
    alice, bob = pair
    carol = friend("carol")
    await carol.start()
    await carol.create()
    invited = await alice.ask("contacts.invite", {"name": "carol"})
    await carol.ask("contacts.add", {"name": "alice", "ticket": invited["ticket"]})
    async with chatting(alice, "bob") as screen:
        await screen.until(lambda: len(screen.chat.desk.model.contacts) == 2)
        await screen.type("for bob")
        await screen.pilot.press("f2", "down", "enter")
        await screen.until(lambda: getattr(screen.chat.desk.model.contact, "name", "") == "carol")
        assert screen.composer.text == ""
        await screen.say("/to bobb")
        await screen.until(lambda: "did you mean 'bob'" in screen.chat.desk.model.notice)
        await screen.say("/to bob")
        await screen.until(lambda: screen.composer.text == "for bob")
        await screen.pilot.press(*(["backspace"] * 7))
        await screen.say("/nope")
        assert screen.composer.text == "/nope", "it stays, to be corrected"
        assert "no command /nope" in screen.chat.desk.model.notice
    assert await bob.texts() == []


async def test_a_file_is_sent_saved_and_one_that_asks_accepted(
    pair: tuple[Friend, Friend], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = pair
    data = content(700_000)
    (folder / "big file.bin").write_bytes(data)
    (folder / "saved").mkdir()
    async with chatting(alice, "bob") as screen:
        monkeypatch.chdir(folder)
        await screen.pilot.press("f6")
        await screen.pilot.pause()
        await screen.pilot.press(*"big")
        await screen.pilot.pause(0.3)
        await screen.pilot.press("tab")
        await screen.pilot.press("enter")
        await screen.until(lambda: any("big file.bin" in line for line in screen.lines))
        await screen.until(lambda: any("delivered" in line for line in screen.lines))
        await screen.say("/file nowhere.bin")
        await screen.until(lambda: "there is no file nowhere.bin" in screen.chat.desk.model.notice)
    await bob.ask("contacts.edit", {"name": "alice", "accept": "ask"})
    await has(bob, 1)
    monkeypatch.chdir(folder / "saved")
    async with chatting(bob, "alice") as screen:
        await screen.until(lambda: any("big file.bin" in line for line in screen.lines))
        await screen.pilot.press("tab", "up", "s")
        await screen.until(lambda: "saved  big file.bin" in screen.chat.desk.model.notice)
        assert (folder / "saved" / "big file.bin").read_bytes() == data
        await screen.pilot.press("s")
        await screen.until(lambda: "big file (1).bin" in screen.chat.desk.model.notice)
        await alice.queue_file("bob", "asks.bin", content(1000))
        await screen.until(lambda: any("asks to be accepted" in line for line in screen.lines))
        await screen.pilot.press("down", "down", "a")
        await has(bob, 2)
        await screen.until(lambda: any("file: asks.bin" in line for line in screen.lines))
        assert not any("coming in" in line for line in screen.lines)


async def test_a_file_under_way_is_followed_paused_and_taken_back(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await bob.ask("contacts.edit", {"name": "alice", "accept": "ask"})
    id_ = await alice.queue_file("bob", "big.bin", content(3_000_000))

    def of(screen: Screen, *texts: str) -> Callable[[], bool]:
        return lambda: all(any(text in line for line in screen.lines) for text in texts)

    async with chatting(alice, "bob") as to, chatting(bob, "alice") as from_:
        await to.until(of(to, "file: big.bin", "asking"))
        await from_.until(of(from_, "file coming in: big.bin", "/accept"))
        await alice.ask("limits.set", {"up_bytes_s": 300_000})
        await from_.say("/accept")
        await to.until(of(to, "%", "left"))
        await from_.until(of(from_, "%"))
        await from_.pilot.press("tab", "up", "p")
        await from_.until(of(from_, "paused"))
        await to.until(of(to, "paused"))
        await from_.pilot.press("u")
        await to.until(lambda: not of(to, "paused")())
        await to.say(f"/cancel {id_}")
        await to.until(of(to, "cancelled"))
        await from_.until(of(from_, "cancelled"))
    assert await bob.texts() == []


async def test_a_long_text_is_read_as_a_whole_and_a_hit_is_jumped_to(
    pair: tuple[Friend, Friend],
) -> None:
    alice, bob = pair
    await say(alice, "bob", "the needle", *(f"hay {number}" for number in range(120)))
    await has(bob, 121)
    text = "\n".join(f"line {number} [red]x[/red] \x1b[31m" for number in range(1500))
    await say(alice, "bob", text)
    async with chatting(bob, "alice") as screen:
        await screen.until(lambda: any("/read" in line for line in screen.lines))
        assert not any("\x1b" in line for line in screen.on_screen)
        await screen.pilot.press("tab", "up", "enter")
        await screen.until(lambda: isinstance(screen.chat.screen, TextPage))
        page = screen.chat.screen
        await screen.until(lambda: text_of(page.query_one(Lines)))
        shown = text_of(page.query_one(Lines))
        assert shown[-1] == "line 1499 [red]x[/red] <U+001B>[31m"
        await screen.pilot.press("escape", "f3")
        await screen.type("needle")
        await screen.pilot.press("enter")
        await screen.until(lambda: screen.chat.desk.model.search is not None)
        await screen.pilot.pause(0.3)
        await screen.pilot.press("enter")
        await screen.until(lambda: "  the needle" in screen.on_screen)
        assert screen.history.chosen is not None


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60), (30, 8)])
async def test_every_size_has_the_messages_and_the_input(
    pair: tuple[Friend, Friend], size: tuple[int, int]
) -> None:
    alice, bob = pair
    await say(alice, "bob", "hello")
    await has(bob, 1)
    async with chatting(bob, "alice", size=size) as screen:
        await screen.until(lambda: "  hello" in screen.on_screen)
        assert screen.composer.region.height >= 1
        assert screen.composer.region.bottom <= size[1]
        assert screen.composer.region.right <= size[0]
        for key in ("f1", "f4", "f5"):
            await screen.pilot.press(key)
            await screen.until(lambda: isinstance(screen.chat.screen, TextPage))
            await screen.pilot.press("escape")
            await screen.until(lambda: len(screen.chat.screen_stack) == 1)
