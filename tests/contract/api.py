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
from sandbox.kubernetes import KubernetesSandbox, StorageFault
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.resources import NAMESPACES
from sandbox.kubernetes.volumes import SNAPSHOTS as SNAPSHOT_FOLDER
from tests.cluster import accounts
from tests.cluster.client import Access, Answer, Client, open_client
from tests.cluster.control_plane import ControlPlane
from tests.cluster.ground import Ground
from tests.cluster.kubeconfigs import write_kubeconfig

Json = dict[str, Any]
SCALE = 0.01
HELD = 2.0
"""Seconds after which a snapshot that is held on a real cluster is ready."""
SNAPSHOTS = "snapshot.storage.k8s.io/v1"
GROUP_SNAPSHOTS = "groupsnapshot.storage.k8s.io/v1"


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

    @property
    def storage(self) -> Path:
        """Where the storage keeps what is ours: `provisions` says whether it is."""
        raise NotImplementedError

    def path(self, plural: str, name: str = "", *, group: str = "") -> str:
        """``group`` with its version, as in `apps/v1`; empty for the core group."""
        api = f"/apis/{group}" if group else "/api/v1"
        return f"{api}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def apps(self, plural: str, name: str = "") -> str:
        return self.path(plural, name, group="apps/v1")

    def snapshots(self, name: str = "") -> str:
        return self.path("volumesnapshots", name, group=SNAPSHOTS)

    def claims(self, name: str = "") -> str:
        return self.path("persistentvolumeclaims", name)

    async def apply(self, *manifests: Json) -> list[Answer]:
        """Create objects in the namespace, as the API answers them."""
        return [
            await self.client.create(self.path(f"{one['kind'].lower()}s", group=_group(one)), one) for one in manifests
        ]

    async def define(self, plural: str, manifest: Json) -> str:
        """Create an object of the whole cluster, which goes when the test is over; the path of it."""
        group = _group(manifest)
        path = f"/apis/{group}/{plural}" if group else f"/api/v1/{plural}"
        await self.client.create(path, manifest)
        path = f"{path}/{manifest['metadata']['name']}"
        self.stack.push_async_callback(self.client.ask, "DELETE", path)
        return path

    async def volume(self, claim: str) -> Json:
        """The volume behind a bound claim."""
        bound = await self.client.get(self.claims(claim))
        return (await self.client.get(f"/api/v1/persistentvolumes/{bound.body['spec']['volumeName']}")).body

    async def folder_of(self, claim: str) -> Path:
        """The bytes of a bound claim of the storage that is ours."""
        return self.storage / "volumes" / str((await self.volume(claim))["spec"]["csi"]["volumeHandle"])

    def snapshot_folder(self, handle: str) -> Path:
        """The bytes of a snapshot, which is there or not."""
        return self.storage / "snapshots" / handle

    async def refuse_snapshots(self, claim: str, text: str | None) -> None:
        """Have the storage refuse to cut snapshots of a claim, in these words; None: no longer."""
        raise NotImplementedError

    async def hold_snapshots(self, claim: str) -> None:
        """Have snapshots of a claim that are cut from now on not be ready for a while; see `release_snapshots`."""
        raise NotImplementedError

    async def release_snapshots(self, claim: str) -> None:
        """Have snapshots of a claim become ready."""
        raise NotImplementedError

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


def _group(manifest: Json) -> str:
    version = str(manifest["apiVersion"])
    return version if "/" in version else ""


class SandboxApi(Api):
    running: KubernetesSandbox

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    def snapshot_folder(self, handle: str) -> Path:
        return self.storage / "volumes" / SNAPSHOT_FOLDER / handle

    async def refuse_snapshots(self, claim: str, text: str | None) -> None:
        fault = StorageFault.SNAPSHOT_FAILS if text else None
        self.running.storage_fault(self.namespace, claim, fault, text=text)

    async def hold_snapshots(self, claim: str) -> None:
        self.running.storage_fault(self.namespace, claim, StorageFault.SNAPSHOT_NEVER_READY)

    async def release_snapshots(self, claim: str) -> None:
        self.running.storage_fault(self.namespace, claim, None)

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

    @property
    def storage(self) -> Path:
        if self.plane is None:
            pytest.skip("this cluster's storage is not known")
        return self.plane.folder

    async def refuse_snapshots(self, claim: str, text: str | None) -> None:
        file = await self.folder_of(claim) / ".refuse-snapshots"
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)

    async def hold_snapshots(self, claim: str) -> None:
        (await self.folder_of(claim) / ".slow-snapshots").write_text(str(HELD))

    async def release_snapshots(self, claim: str) -> None:
        (await self.folder_of(claim) / ".slow-snapshots").unlink()  # what is cut is ready by itself

    async def account(self, rules: list[Json]) -> Access:
        access = await accounts.account(self.client, self.namespace)
        await accounts.grant(self.client, self.namespace, rules)
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
        storage = folder / "storage" / "volumes"
        running = await stack.enter_async_context(sandbox.kubernetes.start(time_scale=SCALE, data_dir=storage))
        client = await stack.enter_async_context(open_client(Access(running.url)))
        running.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}])
        api = SandboxApi(client, namespace, folder, False, stack)
        api.running = running
        yield api


@asynccontextmanager
async def on_a_cluster(folder: Path, namespace: str, ground: Ground) -> AsyncIterator[Api]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(ground.access))
        await accounts.make_namespace(client, namespace)
        api = RealApi(client, namespace, folder, True, stack)
        api.plane = ground.plane
        try:
            yield api
        finally:
            await client.ask("DELETE", f"/api/v1/{NAMESPACES.plural}/{namespace}")
