import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

import bot
import sandbox
from sandbox.slack import DEFAULT, Away, Limits, Message, Rate, Reply, SlackSandbox, View, start
from sandbox.slack.asking import SlackError
from sandbox.slack.clock import Clock
from sandbox.slack.limits import RateLimiter
from sandbox.slack.render import EMOJI
from sandbox.slack.workspace import Workspace

Json = dict[str, Any]
SOON = 5.0
NAMED = re.compile(r":([a-z]+(?:_[a-z]+)*):(?= |\n|\"|\*)")


@pytest.fixture
async def slack() -> AsyncIterator[SlackSandbox]:
    async with peopled() as sandbox:
        yield sandbox


@asynccontextmanager
async def peopled(**options: Any) -> AsyncIterator[SlackSandbox]:
    async with start(**options) as sandbox:
        sandbox.add_user("alice")
        sandbox.add_user("bob")
        sandbox.add_user("mallory", is_stranger=True)
        sandbox.add_channel("ops", members=["alice", "bob"])
        sandbox.add_channel("other", members=["alice"], bot=False)
        sandbox.add_channel("secret", members=["alice"], bot=False, private=True)
        sandbox.add_group("oncall", "S0ONCALL", ["alice"])
        yield sandbox


def client_of(slack: SlackSandbox, token: str | None = None) -> AsyncWebClient:
    return AsyncWebClient(token=token or slack.bot_token, base_url=slack.url, retry_handlers=[])


@asynccontextmanager
async def bolt(slack: SlackSandbox, register: Callable[[AsyncApp], None]) -> AsyncIterator[AsyncApp]:
    """An ordinary Bolt app in Socket Mode, connected; only the base URL is ours."""
    app = AsyncApp(client=client_of(slack))
    register(app)
    handler: Any = AsyncSocketModeHandler(app, slack.app_token, ping_interval=0.2)
    before = len(slack.sockets.open)
    await handler.connect_async()
    await slack.until(lambda s: len(s.sockets.open) > before, SOON, "the socket")
    try:
        yield app
    finally:
        await handler.close_async()
        await slack.until(lambda s: len(s.sockets.open) <= before, SOON, "the socket to close")


def section(text: str = "words", **more: Any) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def button(text: str = "Stop prod", action_id: str = "stop", **more: Any) -> Json:
    return {"type": "button", "text": plain(text), "action_id": action_id, **more}


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def modal(*blocks: Json, **more: Any) -> Json:
    return {"type": "modal", "title": plain("Delete"), "submit": plain("Go"), "blocks": list(blocks), **more}


def text_input(block_id: str = "name", **more: Any) -> Json:
    element = {"type": "plain_text_input", "action_id": "typed"}
    return {"type": "input", "block_id": block_id, "label": plain("Name"), "element": element, **more}


async def error_of(call: Any) -> Json:
    with pytest.raises(SlackApiError) as caught:
        await call
    return dict(caught.value.response.data)


def answering(app: AsyncApp) -> None:
    @app.command("/tml")
    async def tml(ack: Any, respond: Any) -> None:
        await ack("got it")
        await respond("one", response_type="in_channel")
        await respond("two")


async def test_a_command_is_acked_and_answered(slack: SlackSandbox) -> None:
    async with bolt(slack, answering):
        alice = slack.person("alice")
        reply = await alice.types("/tml status prod", "ops")
        assert not reply.timed_out
        assert reply.acked_in is not None
        assert reply.acked_in < 1
        assert reply.acked == {"text": "got it"}
        public, private = await reply.answers(2)
        assert (public.text, public.only_for) == ("one", None)
        assert (private.text, private.only_for) == ("two", alice.id)
        assert public in slack.person("bob").sees("ops")
        assert private not in slack.person("bob").sees("ops")
        assert private in alice.sees("ops")


async def test_a_command_carries_what_slack_sends_with_names_escaped(slack: SlackSandbox) -> None:
    seen: list[Json] = []

    def register(app: AsyncApp) -> None:
        @app.command("/tml")
        async def tml(ack: Any, command: Json) -> None:
            seen.append(command)
            await ack()

    async with bolt(slack, register):
        await slack.person("alice").types("/tml tell @bob @oncall #ops a<b & c https://example.com/x @nobody", "#ops")
    (command,) = seen
    assert command["text"] == (
        "tell <@U0BOB|bob> <!subteam^S0ONCALL|@oncall> <#C0OPS|ops> a&lt;b &amp; c <https://example.com/x> @nobody"
    )
    assert {
        key: command[key] for key in ("command", "user_id", "user_name", "channel_id", "channel_name", "team_id")
    } == {
        "command": "/tml",
        "user_id": "U0ALICE",
        "user_name": "alice",
        "channel_id": "C0OPS",
        "channel_name": "ops",
        "team_id": slack.team_id,
    }
    assert command["is_enterprise_install"] == "false"
    assert command["response_url"].startswith(slack.site)
    assert command["trigger_id"]
    assert "enterprise_id" not in command


async def test_a_command_nobody_acks_times_out_and_its_person_is_told() -> None:
    async with peopled(time_scale=0.01) as slack:
        slack.faults.ignores_acks()
        async with bolt(slack, answering):
            reply = await slack.person("alice").types("/tml status", "ops")
            assert reply.timed_out
            assert reply.failed == "operation_timeout"
            told = slack.person("alice").sees("ops")
            assert '/tml failed with the error "operation_timeout"' in [one.text for one in told]
            await reply.answers(2)


async def test_an_unacked_click_is_not_delivered_again() -> None:
    async with peopled(time_scale=0.001) as slack:
        slack.faults.ignores_acks()
        posted = Message("C0OPS", slack.workspace.new_ts(), slack.bot_user_id, "?", [actions(button())])
        slack.workspace.post(posted)
        async with bolt(slack, answering):
            assert (await slack.person("alice").presses("stop", posted)).failed == "operation_timeout"
            slack.faults.heeds_acks()
            await slack.person("alice").types("/tml", "ops")
        kinds = [one.envelope["type"] for one in slack.deliveries]
        assert kinds == ["interactive", "slash_commands"]


async def test_a_command_without_any_socket_fails_at_once(slack: SlackSandbox) -> None:
    reply = await slack.person("alice").types("/tml status", "ops")
    assert (reply.timed_out, reply.failed) == (True, "dispatch_failed")


async def test_of_two_sockets_each_payload_goes_to_one(slack: SlackSandbox) -> None:
    got: dict[str, list[str]] = {"first": [], "second": []}

    def listening(name: str) -> Callable[[AsyncApp], None]:
        def register(app: AsyncApp) -> None:
            @app.command("/tml")
            async def tml(ack: Any, command: Json) -> None:
                got[name].append(command["text"])
                await ack()

        return register

    async with bolt(slack, listening("first")), bolt(slack, listening("second")):
        assert len(slack.sockets.open) == 2
        for number in range(20):
            await slack.person("alice").types(f"/tml {number}", "ops")
    assert {one.socket for one in slack.deliveries} == {1, 2}
    assert sorted(got["first"] + got["second"], key=int) == [str(number) for number in range(20)]
    assert got["first"]
    assert got["second"]


