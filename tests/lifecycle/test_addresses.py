"""Old and new addresses at the end of a restore."""

from dataclasses import replace

from lifecycle.addresses import addresses, is_waited_for
from lifecycle.decide import delete, restore
from lifecycle.observed import Address, Observed, Part
from lifecycle.operation import Goal, Outcome, State
from tests.fakes import values

TM = next(part for part in values.PARTS if part.addresses)
CM = Part(replace(TM.ref, name="cm-svc-0"), "uid-s9", addresses=("203.0.113.9",))


def returning(*, keeps_services: bool = False) -> Goal:
    running = values.discovery()
    found = replace(values.inventory(running), parts=(*values.PARTS, CM))
    goal = delete.goal(running, found, keeps_services=keeps_services).marked("op-delete")
    done = replace(values.operation(goal), state=State.DONE, outcome=Outcome(State.DONE))
    return restore.draft(done)


def seen(*parts: Part) -> Observed:
    return Observed(values.NOW, {}, parts=parts)


def test_each_service_that_had_an_address_is_told_with_both() -> None:
    elsewhere = replace(TM, uid="uid-new", addresses=("198.51.100.1",))
    assert addresses(returning(), seen(elsewhere, CM)) == (
        Address("tm-svc", ("203.0.113.7",), ("198.51.100.1",)),
        Address("cm-svc-0", ("203.0.113.9",), ("203.0.113.9",)),
    )


def test_what_was_left_where_it_is_is_told_too() -> None:
    goal = returning(keeps_services=True)
    assert goal.parts
    assert not any(part.addresses for part in goal.parts)
    assert [one.service for one in addresses(goal, seen(TM, CM))] == ["tm-svc", "cm-svc-0"]


def test_a_service_that_has_none_yet_or_is_gone_is_waited_for() -> None:
    goal = returning()
    assert is_waited_for(goal, seen(replace(TM, addresses=()), CM))
    assert is_waited_for(goal, seen(CM))
    assert not is_waited_for(goal, seen(TM, CM))
    assert addresses(goal, seen(CM))[0] == Address("tm-svc", ("203.0.113.7",), ())
