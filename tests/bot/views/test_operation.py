"""The live message and the thread of an operation."""

from dataclasses import replace

import pytest

from bot.grammar import LONGEST_REASON
from bot.views import operation, thread
from bot.views.blocks import BLOCK_LIMIT
from lifecycle.decide import phases_of
from lifecycle.diagnosis import Traffic
from lifecycle.model import Verb
from lifecycle.operation import Outcome, State
from lifecycle.plain import to_plain
from lifecycle.volumes import Claim
from lifecycle.workloads import Exit
from tests.bot.views.reading import finish, words
from tests.bot.views.world import LATER, World, recorded


def test_the_buttons_of_a_failure_are_kept_when_a_message_has_to_be_cut() -> None:
    wide = "&" * 80
    claim = Claim(wide, "uid", wide, wide, wide, (wide,), wide)
    failed = World(wide).failed(Verb.START, claims=(claim,) * 60)
    reply = thread.thread(failed, [recorded(9, "finished", {})])
    assert reply is not None
    assert len(reply["blocks"]) == BLOCK_LIMIT
    assert reply["blocks"][-1]["type"] == "actions"
    assert "more" in str(reply["blocks"][-2])


WIDE = [
    (verb, phase.name) for verb in (Verb.DELETE, Verb.RESTORE) for phase in phases_of(World("moving").plan(verb).goal)
]


@pytest.mark.parametrize(("verb", "name"), WIDE)
@pytest.mark.parametrize("failed", [False, True])
def test_the_live_message_shows_how_far_each_phase_is(verb: Verb, name: str, failed: bool) -> None:
    world = World("moving")
    names = [phase.name for phase in phases_of(world.plan(verb).goal)]
    at = names.index(name)
    one = world.failed(verb, error="gone") if failed else world.operation(verb)
    one = replace(one, phase=name)
    phase = phases_of(one.goal)[at]
    objects = [str(ref) for ref in phase.objects(one.goal)]
    entries = [recorded(seq, "passed", {"phase": passed}) for seq, passed in enumerate(names[:at], 1)]
    entries.append(recorded(9, "arrived", {"phase": name, "objects": objects[:1]}))
    shown = words(operation.live(one, entries))
    assert [shown.count(mark) for mark in (":white_check_mark:", ":white_circle:")] == [at, len(names) - at - 1]
    symbol = ":x:" if failed else ":hourglass_flowing_sand:"
    assert f"{symbol} {operation.PHASES[name]}: 1 of {len(objects)}" in shown


@pytest.mark.parametrize("verb", [Verb.DELETE, Verb.RESTORE])
def test_what_is_done_is_shown_as_done_in_every_phase(verb: Verb) -> None:
    names = [phase.name for phase in phases_of(World("moving").plan(verb).goal)]
    done = replace(World("moving").done(verb), phase=names[-1])
    entries = [recorded(seq, "passed", {"phase": name}) for seq, name in enumerate(names[:-1], 1)]
    shown = operation.live(done, entries)
    assert words(shown).count(":white_check_mark:") == len(names) + 1
    assert shown["text"].startswith("Deleted prod" if verb is Verb.DELETE else "Restored prod")


@pytest.mark.parametrize("name", [name for verb, name in WIDE if verb is Verb.DELETE])
def test_a_failed_delete_says_what_was_removed_and_how_to_go_on(name: str) -> None:
    failed = replace(World("moving").failed(Verb.DELETE, error="no answer"), phase=name)
    end = finish(failed)
    if name in ("remove", "remove-claims"):
        assert "`/tml restore prod` brings back what was removed; every volume is kept" in end
        assert "*Kept* 2 volumes" in end
    else:
        assert "Nothing was removed, and nothing was rolled back." in end
        assert "`/tml delete prod because moving` once the cause is mended: it asks for a new approval" in end
    assert "it goes on from here" not in end
    reply = thread.thread(failed, [recorded(9, "finished", {})])
    assert ("undo" in str(reply)) is (name in ("remove", "remove-claims"))