async def test_the_eleventh_socket_is_turned_away(slack: SlackSandbox) -> None:
    async with aiohttp.ClientSession() as session:

        async def connect() -> aiohttp.ClientWebSocketResponse:
            opened = await client_of(slack).apps_connections_open(app_token=slack.app_token)
            return await session.ws_connect(opened["url"])

        sockets = [await connect() for _ in range(10)]
        hellos = [await one.receive_json() for one in sockets]
        assert [one["num_connections"] for one in hellos] == list(range(1, 11))
        assert hellos[0]["connection_info"] == {"app_id": slack.app_id}
        assert (await (await connect()).receive_json())["reason"] == "too_many_websockets"


async def test_a_client_comes_again_when_slack_asks_it_to_and_when_it_is_dropped(slack: SlackSandbox) -> None:
    async with bolt(slack, answering):
        (first,) = slack.sockets.open
        await slack.faults.disconnects("refresh_requested")
        await slack.until(lambda s: first not in s.sockets.open and s.sockets.open, SOON, "another socket")
        (second,) = slack.sockets.open
        slack.faults.drops_sockets()
        await slack.until(lambda s: second not in s.sockets.open and s.sockets.open, SOON, "a third socket")
        assert not (await slack.person("alice").types("/tml", "ops")).timed_out


async def test_a_click_is_a_block_actions_payload_and_may_replace_its_message(slack: SlackSandbox) -> None:
    seen: list[Json] = []

    def register(app: AsyncApp) -> None:
        @app.action("stop")
        async def stop(ack: Any, body: Json, respond: Any) -> None:
            seen.append(body)
            await ack()
            await respond("stopped", replace_original=True)

    async with bolt(slack, register) as app:
        await app.client.chat_postMessage(channel="C0OPS", text="?", blocks=[actions(button(value="op-1"))])
        (posted,) = slack.channel_messages("ops")
        reply = await slack.person("bob").presses("Stop prod", posted)
        assert await reply.answers(1) == [posted]
    (body,) = seen
    assert body["user"] == {"id": "U0BOB", "username": "bob", "name": "bob", "team_id": slack.team_id}
    assert body["container"] == {
        "type": "message",
        "message_ts": posted.ts,
        "channel_id": "C0OPS",
        "is_ephemeral": False,
    }
    assert body["actions"][0]["value"] == "op-1"
    assert body["message"]["ts"] == posted.ts
    assert (posted.text, posted.blocks) == ("stopped", [])
    with pytest.raises(LookupError, match="there is no button 'Stop prod'"):
        await slack.person("bob").presses("Stop prod", posted)


async def test_a_click_lost_while_no_socket_is_there_is_not_delivered_again(slack: SlackSandbox) -> None:
    clicked: list[str] = []

    def register(app: AsyncApp) -> None:
        answering(app)

        @app.action("stop")
        async def stop(ack: Any) -> None:
            clicked.append("stop")
            await ack()

    posted = Message("C0OPS", slack.workspace.new_ts(), slack.bot_user_id, "?", [actions(button())])
    slack.workspace.post(posted)
    assert (await slack.person("alice").presses("stop", posted)).timed_out
    async with bolt(slack, register):
        assert not (await slack.person("alice").types("/tml", "ops")).timed_out
    assert clicked == []


async def test_an_event_nobody_acks_is_delivered_again() -> None:
    async with peopled(time_scale=0.005) as slack:
        heard: list[tuple[str, str | None]] = []

        def register(app: AsyncApp) -> None:
            @app.event("app_mention")
            async def mention(event: Json, request: Any) -> None:
                heard.append((event["text"], request.headers.get("x-slack-retry-num", [None])[0]))
                if len(heard) == 2:
                    slack.faults.heeds_acks()
                slack.workspace.changes.tell()

        slack.faults.ignores_acks()
        async with bolt(slack, register):
            await slack.person("alice").mentions("status", "ops")
            await slack.until(lambda _: len(heard) > 1, SOON, "the event again")
        assert heard == [(f"<@{slack.bot_user_id}> status", "0"), (f"<@{slack.bot_user_id}> status", "1")]


MANY = [section() for _ in range(51)]
CONFIRM = {"title": plain("t"), "text": plain("x"), "confirm": plain("y"), "deny": plain("n")}
OPTION = {"text": plain("o"), "value": "o"}
RICH = {"type": "rich_text", "elements": []}

BAD_BLOCKS: list[tuple[str, list[Json], str]] = [
    ("51 blocks", MANY, "no more than 50 items allowed [json-pointer:/blocks]"),
    ("an unknown type", [{"type": "sparkle"}], "unsupported type: sparkle [json-pointer:/blocks/0/type]"),
    ("no type", [{}], "missing required field: type [json-pointer:/blocks/0]"),
    ("an unknown property", [section(colour="red")], "invalid additional property: colour [json-pointer:/blocks/0]"),
    ("a section of nothing", [{"type": "section"}], "missing required field: text or fields"),
    ("3001 characters", [section("x" * 3001)], "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
    ("an empty text", [section("")], "must be more than 0 characters"),
    ("eleven fields", [{"type": "section", "fields": [plain("f")] * 11}], "no more than 10 items allowed"),
    ("a long field", [{"type": "section", "fields": [plain("f" * 2001)]}], "must be less than 2001 characters"),
    ("a long header", [{"type": "header", "text": plain("h" * 151)}], "must be less than 151 characters"),
    ("a header in mrkdwn", [{"type": "header", "text": section()["text"]}], "unsupported type: mrkdwn"),
    ("26 buttons", [actions(*(button(action_id=str(n)) for n in range(26)))], "no more than 25 items allowed"),
    ("no buttons", [actions()], "no less than 1 items allowed"),
    ("a long block_id", [section(block_id="b" * 256)], "must be less than 256 characters"),
    ("a long action_id", [actions(button(action_id="a" * 256))], "must be less than 256 characters"),
    ("a block_id twice", [section(block_id="b"), section(block_id="b")], "`block_id` b already exists"),
    ("an action_id twice", [actions(button(), button())], "`action_id` stop already exists"),
    ("a long button", [actions(button("x" * 76))], "must be less than 76 characters"),
    ("a button in mrkdwn", [actions({"type": "button", "text": section()["text"]})], "unsupported type: mrkdwn"),
    ("a long value", [actions(button(value="v" * 2001))], "must be less than 2001 characters"),
    ("a strange style", [actions(button(style="warning"))], "must be a valid enum value (primary, danger)"),
    ("a long confirm title", [actions(button(confirm=CONFIRM | {"title": plain("t" * 101)}))], "less than 101"),
    ("a long confirm text", [actions(button(confirm=CONFIRM | {"text": plain("t" * 301)}))], "less than 301"),
    ("eleven in a context", [{"type": "context", "elements": [plain("c")] * 11}], "no more than 10 items allowed"),
    ("a button in a context", [{"type": "context", "elements": [button()]}], "unsupported type: button"),
    ("101 options", [actions({"type": "static_select", "options": [OPTION] * 101})], "no more than 100 items allowed"),
    ("a select of nothing", [actions({"type": "static_select"})], "missing required field: options or option_groups"),
    ("an alert", [{"type": "alert", "text": plain("a")}], "unsupported type: alert"),
    ("two tables", [{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}]]}] * 2, "only one table allowed"),
    ("an image without words", [{"type": "image", "image_url": "https://example.com/i.png"}], "field: alt_text"),
    ("a task done", [{"type": "task_card", "task_id": "1", "title": "t", "status": "completed"}], "valid enum value"),
    ("an input's long label", [text_input() | {"label": plain("l" * 2001)}], "must be less than 2001 characters"),
]


