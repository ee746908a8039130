"""Where the API server serves what."""

import pytest

from lifecycle.kube import paths
from lifecycle.kube.paths import Resource

SNAPSHOT = "/apis/snapshot.storage.k8s.io/v1"


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (Resource.PODS, "/api/v1/namespaces/ml550/pods"),
        (Resource.STATEFUL_SETS, "/apis/apps/v1/namespaces/ml550/statefulsets"),
        (Resource.SECRETS, "/api/v1/namespaces/ml550/secrets"),
        (Resource.CONFIG_MAPS, "/api/v1/namespaces/ml550/configmaps"),
        (Resource.SNAPSHOTS, f"{SNAPSHOT}/namespaces/ml550/volumesnapshots"),
        (Resource.VOLUMES, "/api/v1/persistentvolumes"),
        (Resource.STORAGE_CLASSES, "/apis/storage.k8s.io/v1/storageclasses"),
        (Resource.SNAPSHOT_CONTENTS, f"{SNAPSHOT}/volumesnapshotcontents"),
        (Resource.SNAPSHOT_CLASSES, f"{SNAPSHOT}/volumesnapshotclasses"),
    ],
)
def test_what_belongs_to_no_namespace_has_none_in_its_path(resource: Resource, path: str) -> None:
    assert paths.all_of(resource, "ml550") == path
    assert paths.one_of(resource, "ml550", "a b") == f"{path}/a%20b"
