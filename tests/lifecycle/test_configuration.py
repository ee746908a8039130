"""When a cluster that runs has to show its API configuration: decided from the claims that were seen."""

from dataclasses import replace

import pytest

from lifecycle.checks import Checked
from lifecycle.configuration import doubted, doubted_clones, is_due, is_missed, unseen
from lifecycle.decide import delete, restore, start, stop
from lifecycle.model import Component, Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.snapshots import Clone
from lifecycle.volumes import Claim
from tests.fakes import values

NOSQL, SQL = values.CLAIMS
NEW = replace(SQL, uid="uid-new", volume="pvc-new")
NEWER = replace(SQL, uid="uid-newer", volume="pvc-newer")
CHECKED = Checked(Checked.SEEN)
MISSED = Checked(Checked.NOT_AS_EXPECTED)


def found(*claims: Claim) -> Discovery:
    down = {component: values.down(values.workload(component)) for component in Component}
    made = values.discovery(down)
    return replace(made, observed=replace(made.observed, claims=claims))


def starting(*claims: Claim, doubts: tuple[str, ...] = ()) -> Goal:
    return replace(start.goal(found(*claims), {}, {}), doubted=doubts)


def ended(goal: Goal, *claims: Claim, checked: Checked | None = None, state: State = State.DONE) -> Operation:
    outcome = Outcome(state, claims=claims, checked=checked)
    return replace(values.operation(goal), state=state, outcome=outcome)


def stopped(*claims: Claim, doubts: tuple[str, ...] = ()) -> Operation:
    made = values.discovery()
    goal = stop.goal(replace(made, observed=replace(made.observed, claims=claims)))
    return ended(replace(goal, doubted=doubts), *claims)


@pytest.mark.parametrize(
    ("at_the_plan", "at_the_end", "doubts", "names"),
    [
        ((NOSQL, SQL), (NOSQL, SQL), (), ()),
        ((NOSQL,), (NOSQL, NEW), (), ("sqlvol-mysql-set-0-0",)),
        ((NOSQL, SQL), (NOSQL, NEW), (), ("sqlvol-mysql-set-0-0",)),
        ((NOSQL, NEW), (NOSQL, NEW), ("uid-new",), ("sqlvol-mysql-set-0-0",)),
        ((SQL,), (replace(NOSQL, uid="uid-other"), SQL), (), ()),
        ((SQL,), (SQL, Claim("sqlvol-mysql-set-0-1", "uid-3", "Bound", "pvc-3")), (), ("sqlvol-mysql-set-0-1",)),
        ((SQL,), (SQL, Claim("sqlvol-other-0", "uid-3", "Bound", "pvc-3")), (), ()),
    ],
    ids=["the same", "made anew", "replaced", "doubted before", "of another component", "one more", "of nobody"],
)
def test_a_claim_of_sql_that_was_not_there_before_is_empty_as_far_as_anybody_knows(
    at_the_plan: tuple[Claim, ...], at_the_end: tuple[Claim, ...], doubts: tuple[str, ...], names: tuple[str, ...]
) -> None:
    goal = starting(*at_the_plan, doubts=doubts)
    assert tuple(claim.name for claim in unseen(goal, at_the_end)) == names
    assert is_due(goal, at_the_end) is bool(names)