@pytest.mark.parametrize(("what", "blocks", "fault"), BAD_BLOCKS, ids=[row[0] for row in BAD_BLOCKS])
async def test_blocks_that_slack_refuses_are_refused(
    slack: SlackSandbox, what: str, blocks: list[Json], fault: str
) -> None:
    refused = await error_of(client_of(slack).chat_postMessage(channel="C0OPS", text="t", blocks=blocks))
    assert refused["error"] == "invalid_blocks"
    assert any(fault in message for message in refused["response_metadata"]["messages"]), refused
    assert slack.channel_messages("ops") == []


async def test_blocks_that_slack_accepts_are_accepted(slack: SlackSandbox) -> None:
    rich = {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "rich"}]}],
    }
    blocks = [
        {"type": "header", "text": plain("prod :lock:")},
        section("*x*", accessory=button(style="danger", confirm=CONFIRM)),
        {"type": "divider"},
        {"type": "context", "elements": [plain("c")]},
        {"type": "image", "image_url": "https://example.com/i.png", "alt_text": "i"},
        {"type": "markdown", "text": "# m"},
        {"type": "table", "rows": [[{"type": "raw_text", "text": "NAME"}, rich]]},
        {
            "type": "plan",
            "title": "p",
            "tasks": [{"type": "task_card", "task_id": "1", "title": "t", "status": "error"}],
        },
        rich,
        text_input(),
    ]
    posted = await client_of(slack).chat_postMessage(channel="C0OPS", text="t", blocks=blocks)
    assert all(block["block_id"] for block in posted["message"]["blocks"])


BAD_CALLS: list[tuple[str, str, Json, str]] = [
    ("chat.postMessage", "an unknown channel", {"channel": "C0NONE", "text": "t"}, "channel_not_found"),
    ("chat.postMessage", "a channel without the bot", {"channel": "C0OTHER", "text": "t"}, "not_in_channel"),
    ("chat.postMessage", "a private one without it", {"channel": "C0SECRET", "text": "t"}, "channel_not_found"),
    ("chat.postMessage", "no text", {"channel": "C0OPS"}, "no_text"),
    ("chat.postMessage", "40,001 characters", {"channel": "C0OPS", "text": "t" * 40_001}, "msg_too_long"),
    ("chat.postMessage", "blocks that are no JSON", {"channel": "C0OPS", "blocks": "[{"}, "invalid_blocks_format"),
    ("chat.postMessage", "no such thread", {"channel": "C0OPS", "text": "t", "thread_ts": "1.2"}, "thread_not_found"),
    (
        "chat.postMessage",
        "metadata without a type",
        {"channel": "C0OPS", "text": "t", "metadata": {"event_payload": {}}},
        "invalid_metadata_format",
    ),
    ("chat.update", "an unknown ts", {"channel": "C0OPS", "ts": "1.2", "text": "t"}, "message_not_found"),
    ("chat.delete", "an unknown ts", {"channel": "C0OPS", "ts": "1.2"}, "message_not_found"),
    (
        "chat.postEphemeral",
        "somebody elsewhere",
        {"channel": "C0OPS", "user": "U0MALLORY", "text": "t"},
        "user_not_in_channel",
    ),
    ("chat.getPermalink", "an unknown ts", {"channel": "C0OPS", "message_ts": "1.2"}, "message_not_found"),
    ("conversations.info", "an unknown channel", {"channel": "C0NONE"}, "channel_not_found"),
    ("conversations.replies", "no such thread", {"channel": "C0OPS", "ts": "1.2"}, "thread_not_found"),
    ("conversations.list", "a scope it has not", {"types": "im"}, "missing_scope"),
    ("conversations.open", "somebody unknown", {"users": "U0NONE"}, "user_not_found"),
    ("users.info", "somebody unknown", {"user": "U0NONE"}, "user_not_found"),
    ("usergroups.users.list", "no such group", {"usergroup": "S0NONE"}, "no_such_subteam"),
    ("views.open", "a made-up trigger", {"trigger_id": "1.2", "view": modal(section())}, "invalid_trigger_id"),
    ("views.open", "a long title", {"trigger_id": "1", "view": modal(title=plain("t" * 25))}, "invalid_arguments"),
    ("views.open", "101 blocks", {"trigger_id": "1", "view": modal(*MANY, *MANY)}, "invalid_arguments"),
    ("views.open", "long data", {"trigger_id": "1", "view": modal(private_metadata="p" * 3001)}, "invalid_arguments"),
    (
        "views.open",
        "a long callback_id",
        {"trigger_id": "1", "view": modal(callback_id="c" * 256)},
        "invalid_arguments",
    ),
    ("views.open", "no submit", {"trigger_id": "1", "view": modal(text_input(), submit=None)}, "invalid_arguments"),
    ("views.update", "an unknown view", {"view_id": "V0NONE", "view": modal()}, "not_found"),
    ("files.completeUploadExternal", "an unknown file", {"files": [{"id": "F0NONE"}]}, "file_not_found"),
    ("chat.shout", "an unknown method", {}, "unknown_method"),
    ("apps.connections.open", "a bot token", {}, "not_allowed_token_type"),
]


@pytest.mark.parametrize(
    ("method", "what", "arguments", "error"), BAD_CALLS, ids=[f"{row[0]}: {row[1]}" for row in BAD_CALLS]
)
async def test_calls_that_slack_refuses_are_refused(
    slack: SlackSandbox, method: str, what: str, arguments: Json, error: str
) -> None:
    assert (await error_of(client_of(slack).api_call(method, json=arguments)))["error"] == error
    assert slack.calls[-1].result["error"] == error


@pytest.mark.parametrize(("token", "error"), [("xoxb-wrong", "invalid_auth"), (" ", "not_authed")])
async def test_a_call_needs_a_good_token(slack: SlackSandbox, token: str, error: str) -> None:
    assert (await error_of(client_of(slack, token).auth_test()))["error"] == error


async def test_a_scope_that_is_not_granted_is_named() -> None:
    async with peopled(scopes=["chat:write"]) as slack:
        refused = await error_of(client_of(slack).users_info(user="U0ALICE"))
        assert (refused["error"], refused["needed"], refused["provided"]) == (
            "missing_scope",
            "users:read",
            "chat:write",
        )


