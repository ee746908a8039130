"""What is kept and for how long: rules over records and now, for every history that chance comes up with."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.retention import NOTICE, Held, Keeping, Policy, Quality, clearable, is_intact, stale
from lifecycle.volumes import Snapshot
from tests.fakes.values import NOW

DAY = timedelta(days=1)
GOOD, BAD, FAILED = Quality.GOOD, Quality.BAD, Quality.FAILED


def held(
    identity: str, days: float, quality: Quality = GOOD, *, pinned: bool = False, claims: frozenset[str] = frozenset()
) -> Held:
    return Held(identity, NOW - days * DAY, quality, pinned, claims)


histories = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(Quality), st.booleans()), max_size=12).map(
    lambda rows: [held(f"op-{at:06}", days, quality, pinned=pin) for at, (days, quality, pin) in enumerate(rows)]
)
policies = st.builds(Policy, st.none() | st.integers(1, 6), st.none() | st.integers(1, 30))


@given(histories, policies, st.data())
@pytest.mark.parametrize("rule", [stale, clearable])
def test_neither_the_newest_good_set_goes_nor_what_is_pinned_or_needed_nor_the_last_of_anything(
    rule: object, sets: list[Held], policy: Policy, data: st.DataObject
) -> None:
    needed = dict.fromkeys(data.draw(st.sets(st.sampled_from([one.id for one in sets]))) if sets else (), "needed")
    found = (stale if rule is stale else clearable)(sets, policy, needed, NOW)
    assert {*found.goes} | {*found.stays} == {one.id for one in sets}
    assert {*found.goes}.isdisjoint(found.stays)
    by_id = {one.id: one for one in sets}
    good = sorted((one for one in sets if one.quality is GOOD), key=lambda one: (one.begun_at, one.id))
    for identity in found.goes:
        one = by_id[identity]
        assert not one.pinned
        assert identity not in needed
        assert good, "without a good set nothing goes"
        assert (one.begun_at, one.id) < (good[-1].begun_at, good[-1].id)


@given(histories, policies)
def test_so_many_good_sets_and_all_of_so_many_days_stay(sets: list[Held], policy: Policy) -> None:
    goes = {*stale(sets, policy, {}, NOW).goes}
    newest = sorted((one for one in sets if one.quality is GOOD), key=lambda one: (one.begun_at, one.id))
    if policy.keep_last:
        assert goes.isdisjoint(one.id for one in newest[-policy.keep_last :])
    if policy.keep_days:
        assert goes.isdisjoint(one.id for one in sets if NOW - one.begun_at < policy.keep_days * DAY)
    if not policy.removes:
        assert not goes


@given(histories, policies)
def test_what_went_is_no_reason_for_anything_else_to_go(sets: list[Held], policy: Policy) -> None:
    goes = stale(sets, policy, {}, NOW).goes
    assert stale([one for one in sets if one.id not in goes], policy, {}, NOW).goes == ()


HISTORY = [
    held("op-old", 30),
    held("op-bad", 20, BAD),
    held("op-mid", 10),
    held("op-fail", 5, FAILED),
    held("op-new", 1),
]


@pytest.mark.parametrize(
    ("policy", "goes"),
    [
        (Policy(), ()),
        (Policy(keep_last=1), ("op-old", "op-bad", "op-mid", "op-fail")),
        (Policy(keep_last=2), ("op-old", "op-bad")),
        (Policy(keep_days=7), ("op-old", "op-bad", "op-mid")),
        (Policy(keep_last=1, keep_days=15), ("op-old", "op-bad")),
        (Policy(keep_last=3, keep_days=2), ()),
    ],
)
def test_a_set_stays_that_any_rule_keeps_and_a_bad_one_counts_for_none(policy: Policy, goes: tuple[str, ...]) -> None:
    assert stale(HISTORY, policy, {}, NOW).goes == goes


def test_a_person_may_clear_what_failed_sets_left_once_a_newer_one_is_good() -> None:
    assert clearable(HISTORY, Policy(), {}, NOW).goes == ("op-fail",)
    assert clearable([held("op-new", 3), held("op-fail", 1, FAILED)], Policy(), {}, NOW).goes == ()


def kept(days: float, keeps: timedelta | None = 7 * DAY, **changes: object) -> Keeping:
    return Keeping("op-delete", NOW - days * DAY, keeps, **changes)  # type: ignore[arg-type]


def test_a_purge_is_announced_a_day_before_and_never_without_a_days_notice() -> None:
    assert kept(5.9).announcement(NOW) is None
    assert kept(6).announcement(NOW) == NOW + DAY
    assert kept(9).announcement(NOW) == NOW + NOTICE, "the bot was away: the day is given all the same"
    assert kept(9).is_due(NOW) is False, "what was never announced is not due"
    assert kept(9, announced_for=NOW + DAY).announcement(NOW) is None, "told once"
    assert kept(9, announced_for=NOW).is_due(NOW)


def test_volumes_whose_delete_said_nothing_of_a_purge_are_neither_announced_nor_due() -> None:
    old = kept(900, keeps=None)
    assert (old.announcement(NOW), old.is_due(NOW), old.next_moment) == (None, False, None)


def test_kept_longer_it_is_announced_again_a_day_before_the_new_end() -> None:
    longer = kept(7, kept_until=NOW + 7 * DAY)
    assert longer.announcement(NOW) is None
    assert longer.announcement(NOW + 6 * DAY) == NOW + 7 * DAY


@given(st.timedeltas(timedelta(seconds=1), 400 * DAY), st.timedeltas(timedelta(0), 800 * DAY))
def test_between_the_notice_and_the_purge_is_a_day_or_half_the_time(keeps: timedelta, later: timedelta) -> None:
    one = Keeping("op-delete", NOW, keeps)
    due = one.announcement(NOW + later)
    if due is None:
        assert NOW + later < NOW + keeps - one.notice
    else:
        assert due >= NOW + keeps
        assert due - (NOW + later) >= one.notice - timedelta(microseconds=1)


SAVED = Snapshot("one", "uid", "claim", "op", NOW, True, "content", "Retain", "handle", "csi", 1)


@pytest.mark.parametrize(
    "changes",
    [{"uid": "another"}, {"is_ready": False}, {"policy": "Delete"}, {"content": "another"}, {"handle": "another"}],
    ids=str,
)
def test_a_set_is_whole_only_while_each_snapshot_is_the_recorded_one_and_kept(changes: dict[str, object]) -> None:
    assert is_intact([SAVED], {"one": SAVED})
    assert not is_intact([SAVED], {})
    assert not is_intact([], {})
    assert not is_intact([SAVED], {"one": Snapshot(**{**SAVED.__dict__, **changes})})  # type: ignore[arg-type]


def test_a_newer_set_takes_the_place_only_of_one_whose_volumes_it_has_all() -> None:
    """A delete and a restore in place cut what can be cut, which may be one volume of four."""
    whole, part = held("op-whole", 9, claims=frozenset({"sql", "log"})), held("op-part", 2, claims=frozenset({"log"}))
    rule = Policy(keep_last=1)
    assert stale([whole, part], rule, {}, NOW).stays["op-whole"] == "the newest good set of its volumes"
    again = held("op-again", 1, claims=frozenset({"sql", "log", "cache"}))
    assert stale([whole, part, again], rule, {}, NOW).goes == ("op-whole", "op-part")
