"""What changed between two plans for the same thing is named, object by object, and nothing else is."""

from dataclasses import replace

import pytest

from lifecycle.decide import delete
from lifecycle.difference import difference
from lifecycle.model import Component, Kind, Ref
from lifecycle.observed import Discovery, Inventory, Part
from lifecycle.plain import from_plain, to_plain
from lifecycle.plan import Plan, plan
from lifecycle.volumes import Claim
from tests.fakes import values

TM, SQL = values.workload(Component.TM), values.workload(Component.SQL)
FOUND = values.discovery(workloads=(SQL, TM))


def planned(found: Discovery = FOUND, inventory: Inventory | None = None, *, keeps_services: bool = True) -> Plan:
    goal = delete.goal(found, inventory or values.inventory(found), keeps_services=keeps_services, may_lose=True)
    return plan(goal, found)


BEFORE = planned()


def seen(**changes: object) -> Discovery:
    return replace(FOUND, observed=replace(FOUND.observed, **changes))  # type: ignore[arg-type]


def with_parts(*parts: Part) -> Inventory:
    return replace(values.inventory(FOUND), parts=parts)


FIRST, SECOND = values.CLAIMS
THIRD = replace(SECOND, name="sqlvol-mysql-set-0-1", uid="uid-c3", volume="pvc-3")
SVC = Part(Ref(Kind.SERVICE, "new-svc"), "uid-new")
ANOTHER = replace(values.PARTS[0], uid="uid-other")
CHANGES = {
    "nothing": (planned(), ()),
    "a count": (
        planned(values.discovery({Component.TM: values.ready(TM, 3)}, workloads=(SQL, TM))),
        ("deployment/tm-deploy-0: 1 replicas before, 3 now",),
    ),
    "a workload gone": (planned(values.discovery(workloads=(SQL,))), ("deployment/tm-deploy-0 is gone",)),
    "a workload made anew": (
        planned(values.discovery(workloads=(SQL, replace(TM, uid="uid-other")))),
        ("deployment/tm-deploy-0 is another object now",),
    ),
    "a claim gone": (
        planned(seen(claims=(FIRST,))),
        ("persistentvolumeclaim/sqlvol-mysql-set-0-0 is gone", "persistentvolume/pvc-2 is gone"),
    ),
    "a claim more": (
        planned(seen(claims=(FIRST, SECOND, THIRD))),
        ("persistentvolumeclaim/sqlvol-mysql-set-0-1 is new", "persistentvolume/pvc-3 is new"),
    ),
    "a volume lost": (
        planned(
            seen(claims=(FIRST, replace(SECOND, status="Lost"))), Inventory((values.volume_of(FIRST),), values.PARTS)
        ),
        ("persistentvolume/pvc-2 is gone", "persistentvolumeclaim/sqlvol-mysql-set-0-0 would be lost for good now"),
    ),
    "a service more": (planned(inventory=with_parts(*values.PARTS, SVC)), ("service/new-svc is new",)),
    "a service made anew": (
        planned(inventory=with_parts(ANOTHER, *values.PARTS[1:])),
        ("service/cass-svc-0 is another object now",),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_named(what: str) -> None:
    after, said = CHANGES[what]
    assert difference(BEFORE, after) == said


@pytest.mark.parametrize("what", [what for what in CHANGES if what != "nothing"])
def test_whatever_changes_the_digest_is_named_both_ways(what: str) -> None:
    after, _ = CHANGES[what]
    assert after.digest != BEFORE.digest
    assert difference(BEFORE, after)
    assert difference(after, BEFORE)


def test_other_steps_for_the_same_objects_are_said() -> None:
    other = replace(BEFORE, waves=BEFORE.waves[::-1])
    assert difference(BEFORE, other) == ("the steps are others, or in another order",)


def test_what_no_plan_depends_on_is_no_difference() -> None:
    mounted = (FIRST, replace(SECOND, mounted_by=("mysql-set-0-0",)))
    after = planned(seen(claims=mounted))
    assert after.digest == BEFORE.digest
    assert difference(BEFORE, after) == ()


def test_a_plan_that_was_stored_is_compared_as_well() -> None:
    stored = from_plain(Plan, to_plain(BEFORE))
    assert difference(stored, planned()) == ()
    assert difference(stored, CHANGES["a count"][0]) == CHANGES["a count"][1]


def test_a_loss_that_was_agreed_to_and_is_none_any_more_is_a_difference_and_so_is_that_of_another_claim() -> None:
    lost, _ = CHANGES["a volume lost"]
    assert "persistentvolumeclaim/sqlvol-mysql-set-0-0 would not be lost any more" in difference(lost, BEFORE)
    other = replace(lost, goal=replace(lost.goal, unrecoverable=(FIRST.uid,)))
    assert other.digest != lost.digest
    assert difference(lost, other) == (
        "persistentvolumeclaim/nosqlvol-cass-set-0-0 would be lost for good now",
        "persistentvolumeclaim/sqlvol-mysql-set-0-0 would not be lost any more",
    )


def test_a_service_that_would_stay_and_now_goes_is_a_difference() -> None:
    after = planned(keeps_services=False)
    assert after.digest != BEFORE.digest
    assert difference(BEFORE, after) != ()


def test_a_claim_of_another_uid_is_another_claim() -> None:
    other: Claim = replace(SECOND, uid="uid-other")
    after = planned(seen(claims=(FIRST, other)))
    assert "persistentvolumeclaim/sqlvol-mysql-set-0-0 is another object now" in difference(BEFORE, after)