async def test_another_authors_message_cannot_be_changed(slack: SlackSandbox) -> None:
    said = slack.person("alice").says("mine", "ops")
    client = client_of(slack)
    assert (await error_of(client.chat_update(channel="C0OPS", ts=said.ts, text="t")))["error"] == "cant_update_message"
    assert (await error_of(client.chat_delete(channel="C0OPS", ts=said.ts)))["error"] == "cant_delete_message"


async def test_text_without_blocks_removes_the_blocks(slack: SlackSandbox) -> None:
    client = client_of(slack)
    ts = (await client.chat_postMessage(channel="C0OPS", text="t", blocks=[section()]))["ts"]
    (posted,) = slack.channel_messages("ops")
    kept = {"event_type": "op", "event_payload": {"id": 1}}
    await client.api_call("chat.update", json={"channel": "C0OPS", "ts": ts, "metadata": kept})
    assert posted.blocks
    await client.chat_update(channel="C0OPS", ts=ts, text="t", blocks=[section("other")])
    assert posted.edited is None
    await client.chat_update(channel="C0OPS", ts=ts, text="new")
    assert (posted.text, posted.blocks, posted.metadata) == ("new", [], kept)
    assert posted.edited


async def test_a_form_body_is_read_like_json(slack: SlackSandbox) -> None:
    form = {"channel": "C0OPS", "text": "t", "blocks": '[{"type":"divider"}]'}
    await client_of(slack).api_call("chat.postMessage", data=form)
    (posted,) = slack.channel_messages("ops")
    assert posted.blocks[0]["type"] == "divider"


async def test_messages_in_a_channel_are_limited_after_a_burst_and_other_channels_are_not(slack: SlackSandbox) -> None:
    slack.add_channel("quiet", members=["alice"])
    client = client_of(slack)
    for number in range(5):
        await client.chat_postMessage(channel="C0OPS", text=str(number))
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C0OPS", text="6")
    assert caught.value.response.status_code == 429
    assert caught.value.response["error"] == "ratelimited"
    assert 1 <= int(caught.value.response.headers["Retry-After"]) <= 5
    await client.chat_postMessage(channel="C0QUIET", text="1")
    assert len(slack.channel_messages("ops")) == 5


async def test_limits_can_be_set_and_switched_off() -> None:
    async with peopled(limits=DEFAULT.having({"users.info": Rate(1, 60)})) as slack:
        await client_of(slack).users_info(user="U0BOB")
        assert (await error_of(client_of(slack).users_info(user="U0BOB")))["error"] == "ratelimited"
    async with peopled(limits=None) as slack:
        for _ in range(12):
            await client_of(slack).chat_postMessage(channel="C0OPS", text="t")


class HandClock(Clock):
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_window_slides_and_says_how_long_to_wait() -> None:
    clock = HandClock(scale=0.5)
    limiter = RateLimiter(Limits({"chat.update": Rate(2, 60)}), clock)
    waits = []
    for clock.now in (0.0, 10.0, 20.0, 29.0, 30.0, 31.0, 40.0):
        waits.append(limiter.retry_after("chat.update", "C0OPS"))
    assert waits == [None, None, 10, 1, None, 9, None]


async def test_a_lost_response_is_found_by_its_metadata(slack: SlackSandbox) -> None:
    client = client_of(slack)
    slack.faults.drops_after("chat.postMessage")
    metadata = {"event_type": "operation", "event_payload": {"id": "op-7k2m9x"}}
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel="C0OPS", text="t", metadata=metadata)
    assert slack.calls[-1].lost
    found = await client.conversations_history(channel="C0OPS", include_all_metadata=True)
    assert found["messages"][0]["metadata"] == metadata
    without = await client.conversations_history(channel="C0OPS")
    assert "metadata" not in without["messages"][0]


async def test_planned_faults_happen_once_each_and_before_any_effect(slack: SlackSandbox) -> None:
    client = client_of(slack)
    slack.faults.answers("chat.postMessage", 429, retry_after=7)
    slack.faults.answers("chat.postMessage", 503)
    slack.faults.drops_before("chat.postMessage")
    with pytest.raises(SlackApiError) as limited:
        await client.chat_postMessage(channel="C0OPS", text="1")
    assert limited.value.response.headers["Retry-After"] == "7"
    with pytest.raises(SlackApiError) as away:
        await client.chat_postMessage(channel="C0OPS", text="2")
    assert away.value.response.status_code == 503
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel="C0OPS", text="3")
    await client.chat_postMessage(channel="C0OPS", text="4")
    assert [one.text for one in slack.channel_messages("ops")] == ["4"]


async def test_slack_goes_away_and_comes_back() -> None:
    async with peopled(time_scale=0.1) as slack, bolt(slack, answering):
        client: Any = client_of(slack)
        slack.faults.goes_away()
        with pytest.raises(aiohttp.ClientError):
            await client.auth_test()
        assert (await slack.person("alice").types("/tml", "ops")).timed_out
        slack.faults.comes_back()
        await slack.until(lambda s: s.sockets.open, SOON, "the socket again")
        assert not (await slack.person("alice").types("/tml", "ops")).timed_out
        slack.faults.goes_away(Away.SILENT)
        client.timeout = 0.05
        with pytest.raises(TimeoutError):
            await client.auth_test()
        assert (await slack.person("alice").types("/tml", "ops")).failed == "operation_timeout"


async def test_a_response_url_takes_five_answers_and_then_no_more(slack: SlackSandbox) -> None:
    def register(app: AsyncApp) -> None:
        @app.command("/tml")
        async def tml(ack: Any) -> None:
            await ack()

    async with bolt(slack, register):
        reply = await slack.person("alice").types("/tml", "ops")
    hook = AsyncWebhookClient(reply.envelope["payload"]["response_url"])
    refused = await hook.send(text="t", blocks=[{"type": "sparkle"}])
    assert (refused.status_code, "invalid_blocks" in refused.body) == (400, True)
    for number in range(5):
        assert (await hook.send(text=str(number))).body == "ok"
    spent = await hook.send(text="six")
    assert (spent.status_code, "used_url" in spent.body) == (404, True)
    assert [one.text for one in reply.messages] == ["0", "1", "2", "3", "4"]


async def test_a_response_url_ends_after_half_an_hour() -> None:
    async with peopled(time_scale=1e-7) as slack:
        path = slack.workspace.new_response_url("U0ALICE", "C0OPS", None)
        late = await AsyncWebhookClient(slack.response_url(path)).send(text="t")
        assert (late.status_code, "expired_url" in late.body) == (404, True)


async def test_an_ephemeral_message_is_for_one_person_and_the_web_api_knows_nothing_of_it(slack: SlackSandbox) -> None:
    client = client_of(slack)
    sent = await client.chat_postEphemeral(channel="C0OPS", user="U0ALICE", text="psst", blocks=[actions(button())])
    (seen,) = slack.person("alice").sees("ops")
    assert seen.ts == sent["message_ts"]
    assert slack.person("bob").sees("ops") == slack.channel_messages("ops") == []
    refused = await error_of(client.chat_update(channel="C0OPS", ts=seen.ts, text="t"))
    assert refused["error"] == "message_not_found"
    with pytest.raises(LookupError, match="does not see"):
        await slack.person("bob").presses("stop", seen)
    payload = slack.person("alice").press_payload("stop", seen)
    assert payload["container"]["is_ephemeral"]
    assert "message" not in payload
    assert "(only visible to alice)" in slack.transcript("ops")


