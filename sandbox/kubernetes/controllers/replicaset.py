"""ReplicaSets: so many pods of one template, whoever they are."""

import secrets

from sandbox.kubernetes.controllers.owners import concerned_owner, controlled, is_terminating, key_of, reference
from sandbox.kubernetes.controllers.podstatus import is_active, is_ready
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.templates import create_pod, pod_from
from sandbox.kubernetes.controllers.work import Key
from sandbox.kubernetes.resources import PODS, REPLICASETS, Object
from sandbox.kubernetes.store import Event, Store

ACTOR = "replicaset-controller"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class ReplicaSets:
    """Pods on their way out do not count, and are replaced at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recorder = Recorder(store, ACTOR)

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is REPLICASETS:
            return [key_of(event.object)]
        return concerned_owner(event, "ReplicaSet") if event.resource is PODS else []

    def reconcile(self, key: Key) -> None:
        workload = self._store.find(REPLICASETS, *key)
        if workload is None:
            return
        everybody = controlled(self._store, PODS, workload)
        pods = [pod for pod in everybody if is_active(pod)]
        if not is_terminating(workload):
            self._level(workload, pods)
        self._write_status(workload, pods, sum(is_terminating(pod) for pod in everybody))

    def _level(self, workload: Object, pods: list[Object]) -> None:
        missing = workload["spec"]["replicas"] - len(pods)
        for _ in range(missing):
            self._make(workload)
        for pod in sorted(pods, key=_goes_first)[: max(0, -missing)]:
            self._delete(workload, pod)

    def _make(self, workload: Object) -> None:
        namespace, name = key_of(workload)
        pod_name = f"{name}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}"
        metadata = {
            "name": pod_name,
            "generateName": f"{name}-",
            "namespace": namespace,
            "ownerReferences": [reference(REPLICASETS, workload)],
        }
        why_not = create_pod(self._store, pod_from(workload["spec"]["template"], metadata, {}), ACTOR)
        if why_not:
            self._recorder.warning(REPLICASETS, workload, "FailedCreate", f"Error creating: {why_not}")
        else:
            self._recorder.normal(REPLICASETS, workload, "SuccessfulCreate", f"Created pod: {pod_name}")

    def _delete(self, workload: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        self._store.delete(PODS, metadata["namespace"], metadata["name"], uid=metadata["uid"], actor=ACTOR)
        self._recorder.normal(REPLICASETS, workload, "SuccessfulDelete", f"Deleted pod: {metadata['name']}")

    def _write_status(self, workload: Object, pods: list[Object], terminating: int) -> None:
        ready = sum(is_ready(pod) for pod in pods)
        counts = {"fullyLabeledReplicas": len(pods), "readyReplicas": ready, "availableReplicas": ready}
        status = {
            "observedGeneration": workload["metadata"]["generation"],
            "replicas": len(pods),
            **{key: count for key, count in counts.items() if count},
            "terminatingReplicas": terminating,
        }

        def write(found: Object) -> None:
            found["status"] = status

        self._store.change(REPLICASETS, *key_of(workload), write, subresource="status", actor=ACTOR)


def _goes_first(pod: Object) -> tuple[bool, bool, int]:
    """Not yet scheduled before scheduled, unready before ready, the younger before the older."""
    age = int(pod["metadata"].get("resourceVersion", 0))
    return bool(pod["spec"].get("nodeName")), is_ready(pod), -age
