"""StatefulSets: pods with a name and a claim of their own, made, ended and replaced in order."""

import re
from dataclasses import dataclass

from sandbox.kubernetes.controllers.owners import (
    concerned_owner,
    controlled,
    controller_of,
    is_controlled_by,
    is_terminating,
    key_of,
    reference,
    references,
)
from sandbox.kubernetes.controllers.podstatus import claims_of, is_ready
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.templates import create_pod, hash_of, pod_from
from sandbox.kubernetes.controllers.work import Key
from sandbox.kubernetes.resources import CLAIMS, CONTROLLER_REVISIONS, PODS, STATEFULSETS, Object, Resource
from sandbox.kubernetes.store import ApiError, Event, Store

ACTOR = "statefulset-controller"
REVISION_LABEL = "controller-revision-hash"
_SHOWN_AT_ZERO = ("replicas", "availableReplicas", "collisionCount")


@dataclass
class Picture:
    """A StatefulSet and its pods as they are now."""

    workload: Object
    pods: dict[int, Object]
    current: str
    update: str

    @property
    def wanted(self) -> int:
        return int(self.workload["spec"]["replicas"])

    @property
    def is_ordered(self) -> bool:
        return bool(self.workload["spec"]["podManagementPolicy"] == "OrderedReady")

    @property
    def partition(self) -> int:
        strategy = self.workload["spec"]["updateStrategy"].get("rollingUpdate") or {}
        return int(strategy.get("partition") or 0)

    @property
    def is_rolling(self) -> bool:
        return bool(self.workload["spec"]["updateStrategy"]["type"] == "RollingUpdate")

    def revision_for(self, ordinal: int) -> str:
        """Below the partition a pod that was lost comes back as it was."""
        return self.current if self.is_rolling and ordinal < self.partition else self.update

    def condemned(self) -> list[int]:
        """Ordinals beyond the wanted count, in the order in which they go."""
        return sorted((ordinal for ordinal in self.pods if ordinal >= self.wanted), reverse=True)

    def first_unhealthy(self) -> int | None:
        """Kubernetes ends an unready pod in order only if none below it is unready or on its way out."""
        return min((n for n, pod in self.pods.items() if is_terminating(pod) or not is_ready(pod)), default=None)


