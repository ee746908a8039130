"""Deployments: one ReplicaSet per template, and the rolling move from one to the next."""

from dataclasses import dataclass
from math import ceil, floor

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.controllers.owners import (
    concerned_owner,
    conditions,
    controlled,
    is_terminating,
    key_of,
    reference,
    set_condition,
)
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.templates import hash_of
from sandbox.kubernetes.controllers.work import Key, Work
from sandbox.kubernetes.resources import DEPLOYMENTS, PODS, REPLICASETS, Object
from sandbox.kubernetes.store import ApiError, Event, Store

ACTOR = "deployment-controller"
HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


@dataclass
class Rollout:
    """A Deployment, the ReplicaSet of its present template, and those of earlier ones."""

    workload: Object
    new: Object
    old: list[Object]

    @property
    def wanted(self) -> int:
        return int(self.workload["spec"]["replicas"])

    @property
    def strategy(self) -> Object:
        found: Object = self.workload["spec"].get("strategy") or {}
        return found

    @property
    def all(self) -> list[Object]:
        return [*self.old, self.new]

    def bounds(self) -> tuple[int, int]:
        """How many pods there may be at most, and how many must be available at least."""
        if self.strategy.get("type") == "Recreate":
            return self.wanted, 0
        rolling = self.strategy.get("rollingUpdate") or {}
        surge = _share(rolling.get("maxSurge", "25%"), self.wanted, round_up=True)
        missing = _share(rolling.get("maxUnavailable", "25%"), self.wanted, round_up=False)
        if surge == missing == 0:
            missing = 1  # as Kubernetes does, for otherwise nothing could move
        return self.wanted + surge, self.wanted - min(missing, self.wanted)


