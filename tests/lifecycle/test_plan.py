"""What a plan says of itself: its steps, and what they mean for the API traffic."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.views.plan import TRAFFIC, effect
from lifecycle.decide import delete, remove, restart, restore, returning, start, stop
from lifecycle.model import Component, Verb
from lifecycle.observed import Discovery, Inventory, Observed
from lifecycle.plan import OnTraffic, Plan, plan, plan_of_return
from tests.fakes import values

ALL = frozenset(Component)


def seen(down: frozenset[Component]) -> Discovery:
    return values.discovery({component: values.down(values.workload(component)) for component in down})


def planned(verb: Verb, down: frozenset[Component], only: Component | None = None) -> Plan:
    """The plan for the reference cluster with these components at zero."""
    found = seen(down)
    match verb:
        case Verb.STOP:
            return plan(stop.goal(found), found)
        case Verb.START:
            return plan(start.goal(found, {}, {}), found)
        case Verb.RESTART:
            return plan(restart.goal(found, only, downtime=True), found)
        case Verb.DELETE:
            return deletion(found)
        case Verb.RESTORE:
            return the_return()
        case Verb.REMOVE:
            return removal(found)
        case Verb.RETURN:
            return the_start_after(removal(found))


def removal(found: Discovery) -> Plan:
    return plan(remove.goal(found, values.PARTS, {}, keeps_services=True), found)


def the_start_after(removal: Plan) -> Plan:
    """Of all that it took away."""
    stopped = values.operation(removal.goal.marked("op-remove"), "op-remove")
    observed = Observed(values.NOW, {}, stopped.goal.claims, parts=stopped.goal.staying, capture="sha256-op-remove")
    return plan_of_return(returning.goal(stopped, observed, {}, {}), values.TARGET, observed)


def deletion(found: Discovery, inventory: Inventory | None = None, *, keeps_services: bool = False) -> Plan:
    goal = delete.goal(found, inventory or values.inventory(found), keeps_services=keeps_services)
    return plan(goal, found)


def the_return(capture: str = "sha256-op-delete", **changes: str) -> Plan:
    """Of the whole reference cluster, with its volumes changed."""
    found = values.discovery()
    deleted = values.operation(deletion(found, keeps_services=True).goal.marked("op-delete"), "op-delete")
    kept = {"policy": "Retain", "kept_by": "op-delete", "policy_before": "Delete", "phase": "Released"}
    volumes = tuple(replace(one, **(kept | changes)) for one in deleted.goal.volumes)
    deleted = replace(deleted, goal=replace(deleted.goal, volumes=volumes))
    observed = Observed(values.NOW, {}, volumes=volumes, capture=capture)
    return plan_of_return(restore.goal(restore.draft(deleted), observed), values.TARGET, observed)


def written(made: Plan) -> list[list[str]]:
    return [[f"{step.action} {step.ref}" for step in wave] for wave in made.waves]


SETS = ["cache-set-0", "cass-set-0", "log-set-0", "mysql-set-0", "reporting-set-0"]
GOING = ["deployment/cm-deploy-0", "deployment/tm-deploy-0", "secret/mysql-secret", "service/cass-svc-0"]
GOING += [f"statefulset/{name}" for name in SETS]
VOLUMES = [f"persistentvolume/{claim.volume}" for claim in values.CLAIMS]
CLAIMS = [f"persistentvolumeclaim/{claim.name}" for claim in values.CLAIMS]


def test_a_delete_goes_down_writes_down_keeps_removes_and_takes_the_claims_last() -> None:
    assert written(deletion(values.discovery(), keeps_services=True)) == [
        [f"scale-to-zero {one}" for one in (*GOING[:2], "statefulset/reporting-set-0")],
        ["scale-to-zero statefulset/cache-set-0", "scale-to-zero statefulset/mysql-set-0"],
        ["scale-to-zero statefulset/log-set-0"],
        ["scale-to-zero statefulset/cass-set-0"],
        ["capture secret/tml-bot-capture"],
        [f"keep {one}" for one in VOLUMES],
        ["remove configmap/cm-properties", *(f"remove {one}" for one in GOING)],
        [f"remove {one}" for one in CLAIMS],
    ]


def test_a_restore_makes_all_at_zero_binds_starts_and_gives_the_policies_back() -> None:
    assert written(the_return()) == [
        ["make configmap/cm-properties", *(f"make {one}" for one in GOING)],
        [f"rebind {one}" for one in VOLUMES],
        [f"make {one}" for one in CLAIMS],
        ["scale-up statefulset/cass-set-0"],
        ["scale-up statefulset/log-set-0"],
        ["scale-up deployment/cm-deploy-0", *(f"scale-up statefulset/{SETS[n]}" for n in (0, 3, 4))],
        ["scale-up deployment/tm-deploy-0"],
        [f"give-back {one}" for one in VOLUMES],
    ]


def test_a_stop_that_removes_takes_what_can_be_made_again_and_no_claim() -> None:
    going = [one for one in GOING if one != "service/tm-svc"]
    assert written(planned(Verb.REMOVE, frozenset()))[-2:] == [
        ["capture secret/tml-bot-capture"],
        ["remove configmap/cm-properties", *(f"remove {one}" for one in going)],
    ]


def test_the_start_after_it_makes_that_again_at_zero_before_anything_is_started() -> None:
    going = [one for one in GOING if one != "service/tm-svc"]
    assert written(planned(Verb.RETURN, frozenset()))[:2] == [
        ["make configmap/cm-properties", *(f"make {one}" for one in going)],
        ["scale-up statefulset/cass-set-0"],
    ]


def test_a_delete_of_a_stopped_cluster_begins_with_the_capture() -> None:
    assert written(planned(Verb.DELETE, ALL))[0] == ["capture secret/tml-bot-capture"]


def changed(what: str) -> Plan:
    """The plan of a delete on the reference cluster where one thing is otherwise."""
    found = values.discovery()
    inventory, observed = values.inventory(found), found.observed
    keeps = False
    match what:
        case "pods":
            states = {ref: replace(state, pods=state.pods * 2) for ref, state in observed.workloads.items()}
            found = replace(found, observed=replace(observed, workloads=states))
        case "time":
            found = replace(found, observed=replace(observed, at=values.NOW + timedelta(hours=1)))
        case "mounts":
            claims = tuple(replace(claim, mounted_by=("cass-set-0-0",)) for claim in values.CLAIMS)
            found = replace(found, observed=replace(observed, claims=claims))
        case "order":
            inventory = Inventory(inventory.volumes[::-1], inventory.parts[::-1])
        case "claim":
            first = replace(values.CLAIMS[0], uid="another")
            found = replace(found, observed=replace(observed, claims=(first, *values.CLAIMS[1:])))
            inventory = values.inventory(found)
        case "volume":
            inventory = replace(inventory, volumes=(replace(inventory.volumes[0], uid="another"), inventory.volumes[1]))
        case "service":
            inventory = replace(inventory, parts=(replace(inventory.parts[0], uid="another"), *inventory.parts[1:]))
        case "workload":
            found = replace(found, workloads=(replace(found.workloads[0], uid="another"), *found.workloads[1:]))
        case "keeps services" | "kept service":
            keeps = True
            uid = "another" if what == "kept service" else "uid-s2"
            parts = tuple(replace(part, uid=uid) if part.addresses else part for part in inventory.parts)
            inventory = replace(inventory, parts=parts)
    return deletion(found, inventory, keeps_services=keeps)


@pytest.mark.parametrize("what", ["pods", "time", "mounts", "order"])
def test_the_digest_of_a_delete_does_not_depend_on(what: str) -> None:
    assert changed(what).digest == changed("nothing").digest


def test_the_digest_of_a_delete_follows_every_object_and_option() -> None:
    what = ["nothing", "claim", "volume", "service", "workload", "keeps services", "kept service"]
    assert len({changed(one).digest for one in what}) == len(what)


def test_the_digest_of_a_restore_follows_its_volumes_and_its_capture_and_not_the_operations_id() -> None:
    made = the_return()
    assert replace(made, goal=made.goal.marked("op-000009")).digest == made.digest
    assert len({made.digest, the_return("sha256-another").digest, the_return(uid="another").digest}) == 3


@pytest.mark.parametrize(
    ("verb", "down", "only", "expected"),
    [
        (Verb.STOP, frozenset(), None, OnTraffic.STOPS),
        (Verb.STOP, ALL - {Component.TM}, None, OnTraffic.STOPS),
        (Verb.STOP, frozenset({Component.TM}), None, OnTraffic.UNTOUCHED),
        (Verb.START, ALL, None, OnTraffic.COMES_BACK),
        (Verb.START, frozenset({Component.TM}), None, OnTraffic.COMES_BACK),
        (Verb.START, frozenset({Component.SQL}), None, OnTraffic.COMES_BACK),
        (Verb.START, frozenset({Component.REPORTING}), None, OnTraffic.UNTOUCHED),
        (Verb.START, frozenset({Component.CM, Component.REPORTING}), None, OnTraffic.UNTOUCHED),
        (Verb.RESTART, frozenset(), None, OnTraffic.INTERRUPTED),
        (Verb.RESTART, frozenset(), Component.CACHE, OnTraffic.INTERRUPTED),
        (Verb.RESTART, frozenset(), Component.CM, OnTraffic.UNTOUCHED),
        (Verb.RESTART, frozenset(), Component.REPORTING, OnTraffic.UNTOUCHED),
        (Verb.DELETE, frozenset(), None, OnTraffic.STOPS),
        (Verb.DELETE, ALL, None, OnTraffic.UNTOUCHED),
        (Verb.RESTORE, frozenset(), None, OnTraffic.COMES_BACK),
        (Verb.REMOVE, frozenset(), None, OnTraffic.STOPS),
        (Verb.REMOVE, ALL, None, OnTraffic.UNTOUCHED),
        (Verb.RETURN, frozenset(), None, OnTraffic.COMES_BACK),
    ],
)
def test_what_a_plan_means_for_the_traffic_follows_from_its_waves(
    verb: Verb, down: frozenset[Component], only: Component | None, expected: OnTraffic
) -> None:
    made = planned(verb, down, only)
    assert made.on_traffic is expected
    assert effect(made) == TRAFFIC[expected]


def test_a_plan_has_the_key_of_each_step_that_is_left_and_of_no_other() -> None:
    assert planned(Verb.START, frozenset({Component.TM, Component.CM})).step_keys == {
        "scale-up deployment/tm-deploy-0",
        "scale-up deployment/cm-deploy-0",
    }
    assert len(planned(Verb.STOP, frozenset()).step_keys) == len(ALL)
