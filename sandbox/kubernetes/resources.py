"""What the API serves: one row per resource."""

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as plain JSON."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, eq=False)
class Resource:
    """One kind of object. Compared by identity: there is exactly one instance per kind."""

    group: str
    version: str
    plural: str
    kind: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    fields: tuple[str, ...] = ()
    """Field selectors beyond metadata.name and metadata.namespace."""
    has_generation: bool = False
    needs_resource_version: bool = False
    """A PUT without metadata.resourceVersion is refused."""
    returns_deleted: bool = False
    """A delete that removes at once answers the object, not a Status."""
    custom: bool = False
    """Defined by a CustomResourceDefinition: no strategic merge patch."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def qualified(self) -> str:
        """As error messages name it: `statefulsets.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """As validation messages name it: `StatefulSet.apps`, `Pod`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @property
    def is_stored(self) -> bool:
        """Reviews are answered and forgotten."""
        return "get" in self.verbs


NAMESPACES = Resource(
    "", "v1", "namespaces", "Namespace", ("ns",), False, ("status", "finalize"), fields=("status.phase",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
)  # fmt: skip
PODS = Resource(
    "", "v1", "pods", "Pod", ("po",), True, ("status", "log", "exec"), ("all",),
    fields=("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
            "status.phase", "status.podIP"),
    has_generation=True, returns_deleted=True,
)  # fmt: skip
SERVICES = Resource(
    "", "v1", "services", "Service", ("svc",), True, ("status",), ("all",), fields=("spec.clusterIP", "spec.type")
)
SECRETS = Resource("", "v1", "secrets", "Secret", fields=("type",))
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", ("cm",))
CLAIMS = Resource(
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", ("pvc",), True, ("status",), returns_deleted=True
)
VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", ("pv",), False, ("status",), returns_deleted=True)
EVENTS = Resource(
    "", "v1", "events", "Event", ("ev",),
    fields=("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
            "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
            "reason", "type", "source", "reportingComponent"),
)  # fmt: skip
NODES = Resource("", "v1", "nodes", "Node", ("no",), False, ("status",), fields=("spec.unschedulable",))
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", ("sa",), returns_deleted=True)
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints", ("ep",))
STATEFULSETS = Resource(
    "apps", "v1", "statefulsets", "StatefulSet", ("sts",), True, ("status", "scale"), ("all",), has_generation=True
)
DEPLOYMENTS = Resource(
    "apps", "v1", "deployments", "Deployment", ("deploy",), True, ("status", "scale"), ("all",), has_generation=True
)
REPLICASETS = Resource(
    "apps", "v1", "replicasets", "ReplicaSet", ("rs",), True, ("status", "scale"), ("all",),
    fields=("status.replicas",), has_generation=True,
)  # fmt: skip
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
STORAGE_CLASSES = Resource(
    "storage.k8s.io", "v1", "storageclasses", "StorageClass", ("sc",), False, returns_deleted=True
)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", needs_resource_version=True)
AUTOSCALERS = Resource(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", ("hpa",), True, ("status",), ("all",)
)
SCALED_OBJECTS = Resource(
    "keda.sh", "v1alpha1", "scaledobjects", "ScaledObject", ("so",), True, ("status",),
    has_generation=True, needs_resource_version=True, custom=True,
)  # fmt: skip
SNAPSHOTS = Resource(
    "snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot", ("vs",), True, ("status",),
    has_generation=True, needs_resource_version=True, custom=True,
)  # fmt: skip
SNAPSHOT_CONTENTS = Resource(
    "snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "VolumeSnapshotContent", ("vsc", "vscs"), False,
    ("status",), has_generation=True, needs_resource_version=True, custom=True,
)  # fmt: skip
SNAPSHOT_CLASSES = Resource(
    "snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass", ("vsclass", "vsclasses"), False,
    has_generation=True, needs_resource_version=True, custom=True,
)  # fmt: skip
GROUP_SNAPSHOTS = Resource(
    "groupsnapshot.storage.k8s.io", "v1", "volumegroupsnapshots", "VolumeGroupSnapshot", ("vgs",), True, ("status",),
    has_generation=True, needs_resource_version=True, custom=True,
)  # fmt: skip
GROUP_SNAPSHOT_CONTENTS = Resource(
    "groupsnapshot.storage.k8s.io", "v1", "volumegroupsnapshotcontents", "VolumeGroupSnapshotContent",
    ("vgsc", "vgscs"), False, ("status",), has_generation=True, needs_resource_version=True, custom=True,
)  # fmt: skip
GROUP_SNAPSHOT_CLASSES = Resource(
    "groupsnapshot.storage.k8s.io", "v1", "volumegroupsnapshotclasses", "VolumeGroupSnapshotClass",
    ("vgsclass", "vgsclasses"), False, has_generation=True, needs_resource_version=True, custom=True,
)  # fmt: skip
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", (), False, verbs=("create",)
)
RULES_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", (), False, verbs=("create",)
)

RESOURCES = (
    NAMESPACES, PODS, SERVICES, SECRETS, CONFIGMAPS, CLAIMS, VOLUMES, EVENTS, NODES, SERVICE_ACCOUNTS, ENDPOINTS,
    STATEFULSETS, DEPLOYMENTS, REPLICASETS, CONTROLLER_REVISIONS, STORAGE_CLASSES, LEASES, AUTOSCALERS,
    SCALED_OBJECTS, SNAPSHOTS, SNAPSHOT_CONTENTS, SNAPSHOT_CLASSES, GROUP_SNAPSHOTS, GROUP_SNAPSHOT_CONTENTS,
    GROUP_SNAPSHOT_CLASSES, ACCESS_REVIEWS, RULES_REVIEWS,
)  # fmt: skip

_BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}


def at_path(group: str, version: str, plural: str) -> Resource | None:
    """The resource served under /apis/<group>/<version>/<plural>; the group of /api/v1 is empty."""
    return _BY_PATH.get((group, version, plural))


def of_kind(api_version: str, kind: str) -> Resource | None:
    """The resource an owner reference or a manifest means."""
    return _BY_KIND.get((api_version, kind))
