"""One interface to both: the sandbox, and a real Kubernetes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import sandbox.kubernetes
from lifecycle.kube.door import Door, connect
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.resources import NAMESPACES
from tests.cluster import accounts
from tests.cluster.client import Access, Answer, Client, open_client
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeconfigs import write_kubeconfig

Json = dict[str, Any]
SCALE = 0.01


@dataclass
class Api:
    """A namespace of its own, an admin's client, and what only one of the two can do in its own way."""

    client: Client
    namespace: str
    folder: Path
    is_real: bool
    stack: AsyncExitStack = field(repr=False)

    @property
    def provisions(self) -> bool:
        """Whether the node and the storage are ours, so that it is known what they do."""
        return True

    def path(self, plural: str, name: str = "", *, group: str = "") -> str:
        """``group`` with its version, as in `apps/v1`; empty for the core group."""
        api = f"/apis/{group}" if group else "/api/v1"
        return f"{api}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def apps(self, plural: str, name: str = "") -> str:
        return self.path(plural, name, group="apps/v1")

    async def apply(self, *manifests: Json) -> list[Answer]:
        """Create objects in the namespace, as the API answers them."""
        groups = {"v1": "", "apps/v1": "apps/v1", "coordination.k8s.io/v1": "coordination.k8s.io/v1"}
        return [
            await self.client.create(self.path(f"{one['kind'].lower()}s", group=groups[one["apiVersion"]]), one)
            for one in manifests
        ]

    async def restricted(self, rules: list[Json]) -> Client:
        """As a service account that has these rules in the namespace and nothing else."""
        return await self.stack.enter_async_context(open_client(await self.account(rules)))

    async def door(self, rules: list[Json]) -> Door:
        """The bot's own door, with such an account's token in a kubeconfig."""
        path = write_kubeconfig(self.folder / "kubeconfig", await self.account(rules), "test", self.namespace)
        return await self.stack.enter_async_context(connect("test", kubeconfig=str(path)))

    async def account(self, rules: list[Json]) -> Access:
        raise NotImplementedError

    async def forget_history(self) -> None:
        """Make every resourceVersion from before too old to watch from."""
        raise NotImplementedError

    async def until(self, path: str, wanted: Callable[[Json], Any], seconds: float = 30.0) -> Json:
        """Ask until ``wanted`` is true of what is answered, a Status for what is not there. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                answer = await self.client.ask("GET", path)
                if wanted(answer.body):
                    return answer.body
                await asyncio.sleep(0.02)


class SandboxApi(Api):
    running: KubernetesSandbox

    async def account(self, rules: list[Json]) -> Access:
        token = f"token-{len(self.running.server.tokens)}"
        own = tuple(Role.of(rule | {"namespaces": [self.namespace]}) for rule in rules)
        asking = Role(("authorization.k8s.io",), ("selfsubjectaccessreviews",), ("create",))
        name = f"system:serviceaccount:{self.namespace}:tml-bot"
        self.running.server.tokens[token] = Identity(name, (*own, asking))
        return self.client.access.as_user(token)

    async def forget_history(self) -> None:
        self.running.store.forget_history()


class RealApi(Api):
    plane: ControlPlane | None

    @property
    def provisions(self) -> bool:
        return self.plane is not None

    async def account(self, rules: list[Json]) -> Access:
        access = await accounts.account(self.client, self.namespace, "tml-bot")
        await accounts.grant(self.client, self.namespace, "tml-bot", self.namespace, rules)
        return access

    async def forget_history(self) -> None:
        if self.plane is None:
            pytest.skip("nobody may compact the etcd of a cluster that is not ours")
        await self.plane.compact()
        await self.plane.kill_api_server()  # what it had in memory would still be told
        await self.plane.start_api_server()


@asynccontextmanager
async def on_the_sandbox(folder: Path, namespace: str) -> AsyncIterator[Api]:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(sandbox.kubernetes.start(time_scale=SCALE))
        client = await stack.enter_async_context(open_client(Access(running.url)))
        running.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}])
        api = SandboxApi(client, namespace, folder, False, stack)
        api.running = running
        yield api


@asynccontextmanager
async def on_a_cluster(folder: Path, namespace: str, access: Access, plane: ControlPlane | None) -> AsyncIterator[Api]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(access))
        await accounts.make_namespace(client, namespace)
        api = RealApi(client, namespace, folder, True, stack)
        api.plane = plane
        try:
            yield api
        finally:
            await client.ask("DELETE", f"/api/v1/{NAMESPACES.plural}/{namespace}")