def with_modal(app: AsyncApp) -> None:
    @app.command("/tml")
    async def tml(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=modal(text_input(), callback_id="delete"))

    @app.view("delete")
    async def submitted(ack: Any, view: Json) -> None:
        typed = view["state"]["values"]["name"]["typed"]["value"]
        if typed == "prod":
            await ack()
        elif typed == "more":
            await ack(response_action="update", view=modal(section("step two")))
        elif typed == "pushed":
            await ack(response_action="push", view=modal(section("on top"), notify_on_close=True, callback_id="top"))
        else:
            await ack(response_action="errors", errors={"name": "type prod"})


async def test_a_modal_is_opened_refused_and_submitted(slack: SlackSandbox) -> None:
    async with bolt(slack, with_modal):
        alice = slack.person("alice")
        await alice.types("/tml", "ops")
        view = await slack.until(lambda _: alice.modal, SOON, "the modal")
        assert view.title == "Delete"
        with pytest.raises(ValueError, match="must be filled in"):
            await alice.submits(view)
        with pytest.raises(ValueError, match="no field colour"):
            await alice.submits(view, {"colour": "red"})
        reply = await alice.submits(view, {"typed": "staging"})
        assert reply.errors == {"name": "type prod"}
        assert alice.modal is view
        assert "! type prod" in slack.rendered(view)
        await alice.submits(view, {"name": "prod"})
        assert alice.modal is None


async def test_a_modal_is_replaced_stacked_and_closed(slack: SlackSandbox) -> None:
    closed: list[str] = []

    def register(app: AsyncApp) -> None:
        with_modal(app)

        @app.view_closed("top")
        async def top(ack: Any, view: Json) -> None:
            closed.append(view["callback_id"])
            await ack()

    async with bolt(slack, register):
        alice = slack.person("alice")
        await alice.types("/tml", "ops")
        view = await slack.until(lambda _: alice.modal, SOON, "the modal")
        await alice.submits(view, {"name": "pushed"})
        top = alice.modal
        assert top is not None
        assert top.previous_id == view.id
        await alice.closes(top)
        assert closed == ["top"]
        assert alice.modal is view
        await alice.submits(view, {"name": "more"})
        assert "step two" in slack.rendered(view)


async def test_a_button_opens_a_modal_that_knows_what_it_is_about(slack: SlackSandbox) -> None:
    seen: list[Json] = []

    def register(app: AsyncApp) -> None:
        @app.action("approve")
        async def approve(ack: Any, body: Json, client: AsyncWebClient) -> None:
            await ack()
            about = body["actions"][0]["value"]
            form = modal(text_input(), callback_id="approve", private_metadata=about)
            await client.views_open(trigger_id=body["trigger_id"], view=form)

        @app.view("approve")
        async def submitted(ack: Any, body: Json) -> None:
            seen.append(body)
            await ack(response_action="clear")

    async with bolt(slack, register) as app:
        blocks = [actions(button("Approve", "approve", value="op-1"))]
        await app.client.chat_postMessage(channel="C0OPS", text="?", blocks=blocks)
        (posted,) = slack.channel_messages("ops")
        bob = slack.person("bob")
        view = await bob.opens("Approve", posted)
        assert slack.person("alice").modal is None
        with pytest.raises(LookupError, match="alice does not see"):
            await slack.person("alice").submits(view, {"name": "prod"})
        await bob.submits(view, {"name": "prod"})
    (body,) = seen
    assert (body["type"], body["user"]["id"], body["view"]["private_metadata"]) == ("view_submission", "U0BOB", "op-1")
    assert body["view"]["state"]["values"] == {"name": {"typed": {"type": "plain_text_input", "value": "prod"}}}
    assert bob.modal is None


async def test_a_button_that_opens_nothing_says_so(slack: SlackSandbox) -> None:
    posted = Message("C0OPS", slack.workspace.new_ts(), slack.bot_user_id, "?", [actions(button())])
    slack.workspace.post(posted)
    with pytest.raises(TimeoutError, match=r"the modal that 'stop' opens for bob \(the click: dispatch_failed\)"):
        await slack.person("bob").opens("stop", posted, timeout=0.01)


async def open_modal(slack: SlackSandbox, **view: Any) -> View:
    """In front of Alice: a name and a reason, the latter filled in before."""
    reason = text_input("reason", optional=True)
    reason["element"] = reason["element"] | {"initial_value": "none", "multiline": True}
    opened = modal(text_input(), reason, **view)
    await client_of(slack).views_open(trigger_id=slack.workspace.new_trigger("U0ALICE"), view=opened)
    found = slack.person("alice").modal
    assert found is not None
    return found


def typed_in(reply: Reply) -> dict[str, str | None]:
    """What a submission carries, by block_id."""
    values = reply.envelope["payload"]["view"]["state"]["values"]
    return {block: next(iter(fields.values()))["value"] for block, fields in values.items()}


async def test_what_was_typed_stays_in_a_modal_that_is_sent_back_or_updated(slack: SlackSandbox) -> None:
    def register(app: AsyncApp) -> None:
        @app.view("delete")
        async def submitted(ack: Any, view: Json) -> None:
            typed = view["state"]["values"]["name"]["typed"]["value"]
            if typed == "next":
                await ack(response_action="update", view=modal(text_input(), text_input("other"), callback_id="delete"))
            else:
                await ack(response_action="errors", errors={"name": "another name"})

    view = await open_modal(slack, callback_id="delete")
    async with bolt(slack, register):
        alice = slack.person("alice")
        reply = await alice.submits(view, {"name": "prod", "reason": "because"})
        assert reply.errors == view.errors == {"name": "another name"}
        assert typed_in(await alice.submits(view)) == {"name": "prod", "reason": "because"}
        assert typed_in(await alice.submits(view, {"reason": ""})) == {"name": "prod", "reason": None}
        await alice.submits(view, {"name": "next"})
        assert (view.errors, list(view.state)) == ({}, ["name"]), "the reason is gone with its block"
        assert typed_in(await alice.submits(view, {"other": "x"})) == {"name": "next", "other": "x"}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"response_action": "errors", "errors": {"elsewhere": "no"}}, "errors name no input block: elsewhere"),
        ({"response_action": "close"}, "unknown response_action: close"),
        ({"response_action": "update", "view": {"type": "home", "blocks": []}}, "must be a valid enum value (modal)"),
    ],
)
async def test_an_ack_that_slack_does_not_understand_leaves_the_modal_open(
    slack: SlackSandbox, answer: Json, fault: str
) -> None:
    def register(app: AsyncApp) -> None:
        @app.view("delete")
        async def submitted(ack: Any) -> Any:
            return await ack(**answer)

    view = await open_modal(slack, callback_id="delete")
    async with bolt(slack, register):
        alice = slack.person("alice")
        with pytest.raises(SlackError) as refused:
            await alice.submits(view, {"name": "prod"})
    assert fault in str(refused.value.answer())
    assert alice.modal is view