class StatefulSets:
    """One step at a time: every change of a pod or claim brings the set here again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recorder = Recorder(store, ACTOR)

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is STATEFULSETS:
            return [key_of(event.object)]
        if event.resource is PODS:
            return concerned_owner(event, "StatefulSet") or self._adopters(event)
        if event.resource is CLAIMS and event.type != "ADDED":
            return self._sets_of_claim(event.object)
        return []

    def reconcile(self, key: Key) -> None:
        workload = self._store.find(STATEFULSETS, *key)
        if workload is None or is_terminating(workload):
            return
        self._adopt(workload)
        picture = self._look(workload)
        self._write_status(picture)
        self._keep_claim_owners(picture)
        if self._fill(picture) and self._shrink(picture):
            self._roll(picture)

    def _adopters(self, event: Event) -> list[Key]:
        """The set whose name an orphan bears; also where a new set finds pods of that name gone."""
        found = _split(event.object["metadata"]["name"])
        return [(event.object["metadata"]["namespace"], found[0])] if found else []

    def _sets_of_claim(self, claim: Object) -> list[Key]:
        """A claim that is gone, or going, may be what a pod waits for."""
        found = _split(claim["metadata"]["name"])
        if found is None:
            return []
        namespace = claim["metadata"]["namespace"]
        names = (row["metadata"]["name"] for row in self._store.rows(STATEFULSETS, namespace))
        return [(namespace, name) for name in names if found[0].endswith(f"-{name}")]

    def _adopt(self, workload: Object) -> None:
        namespace, name = key_of(workload)
        labels = workload["spec"]["selector"].get("matchLabels") or {}
        for pod in self._store.list(PODS, namespace, labels):
            split = _split(pod["metadata"]["name"])
            if split and split[0] == name and controller_of(pod) is None and not is_terminating(pod):
                self._own(pod, workload)

    def _own(self, pod: Object, workload: Object) -> None:
        def own(found: Object) -> None:
            found["metadata"]["ownerReferences"] = [*references(found), reference(STATEFULSETS, workload)]

        self._store.change(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], own, actor=ACTOR)

    def _look(self, workload: Object) -> Picture:
        pods = {}
        for pod in controlled(self._store, PODS, workload):
            split = _split(pod["metadata"]["name"])
            if split:
                pods[split[1]] = pod
        update = self._keep_revision(workload)
        current = workload.get("status", {}).get("currentRevision") or update
        return Picture(workload, pods, current, update)

    def _keep_revision(self, workload: Object) -> str:
        """Store the present template under its hash, so that pods of it can be made later; the revision's name."""
        namespace, name = key_of(workload)
        revision = f"{name}-{hash_of(workload['spec']['template'])}"
        if self._store.find(CONTROLLER_REVISIONS, namespace, revision) is None:
            rows = self._store.rows(CONTROLLER_REVISIONS, namespace)
            earlier = (row for row in rows if is_controlled_by(row, workload))
            metadata: Object = {
                "name": revision,
                "namespace": namespace,
                "labels": workload["spec"]["selector"].get("matchLabels") or {},
                "ownerReferences": [reference(STATEFULSETS, workload)],
            }
            data = {"spec": {"template": workload["spec"]["template"]}}
            number = 1 + max((row["revision"] for row in earlier), default=0)
            self._try_to_create(CONTROLLER_REVISIONS, {"metadata": metadata, "data": data, "revision": number})
        return revision

    def _try_to_create(self, resource: Resource, obj: Object) -> None:
        try:
            self._store.create(resource, obj, actor=ACTOR)
        except ApiError as error:
            if error.status != 403:  # the namespace is going
                raise

    def _fill(self, picture: Picture) -> bool:
        """Make what is missing and replace what has failed; whether the order allows to go on."""
        is_full = True
        for ordinal in range(picture.wanted):
            if not self._fill_one(picture, ordinal):
                if picture.is_ordered:
                    return False
                is_full = is_full and ordinal in picture.pods
        return is_full

    def _fill_one(self, picture: Picture, ordinal: int) -> bool:
        """Whether the pod of this ordinal is there and ready; if not, do what can be done about it."""
        pod = picture.pods.get(ordinal)
        if pod is None:
            self._make(picture, ordinal)
            return False
        if not is_terminating(pod) and pod["status"]["phase"] in ("Failed", "Succeeded"):
            self._delete(picture, pod)
        elif pod["status"]["phase"] == "Pending":
            self._make_claims(picture.workload, ordinal)
        return is_ready(pod) and not is_terminating(pod)

    def _make(self, picture: Picture, ordinal: int) -> None:
        """Make a pod, its claims first."""
        name = picture.workload["metadata"]["name"]
        if not self._make_claims(picture.workload, ordinal):
            return
        pod = self._pod(picture, ordinal, self._claims(picture.workload, ordinal))
        why_not = create_pod(self._store, pod, ACTOR)
        if why_not:
            message = f"create Pod {name}-{ordinal} in StatefulSet {name} failed error: {why_not}"
            self._recorder.warning(STATEFULSETS, picture.workload, "FailedCreate", message)
        else:
            message = f"create Pod {name}-{ordinal} in StatefulSet {name} successful"
            self._recorder.normal(STATEFULSETS, picture.workload, "SuccessfulCreate", message)

    def _make_claims(self, workload: Object, ordinal: int) -> bool:
        """Make the claims that are missing; whether none is on its way out, for then its pod has to wait."""
        are_staying = True
        for claim in self._claims(workload, ordinal).values():
            found = self._store.find(CLAIMS, claim["metadata"]["namespace"], claim["metadata"]["name"])
            if found is None:
                self._try_to_create(CLAIMS, claim)
            elif is_terminating(found):
                are_staying = False
        return are_staying

    def _claims(self, workload: Object, ordinal: int) -> dict[str, Object]:
        """The claims of one pod by the name of their template."""
        namespace, name = key_of(workload)
        found = {}
        for template in workload["spec"].get("volumeClaimTemplates") or []:
            own = template["metadata"]
            labels = {**(own.get("labels") or {}), **(workload["spec"]["selector"].get("matchLabels") or {})}
            metadata: Object = {"name": f"{own['name']}-{name}-{ordinal}", "namespace": namespace, "labels": labels}
            if own.get("annotations"):
                metadata["annotations"] = own["annotations"]
            if _policy(workload, "whenDeleted") == "Delete":
                metadata["ownerReferences"] = [reference(STATEFULSETS, workload)]
            found[own["name"]] = {"metadata": metadata, "spec": template["spec"]}
        return found

    def _pod(self, picture: Picture, ordinal: int, claims: dict[str, Object]) -> Object:
        namespace, set_name = key_of(picture.workload)
        name = f"{set_name}-{ordinal}"
        revision = picture.revision_for(ordinal)
        labels = {
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
            REVISION_LABEL: revision,
        }
        metadata = {
            "name": name,
            "namespace": namespace,
            "ownerReferences": [reference(STATEFULSETS, picture.workload)],
        }
        pod = pod_from(self._template(picture, revision), metadata, labels)
        others = [volume for volume in pod["spec"].get("volumes") or [] if volume["name"] not in claims]
        own = [
            {"name": volume, "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
            for volume, claim in claims.items()
        ]
        service = picture.workload["spec"].get("serviceName")
        pod["spec"] |= {"volumes": [*own, *others], "hostname": name} | ({"subdomain": service} if service else {})
        return pod

    def _template(self, picture: Picture, revision: str) -> Object:
        found = self._store.find(CONTROLLER_REVISIONS, picture.workload["metadata"]["namespace"], revision)
        template: Object = (found["data"] if found else picture.workload)["spec"]["template"]
        return template

    def _shrink(self, picture: Picture) -> bool:
        """End what is too much, from the highest ordinal down; whether the order allows to go on."""
        for ordinal in picture.condemned():
            pod = picture.pods[ordinal]
            if not is_terminating(pod):
                if picture.is_ordered and not is_ready(pod) and ordinal != picture.first_unhealthy():
                    return False
                self._delete(picture, pod)
            if picture.is_ordered:
                return False
        return True

    def _delete(self, picture: Picture, pod: Object) -> None:
        namespace, name = key_of(picture.workload)
        metadata = pod["metadata"]
        self._store.delete(PODS, namespace, metadata["name"], uid=metadata["uid"], actor=ACTOR)
        message = f"delete Pod {metadata['name']} in StatefulSet {name} successful"
        self._recorder.normal(STATEFULSETS, picture.workload, "SuccessfulDelete", message)

    def _roll(self, picture: Picture) -> None:
        """Replace one pod of an old revision, the highest ordinal first, once all above it are ready."""
        if not picture.is_rolling:
            return
        for ordinal in range(picture.wanted - 1, picture.partition - 1, -1):
            pod = picture.pods.get(ordinal)
            if pod is None:
                return
            if pod["metadata"]["labels"].get(REVISION_LABEL) != picture.update and not is_terminating(pod):
                self._delete(picture, pod)
                return
            if is_terminating(pod) or not is_ready(pod):
                return

    def _write_status(self, picture: Picture) -> None:
        workload = picture.workload
        status = _counted(picture)
        if picture.is_rolling and all(
            status[key] == picture.wanted for key in ("replicas", "readyReplicas", "updatedReplicas")
        ):
            picture.current = picture.update
            status |= {"currentRevision": picture.update, "currentReplicas": status["updatedReplicas"]}

        def write(found: Object) -> None:
            found["status"] = {key: value for key, value in status.items() if value or key in _SHOWN_AT_ZERO}

        namespace, name = key_of(workload)
        self._store.change(STATEFULSETS, namespace, name, write, subresource="status", actor=ACTOR)

    def _keep_claim_owners(self, picture: Picture) -> None:
        """Who takes a claim along when it goes, as the retention policy says; the garbage collector does the rest."""
        workload = picture.workload
        if not workload["spec"].get("volumeClaimTemplates"):
            return
        by_set = [reference(STATEFULSETS, workload)]
        for ordinal, pod in picture.pods.items():
            wanted = by_set if _policy(workload, "whenDeleted") == "Delete" else []
            if ordinal >= picture.wanted and _policy(workload, "whenScaled") == "Delete":
                wanted = [reference(PODS, pod)]
            for name in claims_of(pod).values():
                self._keep_owners(workload, name, wanted)

    def _keep_owners(self, workload: Object, claim: str, wanted: list[Object]) -> None:
        set_name = workload["metadata"]["name"]

        def is_ours(owner: Object) -> bool:
            split = _split(owner["name"]) if owner["kind"] == "Pod" else None
            return (owner["kind"], owner["name"]) == ("StatefulSet", set_name) or bool(split and split[0] == set_name)

        def own(found: Object) -> None:
            others = [owner for owner in references(found) if not is_ours(owner)]
            found["metadata"]["ownerReferences"] = [*others, *wanted]

        if self._store.find(CLAIMS, workload["metadata"]["namespace"], claim) is not None:
            self._store.change(CLAIMS, workload["metadata"]["namespace"], claim, own, actor=ACTOR)


def _counted(picture: Picture) -> Object:
    """The status as the pods that exist make it, those on their way out included."""
    pods = [*picture.pods.values()]
    staying = [pod["metadata"]["labels"].get(REVISION_LABEL) for pod in pods if not is_terminating(pod)]
    ready = sum(is_ready(pod) for pod in pods)
    return {
        "observedGeneration": picture.workload["metadata"]["generation"],
        "replicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentReplicas": staying.count(picture.current),
        "updatedReplicas": staying.count(picture.update),
        "currentRevision": picture.current,
        "updateRevision": picture.update,
        "collisionCount": 0,
    }


def _policy(workload: Object, when: str) -> str:
    found = workload["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return str(found.get(when) or "Retain")


def _split(name: str) -> tuple[str, int] | None:
    """`cass-set-0-0` is ordinal 0 of `cass-set-0`."""
    found = re.fullmatch(r"(.+)-(\d+)", name)
    return (found[1], int(found[2])) if found else None
