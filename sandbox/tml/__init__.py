"""The reference TML cluster: own manifests for the vendor's seven components, and how they behave."""

from sandbox.tml.manifests import Object, canary, group_snapshot_class, manifests, snapshot_class

PROD_NAMESPACE = "ml550"
STAGING_NAMESPACE = "ml550-staging"

__all__ = [
    "PROD_NAMESPACE",
    "STAGING_NAMESPACE",
    "Object",
    "canary",
    "group_snapshot_class",
    "manifests",
    "prod",
    "reference",
    "snapshot_class",
    "staging",
]


def prod() -> list[Object]:
    """A tethered cluster with reporting and two traffic managers."""
    return manifests(PROD_NAMESPACE, cluster_name="prod", mode="tethered", counts={"tm": 2}, reporting=True)


def staging() -> list[Object]:
    """An untethered cluster without reporting, one pod of each component."""
    return manifests(STAGING_NAMESPACE, cluster_name="staging", mode="untethered", reporting=False)


def reference() -> list[Object]:
    """Both clusters, for one Kubernetes cluster that can cut their volumes; StorageClasses they share come twice."""
    return [*prod(), *staging(), snapshot_class()]
