"""What a cluster has and what is kept of it, as values that can be compared; and what holds a removal back."""

from dataclasses import dataclass
from typing import Any

from sandbox.tml.manifests import REGISTRY_KEY
from tests.cluster.client import Answer, until
from tests.cluster.contents import Bytes, volumes_of
from tests.cluster.town import Box
from tests.e2e.belongings import CAPTURE, KINDS, comparable

Json = dict[str, Any]
Policies = dict[str, tuple[str, str, str]]
"""By claim: the volume's uid, its reclaim policy and its phase."""
FINALIZER = "example.com/held"
HELD = "tm-property"
"""A Secret that somebody else's finalizer keeps, as long as a test says so."""


async def objects(box: Box) -> dict[str, Json]:
    """Every object of the namespace that a delete could concern, by kind and name, without the captures."""
    found = {}
    for resource in KINDS:
        api = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        listed = await box.admin.get(f"{api}/namespaces/{box.namespace}/{resource.plural}")
        for one in listed.body["items"]:
            if not one["metadata"]["name"].startswith(CAPTURE):
                found[f"{resource.kind}/{one['metadata']['name']}"] = {"kind": resource.kind, **one}
    return found


async def policies(box: Box) -> Policies:
    found = await volumes_of(box.admin, box.namespace)
    return {
        claim: (one["metadata"]["uid"], one["spec"]["persistentVolumeReclaimPolicy"], one["status"]["phase"])
        for claim, one in found.items()
    }


@dataclass(frozen=True)
class Before:
    """How a cluster was: its objects, the policies of its volumes, and their bytes."""

    objects: dict[str, Json]
    policies: Policies
    contents: Bytes

    @classmethod
    async def of(cls, box: Box) -> "Before":
        return cls(await objects(box), await policies(box), await box.contents.read())

    def not_its_own(self, box: Box) -> set[str]:
        """What a delete leaves in the namespace."""
        made = {f"{one['kind']}/{one['metadata']['name']}" for one in box.ground.manifests(box.namespace)}
        own = made | {name for name in self.objects if name.startswith("PersistentVolumeClaim/")}
        return (self.objects.keys() - own) | {f"Secret/{REGISTRY_KEY}"}

    async def is_kept(self, box: Box, *staying: str) -> None:
        """Deleted but for these, with every volume there and every byte in it."""
        assert set(await objects(box)) == self.not_its_own(box) | {*staying}
        assert await policies(box) == {claim: (uid, "Retain", "Released") for claim, (uid, *_) in self.policies.items()}
        assert not box.contents.can_rest or await box.contents.read() == self.contents

    async def is_back(self, box: Box) -> None:
        """As if nothing had happened."""
        await box.ready()
        assert comparable(await objects(box)) == comparable(self.objects)
        assert await policies(box) == self.policies
        assert await box.contents.read() == self.contents


async def hold(box: Box, path: str) -> None:
    """A removal of what is there is not through before `let_go`."""
    others = (await box.admin.get(path)).body["metadata"].get("finalizers", [])
    await box.admin.patch(path, {"metadata": {"finalizers": [*others, FINALIZER]}})


async def let_go(box: Box, path: str) -> None:
    """As soon as nobody else holds it."""
    await until(box.admin, path, is_held_by_us_alone)
    await box.admin.patch(path, {"metadata": {"finalizers": None}})


def is_held_by_us_alone(answer: Answer) -> bool:
    return is_going(answer) and answer.body["metadata"]["finalizers"] == [FINALIZER]


def secret(box: Box) -> str:
    return f"{box.core('secrets')}/{HELD}"


def is_going(answer: Answer) -> bool:
    return "deletionTimestamp" in answer.body.get("metadata", {})


def is_there(answer: Answer) -> bool:
    return answer.status == 200
