"""A real control plane on loopback: etcd, API server, controller manager, scheduler and storage as plain processes.

    async with control_plane(folder, time_scale=0.01) as plane: ...

Its node is played by `tests/cluster/kubelet.py`, in a process of its own.
"""

import asyncio
import base64
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path

import aiohttp
import yaml

from tests.cluster import storage
from tests.cluster.building import Built, build
from tests.cluster.client import Access, Answer, Client, Json, open_client, until
from tests.cluster.kubeconfigs import write_kubeconfig
from tests.cluster.processes import LOOK_AGAIN, Program, free_ports, started_again

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds for each server to be ready; on an idle machine it takes two or three."""
USERS = {
    "admin": ("tml-bot-test-admin", ["system:masters"]),
    "controllers": ("system:kube-controller-manager", []),
    "scheduler": ("system:kube-scheduler", []),
    "node": ("tml-bot-test-node", ["system:masters"]),
    **{name: (f"tml-bot-test-{name}", ["system:masters"]) for name in storage.SIDECARS},
}
WATCHERS = ("kube-controller-manager", "kube-scheduler", *storage.SIDECARS)
"""After each failure client-go doubles the pause before it lists again, up to 30 to 60 s, and forgets that only after
two quiet minutes (tools/cache/reflector.go, 0.36).
"""
CERTIFICATE = """\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = tml-bot-test
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
subjectAltName = IP:127.0.0.1, DNS:localhost, DNS:kubernetes.default.svc
"""
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},  # the controllers
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Ports:
    """All on loopback."""

    etcd: int
    peers: int
    api: int
    controllers: int
    scheduler: int
    kubelet: int
    traffic: int
    provisioner: int
    snapshots: int
    snapshotter: int


class ControlPlane:
    """The running servers; made by `control_plane`."""

    def __init__(self, built: Built, folder: Path, time_scale: float) -> None:
        self._built = built
        self.folder = folder
        self.time_scale = time_scale
        self.tokens = {name: secrets.token_hex(16) for name in USERS}
        self._ports = Ports(*free_ports(len(fields(Ports))))
        self._running: dict[str, Program] = {}
        self._was_killed = False

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self._ports.api}"

    @property
    def volumes(self) -> Path:
        """One folder per volume handle, with the bytes."""
        return self.folder / "volumes"

    @property
    def snapshots(self) -> Path:
        """One folder per snapshot handle, with the bytes of the moment."""
        return self.folder / "snapshots"

    def traffic_url(self, namespace: str) -> str:
        """What a caller of the gateway asks."""
        return f"http://{HOST}:{self._ports.traffic}/traffic/{namespace}/mashping"

    @property
    def certificate(self) -> Path:
        """Self-signed: of the API server and the kubelet, and the authority for both."""
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    def access(self, user: str = "admin") -> Access:
        return Access(self.url, self.tokens[user], self.certificate.read_text())

    def kubeconfig(self, user: str) -> Path:
        """Written anew with each call."""
        return write_kubeconfig(self.folder / f"{user}.kubeconfig", self.access(user))

    async def start(self) -> None:
        """Returns when every server says that it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self._make_credentials)
        self._launch("etcd", self._etcd())
        await self._answers(f"http://{HOST}:{self._ports.etcd}/health")
        await self.start_api_server()
        async with open_client(self.access()) as client:
            await storage.define(client, storage.definitions(self._built.definitions))
            await asyncio.gather(storage.make_classes(client), self._start_the_rest(client))

    async def _start_the_rest(self, client: Client) -> None:
        self._launch("kube-controller-manager", self._controllers())
        self._launch_scheduler()
        await self.start_storage()
        await self._controllers_answer()
        # without its account a namespace takes no pods
        await until(client, "/api/v1/namespaces/default/serviceaccounts/default", lambda it: it.status == 200)
        self._launch_node()
        await until(client, "/api/v1/nodes", _takes_pods)

    async def stop(self) -> None:
        """The readers before what they read from."""
        for name in reversed(self._running):
            await self._running[name].stop()

    async def start_api_server(self) -> None:
        self._launch("kube-apiserver", self._api_server())
        await self._answers(f"{self.url}/readyz")

    async def kill_api_server(self) -> None:
        """SIGKILL: every connection is cut, nothing is said. See `settle`."""
        self._was_killed = True
        await self._running["kube-apiserver"].kill()

    async def settle(self) -> None:
        """Start those that watch again if the API server was killed: their pauses would be the next test's."""
        if not self._was_killed:
            return
        self._was_killed = False
        for name in WATCHERS:
            await self._running[name].kill()
            self._running[name].start()
        await self._controllers_answer()
        await self._sidecars_answer()

    async def _controllers_answer(self) -> None:
        await self._answers(f"https://{HOST}:{self._ports.controllers}/healthz")
        await self._answers(f"https://{HOST}:{self._ports.scheduler}/healthz")

    async def start_storage(self) -> None:
        """The CSI driver first: its sidecars end when they cannot reach it."""
        self._launch("hostpath", storage.driver(self.folder))
        await self._listens(storage.socket(self.folder))
        for name, port in self._sidecars().items():
            self._launch(name, storage.SIDECARS[name](self.kubeconfig(name), self.folder, f"{HOST}:{port}"))
        await self._sidecars_answer()

    async def _sidecars_answer(self) -> None:
        for port in self._sidecars().values():
            await self._answers(f"http://{HOST}:{port}/metrics")

    async def kill_storage(self) -> None:
        """SIGKILL to the driver and its sidecars; what is in the volumes and snapshots stays."""
        for name in ("hostpath", *self._sidecars()):
            await self._running.pop(name).kill()

    def _sidecars(self) -> dict[str, int]:
        ports = self._ports
        return dict(zip(storage.SIDECARS, (ports.provisioner, ports.snapshots, ports.snapshotter), strict=True))

    def freeze_api_server(self) -> None:
        """It keeps its connections and says nothing."""
        self._running["kube-apiserver"].send(signal.SIGSTOP)

    def thaw_api_server(self) -> None:
        self._running["kube-apiserver"].send(signal.SIGCONT)

    def requests(self, user: str) -> list[Json]:
        """What a service account asked for so far, as the API server's own audit log has it."""
        log = self.folder / "audit.log"
        lines = log.read_text().splitlines() if log.exists() else []
        entries = [json.loads(line) for line in lines if user in line]
        return [one for one in entries if one["user"]["username"] == user and one["stage"] == "ResponseComplete"]

    def check(self) -> None:
        """Raises Ended when a server is no longer there."""
        for program in self._running.values():
            program.check()

    async def compact(self) -> int:
        """Make etcd forget every version but the present ones; returns the revision up to which it forgot."""
        async with aiohttp.ClientSession(f"http://{HOST}:{self._ports.etcd}") as session:
            key = base64.b64encode(b"compact").decode()
            async with session.post("/v3/kv/range", json={"key": key}) as response:
                revision = int((await response.json())["header"]["revision"])
            async with session.post("/v3/kv/compaction", json={"revision": revision, "physical": True}) as response:
                assert response.status == 200, await response.text()
        return revision

    def _launch(self, name: str, arguments: Sequence[str]) -> None:
        self._run(name, [str(self._built.programs[name]), *arguments])

    def _launch_scheduler(self) -> None:
        """It ends itself where a namesake took a pod's place while the API server was away; a kubelet starts it again.

        `Pod updated on a different node than previously added to` (pkg/scheduler/backend/cache, UpdatePod, 1.36).
        """
        name = "kube-scheduler"
        self._run(name, started_again([str(self._built.programs[name]), *self._scheduler()]))

    def _launch_node(self) -> None:
        ports = [str(self._ports.kubelet), str(self._ports.traffic)]
        arguments = [str(self.kubeconfig("node")), str(self.folder), *ports, str(self.time_scale)]
        self._run("kubelet", [sys.executable, "-m", "tests.cluster.kubelet", *arguments])

    def _run(self, name: str, command: Sequence[str]) -> None:
        self._running[name] = Program(name, command, self.folder / f"{name}.log")
        self._running[name].start()

    async def _answers(self, address: str) -> None:
        """Ask until it answers 200. Raises Ended when a server gave up, TimeoutError."""
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            while True:
                self.check()
                try:
                    async with session.get(address, ssl=False) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(LOOK_AGAIN)

    async def _listens(self, socket: Path) -> None:
        """Connect until somebody takes it. Raises Ended when a server gave up, TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.check()
                with suppress(OSError):
                    _, writer = await asyncio.open_unix_connection(socket)
                    writer.close()
                    return
                await asyncio.sleep(LOOK_AGAIN)

    def _make_credentials(self) -> None:
        lines = [f'{self.tokens[key]},{user},{key},"{",".join(groups)}"' for key, (user, groups) in USERS.items()]
        (self.folder / "tokens.csv").write_text("\n".join(lines) + "\n")
        (self.folder / "audit.yaml").write_text(yaml.safe_dump(AUDIT))
        wishes = self.folder / "certificate.cnf"
        wishes.write_text(CERTIFICATE)
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", str(wishes)]
        subprocess.run(
            [*command, "-keyout", str(self.key), "-out", str(self.certificate)], check=True, capture_output=True
        )

    def _etcd(self) -> list[str]:
        client, peers = f"http://{HOST}:{self._ports.etcd}", f"http://{HOST}:{self._ports.peers}"
        return [
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # nothing here outlives the machine
            "--log-level=warn",
        ]

    def _api_server(self) -> list[str]:
        return [
            f"--etcd-servers=http://{HOST}:{self._ports.etcd}",
            "--etcd-compaction-interval=0",  # tests say when
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={self._ports.api}",
            "--endpoint-reconciler-type=none",  # it refuses a loopback address
            f"--tls-cert-file={self.certificate}",
            f"--tls-private-key-file={self.key}",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.certificate}",
            f"--service-account-signing-key-file={self.key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={self.folder}/audit.yaml",
            f"--audit-log-path={self.folder}/audit.log",
        ]

    def _controllers(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig('controllers')}",
            f"--bind-address={HOST}",
            f"--secure-port={self._ports.controllers}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.key}",
            f"--root-ca-file={self.certificate}",
            "--controllers=*,-persistentvolume-attach-detach-controller,-node-ipam-controller",  # nothing to attach to
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]

    def _scheduler(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig('scheduler')}",
            f"--bind-address={HOST}",
            f"--secure-port={self._ports.scheduler}",
            "--leader-elect=false",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]


def _takes_pods(nodes: Answer) -> bool:
    """The taints of a new node are gone, so its heartbeat was seen."""
    items = nodes.body.get("items") or []
    return bool(items) and not any(node["spec"].get("taints") for node in items)


@asynccontextmanager
async def control_plane(folder: Path, *, time_scale: float = 1.0) -> AsyncIterator[ControlPlane]:
    """The servers as long as the block runs; their logs and data are in ``folder``. Raises Missing.

    ``time_scale`` is how many real seconds one of a pod's life takes; the servers' own times are real.
    """
    plane = ControlPlane(await asyncio.to_thread(build), folder, time_scale)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(plane.stop)
        await plane.start()
        yield plane
