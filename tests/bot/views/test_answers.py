"""Plans and statuses, as they are answered."""

from dataclasses import replace

from bot.views import answers
from lifecycle.model import Verb
from lifecycle.plan import plan
from lifecycle.volumes import Claim
from tests.bot.views.reading import words
from tests.bot.views.world import World


def test_a_plan_to_delete_says_of_each_volume_and_address_what_becomes_of_it() -> None:
    world = World("203.0.113.7")
    given_up = words(answers.plan("prod", world.plan(Verb.DELETE)))
    assert "• 203.0.113.7-0: volume pv-203.0.113.7-0, 10Gi, the claim's uid uid-0\n" in given_up
    assert "it is kept (Retain), and a restore binds it again: the same bytes" in given_up
    assert "the address 203.0.113.7 of tm-svc is given up; DNS that names it has to follow" in given_up
    about, head = [line for line in given_up.splitlines() if "snapshot" in line.lower()]
    assert about == "*No snapshots* are taken: the loss of a volume itself has no way back."
    assert head.startswith("*Lost if a kept volume itself is lost*")
    kept = plan(world.delete_goal(keeps_services=True), world.discovery)
    staying = words(answers.plan("prod", kept))
    assert ":information_source: tm-svc stays with its address 203.0.113.7" in staying
    assert "given up" not in staying


def test_a_plan_to_restore_says_that_the_same_bytes_come_back_and_the_address_may_not() -> None:
    shown = words(answers.plan("prod", World("203.0.113.7").plan(Verb.RESTORE)))
    assert "2 kept volumes are bound to claims of their old names: the same bytes" in shown
    assert "was given up: the new one may be another; DNS that names it has to follow" in shown
    assert "snapshot" not in shown.lower()
    assert "API traffic comes back at the end" in shown


def test_a_claim_without_a_volume_is_said_to_have_nothing_to_keep() -> None:
    world = World("x")
    made = world.plan(Verb.DELETE)
    never = replace(made, goal=replace(made.goal, claims=(*made.goal.claims, Claim("spare", "uid-9", "Pending"))))
    assert "• spare has no volume: there is nothing in it to keep" in words(answers.plan("prod", never))


def test_a_deleted_cluster_says_whether_it_can_be_brought_back() -> None:
    world = World("moving")
    whole = words(answers.deleted("prod", world.removal(), world.gone()))
    assert "`/tml restore prod` brings it back" in whole
    assert whole.count("Retain Released") == 2
    lost = replace(world.gone(), volumes=world.gone().volumes[:1])
    assert "not restorable as it is" in words(answers.deleted("prod", world.removal(), lost))
    assert ":x: moving-1: volume pv-moving-1 is gone" in words(answers.deleted("prod", world.removal(), lost))
    unwritten = words(answers.deleted("prod", world.removal(), replace(world.gone(), capture="")))
    assert ":x: the capture is not whole" in unwritten
    assert "not restorable as it is" in unwritten
