"""Whether the process lives and whether it is ready, for the container's health check and Kubernetes' probes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Ready = Callable[[], str | None]
"""None when ready, otherwise what is missing."""


@asynccontextmanager
async def serving_health(port: int, ready: Ready, host: str = "0.0.0.0") -> AsyncIterator[int]:
    """Serve `/healthz` (the event loop answers) and `/readyz` (503 and the reason while not ready); yields the port."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        missing = ready()
        return web.Response(text=f"{missing or 'ok'}\n", status=503 if missing else 200)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
