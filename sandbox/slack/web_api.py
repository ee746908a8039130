"""The Web API over HTTP: token, fault, rate limit, scope, then the method; every call is recorded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sandbox.slack import chat, conversations, files, modals, people, responses
from sandbox.slack.asking import Asked, SlackError
from sandbox.slack.faults import Faults, Planned
from sandbox.slack.limits import RateLimiter
from sandbox.slack.sockets import Sockets
from sandbox.slack.workspace import Json, Workspace


@dataclass(frozen=True)
class Method:
    run: Callable[[Asked], Json]
    scope: str = ""


METHODS = {
    "auth.test": Method(people.auth_test),
    "api.test": Method(people.api_test),
    "chat.postMessage": Method(chat.post_message, "chat:write"),
    "chat.update": Method(chat.update, "chat:write"),
    "chat.delete": Method(chat.delete, "chat:write"),
    "chat.postEphemeral": Method(chat.post_ephemeral, "chat:write"),
    "chat.getPermalink": Method(chat.get_permalink),
    "conversations.info": Method(conversations.info),
    "conversations.list": Method(conversations.list_channels),
    "conversations.open": Method(conversations.open_direct),
    "conversations.history": Method(conversations.history),
    "conversations.replies": Method(conversations.replies),
    "conversations.members": Method(conversations.members),
    "users.info": Method(people.users_info, "users:read"),
    "users.list": Method(people.users_list, "users:read"),
    "usergroups.list": Method(people.groups_list, "usergroups:read"),
    "usergroups.users.list": Method(people.group_users, "usergroups:read"),
    "views.open": Method(modals.open_view),
    "views.push": Method(modals.push_view),
    "views.update": Method(modals.update_view),
    "views.publish": Method(modals.publish_view),
    "files.getUploadURLExternal": Method(files.get_upload_url, "files:write"),
    "files.completeUploadExternal": Method(files.complete_upload, "files:write"),
}
OPEN_A_SOCKET = "apps.connections.open"
WITHOUT_TOKEN = ("api.test",)
OUTAGES = {500: "internal_error", 503: "service_unavailable", 429: "ratelimited"}


@dataclass(frozen=True)
class Call:
    """One call as it arrived. `at` is Unix time; `result` is the answer, which the caller never got if `lost`."""

    method: str
    arguments: Json
    at: float
    result: Json
    status: int = 200
    lost: bool = False


@dataclass(frozen=True)
class Answer:
    """The body is recorded; `text` goes over the wire in its place where Slack answers plain text."""

    body: Json
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


class WebApi:
    def __init__(self, workspace: Workspace, sockets: Sockets, faults: Faults, limiter: RateLimiter) -> None:
        self.workspace = workspace
        self.limiter = limiter
        self.calls: list[Call] = []
        self._sockets = sockets
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", "/api/{method}", self.call),
            web.get("/link/", self.link),
            web.post("/commands/{path:.+}", self.respond),
            web.post("/upload/v1/{file}", self.upload),
        ]

    async def link(self, request: web.Request) -> web.StreamResponse:
        if await self._faults.hangs_up():
            return hang_up(request)
        return await self._sockets.serve(request)

    async def call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        arguments = await _arguments(request)
        token = _token(request, arguments)
        return await self._serve(request, method, arguments, lambda: self._run(request, method, token, arguments))

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """A POST to a response_url: the answer is plain text on success."""
        body = await _arguments(request)
        return await self._serve(request, "response_url", body, lambda: self._respond(request, body))

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """The bytes, raw as slack_sdk sends them or as the one file of a form."""
        content = await _content(request)
        file_id = request.match_info["file"]
        return await self._serve(request, "upload", {"file": file_id}, lambda: self._upload(file_id, content))

    async def _serve(
        self, request: web.Request, method: str, arguments: Json, run: Callable[[], Answer]
    ) -> web.StreamResponse:
        """Lets what is planned go wrong, runs the rest, records it."""
        if await self._faults.hangs_up():
            return hang_up(request)
        planned = self._faults.next_for(method)
        answer = _outage(planned) if planned and not planned.after_effect else run()
        lost = planned is not None and planned.status is None
        self.calls.append(Call(method, arguments, self.workspace.clock.wall(), answer.body, answer.status, lost))
        self.workspace.changes.tell()
        return hang_up(request) if lost else self._response(answer)

    def _run(self, request: web.Request, method: str, token: str, arguments: Json) -> Answer:
        try:
            self._check_token(method, token)
            wait = self.limiter.retry_after(method, str(arguments.get("channel")))
            if wait is not None:
                return Answer({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(wait)})
            accepted = METHODS[method].scope if method in METHODS else ""
            headers = {"X-Accepted-OAuth-Scopes": accepted} if accepted else {}
            return Answer({"ok": True, **self._result(request, method, arguments)}, headers=headers)
        except SlackError as error:
            return Answer(error.answer())

    def _check_token(self, method: str, token: str) -> None:
        if method in WITHOUT_TOKEN:
            return
        if not token:
            raise SlackError("not_authed")
        if token not in (self.workspace.bot_token, self.workspace.app_token):
            raise SlackError("invalid_auth")
        expected = self.workspace.app_token if method == OPEN_A_SOCKET else self.workspace.bot_token
        if token != expected:
            raise SlackError("not_allowed_token_type")

    def _result(self, request: web.Request, method: str, arguments: Json) -> Json:
        if method == OPEN_A_SOCKET:
            return {"url": f"ws://{request.host}/link/?ticket={self._sockets.ticket()}&app_id={self.workspace.app_id}"}
        known = METHODS.get(method)
        if known is None:
            raise SlackError("unknown_method", req_method=method)
        asked = Asked(self.workspace, arguments, f"http://{request.host}")
        if known.scope:
            asked.needs_scope(known.scope)
        return known.run(asked)

    def _respond(self, request: web.Request, body: Json) -> Answer:
        try:
            responses.answer(request.match_info["path"], body, self.workspace)
        except SlackError as error:
            spent = error.code in ("used_url", "expired_url")
            return Answer(error.answer(), 404 if spent else 400)
        return Answer({"ok": True}, text="ok")

    def _upload(self, file_id: str, content: bytes) -> Answer:
        file = self.workspace.files.get(file_id)
        if file is None or file.content is not None:
            return Answer({"ok": False, "error": "file_not_found"}, 404)
        if len(content) != file.length:
            return Answer({"ok": False, "error": "length_mismatch"}, 400)
        file.content = content
        return Answer({"ok": True}, text=f"OK - {file.length}")

    def _response(self, answer: Answer) -> web.Response:
        headers = {
            "X-OAuth-Scopes": ",".join(sorted(self.workspace.scopes)),
            "X-Slack-Req-Id": self.workspace.new_id("", 32).lower(),
            "Cache-Control": "private, no-cache, no-store, must-revalidate",
            **answer.headers,
        }
        if answer.text:
            return web.Response(text=answer.text, status=answer.status, headers=headers)
        return web.json_response(answer.body, status=answer.status, headers=headers)


def _outage(planned: Planned) -> Answer:
    if planned.status is None:
        return Answer({})
    headers = {"Retry-After": str(planned.retry_after)} if planned.status == 429 else {}
    return Answer({"ok": False, "error": OUTAGES.get(planned.status, "fatal_error")}, planned.status, headers)


def hang_up(request: web.Request) -> web.Response:
    """Ends the connection without an answer; what is returned is never sent."""
    if request.transport:
        request.transport.abort()
    return web.Response(status=500)


def _token(request: web.Request, arguments: Json) -> str:
    """The token, which leaves the arguments so that it is never recorded."""
    given = str(arguments.pop("token", "") or "")
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else given


async def _arguments(request: web.Request) -> Json:
    """The query, the form and the JSON body in one."""
    arguments: Json = dict(request.query)
    if request.content_type == "application/json":
        try:
            body: Any = json.loads(await request.text() or "{}")
        except json.JSONDecodeError:
            body = {}
        return arguments | (body if isinstance(body, dict) else {})
    return arguments | {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


async def _content(request: web.Request) -> bytes:
    if not request.content_type.startswith("multipart/"):
        return await request.read()
    form = await request.post()
    sent = next((one for one in form.values() if isinstance(one, web.FileField)), None)
    return sent.file.read() if sent else b""
