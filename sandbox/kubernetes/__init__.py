"""A Kubernetes API with everything behind it that makes a TML cluster live, in one process and on one port."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sandbox.kubernetes.clock import Clock
from sandbox.kubernetes.controllers.claims import Claims
from sandbox.kubernetes.controllers.content_protection import ContentProtection
from sandbox.kubernetes.controllers.csi_driver import Driver
from sandbox.kubernetes.controllers.deployment import Deployments
from sandbox.kubernetes.controllers.external_provisioner import Provisioner
from sandbox.kubernetes.controllers.garbage import Garbage
from sandbox.kubernetes.controllers.group_contents import GroupContents
from sandbox.kubernetes.controllers.group_snapshots import GroupContentProtection, GroupSnapshots
from sandbox.kubernetes.controllers.kubelet import Kubelet
from sandbox.kubernetes.controllers.namespaces import Namespaces
from sandbox.kubernetes.controllers.object_faults import FAULT_ANNOTATION, ObjectFault
from sandbox.kubernetes.controllers.owners import conditions
from sandbox.kubernetes.controllers.reclaiming import Reclaiming
from sandbox.kubernetes.controllers.replicaset import ReplicaSets
from sandbox.kubernetes.controllers.services import Services
from sandbox.kubernetes.controllers.shell import Shell
from sandbox.kubernetes.controllers.snapshot_contents import SnapshotContents
from sandbox.kubernetes.controllers.snapshots import Snapshots
from sandbox.kubernetes.controllers.statefulset import StatefulSets
from sandbox.kubernetes.controllers.storage_faults import FAULT_TEXT, FAULT_TIMES, StorageFault
from sandbox.kubernetes.controllers.work import Crew, Work
from sandbox.kubernetes.faults import Faults
from sandbox.kubernetes.kubeconfig import write_kubeconfig
from sandbox.kubernetes.resources import (
    CLAIMS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    RESOURCES,
    SERVICES,
    STATEFULSETS,
    Object,
    Resource,
    of_kind,
)
from sandbox.kubernetes.server import ApiServer
from sandbox.kubernetes.store import Store
from sandbox.kubernetes.volumes import Volumes
from sandbox.kubernetes.writes import Write

__all__ = [
    "FAULT_ANNOTATION",
    "FAULT_TEXT",
    "FAULT_TIMES",
    "KubernetesSandbox",
    "ObjectFault",
    "StorageFault",
    "start",
]

ADMIN = "kubectl"


class KubernetesSandbox:
    """A running sandbox. Whatever waits on it raises what a controller failed with, if one did."""

    def __init__(self, server: ApiServer, volumes: Volumes, kubelet: Kubelet, shell: Shell, crew: Crew) -> None:
        self.server = server
        self.store = server.store
        self.clock = server.store.clock
        self.volumes = volumes
        self.shell = shell
        self._kubelet = kubelet
        self._crew = crew

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def faults(self) -> Faults:
        """Faults on the wire; for those of objects see `annotate`."""
        return self.server.faults

    @property
    def writes(self) -> list[Write]:
        """Every write that came over the wire."""
        return self.server.writes

    def apply(self, manifests: Iterable[Object]) -> None:
        """Create objects, or replace those that are there, without HTTP. Raises ApiError, KeyError for an unknown kind.

        A namespace that is there stays as it is.
        """
        for manifest in manifests:
            resource = of_kind(manifest["apiVersion"], manifest["kind"])
            if resource is None or not self.server.discovery.serves(resource):
                raise KeyError(f"{manifest['apiVersion']} {manifest['kind']} is not served")
            metadata = manifest["metadata"]
            found = self.store.find(resource, metadata.get("namespace"), metadata["name"])
            if found is None:
                self.store.create(resource, manifest, actor=ADMIN)
            elif resource is not NAMESPACES:
                self.store.update(resource, _with_given(resource, manifest, found), actor=ADMIN)

    def annotate(self, resource: Resource, namespace: str | None, name: str, key: str, value: str | None) -> None:
        """Set an annotation of an object, or remove it: with FAULT_ANNOTATION, an object fault and its repair."""
        if key == FAULT_ANNOTATION and value is not None and value not in [*StorageFault]:
            ObjectFault(value)  # a mistyped one would do nothing, silently

        def write(found: Object) -> None:
            annotations = found["metadata"].setdefault("annotations", {})
            annotations.pop(key, None)
            if value is not None:
                annotations[key] = value

        self.store.change(resource, namespace, name, write, actor=ADMIN)

    def storage_fault(
        self,
        namespace: str,
        claim: str,
        fault: StorageFault | None,
        *,
        times: int | None = None,
        text: str | None = None,
    ) -> None:
        """Have the storage fail a claim, so often and in these words; None repairs it."""
        self.annotate(CLAIMS, namespace, claim, FAULT_TIMES, None if times is None else str(times))
        self.annotate(CLAIMS, namespace, claim, FAULT_TEXT, text)
        self.annotate(CLAIMS, namespace, claim, FAULT_ANNOTATION, fault)

    async def until(self, condition: Callable[[Store], bool], timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Wait until the condition holds, looking again at every change. Real seconds. Raises TimeoutError."""
        try:
            async with asyncio.timeout(timeout):
                while not condition(self.store):
                    await self._crew.changed()
        except TimeoutError as error:
            raise TimeoutError(f"not true within {timeout} s\n{self._state()}") from error

    async def ready(self, namespace: str, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Wait until every workload of the namespace has all its pods ready. Real seconds. Raises TimeoutError."""
        await self.until(lambda store: _is_ready(store, namespace), timeout)

    async def stopped(self, namespace: str, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Wait until the namespace has no pods, and its workloads say so. Real seconds. Raises TimeoutError."""
        await self.until(lambda store: _is_stopped(store, namespace), timeout)

    def kubeconfig(
        self, path: Path, contexts: Mapping[str, str | None], tokens: Mapping[str, str] | None = None
    ) -> None:
        """Write a kubeconfig: `contexts` are names with a default namespace, `tokens` are by context."""
        known = tokens or {}
        write_kubeconfig(path, {name: (self.url, known.get(name), space) for name, space in contexts.items()})

    async def traffic(self, namespace: str) -> tuple[int, str]:
        """What a GET of /mashping through the load balancer answers: status and text."""
        if {"tm", "sql", "cache"} <= self._kubelet.serving(namespace):
            return 200, "mashping: all services are up\n"
        return 503, "no traffic manager is ready\n"

    def _state(self) -> str:
        """The pods, for the message of a condition that did not come true."""
        rows = self.store.rows(PODS)
        return "\n".join(
            f"{row['metadata']['namespace']}/{row['metadata']['name']} {row['status'].get('phase')} {_waits(row)}"
            for row in rows
        )


@asynccontextmanager
async def start(
    *, time_scale: float = 1.0, data_dir: Path | None = None, port: int = 0, without: Collection[str] = ()
) -> AsyncIterator[KubernetesSandbox]:
    """A sandbox for as long as the context lasts. Raises, at its end at the latest, what a controller failed with.

    `time_scale` is how many real seconds a simulated one takes; `data_dir` holds the volumes' bytes, by default in a
    temporary folder; `port` 0 is any free one; `without` names API groups that nobody has defined here, such as
    `snapshot.storage.k8s.io`.
    """
    store = Store(Clock(time_scale))
    crew = Crew()
    work = Work(store, crew)
    with _folder(data_dir) as folder:
        volumes = Volumes(store, folder)
        kubelet = Kubelet(store, volumes, crew)
        _add_controllers(work, store, volumes, kubelet)
        shell = Shell(kubelet, volumes)
        served = [resource for resource in RESOURCES if resource.group not in without]
        server = ApiServer(store, pod_logs=kubelet.logs, pod_exec=shell.run, port=port, served=served)
        sandbox = KubernetesSandbox(server, volumes, kubelet, shell, crew)
        server.traffic = sandbox.traffic
        try:
            await work.start()
            kubelet.register()
            await server.start()
            yield sandbox
        finally:
            await server.stop()
            work.stop()
            await crew.stop()


def _add_controllers(work: Work, store: Store, volumes: Volumes, kubelet: Kubelet) -> None:
    driver = Driver(store, volumes, work)
    work.tell(kubelet.saw)
    work.add(
        StatefulSets(store),
        ReplicaSets(store),
        Deployments(store, work),
        Claims(store),
        Provisioner(store, volumes, driver, work),
        Reclaiming(store, volumes, work),
        Snapshots(store, work),
        ContentProtection(store),
        SnapshotContents(store, driver, work),
        GroupSnapshots(store, work),
        GroupContentProtection(store),
        GroupContents(store, driver, work),
        Services(store, work),
        Garbage(store),
        Namespaces(store),
    )


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="tml-sandbox-") as made:
        yield Path(made)


