"""Stop, start and restart reach their goal from every combination of component states, in the order of the needs."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.decide import phases_of, preflight, restart, start, stop
from lifecycle.errors import AlreadyRunning, AlreadyStopped, CountsUnknown, Unsafe
from lifecycle.model import Action, Component, Kind, Step, Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import Goal, Source
from lifecycle.phase import Phase
from lifecycle.plan import plan
from lifecycle.simulation import applied
from lifecycle.topology import arranged
from lifecycle.workloads import Owner, OwnerKind, Workload, WorkloadState
from tests.fakes import values

COMPONENTS = tuple(Component)
combinations = st.tuples(*(st.sampled_from(sorted(values.STATES)) for _ in COMPONENTS))
zones = st.integers(1, 3)


def cluster(names: tuple[str, ...], zone_count: int = 1) -> Discovery:
    found = tuple(values.workload(component, zone) for zone in range(zone_count) for component in COMPONENTS)
    by_component = dict(zip(COMPONENTS, names, strict=True))
    seen = {one.ref: values.STATES[by_component[one.component]](one) for one in found}
    return replace(values.discovery(workloads=found), observed=Observed(values.NOW, seen))


def goal_of(verb: Verb, found: Discovery) -> Goal | None:
    try:
        match verb:
            case Verb.STOP:
                return stop.goal(found)
            case Verb.START:
                return start.goal(found, {}, {})
            case Verb.RESTART:
                return restart.goal(found, None, downtime=True)
            case _:
                raise ValueError(verb)
    except (AlreadyRunning, AlreadyStopped, Unsafe):
        return None


def moved_on(goal: Goal, observed: Observed, chance: random.Random) -> Observed:
    """The controllers of some workloads, chosen by chance, do some of their work; needs hold readiness back."""
    for workload in goal.topology:
        if chance.random() < 0.6:
            needs_met = all(observed[need].is_ready(need.ref.kind) for need in goal.topology.needs_of(workload))
            observed = observed.with_state(workload.ref, one_move(workload, observed[workload], needs_met=needs_met))
    return observed


def one_move(workload: Workload, state: WorkloadState, *, needs_met: bool) -> WorkloadState:
    if state.observed_generation < state.generation:
        return replace(state, observed_generation=state.generation)
    if len(state.pods) != state.replicas or state.status_replicas != state.replicas:
        fresh = values.pods(workload, state.replicas, ready=False)
        return replace(state, pods=fresh, status_replicas=len(fresh), ready=0, available=0, updated=state.replicas)
    if needs_met:
        n = state.replicas
        return replace(state, ready=n, available=n, updated=n, revision_settled=True)
    return state


def run_to_the_end(phase: Phase, goal: Goal, observed: Observed, check: Callable[[Observed, Step], None]) -> Observed:
    chance = random.Random(7)
    for _ in range(400):
        if phase.reached(goal, observed):
            return observed
        steps = phase.decide(goal, observed)
        for step in steps:
            check(observed, step)
        observed = moved_on(goal, applied(goal, observed, steps), chance)
    pytest.fail(f"{phase.name} did not reach its end: {phase.missing(goal, observed)}")


def in_order(goal: Goal) -> Callable[[Observed, Step], None]:
    def check(observed: Observed, step: Step) -> None:
        workload = goal.topology[step.ref]
        if step.action is Action.SCALE_TO_ZERO:
            assert not any(observed[other].is_present for other in goal.topology.needing(workload))
            assert step.replicas > 0
        if step.action is Action.SCALE_UP:
            needed = [need for need in goal.topology.needs_of(workload) if need.ref in goal.counts]
            assert all(observed[need].is_ready(need.ref.kind) for need in needed)
        if step.action is Action.ROLLOUT_RESTART:
            earlier = itertools.takewhile(lambda one: one.ref != step.ref, goal.scope)
            assert all(restart.rolled(goal, observed, one.ref) for one in earlier), "each seen ready before the next"

    return check


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.START, Verb.RESTART])
@settings(max_examples=120)
@given(names=combinations, zone_count=zones)
def test_a_verb_reaches_its_goal_from_any_combination_of_states(
    verb: Verb, names: tuple[str, ...], zone_count: int
) -> None:
    found = cluster(names, zone_count)
    goal = goal_of(verb, found)
    if goal is not None:
        run_to_the_end(phases_of(goal)[0], goal, found.observed, in_order(goal))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("verb", [Verb.STOP, Verb.START])
def test_every_combination_of_down_leaving_and_ready_reaches_the_goal(verb: Verb) -> None:
    for names in itertools.product(("down", "leaving", "ready"), repeat=len(COMPONENTS)):
        found = cluster(names)
        goal = goal_of(verb, found)
        if goal is not None:
            run_to_the_end(phases_of(goal)[0], goal, found.observed, in_order(goal))


def test_a_stop_takes_traffic_reporting_and_cm_first_and_nosql_last() -> None:
    found = values.discovery()
    waves = [[step.ref.name for step in wave] for wave in plan(stop.goal(found), found).waves]
    assert waves == [
        ["cm-deploy-0", "tm-deploy-0", "reporting-set-0"],
        ["cache-set-0", "mysql-set-0"],
        ["log-set-0"],
        ["cass-set-0"],
    ]


def test_a_start_begins_with_nosql_and_ends_with_traffic() -> None:
    found = cluster(("down",) * len(COMPONENTS))
    waves = [[step.ref.name for step in wave] for wave in plan(start.goal(found, {}, {}), found).waves]
    assert waves == [
        ["cass-set-0"],
        ["log-set-0"],
        ["cm-deploy-0", "cache-set-0", "mysql-set-0", "reporting-set-0"],
        ["tm-deploy-0"],
    ]


def test_the_seed_zones_nosql_starts_first_and_the_others_one_after_another() -> None:
    found = cluster(("down",) * len(COMPONENTS), zone_count=3)
    waves = [[step.ref.name for step in wave] for wave in plan(start.goal(found, {}, {}), found).waves]
    assert waves[:4] == [["cass-set-0"], ["cass-set-1"], ["cass-set-2"], ["log-set-0", "log-set-1", "log-set-2"]]


def test_a_restart_rolls_one_workload_at_a_time() -> None:
    found = values.discovery()
    waves = plan(restart.goal(found, None, downtime=True), found).waves
    assert [len(wave) for wave in waves] == [1] * len(COMPONENTS)
    assert waves[0][0].ref.name == "cass-set-0"


def test_a_stop_of_what_is_stopped_is_refused() -> None:
    with pytest.raises(AlreadyStopped):
        stop.goal(cluster(("down",) * len(COMPONENTS)))


def test_a_start_of_what_runs_is_refused() -> None:
    with pytest.raises(AlreadyRunning):
        start.goal(values.discovery(), {}, {})


@pytest.mark.parametrize("component", [Component.NOSQL, Component.SQL])
def test_a_restart_of_a_single_database_needs_the_word_downtime(component: Component) -> None:
    with pytest.raises(Unsafe, match="--downtime"):
        restart.goal(values.discovery(), component, downtime=False)
    assert restart.goal(values.discovery(), component, downtime=True)


def test_a_restart_of_a_database_with_two_replicas_needs_no_such_word() -> None:
    two = values.workload(Component.SQL, replicas=2)
    found = values.discovery(workloads=(two,))
    assert restart.goal(found, Component.SQL, downtime=False).counts == {two.ref: 2}


def test_a_restart_of_what_lacks_a_need_is_refused() -> None:
    found = values.discovery({Component.LOG: values.down(values.workload(Component.LOG))})
    with pytest.raises(Unsafe, match="cm needs log"):
        restart.goal(found, Component.CM, downtime=False)


def test_a_restart_of_an_on_delete_set_is_refused_because_nothing_would_happen() -> None:
    found = values.discovery(workloads=(values.workload(Component.LOG, rolls_out=False),))
    with pytest.raises(Unsafe, match="OnDelete"):
        restart.goal(found, None, downtime=False)


def test_scaling_is_refused_where_it_would_delete_claims() -> None:
    found = values.discovery(workloads=(values.workload(Component.SQL, deletes_claims_when_scaled=True),))
    with pytest.raises(Unsafe, match="whenScaled"):
        stop.goal(found)


def test_scaling_is_refused_where_keda_owns_the_count() -> None:
    owned = values.workload(Component.TM, owners=(Owner(OwnerKind.KEDA, "tm-scaler"),))
    with pytest.raises(Unsafe, match="tm-scaler"):
        stop.goal(values.discovery(workloads=(owned,)))


@pytest.mark.parametrize(
    ("owner", "says"),
    [(OwnerKind.ARGO_CD, "may set its replicas again"), (OwnerKind.HPA, "leaves deployment/tm-deploy-0 alone")],
)
def test_other_owners_of_the_count_are_named_in_the_plan(owner: OwnerKind, says: str) -> None:
    found = values.discovery(workloads=(values.workload(Component.TM, owners=(Owner(owner, "gateway"),)),))
    assert says in plan(stop.goal(found), found).warnings[0]


def test_owners_that_could_not_be_read_are_named_in_the_plan() -> None:
    found = replace(values.discovery(), unread=("scaledobjects",))
    assert "scaledobjects" in plan(stop.goal(found), found).warnings[0]


def test_what_is_gone_or_missing_is_named_before_a_start() -> None:
    found = values.discovery(workloads=(values.workload(Component.TM),), declared={(Component.SQL, 0): 1})
    told = preflight.absent(found, [values.workload(Component.TM), values.workload(Component.CACHE)])
    assert told == (
        "cache is gone: there is no statefulset/cache-set-0 any more",
        "sql is missing: cm of zone 0 declares 1, and there is no workload for it",
    )
    assert set(told) <= set(preflight.warnings(replace(found, absent=told)))


def test_a_count_that_somebody_changed_behind_the_bot_is_named_before_a_start_leaves_it() -> None:
    tm, cm = values.workload(Component.TM), values.workload(Component.CM)
    found = values.discovery({Component.TM: replace(values.ready(tm), remembered=2), Component.CM: values.down(cm)})
    assert plan(start.goal(found, {}, {}), found).warnings == (
        "tm runs with 1 and stays so, though the last stop took away 2",
    )


COUNT_TABLE = [
    # running, typed, remembered, database, declared -> count, source
    ((2, 5, 3, 4, 1), 2, Source.RUNNING),
    ((0, 5, 3, 4, 1), 5, Source.TYPED),
    ((0, None, 3, 4, 1), 3, Source.REMEMBERED),
    ((0, None, None, 4, 1), 4, Source.DATABASE),
    ((0, None, None, None, 1), 1, Source.DECLARED),
]


@pytest.mark.parametrize(("known", "count", "source"), COUNT_TABLE)
def test_the_count_comes_from_the_most_trusted_source(
    known: tuple[int, int | None, int | None, int | None, int | None], count: int, source: Source
) -> None:
    running, typed, remembered, database, declared = known
    one = values.workload(Component.SQL)
    state = values.ready(one, running) if running else values.down(one, remembered)
    found = values.discovery(
        {Component.SQL: state},
        workloads=(one,),
        declared={} if declared is None else {(Component.SQL, 0): declared},
    )
    asked = {} if typed is None else {Component.SQL: typed}
    stored = {} if database is None else {one.ref: database}
    assert start.count_of(one, found, stored, asked) == (count, source)


def test_an_unknown_count_is_never_assumed_to_be_one() -> None:
    found = values.discovery({Component.SQL: values.down(values.workload(Component.SQL), None)})
    with pytest.raises(CountsUnknown, match="sql=N"):
        start.goal(found, {}, {})


def test_reporting_without_a_count_is_left_at_zero_and_named() -> None:
    reporting = values.workload(Component.REPORTING)
    tm = values.workload(Component.TM)
    found = values.discovery({Component.REPORTING: values.down(reporting, None), Component.TM: values.down(tm)})
    goal = start.goal(found, {}, {})
    assert goal.left == (reporting.ref,)
    assert reporting.ref not in goal.counts


def test_a_typed_count_that_contradicts_what_runs_is_refused() -> None:
    tm = values.workload(Component.TM)
    found = values.discovery({Component.TM: values.down(tm)})
    with pytest.raises(Unsafe, match="sql"):
        start.goal(found, {}, {Component.SQL: 3})


def test_an_untethered_cluster_with_several_sql_pods_is_not_proved_by_ready_pods() -> None:
    sql = values.workload(Component.SQL, replicas=3)
    found = values.discovery({Component.SQL: values.down(sql, 3)}, workloads=(sql,), mode="untethered")
    assert start.goal(found, {}, {}).unverified


def test_the_digest_ignores_pods_and_times_and_follows_uids_and_counts() -> None:
    found = values.discovery()
    first = plan(stop.goal(found), found).digest
    fewer_pods = cluster(("ready",) * len(COMPONENTS))
    later = replace(fewer_pods, observed=replace(fewer_pods.observed, claims=found.observed.claims))
    assert plan(stop.goal(later), later).digest == first
    other = values.discovery(workloads=(values.workload(Component.SQL, uid="another"),))
    assert plan(stop.goal(other), other).digest != first


def test_default_limits_add_up_over_the_levels_and_over_the_pods_of_an_ordered_set() -> None:
    found = values.discovery()
    assert stop.limit(stop.goal(found)).total_seconds() == (10 + 60) + (10 + 60) + (30 + 60) + (30 + 60)
    several = values.discovery(workloads=(values.workload(Component.NOSQL, replicas=3),))
    assert stop.limit(stop.goal(several)).total_seconds() == 3 * 10 + 60
    sql = values.workload(Component.SQL)
    stopped = values.discovery({Component.SQL: values.down(sql, 3)}, workloads=(sql,))
    assert start.limit(start.goal(stopped, {}, {})).total_seconds() == 3 * (30 + 3 * 5) + 300


READY_TABLE = [
    (Kind.STATEFUL_SET, WorkloadState("u", 2, 1, 1, 2, 2, 2, 2), True),
    (Kind.STATEFUL_SET, WorkloadState("u", 2, 2, 1, 2, 2, 2, 2), False),
    (Kind.STATEFUL_SET, WorkloadState("u", 2, 1, 1, 2, 1, 2, 2), False),
    (Kind.STATEFUL_SET, WorkloadState("u", 2, 1, 1, 2, 2, 2, 2, revision_settled=False), False),
    (Kind.STATEFUL_SET, WorkloadState("u", 0, 1, 1, 0, 0, 0, 0), False),
    (Kind.DEPLOYMENT, WorkloadState("u", 2, 1, 1, 2, 2, 2, 2), True),
    (Kind.DEPLOYMENT, WorkloadState("u", 2, 1, 1, 3, 2, 2, 2), False),
    (Kind.DEPLOYMENT, WorkloadState("u", 2, 1, 1, 2, 2, 1, 2), False),
    (Kind.DEPLOYMENT, WorkloadState("u", 2, 1, 1, 2, 2, 2, 1), False),
    (Kind.DEPLOYMENT, WorkloadState(None, 2, 1, 1, 2, 2, 2, 2), False),
]


@pytest.mark.parametrize(("kind", "state", "is_ready"), READY_TABLE)
def test_ready_is_what_rollout_status_says_and_never_true_for_zero(
    kind: Kind, state: WorkloadState, is_ready: bool
) -> None:
    assert state.is_ready(kind) is is_ready


SQL_AT_ZERO = values.workload(Component.SQL)
PRESENT_TABLE = {
    "its controller has not seen the count": WorkloadState("u", 0, 2, 1),
    "its controller counts a pod": WorkloadState("u", 0, 2, 2, status_replicas=1),
    "a pod is there that nobody counts": WorkloadState("u", 0, 2, 2, pods=values.pods(SQL_AT_ZERO, 1)),
    "a pod is left of an object that is gone": WorkloadState(None, pods=values.pods(SQL_AT_ZERO, 1)),
}


@pytest.mark.parametrize("state", PRESENT_TABLE.values(), ids=PRESENT_TABLE.keys())
def test_zero_replicas_are_still_present_until_the_controller_saw_it_and_the_pods_are_gone(
    state: WorkloadState,
) -> None:
    assert state.ready >= state.replicas, "rollout status would pass"
    assert state.is_present


def test_zero_replicas_that_the_controller_saw_without_a_pod_are_not_present() -> None:
    assert not values.down(SQL_AT_ZERO).is_present
    assert values.leaving(SQL_AT_ZERO).is_present


def test_levels_follow_the_needs() -> None:
    topology = arranged(values.discovery().workloads)
    assert [sorted(workload.label for workload in level) for level in topology.levels] == [
        ["nosql"],
        ["log"],
        ["cache", "cm", "reporting", "sql"],
        ["tm"],
    ]
