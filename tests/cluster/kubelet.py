"""The stand-in kubelet: one node of a real control plane, with pods that behave like those of the sandbox.

    python -m tests.cluster.kubelet KUBECONFIG FOLDER PORT TRAFFIC_PORT TIME_SCALE

It is the sandbox's own kubelet on a mirror of the real API, so that what a TML component needs, says and takes is
written once. FOLDER has the certificate (tls.crt, tls.key) and the CSI driver's volumes.
"""

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from sandbox.kubernetes import terminal
from sandbox.kubernetes.clock import Clock, timestamp
from sandbox.kubernetes.controllers.kubelet import Kubelet
from sandbox.kubernetes.controllers.podlife import PodLife
from sandbox.kubernetes.controllers.podstatus import NODE, NODE_IP
from sandbox.kubernetes.controllers.shell import Shell
from sandbox.kubernetes.controllers.work import Crew
from sandbox.kubernetes.status import ApiError
from sandbox.kubernetes.store import Store
from sandbox.kubernetes.volumes import Volumes
from tests.cluster.client import NOT_READY, Access, Client, Refusal, open_client
from tests.cluster.kubeconfigs import read_kubeconfig
from tests.cluster.mirror import FOLLOWED, Mirror

HEARTBEAT = 10.0
"""Seconds between two renewals of the node's Lease, as the real one has it."""
NODE_PATH = f"/api/v1/nodes/{NODE}"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
WEB_SOCKETS = "ExtendWebSocketsToKubelet"
"""The feature by which a node tells the API server that it need not translate an exec to SPDY (1.36)."""


class ScheduledLife(PodLife):
    """A pod that a real scheduler places."""

    async def _place(self) -> None:
        await self._until(lambda: bool(self.pod["spec"].get("nodeName")))


class Node:
    """The Node object and its heartbeat."""

    def __init__(self, client: Client, port: int) -> None:
        self._client = client
        self._port = port

    async def register(self) -> None:
        labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
        made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}}
        answer = await self._client.ask("POST", "/api/v1/nodes", made)
        if answer.status not in (201, 409):
            raise Refusal("POST node", answer)
        await self._client.patch(f"{NODE_PATH}/status", {"status": self._status()})

    async def beat(self) -> None:
        """For ever."""
        while True:
            with suppress(*NOT_READY, Refusal):
                await self._renew()
            await asyncio.sleep(HEARTBEAT)

    async def _renew(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": now}
        answer = await self._client.ask("PATCH", f"{LEASES}/{NODE}", {"spec": spec}, patch="merge")
        if answer.status == 404:
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NODE}, "spec": spec}
            await self._client.create(LEASES, lease)

    def _status(self) -> dict[str, Any]:
        now = timestamp(datetime.now(UTC))
        room = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "500"}
        pressures = ("MemoryPressure", "DiskPressure", "PIDPressure")
        conditions = {"Ready": "True"} | dict.fromkeys(pressures, "False")
        return {
            "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": NODE}],
            "capacity": room,
            "allocatable": room,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "declaredFeatures": [WEB_SOCKETS],
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                    "reason": "Played",
                }
                for kind, status in conditions.items()
            ],
        }


class Port:
    """What the API server asks a kubelet for: logs and commands; beside it, the way in for traffic."""

    def __init__(self, kubelet: Kubelet, shell: Shell) -> None:
        self._kubelet = kubelet
        self._shell = shell

    def secure(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", _refusals(self._log))
        app.router.add_get("/exec/{namespace}/{pod}/{container}", _refusals(self._exec))
        return app

    def plain(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/traffic/{namespace}/mashping", self._traffic)
        return app

    async def _log(self, request: web.Request) -> web.StreamResponse:
        tail = request.query.get("tailLines")
        lines = int(tail) if tail else None
        previous = request.query.get("previous") == "true"
        return web.Response(text=await self._kubelet.logs(*_meant(request), lines, previous))

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        command = self._shell.run(*_meant(request), request.query.getall("command", []))
        names = {"output": "stdout", "error": "stderr"}
        wanted = {name for key, name in names.items() if request.query.get(key) in ("1", "true")}
        return await terminal.converse(request, wanted, command)

    async def _traffic(self, request: web.Request) -> web.Response:
        if {"tm", "sql", "cache"} <= self._kubelet.serving(request.match_info["namespace"]):
            return web.Response(text="mashping: all services are up\n")
        return web.Response(status=503, text="no traffic manager is ready\n")


def _meant(request: web.Request) -> tuple[str, str, str]:
    return tuple(request.match_info[key] for key in ("namespace", "pod", "container"))  # type: ignore[return-value]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _refusals(handler: Handler) -> Handler:
    """A kubelet answers in plain text; the API server makes a Status of it."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return web.Response(status=error.status, text=str(error.body["message"]))

    return answered


async def serve(app: web.Application, port: int, tls: ssl.SSLContext | None = None) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    return runner


async def run(access: Access, folder: Path, port: int, traffic_port: int, scale: float) -> None:
    """For ever. Raises what any of its tasks failed with."""
    crew = Crew()
    async with open_client(access) as client:
        mirror = Mirror(client, Clock(scale))
        store = cast("Store", mirror)
        volumes = Volumes(store, folder / "volumes")
        kubelet = Kubelet(store, volumes, crew, ScheduledLife)
        mirror.tell(kubelet.saw)
        door = Port(kubelet, Shell(kubelet, volumes))
        await serve(door.secure(), port, _tls(folder))
        await serve(door.plain(), traffic_port)
        crew.start(mirror.write(), "writes")
        for resource in FOLLOWED:  # one after the other: a pod's claims and faults are known before the pod
            known = asyncio.Event()
            crew.start(mirror.follow(resource, known), f"{resource.plural}")
            await known.wait()
        node = Node(client, port)
        await node.register()
        crew.start(node.beat(), "heartbeat")
        try:
            while True:
                await crew.changed()
        finally:
            await crew.stop()


def _tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


if __name__ == "__main__":
    config, folder, port, traffic_port, scale = sys.argv[1:]
    asyncio.run(run(read_kubeconfig(Path(config)), Path(folder), int(port), int(traffic_port), float(scale)))
