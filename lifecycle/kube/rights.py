"""What Kubernetes would refuse, asked before anything is changed."""

from collections.abc import Sequence
from dataclasses import replace

from lifecycle.kube import paths
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.identity import SYSTEM
from lifecycle.kube.parallel import together
from lifecycle.model import Verb
from lifecycle.ports import Right, Use


def _rights(group: str, resources: Sequence[str], verbs: Sequence[str]) -> tuple[Right, ...]:
    return tuple(Right(verb, group, resource) for resource in resources for verb in verbs)


READING = (
    *_rights("apps", ["statefulsets", "deployments"], ["list"]),
    *_rights("", ["pods", "persistentvolumeclaims"], ["list"]),
)
"""Enough to discover a cluster."""

NEEDED = (
    *_rights("apps", ["statefulsets", "deployments"], ["get", "list", "watch", "patch"]),
    *_rights("", ["pods", "persistentvolumeclaims"], ["list", "watch"]),
    *_rights("", ["events"], ["list"]),
    *_rights("", ["pods/log", "services"], ["get"]),
    *_rights("coordination.k8s.io", ["leases"], ["get", "create", "update"]),
)
"""For stop, start and restart with their diagnosis. Owners of the replica counts are read where that is allowed."""


_PARTS_SEEN = (
    *_rights("", ["services"], ["list", "watch"]),
    *_rights("", ["secrets", "configmaps"], ["get", "list", "watch"]),
)
_OTHERS_SEEN = (
    *_rights("apps", ["daemonsets"], ["list"]),
    *_rights("batch", ["jobs", "cronjobs"], ["list"]),
)

REMOVING = (
    *NEEDED,
    *_PARTS_SEEN,
    *_OTHERS_SEEN,
    *_rights("apps", ["statefulsets", "deployments"], ["create", "delete"]),
    *_rights("", ["services", "secrets", "configmaps"], ["create", "patch", "delete"]),
)
"""For a stop with --remove and for the start after it: nothing is removed that may not be made again.

None over claims or volumes; parts are patched only with --overwrite.
"""

IDENTITY = Right("get", "", "namespaces", SYSTEM)
"""To know which Kubernetes cluster it is."""
_SEEN_WIDELY = (
    IDENTITY,
    *_rights("", ["persistentvolumes"], ["get", "list", "watch"]),
    *_PARTS_SEEN,
    *_rights("", ["persistentvolumeclaims"], ["get"]),
)
"""For the picture of what captures or restores, and in which Kubernetes cluster that is."""

SNAPSHOTTING = (
    *NEEDED,
    *_SEEN_WIDELY,
    *_rights("", ["secrets"], ["create", "delete"]),
    *_OTHERS_SEEN,
    *_rights("snapshot.storage.k8s.io", ["volumesnapshots"], ["get", "list", "watch", "create"]),
    *_rights("snapshot.storage.k8s.io", ["volumesnapshotcontents"], ["get", "list", "watch", "patch"]),
    *_rights("snapshot.storage.k8s.io", ["volumesnapshotclasses"], ["list"]),
)
"""With each set goes a capture of the objects, a Secret; a content is patched to outlive its namespace.

The lists of others' workloads tell which Secrets and ConfigMaps somebody else uses too.
"""

DELETING = (
    *SNAPSHOTTING,
    *_rights("", ["persistentvolumes"], ["patch"]),
    *_rights("apps", ["statefulsets", "deployments"], ["delete"]),
    *_rights("", ["services", "configmaps"], ["delete"]),
    *_rights("", ["persistentvolumeclaims"], ["patch", "delete"]),
)
"""A delete takes a set of what can be cut."""

RESTORING = (
    *NEEDED,
    *_SEEN_WIDELY,
    *_rights("snapshot.storage.k8s.io", ["volumesnapshots", "volumesnapshotcontents"], ["list", "watch"]),
    *_rights("", ["persistentvolumes"], ["patch"]),
    *_rights("apps", ["statefulsets", "deployments"], ["create"]),
    *_rights("", ["services", "secrets", "configmaps", "persistentvolumeclaims"], ["create"]),
)

IN_PLACE = tuple(dict.fromkeys((*RESTORING, *DELETING)))
"""In place: a set for safety, old volumes kept, old claims removed."""
VERIFYING = (
    *NEEDED,
    *_rights("", ["persistentvolumes"], ["get", "list", "watch", "patch"]),
    *_rights("", ["pods", "persistentvolumeclaims"], ["get", "create", "delete"]),
    *_rights("", ["secrets"], ["get"]),
    *_rights("snapshot.storage.k8s.io", ["volumesnapshots", "volumesnapshotcontents"], ["list", "watch"]),
)
"""Secrets: the capture of the set, where nothing of the cluster is live. Volumes are patched where the class of a clone
says Retain.
"""

