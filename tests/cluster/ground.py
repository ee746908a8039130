"""What the operations are tried on: a control plane of our own, or the cluster that somebody named."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pytest

from sandbox import tml
from tests.cluster.client import Access
from tests.cluster.control_plane import ControlPlane
from tests.contract.objects import IMAGE, SCRIPT

Json = dict[str, Any]
NAMED = "TML_BOT_TEST_KUBECONFIG"
"""Where it is set, to a kubeconfig, its current context's cluster is what the tests run on."""
SIZE = "1Gi"
READY = {"exec": {"command": ["true"]}, "periodSeconds": 1}


@dataclass(frozen=True)
class Ground:
    """One Kubernetes; ``plane`` is None where nobody may kill its servers, play its nodes or look into its storage."""

    access: Access = field(repr=False)
    """As an admin."""
    plane: ControlPlane | None = None

    def own(self, why: str) -> ControlPlane:
        """Skips the test, with the reason, where it is somebody else's."""
        if self.plane is None:
            pytest.skip(f"{why}, and {NAMED} names somebody else's cluster")
        return self.plane

    def manifests(self, namespace: str) -> list[Json]:
        """The reference cluster: as the vendor has it where the node is played, else with what any node can run."""
        found = tml.manifests(namespace, cluster_name="staging", reporting=False)
        return found if self.plane else [*_runnable(found)]


def _runnable(found: list[Json]) -> Iterator[Json]:
    """The same names, environment, order and volumes, with an image that anybody can pull.

    Claims are of the default StorageClass, and nobody pays for a load balancer.
    """
    for one in found:
        if one["kind"] == "Service" and "type" in one["spec"]:
            one["spec"]["type"] = "ClusterIP"
        if one["kind"] in ("StatefulSet", "Deployment"):
            for template in one["spec"].get("volumeClaimTemplates", []):
                del template["spec"]["storageClassName"]
                template["spec"]["resources"]["requests"]["storage"] = SIZE
            _make_runnable(one["spec"]["template"]["spec"])
        if one["kind"] != "StorageClass":
            yield one


def _make_runnable(pod: Json) -> None:
    for container in pod["containers"]:
        container.update(image=IMAGE, command=["sh", "-c", SCRIPT])
        if "readinessProbe" in container:
            container["readinessProbe"] = READY


def mounts(pod: Json) -> Iterator[tuple[str, PurePosixPath]]:
    """The claims that a pod has, and where its first container finds them."""
    claims = {
        one["name"]: one["persistentVolumeClaim"]["claimName"]
        for one in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in one
    }
    for mount in pod["spec"]["containers"][0]["volumeMounts"]:
        if mount["name"] in claims:
            yield claims[mount["name"]], PurePosixPath(mount["mountPath"])
