"""Starts and stops the workspace's web server."""

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from sandbox.slack import page
from sandbox.slack.clock import Clock
from sandbox.slack.driver import SlackSandbox
from sandbox.slack.limits import DEFAULT, Limits
from sandbox.slack.workspace import Workspace

DEFAULT_SCOPES = (
    "app_mentions:read",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:write",
    "groups:history",
    "groups:read",
    "im:write",
    "usergroups:read",
    "users:read",
)
MOST_UPLOADED = 64 * 1024 * 1024


@asynccontextmanager
async def start(
    *,
    time_scale: float = 1.0,
    port: int = 0,
    limits: Limits | None = DEFAULT,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    seed: int = 0,
    enterprise_id: str | None = None,
) -> AsyncIterator[SlackSandbox]:
    """A workspace without people on 127.0.0.1. At `time_scale` 0.01 Slack's 3 s are 30 ms; no limits for load tests."""
    workspace = Workspace(Clock(time_scale), random.Random(seed), scopes, enterprise_id)
    slack = SlackSandbox(workspace, limits)
    application = web.Application(client_max_size=MOST_UPLOADED)
    application.add_routes([*slack.api.routes(), *page.routes(slack)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    slack.site = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield slack
    finally:
        await slack.close()
        await runner.cleanup()