@pytest.mark.parametrize(
    ("last", "now", "doubts"),
    [
        (None, (NEW,), ()),
        (stopped(NOSQL, SQL), (NOSQL, SQL), ()),
        (stopped(NOSQL, SQL), (NOSQL, NEW), ("uid-new",)),
        (stopped(NOSQL, SQL), (NOSQL,), ()),
        (stopped(NOSQL, SQL), (NOSQL, replace(NEW, made_by="op-delete")), ()),
        (stopped(NOSQL, NEW, doubts=("uid-new",)), (NEW,), ("uid-new",)),
        (ended(starting(NOSQL), NOSQL, NEW), (NEW,), ("uid-new",)),
        (ended(starting(NOSQL), NOSQL, NEW, checked=MISSED), (NEW,), ("uid-new",)),
        (ended(starting(NOSQL), NOSQL, NEW, checked=CHECKED), (NEW,), ()),
        (ended(starting(NOSQL), NOSQL, NEW, checked=CHECKED), (NEWER,), ("uid-newer",)),
        (ended(starting(NOSQL), NOSQL, NEW, state=State.FAILED), (NEW,), ("uid-new",)),
        (ended(starting(NEW, doubts=("uid-new",)), state=State.FAILED), (NEW,), ("uid-new",)),
        (replace(values.operation(starting(SQL))), (SQL,), ()),
    ],
    ids=[
        "no operation yet", "as it was left", "replaced since", "gone since", "made by a restore", "doubted before",
        "new at the end", "the check failed", "the check passed", "passed, then replaced", "new in a start that failed",
        "doubted in one that saw nothing", "nothing seen at the end",
    ],
)  # fmt: skip
def test_a_doubt_lasts_from_operation_to_operation_until_a_check_has_passed(
    last: Operation | None, now: tuple[Claim, ...], doubts: tuple[str, ...]
) -> None:
    assert doubted(last, now) == doubts


def removal(doubts: tuple[str, ...] = ()) -> Operation:
    running = values.discovery()
    goal = delete.goal(running, values.inventory(running), keeps_services=False).marked("op-delete")
    return replace(ended(replace(goal, doubted=doubts)), id="op-delete")


def returning(doubts: tuple[str, ...] = ()) -> Goal:
    deleted = removal(doubts)
    kept = tuple(
        replace(one, policy="Retain", phase="Released", kept_by=deleted.id, policy_before="Delete")
        for one in deleted.goal.volumes
    )
    return restore.goal(restore.draft(deleted), Observed(values.NOW, {}, volumes=kept, capture="sha"))


def test_a_claim_that_a_restore_binds_to_its_old_volume_is_not_empty() -> None:
    bound = tuple(replace(claim, uid=f"{claim.uid}-again", made_by="op-delete") for claim in values.CLAIMS)
    assert unseen(returning(), bound) == ()
    assert unseen(returning(), (NOSQL, NEW)) == (NEW,), "on another volume it is"


def test_what_was_doubted_when_it_was_deleted_is_doubted_when_it_is_back() -> None:
    bound = replace(SQL, uid="uid-again", made_by="op-delete")
    assert unseen(returning((SQL.uid,)), (bound,)) == (bound,)


def cloned(uid: str) -> Clone:
    return Clone(SQL.name, "snap", uid, "handle", 1, "20Gi", "sql-storage-class", ("RWO",), "Filesystem", {})


@pytest.mark.parametrize("doubts", [(), (SQL.uid,)])
def test_a_claim_that_is_made_of_a_snapshot_is_as_empty_as_what_was_cut(doubts: tuple[str, ...]) -> None:
    clones = (cloned("uid-snap"),)
    left = doubted_clones(clones, stopped(NOSQL, SQL, doubts=doubts))
    goal = replace(returning(), volumes=(), chosen="op-set", clones=clones, doubted=left)
    made = replace(SQL, uid="uid-again", volume="pvc-9", made_by="op-set")
    assert unseen(goal, (made,)) == ((made,) if doubts else ())
    other = replace(made, made_by="")
    assert unseen(goal, (other,)) == (other,), "made by its StatefulSet in between"


def test_a_restore_always_has_to_show_it_unless_the_cluster_is_to_stay_stopped() -> None:
    bound = (replace(SQL, uid="uid-again", made_by="op-delete"),)
    goal = returning()
    assert goal.verb is Verb.RESTORE
    assert is_due(goal, bound)
    assert not is_due(replace(goal, ran=False), bound)


@pytest.mark.parametrize(
    ("operation", "is_it"),
    [
        (ended(starting(SQL), SQL), False),
        (ended(starting(SQL), SQL, checked=CHECKED), False),
        (ended(starting(SQL), SQL, checked=MISSED), True),
        (ended(starting(SQL), SQL, checked=MISSED, state=State.FAILED), False),
        (values.operation(starting(SQL)), False),
    ],
)
def test_only_an_operation_that_is_done_can_have_missed_nothing_but_the_configuration(
    operation: Operation, is_it: bool
) -> None:
    assert is_missed(operation) is is_it
