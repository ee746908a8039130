"""The node: plays every pod, knows who is ready, keeps the logs."""

import itertools

from sandbox.kubernetes import status
from sandbox.kubernetes.controllers.object_faults import declarations
from sandbox.kubernetes.controllers.podlife import PodLife, Surroundings
from sandbox.kubernetes.controllers.podstatus import NODE, NODE_IP, is_ready
from sandbox.kubernetes.controllers.podtask import KUBELET, SCHEDULER
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.work import Crew
from sandbox.kubernetes.resources import (
    CLAIMS,
    CONFIGMAPS,
    DEPLOYMENTS,
    NODES,
    PODS,
    REPLICASETS,
    SECRETS,
    STATEFULSETS,
    VOLUMES,
    Object,
)
from sandbox.kubernetes.store import Event, Store
from sandbox.kubernetes.volumes import Volumes

_WORKLOADS = (STATEFULSETS, DEPLOYMENTS, REPLICASETS)
_MOUNTED = (SECRETS, CONFIGMAPS, CLAIMS)


class Kubelet:
    """Starts one task per pod and tells it what it may be waiting for."""

    def __init__(self, store: Store, volumes: Volumes, crew: Crew, life: type[PodLife] = PodLife) -> None:
        self._store = store
        self._crew = crew
        self._life = life
        self._lives: dict[tuple[str, str], PodLife] = {}
        addresses = (f"10.244.{number // 250 % 250}.{number % 250 + 2}" for number in itertools.count())
        self._around = Surroundings(
            store=store,
            volumes=volumes,
            scheduler=Recorder(store, SCHEDULER),
            kubelet=Recorder(store, KUBELET),
            new_ip=lambda: next(addresses),
            serving=self.serving,
        )

    def register(self) -> None:
        """Make the Node object."""
        addresses = [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": NODE}]
        conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
        room = {"cpu": "8", "memory": "32Gi", "pods": "110"}
        node = {
            "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}},
            "spec": {},
            "status": {"addresses": addresses, "conditions": conditions, "capacity": room, "allocatable": room},
        }
        self._store.create(NODES, node, actor=KUBELET)

    def saw(self, event: Event) -> None:
        """Take notice of an event."""
        if event.resource is PODS:
            self._saw_pod(event)
        elif event.resource in _WORKLOADS:
            if event.type == "DELETED" or not event.previous or _differ(event.object, event.previous):
                for life in self.lives(event.object["metadata"]["namespace"]):
                    life.reconsider()
        elif event.resource in _MOUNTED:
            self._wake(event.object["metadata"]["namespace"])
        elif event.resource is VOLUMES:
            for life in self._lives.values():
                life.wake()

    def life(self, namespace: str, pod: str) -> PodLife:
        """Raises ApiError (404)."""
        found = self._lives.get((namespace, pod))
        if found is None:
            raise status.not_found(PODS, pod)
        return found

    def lives(self, namespace: str) -> list[PodLife]:
        return [life for life in self._lives.values() if life.namespace == namespace]

    def serving(self, namespace: str) -> set[str]:
        """The names of the components that have a ready pod which is not on its way out."""
        return {life.component.name for life in self.lives(namespace) if life.serves}

    async def sleep(self, seconds: float) -> None:
        """Waits `seconds` of simulated time."""
        await self._store.clock.sleep(seconds)

    async def logs(self, namespace: str, pod: str, container: str, tail_lines: int | None, previous: bool) -> str:
        """What a container wrote. Raises ApiError: 404, 400 where it did not run yet, or not before."""
        life = self.life(namespace, pod)
        log = life.log
        if not life.has_run:
            message = f'container "{container}" in pod "{pod}" is waiting to start: ContainerCreating'
            raise status.bad_request(message)
        if previous and log.previous is None:
            message = f'previous terminated container "{container}" in pod "{pod}" not found'
            raise status.bad_request(message)
        lines = (log.previous or []) if previous else log.lines
        first = 0 if tail_lines is None else max(0, len(lines) - tail_lines)
        return "".join(f"{line}\n" for line in lines[first:])

    def _saw_pod(self, event: Event) -> None:
        pod = event.object
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        life = self._lives.get(key)
        if event.type == "ADDED":
            self._lives[key] = new = self._life(self._around, pod)
            self._crew.start(new.run(), f"pod {key[0]}/{key[1]}")
        elif life is not None and life.uid == pod["metadata"]["uid"]:
            if event.type == "DELETED":
                del self._lives[key]
                life.saw_gone()
            else:
                life.saw(pod)
        if is_ready(pod) and not (event.previous and is_ready(event.previous)):
            self._wake(key[0])

    def _wake(self, namespace: str) -> None:
        for life in self.lives(namespace):
            life.wake()


def _differ(new: Object, old: Object) -> bool:
    return declarations(new) != declarations(old)
