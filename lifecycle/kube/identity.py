"""Which Kubernetes cluster it is: a context of the kubeconfig may mean another one tomorrow."""

from lifecycle.errors import Forbidden, Gone
from lifecycle.kube import paths, read
from lifecycle.kube.door import Door
from lifecycle.kube.paths import Resource

SYSTEM = "kube-system"
"""Kubernetes makes this namespace itself, once, and nobody may delete it: its uid is the cluster's identity."""


async def identity(door: Door) -> str:
    """See the port `Cluster`."""
    try:
        return read.uid_of(await door.get(paths.one_of(Resource.NAMESPACES, "", SYSTEM)))
    except (Forbidden, Gone):
        return ""