@pytest.mark.parametrize("back_up", [None, True, False])
def test_a_delete_that_turned_back_shows_whether_the_cluster_runs_again(back_up: bool | None) -> None:
    world = World("moving")
    failure = Outcome(State.FAILED, error="the volume stayed Delete")
    entries = [recorded(1, "passed", {"phase": "down"}), recorded(2, "passed", {"phase": "capture"})]
    one = replace(world.operation(Verb.DELETE), phase="up-again", failure=failure)
    if back_up is not None:
        outcome = replace(failure, back_up=back_up)
        one = replace(one, state=State.FAILED, outcome=outcome, ended_at=LATER)
    shown = words(operation.live(one, entries))
    assert "volume" in shown
    symbol = {None: ":hourglass_flowing_sand:", True: ":white_check_mark:", False: ":x:"}[back_up]
    assert f"{symbol} components up again" in shown
    assert ":white_circle:" not in shown, "the other phases never come"
    if back_up is not None:
        said = "*was started again*" if back_up else "*could not be started again*"
        assert f"Nothing was removed. prod {said}." in finish(one)
    told = thread.thread(one, [recorded(3, "turned-back", to_plain({"failure": failure}))])
    assert "prod is not deleted, and nothing was removed" in str(told)


WORLD = World("patching")


SAYINGS = {
    "all claims vanished": (
        WORLD.done(Verb.STOP, claims=()),
        "patching-0 was there at the beginning and is not any more",
    ),
    "a claim vanished": (WORLD.done(Verb.STOP, claims=WORLD.volumes()[1:]), "patching-0 was there at the beginning"),
    "lost since": (WORLD.done(Verb.STOP, claims=WORLD.volumes("Lost")), ":warning: patching-1 is Lost\n"),
    "killed": (WORLD.done(Verb.STOP, exits=(Exit("sql-0", "u", "sql", 137),)), "sql-0/sql was KILLED (exit 137)"),
    "unseen": (WORLD.done(Verb.STOP, unseen=("sql-0/sql",)), "the end of sql-0/sql was not seen"),
    "clean": (WORLD.done(Verb.STOP, exits=(Exit("sql-0", "u", "sql", 0),)), "every database container ended by itself"),
    "left": (WORLD.done(Verb.START), "reporting stays at zero; `reporting=N` would start it"),
    "volumes unseen": (WORLD.failed(Verb.STOP, error="gone"), "*Volumes* were not seen at the end"),
    "rolled back": (WORLD.failed(Verb.START, error="gone"), "Nothing was rolled back"),
    "by hand": (WORLD.failed(Verb.STOP, by_hand=WORLD.by_hand(Verb.STOP)), "kubectl --context eks-prod -n ml550 scale"),
    "traffic": (
        WORLD.done(Verb.START, traffic=Traffic(Traffic.UNREACHABLE, "10.0.0.1")),
        "not reachable from the bot at 10.0",
    ),
}


@pytest.mark.parametrize("what", SAYINGS)
def test_the_end_of_the_thread_says(what: str) -> None:
    one, said = SAYINGS[what]
    assert said in finish(one)


def test_a_claim_that_was_not_bound_before_is_named_as_such() -> None:
    before = replace(WORLD.goal(Verb.STOP), claims=WORLD.volumes("Pending"))
    one = replace(WORLD.operation(Verb.STOP, Outcome(State.DONE, claims=WORLD.volumes("Pending"))), goal=before)
    assert "patching-0 is Pending (it was not before either)" in finish(one)


def test_what_to_type_next_is_what_was_typed_with_its_options() -> None:
    """`/tml restart prod` would restart everything, and is refused without the word for it."""
    failed = replace(
        WORLD.failed(Verb.RESTART), command="restart prod sql --downtime because of &lt;@U0BOB|bob&gt; `x`"
    )
    assert "`/tml restart prod sql --downtime because of &lt;@U0BOB|bob&gt; 'x'`" in finish(failed)


def test_a_reason_cannot_pass_for_a_line_of_the_bot() -> None:
    forged = World("done\n:white_check_mark: *tm* stopped")
    assert "\n:white_check_mark:" not in words(operation.live(forged.operation(Verb.STOP), []))


def test_the_longest_reason_is_shown_whole() -> None:
    long = World("x" * LONGEST_REASON)
    assert long.word in words(operation.live(long.operation(Verb.STOP), []))
