"""Delete and restore from Slack on a real Kubernetes: asked by one, approved by another, and the same bytes back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lifecycle.model import Verb
from sandbox.slack import Message
from sandbox.tml.manifests import REGISTRY_KEY
from tests.cluster.accounts import OPERATING, grant_documented
from tests.cluster.client import Answer, Client, until
from tests.cluster.conftest import Measured
from tests.cluster.contents import Bytes, volumes_of
from tests.cluster.ground import Ground
from tests.cluster.town import Box, Stopwatch, boxed, town, town_of
from tests.cluster.trouble import TROUBLE, Trouble, allowed, name_of
from tests.e2e.belongings import CAPTURE, KINDS, comparable
from tests.e2e.town import Town, words_of

Json = dict[str, Any]
Place = tuple[Town, Box]
Policies = dict[str, tuple[str, str, str]]
"""By claim: the volume's uid, its reclaim policy and its phase."""

pytestmark = [pytest.mark.timeout(400)]

HELD = "tm-property"
"""A Secret that somebody else's finalizer keeps, as long as a test says so."""
ADDRESSES = {"tm-svc": "192.0.2.7", "cm-svc-0": "192.0.2.8"}
"""What a load balancer gave these Services."""


@pytest.fixture
async def place(ground: Ground, tmp_path: Path) -> AsyncIterator[Place]:
    async with town(ground, tmp_path) as made:
        await made[1].contents.fill()
        yield made


async def approved(here: Town, words: str = "delete staging because it moves") -> Message:
    """Asked for by Alice, with Carol's yes; the live message of what then begins."""
    _, card = await here.asks("alice", words, "ops")
    return await here.operation(await here.says_yes("carol", card, "staging"), "ops")


async def ordered_back(here: Town) -> Message:
    return await here.operation(words_of(await here.types("bob", "restore staging")), "ops")


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


async def test_a_delete_asked_by_one_and_approved_by_another_keeps_every_byte_and_a_restore_brings_all_back(
    place: Place, measured: Measured
) -> None:
    here, box = place
    before = await Before.of(box)
    assert before.policies, "there is something to lose"
    _, card = await here.asks("bob", "delete staging because it moves", "ops")
    assert "You asked for" in words_of(await here.presses("bob", "approve", card))
    assert (await Before.of(box)).policies == before.policies, "what waits for a yes changes nothing"
    watch = Stopwatch(box)
    live = await here.operation(await here.says_yes("carol", card, "staging"), "ops")
    await here.until_says(live, "Deleted staging: it moves")
    measured(watch.row("delete, six components and four volumes", Verb.DELETE))
    await before.is_kept(box)
    watch = Stopwatch(box)
    back = await ordered_back(here)
    await here.until_says(back, "Restored staging")
    measured(watch.row("restore, six components and four volumes", Verb.RESTORE))
    await before.is_back(box)
    assert [entry.data["state"] for entry in await here.audit(kinds={"finished"})] == ["done", "done"]


async def test_no_claim_goes_before_its_volume_was_seen_kept_and_nothing_is_asked_that_is_not_granted(
    ground: Ground, tmp_path: Path
) -> None:
    ground.own("what the API server was asked is in its audit log")
    async with town(ground, tmp_path) as (here, box):
        claims = {claim: one["metadata"]["name"] for claim, one in (await volumes_of(box.admin, box.namespace)).items()}
        await here.until_says(await approved(here), "Deleted staging")
        deleting = [asked(one) for one in box.requests() if one["responseStatus"]["code"] < 300]
        await here.until_says(await ordered_back(here), "Restored staging")
        for claim, volume in claims.items():
            kept, gone = (
                deleting.index(what)
                for what in (f"patch persistentvolumes {volume}", f"delete persistentvolumeclaims {claim}")
            )
            assert f"get persistentvolumes {volume}" in deleting[kept:gone], f"{volume} was not looked at again"
            removals = [number for number, what in enumerate(deleting) if what.startswith("delete ")]
            assert kept < min(removals), "nothing at all is removed before"
        for name in ("cass-set-0", "log-set-0", "mysql-set-0", "cache-set-0"):
            to_zero = f"patch statefulsets {name}"
            assert to_zero in deleting[: deleting.index(f"delete statefulsets {name}")]
        refused = [one for one in box.requests() if one["responseStatus"]["code"] in (401, 403)]
        assert [asked(one) for one in refused] == []
        kinds = {tuple(asked(one).split()[:2]) for one in box.requests()}
        assert {kind for verb, kind in kinds if verb == "patch"} == {
            "statefulsets",
            "deployments",
            "persistentvolumeclaims",
            "persistentvolumes",
            "volumesnapshotcontents",
        }
        assert not {verb for verb, kind in kinds if kind == "persistentvolumes"} - {"get", "list", "watch", "patch"}