class Deployments:
    """Looks again at every change of its ReplicaSets and, for the deadline, when it comes."""

    def __init__(self, store: Store, work: Work) -> None:
        self._store = store
        self._work = work
        self._recorder = Recorder(store, ACTOR)
        self._progress: dict[str, tuple[Object, float]] = {}
        """By uid: the counts last seen, and the loop's time when they changed."""

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is DEPLOYMENTS:
            return [key_of(event.object)]
        if event.resource is REPLICASETS:
            return concerned_owner(event, "Deployment")
        if event.resource is PODS and event.type == "DELETED":
            return self._recreating(event.object["metadata"]["namespace"])
        return []

    def reconcile(self, key: Key) -> None:
        workload = self._store.find(DEPLOYMENTS, *key)
        if workload is None or is_terminating(workload):
            return
        rollout = self._look(workload)
        if rollout is None:
            return
        if not workload["spec"].get("paused") or self._is_scaling(rollout):
            self._move(rollout)
        self._write_status(rollout)
        self._forget_old(rollout)

    def _recreating(self, namespace: str) -> list[Key]:
        """Those that wait for the last old pod to be gone before they begin anew."""
        rows = self._store.rows(DEPLOYMENTS, namespace)
        return [key_of(row) for row in rows if row["spec"].get("strategy", {}).get("type") == "Recreate"]

    def _look(self, workload: Object) -> Rollout | None:
        present = hash_of(workload["spec"]["template"])
        sets = controlled(self._store, REPLICASETS, workload)
        old = sorted((each for each in sets if _hash(each) != present), key=_revision)
        new = next((each for each in sets if _hash(each) == present), None)
        newest = max((_revision(each) for each in sets), default=0)
        if new is None:
            new = self._make(workload, present, newest + 1)
        elif _revision(new) < newest:
            new = self._annotate(new, newest + 1)  # back to an earlier template
        if new is None:
            return None
        self._note_revision(workload, _revision(new))
        return Rollout(workload, new, old)

    def _make(self, workload: Object, template_hash: str, revision: int) -> Object | None:
        namespace, name = key_of(workload)
        template = workload["spec"]["template"]
        labels = {**(template["metadata"].get("labels") or {}), HASH_LABEL: template_hash}
        selector = {**(workload["spec"]["selector"].get("matchLabels") or {}), HASH_LABEL: template_hash}
        made = {
            "metadata": {
                "name": f"{name}-{template_hash}",
                "namespace": namespace,
                "labels": labels,
                "annotations": {REVISION: str(revision)},
                "ownerReferences": [reference(DEPLOYMENTS, workload)],
            },
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": selector},
                "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
            },
        }
        try:
            return self._store.create(REPLICASETS, made, actor=ACTOR)
        except ApiError as error:
            if error.status in (403, 409):  # the namespace is going, or the name is taken until it is gone
                return None
            raise

    def _annotate(self, replicaset: Object, revision: int) -> Object:
        def annotate(found: Object) -> None:
            found["metadata"].setdefault("annotations", {})[REVISION] = str(revision)

        return self._store.change(REPLICASETS, *key_of(replicaset), annotate, actor=ACTOR)

    def _note_revision(self, workload: Object, revision: int) -> None:
        def annotate(found: Object) -> None:
            found["metadata"].setdefault("annotations", {})[REVISION] = str(revision)

        self._store.change(DEPLOYMENTS, *key_of(workload), annotate, actor=ACTOR)

    def _is_scaling(self, rollout: Rollout) -> bool:
        """Whether the count differs from what is asked for, which even a paused Deployment follows."""
        total = sum(int(each["spec"]["replicas"]) for each in rollout.all)
        return total != rollout.wanted

    def _move(self, rollout: Rollout) -> None:
        """One step each way; the ReplicaSets' next status brings the following one."""
        most, least = rollout.bounds()
        if rollout.strategy.get("type") == "Recreate" and self._has_old_pods(rollout):
            self._scale_down_old(rollout, 0)
            return
        total = sum(each["spec"]["replicas"] for each in rollout.all)
        new = rollout.new["spec"]["replicas"]
        if new > rollout.wanted:
            self._scale(rollout, rollout.new, rollout.wanted)
        elif new < rollout.wanted and total < most:
            self._scale(rollout, rollout.new, new + min(most - total, rollout.wanted - new))
        self._scale_down_old(rollout, least)

    def _has_old_pods(self, rollout: Rollout) -> bool:
        return any(controlled(self._store, PODS, each) for each in rollout.old)

    def _scale_down_old(self, rollout: Rollout, least: int) -> None:
        """Take away from old ReplicaSets what can be missed: first what is not available anyway."""
        new_unavailable = rollout.new["spec"]["replicas"] - _available(rollout.new)
        total = sum(each["spec"]["replicas"] for each in rollout.all)
        can_go = total - least - new_unavailable
        for each in rollout.old:
            idle = max(0, each["spec"]["replicas"] - _available(each))
            going = min(max(0, can_go), idle)
            if going:
                can_go -= going
                self._scale(rollout, each, each["spec"]["replicas"] - going)
        # A ReplicaSet that was just scaled still reports the pods it had, so both counts have to allow it.
        spare = min(can_go, sum(_available(each) for each in rollout.all) - least)
        for each in rollout.old:
            going = min(max(0, spare), each["spec"]["replicas"])
            if going:
                spare -= going
                self._scale(rollout, each, each["spec"]["replicas"] - going)

    def _scale(self, rollout: Rollout, replicaset: Object, replicas: int) -> None:
        before = replicaset["spec"]["replicas"]

        def scale(found: Object) -> None:
            found["spec"]["replicas"] = replicas

        self._store.change(REPLICASETS, *key_of(replicaset), scale, actor=ACTOR)
        replicaset["spec"]["replicas"] = replicas
        way = "up" if replicas > before else "down"
        message = f"Scaled {way} replica set {replicaset['metadata']['name']} from {before} to {replicas}"
        self._recorder.normal(DEPLOYMENTS, rollout.workload, "ScalingReplicaSet", message)

    def _write_status(self, rollout: Rollout) -> None:
        status = _counted(rollout)
        kept = self._store.get(DEPLOYMENTS, *key_of(rollout.workload))
        listed = kept.get("status", {}).get("conditions") or []
        told = {key: value for key, value in status.items() if value or key == "terminatingReplicas"}
        kept["status"] = told | {"conditions": listed}
        self._judge(rollout, kept, status)

        def write(found: Object) -> None:
            found["status"] = kept["status"]

        self._store.change(DEPLOYMENTS, *key_of(rollout.workload), write, subresource="status", actor=ACTOR)

    def _judge(self, rollout: Rollout, workload: Object, status: Object) -> None:
        """Write the conditions Available and Progressing."""
        now = timestamp(self._store.clock.now())
        least = rollout.bounds()[1]
        if status["availableReplicas"] >= least:
            message = "Deployment has minimum availability."
            _conclude(workload, now, "Available", "True", "MinimumReplicasAvailable", message)
        else:
            message = "Deployment does not have minimum availability."
            _conclude(workload, now, "Available", "False", "MinimumReplicasUnavailable", message)
        self._judge_progress(rollout, workload, status, now)

    def _judge_progress(self, rollout: Rollout, workload: Object, status: Object, now: str) -> None:
        """A rollout that was completed stays so: scaling alone, up from zero too, has no deadline in Kubernetes."""
        reason = conditions(workload).get("Progressing", {}).get("reason")
        if reason == "NewReplicaSetAvailable" and status["replicas"] == status["updatedReplicas"]:
            return
        name = rollout.new["metadata"]["name"]
        if _is_complete(rollout, status):
            self._progress.pop(workload["metadata"]["uid"], None)
            message = f'ReplicaSet "{name}" has successfully progressed.'
            _conclude(workload, now, "Progressing", "True", "NewReplicaSetAvailable", message)
        elif self._is_late(rollout, status):
            message = f'ReplicaSet "{name}" has timed out progressing.'
            _conclude(workload, now, "Progressing", "False", "ProgressDeadlineExceeded", message)
        else:
            message = f'ReplicaSet "{name}" is progressing.'
            _conclude(workload, now, "Progressing", "True", "ReplicaSetUpdated", message)

    def _is_late(self, rollout: Rollout, status: Object) -> bool:
        """Whether nothing has moved for the progress deadline; if not yet, looks again when it is over."""
        uid = rollout.workload["metadata"]["uid"]
        deadline = float(rollout.workload["spec"].get("progressDeadlineSeconds") or 600)
        counts = {key: status[key] for key in ("observedGeneration", "updatedReplicas", "readyReplicas")}
        seen, since = self._progress.get(uid, ({}, 0.0))
        now = self._work.now()
        if seen != counts:
            since = now
            self._progress[uid] = (counts, now)
        left = deadline - (now - since)
        if left > 0:
            self._work.again(self, key_of(rollout.workload), left)
        return left <= 0

    def _forget_old(self, rollout: Rollout) -> None:
        """Delete ReplicaSets beyond the history limit, the oldest first."""
        idle = [each for each in rollout.old if not each["spec"]["replicas"] and not each["status"].get("replicas")]
        limit = int(rollout.workload["spec"].get("revisionHistoryLimit", 10))
        for each in idle[: max(0, len(idle) - limit)]:
            if not is_terminating(each):
                self._store.delete(REPLICASETS, *key_of(each), uid=each["metadata"]["uid"], actor=ACTOR)


