"""What a restore test makes of Kubernetes' objects and removes again: clones of snapshots, and the pods of its checks.

A pod gets nothing of the cluster but the component's image and how its own pods run: no token, no Secret, no
environment, and the clone is mounted for reading only. The mount is what is read-only and not the volume: a file system
that was cut while it was written to has to replay its journal before it can be read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lifecycle.decide.verify import CHECKED, GOES_ALONG
from lifecycle.errors import Conflict, Gone, Invalid
from lifecycle.kube import paths, read, volumes
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.fence import require
from lifecycle.kube.paths import Resource
from lifecycle.kube.read import ACCESS_MODES, MADE_BY, OPERATION, Lists
from lifecycle.kube.snapshots import GROUP
from lifecycle.kube.volumes import volume
from lifecycle.model import Kind, Ref, Step
from lifecycle.observed import Scratch
from lifecycle.operation import Goal, Operation
from lifecycle.ports import Lease
from lifecycle.verification import Examined, Leftover, scratch_name
from lifecycle.volumes import Claim

LABEL = "tml-bot/scratch"
"""Of a restore test's claims and pods: the operation that made them. No selector of a cluster's matches it."""
CONTAINER = "check"
VOLUME = "clone"
GRACE = 5
"""Seconds: a check that is removed has nothing to save."""
LONG_MODES = {short: mode for mode, short in ACCESS_MODES.items()}

SCRATCHED = (Resource.PODS, Resource.CLAIMS, Resource.VOLUMES, Resource.SNAPSHOTS, Resource.SNAPSHOT_CONTENTS)
"""What the picture of a restore test is made of: nothing of the cluster is looked at."""


def seen(goal: Goal, namespace: str, lists: Lists) -> Scratch:
    """What there is under the names that the goal gives, whoever made it."""
    members = goal.verifying.members if goal.verifying else ()
    names = {scratch_name(goal.mark, one.claim) for one in members}
    behind = (volume(one, namespace) for one in lists[Resource.VOLUMES])
    return Scratch(
        claims=_sorted(read.claim(one) for one in lists[Resource.CLAIMS] if read.name_of(one) in names),
        volumes=_sorted(one for one in behind if one.claim in names),
        pods=_sorted(read.pod(one) for one in lists[Resource.PODS] if read.name_of(one) in names),
        free=_sorted(volume(one, namespace) for one in lists[Resource.VOLUMES] if _is_free(one)),
    )


def _is_free(found: Json) -> bool:
    return read.status_of(found).get("phase") == "Available" and not read.spec_of(found).get("claimRef")


def _sorted(found: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(found, key=lambda one: one.name))


def claim_body(member: Examined, operation: Operation) -> Json:
    """The claim that is sent for a clone."""
    spec = {
        "accessModes": [LONG_MODES.get(mode, mode) for mode in member.access_modes] or ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(member.size)}},
        "dataSource": {"apiGroup": GROUP, "kind": "VolumeSnapshot", "name": member.snapshot},
        **({"storageClassName": member.storage_class} if member.storage_class else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(member, operation),
        "spec": spec,
    }


def _metadata(member: Examined, operation: Operation) -> Json:
    return {
        "name": scratch_name(operation.id, member.claim),
        "labels": {LABEL: operation.id},
        "annotations": {MADE_BY: operation.id, OPERATION: operation.id},
    }


def pod_body(member: Examined, operation: Operation) -> Json:
    """The pod that is sent for a check; it ends by itself even if nobody removes it."""
    like = member.likeness
    identity = {"runAsUser": like.user, "runAsGroup": like.group, "fsGroup": like.fs_group}
    container = {
        "name": CONTAINER,
        "image": like.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(member.command),
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": VOLUME, "mountPath": like.mount, "readOnly": True}],
    }
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": int(CHECKED.time_for(operation).total_seconds()),
        "terminationGracePeriodSeconds": GRACE,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {key: value for key, value in identity.items() if value is not None},
        "imagePullSecrets": [{"name": name} for name in like.pull_secrets],
        "nodeSelector": dict(like.node_selector),
        "tolerations": [_toleration(one.key, one.operator, one.value, one.effect) for one in like.tolerations],
        "containers": [container],
        "volumes": [{"name": VOLUME, "persistentVolumeClaim": {"claimName": scratch_name(operation.id, member.claim)}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(member, operation), "spec": spec}


def _toleration(key: str, operator: str, value: str, effect: str) -> Json:
    found = {"key": key, "operator": operator, "value": value, "effect": effect}
    return {name: text for name, text in found.items() if text}


@dataclass(frozen=True)
class Bench:
    """Where one operation's clones are made, looked at and cleared away; each method does a step, idempotently."""

    door: Door
    namespace: str
    operation: Operation
    lease: Lease

    async def clone(self, step: Step) -> str:
        member = self._member(step)
        return await self._make(Resource.CLAIMS, claim_body(member, self.operation), step, _source_of, member.snapshot)

    async def check(self, step: Step) -> str:
        body = pod_body(self._member(step), self.operation)
        return await self._make(Resource.PODS, body, step, _mounted_by, step.ref.name)

    async def _make(self, resource: Resource, body: Json, step: Step, told: Any, wanted: str) -> str:
        """A name that is taken means done only where this operation made what bears it, for the same."""
        require(self.lease)
        try:
            made = await self.door.create(paths.all_of(resource, self.namespace), body)
        except Conflict:
            made = await self.door.get(paths.of(step.ref, self.namespace))
            if not self._is_ours(made) or told(made) != wanted:
                raise Invalid(f"{step.ref} is there already, and was made by somebody else") from None
        return read.uid_of(made)

    async def let_go(self, step: Step) -> str:
        """Of a volume that is bound, by uid, to a clone that this operation made; of no other one ever."""
        found = await self._own(step)
        name = str((read.spec_of(found).get("claimRef") or {}).get("name", ""))
        if self._member_named(name) is None:
            raise Invalid(f"{step.ref} is behind no clone of this operation")
        claim = await self.door.get(paths.of(Claim.ref_of(name), self.namespace))
        if not self._is_ours(claim) or not volume(found, self.namespace).is_made_for(read.claim(claim)):
            raise Conflict(f"{step.ref} was not made for {Claim.ref_of(name)} of this operation")
        if operations := volumes.let_go(step, found, self.namespace, name, read.uid_of(claim)):
            require(self.lease)
            await self.door.patch(paths.of(step.ref, self.namespace), operations)
        return step.uid

    async def clean(self, step: Step) -> str:
        """What is gone already, or another object of the same name by now, is not to be removed any more."""
        try:
            found = await self._own(step)
            if self._member_named(step.ref.name) is None or not self._is_ours(found):
                raise Invalid(f"{step.ref} was not made by this operation")
            if step.ref.kind is Kind.CLAIM:
                await self._require_going_along(step, found)
            require(self.lease)
            path, version = paths.of(step.ref, self.namespace), read.metadata(found).get("resourceVersion", "")
            await self.door.delete(path, step.uid, version)
        except Gone:
            pass
        return step.uid

    async def _require_going_along(self, step: Step, claim: Json) -> None:
        """The picture may be older than the binding."""
        name = read.spec_of(claim).get("volumeName")
        if not name:
            return
        try:
            behind = await self.door.get(paths.of(Ref(Kind.VOLUME, str(name)), self.namespace))
        except Gone:
            return
        if not volume(behind, self.namespace).is_made_for(read.claim(claim)):
            raise Conflict(f"{step.ref} is not removed: its volume {name} was not made for it, and would go with it")
        if volumes.policy_of(behind) != GOES_ALONG:
            raise Conflict(f"{step.ref} is not removed yet: its volume {name} would stay behind")

    async def _own(self, step: Step) -> Json:
        """Raises Gone where another object has its name."""
        found = await self.door.get(paths.of(step.ref, self.namespace))
        if read.uid_of(found) != step.uid:
            raise Gone(f"{step.ref} was replaced by another object of the same name")
        return found

    def _is_ours(self, found: Json) -> bool:
        return read.made_by(found) == self.operation.id == read.labels_of(found).get(LABEL)

    def _member(self, step: Step) -> Examined:
        found = self._member_named(step.ref.name)
        if found is None:
            raise Invalid(f"{step.ref} is of no member of this set")
        return found

    def _member_named(self, name: str) -> Examined | None:
        verifying = self.operation.goal.verifying
        return verifying.member(self.operation.id, name) if verifying else None


def _source_of(claim: Json) -> str:
    return str((read.spec_of(claim).get("dataSource") or {}).get("name", ""))


def _mounted_by(pod: Json) -> str:
    return next(iter(sorted(read.claims_mounted_by(pod))), "")


async def leftovers(door: Door, namespace: str) -> tuple[Leftover, ...]:
    """By the label; also what is on its way out."""
    found: list[Leftover] = []
    for kind, resource in ((Kind.POD, Resource.PODS), (Kind.CLAIM, Resource.CLAIMS)):
        answer = await door.get(paths.all_of(resource, namespace), {"labelSelector": LABEL})
        items = answer.get("items") or []
        found += [Leftover(Ref(kind, read.name_of(one)), read.labels_of(one).get(LABEL, "")) for one in items]
    return tuple(sorted(found, key=lambda one: (one.operation, str(one.ref))))