async def test_a_submission_that_nobody_acks_leaves_the_modal_open() -> None:
    async with peopled(time_scale=0.01) as slack:
        view = await open_modal(slack, callback_id="delete")
        slack.faults.ignores_acks()
        async with bolt(slack, with_modal):
            alice = slack.person("alice")
            reply = await alice.submits(view, {"name": "prod"})
        assert (reply.failed, alice.modal) == ("operation_timeout", view)


async def test_a_modal_may_go_with_all_below_it(slack: SlackSandbox) -> None:
    cleared: list[bool] = []

    def register(app: AsyncApp) -> None:
        @app.view_closed("top")
        async def top(ack: Any, body: Json) -> None:
            cleared.append(body["is_cleared"])
            await ack()

    await open_modal(slack)
    top = modal(section(), callback_id="top", notify_on_close=True, clear_on_close=True)
    await client_of(slack).views_push(trigger_id=slack.workspace.new_trigger("U0ALICE"), view=top)
    alice = slack.person("alice")
    assert alice.modal is not None
    async with bolt(slack, register):
        await alice.closes(alice.modal)
    assert (alice.modal, cleared) == (None, [True])


async def test_the_bot_writes_to_a_person_directly_and_its_buttons_work_there(slack: SlackSandbox) -> None:
    clicked: list[Json] = []

    def register(app: AsyncApp) -> None:
        @app.action("stop")
        async def stop(ack: Any, body: Json) -> None:
            clicked.append(body)
            await ack()

    alice = slack.person("alice")
    assert alice.direct_messages == []
    async with bolt(slack, register) as app:
        client = app.client
        first = await client.conversations_open(users="U0ALICE")
        again = await client.conversations_open(users="U0ALICE")
        place = first["channel"]["id"]
        assert again["channel"]["id"] == place
        assert (first.get("already_open"), again["already_open"], again["no_op"]) == (None, True, True)
        sent = await client.chat_postMessage(channel=place, text="for you", blocks=[actions(button())])
        await client.chat_postMessage(channel="U0ALICE", text="and this", thread_ts=sent["ts"])
        alice.says("thanks", place)
        card, reply = alice.direct_messages
        assert ((card.text, reply.text), reply.thread_ts) == (("for you", "and this"), card.ts)
        await alice.presses("stop", card)
        link = (await client.chat_getPermalink(channel=place, message_ts=card.ts))["permalink"]
        inside = (await client.chat_getPermalink(channel=place, message_ts=reply.ts))["permalink"]
    assert clicked[0]["channel"] == {"id": place, "name": "directmessage"}
    assert link.endswith(f"/archives/{place}/p{card.ts.replace('.', '')}")
    assert inside.endswith(f"?thread_ts={card.ts}&cid={place}")
    assert slack.person("bob").direct_messages == []
    with pytest.raises(PermissionError):
        slack.person("bob").sees(place)


async def test_some_people_cannot_be_written_to_directly(slack: SlackSandbox) -> None:
    client = client_of(slack)
    slack.person("bob").user.deleted = True
    slack.add_user("otherbot", is_bot=True)

    async def refused(**asked: str) -> str:
        return str((await error_of(client.conversations_open(**asked)))["error"])

    assert await refused(users="U0BOB") == "user_disabled"
    assert await refused(users="U0OTHERBOT") == "cannot_dm_bot"
    assert await refused(users="U0MALLORY") == "invalid_user_combination"
    assert await refused(channel="C0OPS") == "method_not_supported_for_channel_type"
    slack.add_channel("shared", members=["alice", "mallory"], is_ext_shared=True)
    assert (await client.conversations_open(users="U0MALLORY"))["ok"]


def test_the_sandbox_has_everybody_that_a_rule_may_be_about() -> None:
    slack = SlackSandbox(Workspace(Clock(), random.Random(0), ()), None)
    sandbox.populate(slack)
    users = {one.user.name: one.user for one in map(slack.person, ("greta", "otto", "mallory", "deploybot"))}
    assert set(slack.group("tml-ops").users) & set(slack.group("tml-approvers").users), "one may be both"
    assert len(slack.group("tml-ops").users) >= 2
    assert users["greta"].is_restricted
    assert users["otto"].deleted
    assert users["deploybot"].is_bot
    assert (users["mallory"].is_stranger, users["mallory"].team_id) == (True, slack.other_team_id)
    assert slack.channel("partners").is_ext_shared
    assert {one.name for one in slack.people()} == {"alice", "bob", "carol", "dave", "greta", "mallory"}


async def test_a_trigger_opens_one_view_within_three_seconds(slack: SlackSandbox) -> None:
    client, trigger = client_of(slack), slack.workspace.new_trigger("U0ALICE")
    await client.views_open(trigger_id=trigger, view=modal(section()))
    again = await error_of(client.views_open(trigger_id=trigger, view=modal(section())))
    assert again["error"] == "exchanged_trigger_id"
    async with peopled(time_scale=1e-6) as hasty:
        late = client_of(hasty).views_open(trigger_id=hasty.workspace.new_trigger("U0ALICE"), view=modal(section()))
        assert (await error_of(late))["error"] == "expired_trigger_id"


async def test_a_view_changed_meanwhile_is_not_overwritten(slack: SlackSandbox) -> None:
    client = client_of(slack)
    opened = await client.views_open(trigger_id=slack.workspace.new_trigger("U0ALICE"), view=modal(section()))
    view = opened["view"]
    await client.views_update(view_id=view["id"], hash=view["hash"], view=modal(section("two")))
    refused = await error_of(client.views_update(view_id=view["id"], hash=view["hash"], view=modal(section("three"))))
    assert refused["error"] == "hash_conflict"
    home = {"type": "home", "blocks": [section("home")]}
    await client.views_publish(user_id="U0ALICE", view=home)
    assert slack.person("alice").home is not None


async def test_the_web_api_tells_who_people_are(slack: SlackSandbox) -> None:
    client = client_of(slack)
    slack.person("bob").user.deleted = True
    assert (await client.users_info(user="U0BOB"))["user"]["deleted"]
    stranger = (await client.users_info(user="U0MALLORY"))["user"]
    assert (stranger["is_stranger"], stranger["team_id"]) == (True, slack.other_team_id)
    assert {one["name"] for one in (await client.users_list())["members"]} == {"tml", "alice", "bob", "mallory"}
    assert (await client.usergroups_users_list(usergroup="S0ONCALL"))["users"] == ["U0ALICE"]
    slack.group("oncall").fails_with = "plan_upgrade_required"
    failed = await error_of(client.usergroups_users_list(usergroup="S0ONCALL"))
    assert failed["error"] == "plan_upgrade_required"
    slack.group("oncall").disabled = True
    assert (await client.usergroups_list())["usergroups"] == []


