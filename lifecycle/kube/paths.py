"""Where the API server serves what; fixed, so that nothing has to be discovered."""

from enum import StrEnum
from urllib.parse import quote

from lifecycle.kube.answers import Accept
from lifecycle.model import Kind, Ref


class Resource(StrEnum):
    """What is read of a namespace or of the whole cluster: the path of its API and its plural."""

    STATEFUL_SETS = "apis/apps/v1 statefulsets"
    DEPLOYMENTS = "apis/apps/v1 deployments"
    PODS = "api/v1 pods"
    CLAIMS = "api/v1 persistentvolumeclaims"
    EVENTS = "api/v1 events"
    SERVICES = "api/v1 services"
    SECRETS = "api/v1 secrets"
    CONFIG_MAPS = "api/v1 configmaps"
    NAMESPACES = "api/v1 namespaces"
    VOLUMES = "api/v1 persistentvolumes"
    STORAGE_CLASSES = "apis/storage.k8s.io/v1 storageclasses"
    SNAPSHOTS = "apis/snapshot.storage.k8s.io/v1 volumesnapshots"
    SNAPSHOT_CONTENTS = "apis/snapshot.storage.k8s.io/v1 volumesnapshotcontents"
    SNAPSHOT_CLASSES = "apis/snapshot.storage.k8s.io/v1 volumesnapshotclasses"
    GROUPS = "apis/groupsnapshot.storage.k8s.io/v1 volumegroupsnapshots"
    GROUP_CONTENTS = "apis/groupsnapshot.storage.k8s.io/v1 volumegroupsnapshotcontents"
    GROUP_CLASSES = "apis/groupsnapshot.storage.k8s.io/v1 volumegroupsnapshotclasses"
    LEASES = "apis/coordination.k8s.io/v1 leases"
    AUTOSCALERS = "apis/autoscaling/v2 horizontalpodautoscalers"
    SCALED_OBJECTS = "apis/keda.sh/v1alpha1 scaledobjects"
    DAEMON_SETS = "apis/apps/v1 daemonsets"
    JOBS = "apis/batch/v1 jobs"
    CRON_JOBS = "apis/batch/v1 cronjobs"

    @property
    def plural(self) -> str:
        return self.value.split(" ")[1]

    @property
    def listed_as(self) -> Accept:
        """In which form a list is asked for, by whoever needs to know no more than what there is."""
        return Accept.METADATA_LIST if self in CONFIDENTIAL else Accept.WHOLE

    @property
    def watched_as(self) -> Accept:
        return Accept.METADATA if self in CONFIDENTIAL else Accept.WHOLE


CONFIDENTIAL = frozenset({Resource.SECRETS, Resource.CONFIG_MAPS})
"""What is listed and watched by its metadata only, so that the data in it never reaches the bot.

After `kubectl apply` an annotation holds the whole manifest, values too: whoever shows or keeps metadata leaves it out.
"""

OF_THE_CLUSTER = frozenset(
    {
        *(Resource.NAMESPACES, Resource.VOLUMES, Resource.STORAGE_CLASSES),
        *(Resource.SNAPSHOT_CONTENTS, Resource.SNAPSHOT_CLASSES),
        *(Resource.GROUP_CONTENTS, Resource.GROUP_CLASSES),
    }
)
"""What belongs to no namespace."""

WORKLOADS = {Kind.STATEFUL_SET: Resource.STATEFUL_SETS, Kind.DEPLOYMENT: Resource.DEPLOYMENTS}

PARTS = {Kind.SERVICE: Resource.SERVICES, Kind.SECRET: Resource.SECRETS, Kind.CONFIG_MAP: Resource.CONFIG_MAPS}

OF_KIND = {
    **WORKLOADS,
    **PARTS,
    Kind.CLAIM: Resource.CLAIMS,
    Kind.VOLUME: Resource.VOLUMES,
    Kind.SNAPSHOT: Resource.SNAPSHOTS,
    Kind.POD: Resource.PODS,
    Kind.CONTENT: Resource.SNAPSHOT_CONTENTS,
    Kind.GROUP: Resource.GROUPS,
    Kind.GROUP_CONTENT: Resource.GROUP_CONTENTS,
}

PICTURED = (Resource.STATEFUL_SETS, Resource.DEPLOYMENTS, Resource.PODS, Resource.CLAIMS)
"""What a full picture is made of."""

PICTURED_WIDELY = (*PICTURED, *PARTS.values())
"""What that of an operation is made of that removes, makes or captures objects; of volumes too where it names some."""

SNAPSHOTTED = (Resource.SNAPSHOTS, Resource.SNAPSHOT_CONTENTS)
"""What it is made of besides, where a set is taken."""

GROUPED = (Resource.GROUPS, Resource.GROUP_CONTENTS)
"""What it is made of besides, where sets are concerned that were cut as groups: nobody else asks for it."""

ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def all_of(resource: Resource, namespace: str) -> str:
    """The path of a list; of what belongs to no namespace, that of the whole cluster, whatever ``namespace`` is."""
    api, plural = resource.value.split(" ")
    if resource in OF_THE_CLUSTER:
        return f"/{api}/{plural}"
    return f"/{api}/namespaces/{quote(namespace, safe='')}/{plural}"


def one_of(resource: Resource, namespace: str, name: str) -> str:
    return f"{all_of(resource, namespace)}/{quote(name, safe='')}"


def of(ref: Ref, namespace: str) -> str:
    return one_of(OF_KIND[ref.kind], namespace, ref.name)


def log(namespace: str, pod: str) -> str:
    return f"{one_of(Resource.PODS, namespace, pod)}/log"


def execution(namespace: str, pod: str) -> str:
    return f"{one_of(Resource.PODS, namespace, pod)}/exec"