def _conclude(workload: Object, now: str, kind: str, status: str, reason: str, message: str) -> None:
    """Write a condition; one that says the same already stays as it is."""
    found = conditions(workload).get(kind, {})
    if (found.get("status"), found.get("reason")) != (status, reason):
        set_condition(workload, now, kind, status, reason, message)
        conditions(workload)[kind]["lastUpdateTime"] = now


def _counted(rollout: Rollout) -> Object:
    """The status as the ReplicaSets report it: pods on their way out are only in a count of their own."""
    counts = {
        key: sum(each.get("status", {}).get(key, 0) for each in rollout.all)
        for key in ("replicas", "readyReplicas", "availableReplicas")
    }
    asked = sum(each["spec"]["replicas"] for each in rollout.all)
    return {
        "observedGeneration": rollout.workload["metadata"]["generation"],
        **counts,
        "updatedReplicas": rollout.new.get("status", {}).get("replicas", 0),
        "unavailableReplicas": max(0, asked - counts["availableReplicas"]),
        "terminatingReplicas": sum(each.get("status", {}).get("terminatingReplicas", 0) for each in rollout.all),
    }


def _is_complete(rollout: Rollout, status: Object) -> bool:
    return all(status[key] == rollout.wanted for key in ("replicas", "updatedReplicas", "availableReplicas"))


def _share(value: int | str, of: int, *, round_up: bool) -> int:
    """A count, or a percentage rounded up (surge) or down (unavailable)."""
    if isinstance(value, int):
        return value
    exact = int(value.rstrip("%")) * of / 100
    return ceil(exact) if round_up else floor(exact)


def _hash(replicaset: Object) -> str:
    return str((replicaset["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


def _revision(replicaset: Object) -> int:
    return int((replicaset["metadata"].get("annotations") or {}).get(REVISION, 0))


def _available(replicaset: Object) -> int:
    return int(replicaset.get("status", {}).get("availableReplicas", 0))