async def test_conversations_are_listed_read_and_opened(slack: SlackSandbox) -> None:
    client = client_of(slack)
    slack.channel("ops").is_ext_shared = True
    assert (await client.conversations_info(channel="C0OPS"))["channel"]["is_ext_shared"]
    listed = await client.conversations_list(types="public_channel,private_channel", limit=1)
    assert (len(listed["channels"]), listed["response_metadata"]["next_cursor"]) == (1, "1")
    members = (await client.conversations_members(channel="C0OPS"))["members"]
    assert members == sorted(["U0ALICE", "U0BOB", slack.bot_user_id])
    parent = (await client.chat_postMessage(channel="C0OPS", text="parent"))["ts"]
    await client.chat_postMessage(channel="C0OPS", text="reply", thread_ts=parent)
    replies = (await client.conversations_replies(channel="C0OPS", ts=parent))["messages"]
    assert [one["text"] for one in replies] == ["parent", "reply"]
    assert replies[0]["reply_count"] == 1
    assert [one["text"] for one in (await client.conversations_history(channel="C0OPS"))["messages"]] == ["parent"]
    direct = (await client.conversations_open(users=["U0ALICE"]))["channel"]["id"]
    await client.chat_postMessage(channel=direct, text="hello")
    assert slack.direct("alice").id == direct
    link = (await client.chat_getPermalink(channel="C0OPS", message_ts=parent))["permalink"]
    assert link.endswith(f"/archives/C0OPS/p{parent.replace('.', '')}")


async def test_a_file_is_uploaded_in_three_steps(slack: SlackSandbox) -> None:
    client = client_of(slack)
    uploaded = await client.files_upload_v2(channel="C0OPS", content="a log", filename="tm.log", title="tm's log")
    (posted,) = slack.channel_messages("ops")
    assert posted.files[0]["title"] == "tm's log"
    assert slack.workspace.files[uploaded["file"]["id"]].content == b"a log"
    assert "[file: tm's log (5 bytes)]" in slack.transcript("ops")


async def test_calls_are_recorded_without_tokens(slack: SlackSandbox) -> None:
    await client_of(slack).chat_postMessage(channel="C0OPS", text="t", blocks=[{"type": "divider"}])
    (call,) = slack.called("chat.postMessage")
    assert call.arguments == {"channel": "C0OPS", "text": "t", "blocks": [{"type": "divider"}]}
    assert call.result["ok"]
    assert slack.bot_token not in repr(slack.calls)


async def test_forged_payloads_can_be_sent(slack: SlackSandbox) -> None:
    seen: list[str] = []

    def register(app: AsyncApp) -> None:
        @app.action("stop")
        async def stop(ack: Any, body: Json) -> None:
            seen.append(body["user"]["id"])
            await ack()

    async with bolt(slack, register) as app:
        await app.client.chat_postMessage(channel="C0OPS", text="?", blocks=[actions(button())])
        payload = slack.person("bob").press_payload("stop", slack.channel_messages("ops")[0])
        await slack.person("alice").sends(payload | {"user": {**payload["user"], "id": "U0FORGED"}})
    assert seen == ["U0FORGED"]


async def test_until_says_what_it_waited_for_and_shows_the_last_state(slack: SlackSandbox) -> None:
    slack.person("alice").says("hello", "ops")
    with pytest.raises(TimeoutError, match=r"waited 0\.01 s for a miracle(.|\n)*alice +hello"):
        await slack.until(lambda _: None, 0.01, "a miracle")


async def test_a_transcript_shows_what_people_see(slack: SlackSandbox) -> None:
    client = client_of(slack)
    table = {"type": "table", "rows": [[{"type": "raw_text", "text": word} for word in ("NAME", "STATUS")]] * 2}
    blocks = [
        {"type": "header", "text": plain("prod :white_check_mark:")},
        section("by <@U0BOB> in <#C0OPS> &lt;ok&gt;\n```\nNAME   STATUS\ndata-0 Bound\n```"),
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Cluster*\nprod"}]},
        {"type": "context", "elements": [plain("a"), plain("b")]},
        actions(button("Stop prod"), button("Cancel", "cancel")),
        table,
    ]
    parent = (await client.chat_postMessage(channel="C0OPS", text="t", blocks=blocks))["ts"]
    await client.chat_postMessage(channel="C0OPS", text="<!date^0^{date_num} {time}|then>", thread_ts=parent)
    shown = slack.transcript("ops").split("\n")
    head = len("  00:00:00  tml       ")
    assert shown[0] == "#ops"
    assert [line[head:] for line in shown[1:-1]] == [
        "prod ✅",
        "by @bob in #ops <ok>",
        "NAME   STATUS",
        "data-0 Bound",
        "Cluster prod",
        "a · b",
        "[ Stop prod ] [ Cancel ]",
        "NAME   STATUS",
        "NAME   STATUS",
    ]
    assert shown[-1].startswith("      ")
    assert shown[-1].endswith("tml       1970-01-01 00:00")


async def test_people_outside_a_channel_neither_see_it_nor_type_in_it(slack: SlackSandbox) -> None:
    with pytest.raises(PermissionError):
        slack.person("bob").sees("secret")
    with pytest.raises(PermissionError):
        await slack.person("mallory").types("/tml", "ops")
    with pytest.raises(LookupError, match="only alice, bob"):
        slack.person("carol")


async def test_the_page_is_served_and_a_command_typed_there_arrives(slack: SlackSandbox) -> None:
    async with bolt(slack, answering), aiohttp.ClientSession(slack.site) as browser:
        async with browser.get("/") as page:
            text = await page.text()
            assert page.content_type == "text/html"
            assert "innerHTML" not in text
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        async with browser.get("/sandbox/live") as live:
            assert (await live.content.readline()).startswith(b"data: ")
            typed = {"as": "U0ALICE", "channel": "C0OPS", "text": "/tml status"}
            async with browser.post("/sandbox/type", json=typed) as answer:
                assert (await answer.json())["failed"] == ""
            await live.content.readline()
            assert (await live.content.readline()).startswith(b"data: ")
        await slack.until(lambda s: len(s.person("alice").sees("ops")) == 3, SOON, "both answers")
        async with browser.get("/sandbox/state", params={"as": "U0ALICE"}) as answer:
            (channel, _, _) = (await answer.json())["channels"]
        assert channel["messages"][0]["text"] == "/tml status"
        async with browser.post("/sandbox/type", data="{}") as refused:
            assert refused.status == 400


