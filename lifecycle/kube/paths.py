"""Where the API server serves what; fixed, so that nothing has to be discovered."""

from enum import StrEnum
from urllib.parse import quote

from lifecycle.model import Kind, Ref


class Resource(StrEnum):
    """What is read of a namespace, by the path between server and namespace and the plural."""

    STATEFUL_SETS = "apis/apps/v1 statefulsets"
    DEPLOYMENTS = "apis/apps/v1 deployments"
    PODS = "api/v1 pods"
    CLAIMS = "api/v1 persistentvolumeclaims"
    EVENTS = "api/v1 events"
    SERVICES = "api/v1 services"
    LEASES = "apis/coordination.k8s.io/v1 leases"
    AUTOSCALERS = "apis/autoscaling/v2 horizontalpodautoscalers"
    SCALED_OBJECTS = "apis/keda.sh/v1alpha1 scaledobjects"

    @property
    def plural(self) -> str:
        return self.value.split(" ")[1]


OF_KIND = {Kind.STATEFUL_SET: Resource.STATEFUL_SETS, Kind.DEPLOYMENT: Resource.DEPLOYMENTS}

PICTURED = (Resource.STATEFUL_SETS, Resource.DEPLOYMENTS, Resource.PODS, Resource.CLAIMS)
"""What a full picture is made of."""

ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def all_of(resource: Resource, namespace: str) -> str:
    api, plural = resource.value.split(" ")
    return f"/{api}/namespaces/{quote(namespace, safe='')}/{plural}"


def one_of(resource: Resource, namespace: str, name: str) -> str:
    return f"{all_of(resource, namespace)}/{quote(name, safe='')}"


def workload(ref: Ref, namespace: str) -> str:
    return one_of(OF_KIND[ref.kind], namespace, ref.name)


def log(namespace: str, pod: str) -> str:
    return f"{one_of(Resource.PODS, namespace, pod)}/log"
