"""What keeps a pod from being scheduled, and its volumes from being mounted."""

from sandbox.kubernetes.controllers.owners import is_terminating
from sandbox.kubernetes.controllers.podstatus import NODE, claims_of
from sandbox.kubernetes.controllers.podtask import SCHEDULER
from sandbox.kubernetes.controllers.provisioning import SELECTED_NODE
from sandbox.kubernetes.resources import CLAIMS, CONFIGMAPS, SECRETS, Object
from sandbox.kubernetes.store import Store
from sandbox.kubernetes.volumes import Volumes

_SOURCES = (("secret", SECRETS, "secretName"), ("configMap", CONFIGMAPS, "name"))


def why_not(store: Store, pod: Object) -> str:
    """Why the scheduler cannot place a pod, by its claims; empty if it can."""
    found = {claim["metadata"]["name"]: claim for claim in _claims(store, pod)}
    for name in claims_of(pod).values():
        if name not in found:
            return f'0/1 nodes are available: persistentvolumeclaim "{name}" not found.'
        if is_terminating(found[name]):
            return f'0/1 nodes are available: persistentvolumeclaim "{name}" is being deleted.'
        if found[name]["status"].get("phase") == "Lost":
            return f'0/1 nodes are available: persistentvolumeclaim "{name}" bound to non-existent persistentvolume.'
    return ""


def unbound(store: Store, pod: Object) -> list[Object]:
    """The pod's claims that have no volume yet."""
    return [claim for claim in _claims(store, pod) if claim["status"].get("phase") != "Bound"]


def choose_node(store: Store, pod: Object) -> None:
    """Tell the pod's unbound claims for which node they are wanted: what WaitForFirstConsumer waits for."""

    def choose(claim: Object) -> None:
        claim["metadata"].setdefault("annotations", {})[SELECTED_NODE] = NODE

    for claim in unbound(store, pod):
        store.change(CLAIMS, claim["metadata"]["namespace"], claim["metadata"]["name"], choose, actor=SCHEDULER)


def missing_mount(store: Store, volumes: Volumes, pod: Object) -> str:
    """What a pod's volumes lack, in the kubelet's words; empty if all is there."""
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or []:
        for kind, resource, key in _SOURCES:
            source = volume.get(kind)
            if source and not source.get("optional") and store.find(resource, namespace, source[key]) is None:
                what = f'{resource.singular} "{source[key]}" not found'
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {what}'
    for name, claim in claims_of(pod).items():
        if not volumes.has(namespace, claim):
            return f'MountVolume.MountDevice failed for volume "{name}" : the volume behind claim "{claim}" is gone'
    return ""


def _claims(store: Store, pod: Object) -> list[Object]:
    found = (store.find(CLAIMS, pod["metadata"]["namespace"], name) for name in claims_of(pod).values())
    return [claim for claim in found if claim is not None]