async def test_buttons_and_modals_of_the_page_work(slack: SlackSandbox) -> None:
    def register(app: AsyncApp) -> None:
        with_modal(app)

        @app.action("stop")
        async def stop(ack: Any, body: Json, client: AsyncWebClient) -> None:
            await ack()
            await client.views_open(trigger_id=body["trigger_id"], view=modal(text_input(), callback_id="delete"))

    async with bolt(slack, register) as app, aiohttp.ClientSession(slack.site) as browser:

        async def act(name: str, **given: Any) -> Json:
            async with browser.post(f"/sandbox/{name}", json={"as": "U0ALICE"} | given) as answer:
                return dict(await answer.json())

        posted = await app.client.chat_postMessage(channel="C0OPS", text="?", blocks=[actions(button())])
        block = posted["message"]["blocks"][0]["block_id"]
        await act("press", channel="C0OPS", ts=posted["ts"], action="stop", block=block)
        view = await slack.until(lambda s: s.person("alice").modal, SOON, "the modal")
        assert "must be filled in" in (await act("submit", view=view.id))["error"]
        await act("submit", view=view.id, values={"name": "staging"})
        async with browser.get("/sandbox/state", params={"as": "U0ALICE"}) as answer:
            shown = (await answer.json())["modal"]
        assert (shown["id"], shown["errors"]) == (view.id, {"name": "type prod"})
        assert (
            "does not see" in (await act("submit", view=view.id, values={"name": "prod"}, **{"as": "U0BOB"}))["error"]
        )
        await act("submit", view=view.id, values={"name": "prod"})
        assert slack.person("alice").modal is None
        assert "no longer open" in (await act("close", view=view.id))["error"]


async def test_the_page_shows_a_person_what_the_bot_wrote_to_them(slack: SlackSandbox) -> None:
    await client_of(slack).chat_postMessage(channel="U0ALICE", text="for you")
    async with aiohttp.ClientSession(slack.site) as browser:
        said: dict[str, list[str]] = {}
        for person in ("U0ALICE", "U0BOB"):
            async with browser.get("/sandbox/state", params={"as": person}) as answer:
                channels = (await answer.json())["channels"]
            said[person] = [one["text"] for place in channels for one in place["messages"]]
    assert said == {"U0ALICE": ["for you"], "U0BOB": []}


async def test_an_ack_may_speak_in_the_channel_and_then_shows_the_command(slack: SlackSandbox) -> None:
    def register(app: AsyncApp) -> None:
        @app.command("/tml")
        async def tml(ack: Any, command: Json) -> None:
            if command["text"] == "badly":
                await ack(text="t", blocks=[{"type": "sparkle"}])
            else:
                await ack(text="here", response_type="in_channel")

    async with bolt(slack, register):
        await slack.person("alice").types("/tml loud", "ops")
        assert [one.text for one in slack.channel_messages("ops")] == ["/tml loud", "here"]
        reply = await slack.person("alice").types("/tml badly", "ops")
    assert (reply.timed_out, reply.failed) == (False, "invalid_blocks")


async def test_a_form_knows_its_fields_and_their_options(slack: SlackSandbox) -> None:
    options = [{"text": plain(name.upper()), "value": name} for name in ("a", "b", "c")]

    def field(block_id: str, kind: str, **more: Any) -> Json:
        return text_input(block_id) | {"element": {"type": kind, "action_id": f"{block_id}_id", **more}}

    def register(app: AsyncApp) -> None:
        @app.view("pick")
        async def picked(ack: Any) -> None:
            await ack(response_action="clear")

    blocks = [
        field("one", "static_select", options=options),
        field("many", "checkboxes", options=options),
        field("who", "users_select", initial_user="U0BOB"),
        field("day", "datepicker") | {"optional": True},
        field("short", "plain_text_input", max_length=3),
    ]
    opened = modal(*blocks, callback_id="pick")
    await client_of(slack).views_open(trigger_id=slack.workspace.new_trigger("U0ALICE"), view=opened)
    alice = slack.person("alice")
    view = alice.modal
    assert view is not None
    with pytest.raises(ValueError, match="no option 'd'"):
        await alice.submits(view, {"one": "d"})
    with pytest.raises(ValueError, match="too long"):
        await alice.submits(view, {"one": "a", "many": ["a"], "short": "long"})
    async with bolt(slack, register):
        reply = await alice.submits(view, {"one": "B", "many_id": ["a", "c"], "short": "yes"})
    values = reply.envelope["payload"]["view"]["state"]["values"]
    assert values["one"]["one_id"]["selected_option"]["value"] == "b"
    assert [one["value"] for one in values["many"]["many_id"]["selected_options"]] == ["a", "c"]
    assert values["who"]["who_id"]["selected_user"] == "U0BOB"
    assert values["day"]["day_id"] == {"type": "datepicker", "selected_date": None}
    assert alice.modal is None


async def test_the_richer_blocks_are_readable_in_a_transcript(slack: SlackSandbox) -> None:
    def part(kind: str, *leaves: Json, **more: Any) -> Json:
        return {"type": kind, "elements": list(leaves), **more}

    item = part("rich_text_section", {"type": "text", "text": "item"})
    rich = part(
        "rich_text",
        part("rich_text_section", {"type": "user", "user_id": "U0BOB"}, {"type": "emoji", "name": "x"}),
        part("rich_text_list", item, item, style="ordered"),
        part("rich_text_quote", {"type": "link", "url": "https://example.com", "text": "there"}),
    )
    task = {"type": "task_card", "task_id": "1", "title": "sql down", "status": "in_progress"}
    blocks = [
        rich,
        {"type": "plan", "title": "Stop prod", "tasks": [task]},
        section("<@U0NONE|zoe> <!here> <!subteam^S0ONCALL> <!date^0^{date_short} {date}|x>"),
    ]
    await client_of(slack).chat_postMessage(channel="C0OPS", text="t", blocks=blocks)
    lines = [line[len("  00:00:00  tml       ") :] for line in slack.transcript("ops").split("\n")[1:]]
    assert lines == [
        "@bob❌",
        "1. item",
        "2. item",
        "> there (https://example.com)",
        "Stop prod",
        "  ◐ sql down (in progress)",
        "@zoe @here @oncall Jan 1, 1970 January 1st, 1970",
    ]


async def test_mentions_and_the_home_tab_reach_the_bot(slack: SlackSandbox) -> None:
    def register(app: AsyncApp) -> None:
        @app.event("app_mention")
        async def mention(event: Json, say: Any) -> None:
            await say("heard", thread_ts=event.get("thread_ts") or event["ts"])

        @app.event("app_home_opened")
        async def home(event: Json, client: AsyncWebClient) -> None:
            await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": [section("home")]})

    async with bolt(slack, register):
        alice = slack.person("alice")
        await alice.mentions("status", "ops")
        (parent,) = slack.channel_messages("ops")
        await slack.until(lambda s: len(s.thread("ops", parent.ts)) == 2, SOON, "the answer in the thread")
        answer = slack.thread("ops", parent.ts)[1]
        assert (answer.text, answer.thread_ts) == ("heard", parent.ts)
        await alice.opens_home()
        await slack.until(lambda _: alice.home, SOON, "the home tab")


def test_every_emoji_that_the_bot_writes_is_shown_as_one() -> None:
    written = {name for file in Path(bot.__file__).parent.rglob("*.py") for name in NAMED.findall(file.read_text())}
    assert "white_check_mark" in written
    assert written <= EMOJI.keys()