CHECKING = _rights("", ["pods/exec"], ["get", "create"])
"""To run a command: a WebSocket is a GET, and Kubernetes asks for create besides since 1.35.

A configured check needs them; a flush is left out where they are not there.
"""


PURGING = (
    *NEEDED,
    *_SEEN_WIDELY,
    *_rights("", ["persistentvolumes"], ["patch"]),
    *_rights("", ["secrets"], ["delete"]),
    *_rights("snapshot.storage.k8s.io", ["volumesnapshots"], ["get", "list", "watch", "delete"]),
    *_rights("snapshot.storage.k8s.io", ["volumesnapshotcontents"], ["get", "list", "watch", "patch", "delete"]),
)
"""A kept volume is patched and never deleted: its reclaim policy of before decides what becomes of it."""

COPYING = _rights("", ["secrets"], ["get", "list", "watch", "create", "delete"])
"""In a namespace that captures are copied to, whatever is done with them there."""

REBINDING = _rights("snapshot.storage.k8s.io", ["volumesnapshots", "volumesnapshotcontents"], ["create"])
"""For a restore from a set whose snapshots are gone. Whoever may create a content may read all of the driver's."""

FINDING = _rights("", ["namespaces"], ["get"])
"""Asked for where a namespace may have been deleted; nothing is refused without it."""

_GROUPS = "groupsnapshot.storage.k8s.io"
GROUPING = (
    *_rights("", ["persistentvolumeclaims"], ["get", "patch"]),
    *_rights(_GROUPS, ["volumegroupsnapshots"], ["get", "list", "watch", "create"]),
    *_rights(_GROUPS, ["volumegroupsnapshotcontents"], ["get", "list", "watch", "patch"]),
    *_rights(_GROUPS, ["volumegroupsnapshotclasses"], ["list"]),
)
"""To cut a set as a group. Claims are patched to get the label by which the group finds them."""
UNGROUPING = (
    *_rights(_GROUPS, ["volumegroupsnapshots"], ["get", "list", "watch", "delete"]),
    *_rights(_GROUPS, ["volumegroupsnapshotcontents"], ["get", "list", "watch", "patch", "delete"]),
)
"""To remove such a set."""

CLUSTER_WIDE = frozenset(
    {
        *("namespaces", "persistentvolumes", "volumesnapshotcontents", "volumesnapshotclasses"),
        *("volumegroupsnapshotcontents", "volumegroupsnapshotclasses"),
    }
)
"""Resources that are in no namespace."""


_WIDER = {
    Verb.SNAPSHOT: SNAPSHOTTING,
    Verb.DELETE: DELETING,
    Verb.RESTORE: RESTORING,
    Verb.RESTORE_IN_PLACE: IN_PLACE,
    Verb.REMOVE: REMOVING,
    Verb.RETURN: REMOVING,
    Verb.VERIFY: VERIFYING,
    Verb.PURGE: PURGING,
}


FOR_USE = {Use.EXECUTE: CHECKING, Use.GROUP: GROUPING, Use.UNGROUP: UNGROUPING, Use.REBIND: REBINDING}


def for_verb(verb: Verb) -> tuple[Right, ...]:
    """Everything that the verb needs, from its plan to its diagnosis."""
    return _WIDER.get(verb, NEEDED)


async def missing_elsewhere(door: Door, namespaces: Sequence[str]) -> tuple[Right, ...]:
    """What is missing in the namespaces that captures are copied to."""
    found = await together(missing(door, one, COPYING) for one in namespaces)
    return tuple(
        replace(right, namespace=one) for one, rights in zip(namespaces, found, strict=True) for right in rights
    )


async def missing(door: Door, namespace: str, rights: Sequence[Right]) -> tuple[Right, ...]:
    """Those of the rights that Kubernetes would refuse, in the namespace or cluster-wide, in the given order."""
    allowed = await together(_is_allowed(door, namespace, right) for right in rights)
    return tuple(right for right, is_allowed in zip(rights, allowed, strict=True) if not is_allowed)


async def _is_allowed(door: Door, namespace: str, right: Right) -> bool:
    answer = await door.ask(paths.ACCESS_REVIEWS, _review(namespace, right))
    return bool((answer.get("status") or {}).get("allowed"))


def _review(namespace: str, right: Right) -> Json:
    resource, _, subresource = right.resource.partition("/")
    where = {} if resource in CLUSTER_WIDE else {"namespace": namespace}
    where |= {"name": right.name} if right.name else {}
    wish = {**where, "verb": right.verb, "group": right.group, "resource": resource}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": wish | ({"subresource": subresource} if subresource else {})},
    }