def asked(entry: Json) -> str:
    about = entry["objectRef"]
    return f"{entry['verb']} {about['resource']} {about.get('name', '')}"


async def test_without_the_rights_for_it_a_delete_is_refused_before_anybody_is_asked(
    ground: Ground, tmp_path: Path
) -> None:
    async def only_operating(admin: Client, namespace: str) -> list[str]:
        return await grant_documented(admin, namespace, OPERATING)

    async with town(ground, tmp_path, only_operating) as (here, box):
        answer = words_of(await here.types("alice", "delete staging because it moves"))
        assert "patch persistentvolumes" in answer
        assert "delete persistentvolumeclaims" in answer
        assert here.posted("ops") == []
        assert 0 not in (await box.replicas()).values()


async def test_addresses_that_are_to_be_kept_stay_with_their_services(ground: Ground, tmp_path: Path) -> None:
    ground.own("addresses are given by its own load balancer")
    async with town(ground, tmp_path) as (here, box):
        for name, address in ADDRESSES.items():
            status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
            await box.admin.patch(f"{box.core('services')}/{name}/status", status)
        before, services = await Before.of(box), await addresses(box)
        live = await approved(here, "delete staging --keep-services because it moves")
        await here.until_says(live, "Deleted staging")
        await before.is_kept(box, *(f"Service/{name}" for name in ADDRESSES))
        assert await addresses(box) == services
        await here.until_says(await ordered_back(here), "Restored staging")
        await before.is_back(box)
        assert await addresses(box) == services


async def addresses(box: Box) -> dict[str, Json]:
    """Identity and all addresses of the Services that are to stay."""
    found = [(await box.admin.get(f"{box.core('services')}/{name}")).body for name in ADDRESSES]
    return {
        one["metadata"]["name"]: {
            "uid": one["metadata"]["uid"],
            "inside": one["spec"]["clusterIPs"],
            "ports": [port["nodePort"] for port in one["spec"]["ports"]],
            "outside": one["status"]["loadBalancer"]["ingress"],
        }
        for one in found
    }


async def hold(box: Box) -> None:
    """A removal is not through before `let_go`."""
    await box.admin.patch(secret(box), {"metadata": {"finalizers": ["example.com/held"]}})


async def let_go(box: Box) -> None:
    await box.admin.patch(secret(box), {"metadata": {"finalizers": None}})


def secret(box: Box) -> str:
    return f"{box.core('secrets')}/{HELD}"


def is_going(answer: Answer) -> bool:
    return "deletionTimestamp" in answer.body.get("metadata", {})


def is_there(answer: Answer) -> bool:
    return answer.status == 200


@pytest.mark.parametrize("trouble", TROUBLE, ids=name_of)
async def test_trouble_in_the_middle_of_a_delete_and_of_a_restore_loses_nothing(
    trouble: Trouble, ground: Ground, tmp_path: Path, measured: Measured
) -> None:
    allowed(trouble, ground)
    async with town(ground, tmp_path) as (here, box):
        await box.contents.fill()
        before = await Before.of(box)
        await hold(box)
        watch = Stopwatch(box)
        live = await approved(here)
        await until(box.admin, secret(box), is_going)
        await trouble(box)
        await let_go(box)
        await here.until_says(live, "Deleted staging")
        measured(watch.row(f"delete, {name_of(trouble)} in the middle", Verb.DELETE))
        await before.is_kept(box)
        watch = Stopwatch(box)
        back = await ordered_back(here)
        await until(box.admin, box.apps("statefulsets", "cass-set-0"), is_there)
        await trouble(box)
        await here.until_says(back, "Restored staging")
        measured(watch.row(f"restore, {name_of(trouble)} in the middle", Verb.RESTORE))
        await before.is_back(box)


async def test_a_bot_that_ends_in_the_middle_is_followed_by_one_that_finishes_with_every_byte(
    ground: Ground, tmp_path: Path
) -> None:
    async with boxed(ground, tmp_path) as box:
        here = town_of(box)
        await box.contents.fill()
        before = await Before.of(box)
        await hold(box)
        async with box.serving():
            live = await approved(here)
            await until(box.admin, secret(box), is_going)
        await let_go(box)
        async with box.serving():
            await here.until_says(live, "Deleted staging")
            await before.is_kept(box)
            back = await ordered_back(here)
            await until(box.admin, box.apps("statefulsets", "cass-set-0"), is_there)
        async with box.serving():
            await here.until_says(back, "Restored staging")
            await before.is_back(box)
        assert [entry.data["state"] for entry in await here.audit(kinds={"finished"})] == ["done", "done"]