def _with_given(resource: Resource, manifest: Object, found: Object) -> Object:
    """A manifest does not know what the cluster has given to the object since."""
    given = {SERVICES: ("clusterIP", "clusterIPs"), CLAIMS: ("volumeName",)}.get(resource, ())
    kept = {key: found["spec"][key] for key in given if key in found["spec"]}
    held = {key: found["metadata"][key] for key in ("finalizers", "resourceVersion") if key in found["metadata"]}
    spec = {"spec": {**kept, **manifest["spec"]}} if kept else {}
    return {**manifest, "metadata": {**held, **manifest["metadata"]}, **spec}


def _is_ready(store: Store, namespace: str) -> bool:
    workloads = [row for resource in (STATEFULSETS, DEPLOYMENTS) for row in store.rows(resource, namespace)]
    return bool(workloads) and all(_has_all(row) for row in workloads)


def _has_all(workload: Object) -> bool:
    wanted, status = workload["spec"]["replicas"], workload["status"]
    counts = (status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas"))
    return _is_observed(workload) and all(count == wanted for count in counts)


def _is_observed(workload: Object) -> bool:
    return bool(workload["status"].get("observedGeneration", 0) >= workload["metadata"]["generation"])


def _is_stopped(store: Store, namespace: str) -> bool:
    workloads = [row for resource in (STATEFULSETS, DEPLOYMENTS) for row in store.rows(resource, namespace)]
    told = all(_is_observed(row) and not row["status"].get("replicas") for row in workloads)
    return told and not store.rows(PODS, namespace)


def _waits(pod: Object) -> str:
    states = [container["state"] for container in pod["status"].get("containerStatuses") or []]
    reasons = [state["waiting"]["reason"] for state in states if "waiting" in state]
    unmet = [kind for kind, found in conditions(pod).items() if found["status"] != "True"]
    return " ".join([*reasons, *(f"not {kind}" for kind in unmet)])
