"""Restore tests as people see them: in a plan, in a thread, with the set, and what one left behind."""

from collections.abc import Sequence

from bot.views.blocks import Block, context, escape, paragraph, preformatted, quoted, section
from bot.views.words import listed, when
from lifecycle.model import Kind
from lifecycle.operation import Goal, Operation
from lifecycle.quantity import gibibytes
from lifecycle.verification import Leftover, Result, Verdict, Verification

SYMBOL = {Result.PASSED: ":white_check_mark:", Result.FAILED: ":x:", Result.NOT_CHECKED: ":warning:"}
LOG_LINES = 5
"""Of a check, the last."""
SHOWN = 10
"""Leftovers that are named; more are counted."""


def planned(goal: Goal) -> list[str]:
    """What is tested, with what, and that nothing else is touched."""
    if goal.verifying is None:
        return []
    whole = gibibytes(sum(member.size for member in goal.verifying.members))
    tested = (
        f"*Tests snapshot set {escape(goal.verifying.set)}*: a clone of each snapshot by a name of its own, {whole} in"
    )
    removed = "Both are removed again, whatever comes of it; nothing of the cluster is touched."
    return [f"{tested} all, and a pod that looks at it. {removed}"] + [
        f"• {quoted(one.claim)}: {quoted(' '.join(one.command), 200)} in {quoted(one.likeness.image)}"
        for one in goal.verifying.members
    ]


def known(verification: Verification | None) -> str:
    """With a set in the list: when it was tested last, and what came of it."""
    if verification is None:
        return ":grey_question: never verified"
    tested = f"{when(verification.at)} by {escape(verification.by)}"
    match verification.result:
        case Result.PASSED:
            return f":white_check_mark: last verified {tested}"
        case Result.FAILED:
            return f":x: *bad*: {_named(verification, Result.FAILED)} failed its verification {tested}"
        case _:
            return f":warning: could not be verified {tested}: {_named(verification, Result.NOT_CHECKED)}"


def _named(verification: Verification, result: Result) -> str:
    return listed([quoted(one.claim) for one in verification.verdicts if one.result is result])


def told(verification: Verification) -> list[Block]:
    """In the thread, when all was looked at or nothing more will be: a verdict on each member."""
    lead = {
        Result.PASSED: f":white_check_mark: *Snapshot set {escape(verification.set)} passed*: every check did",
        Result.FAILED: f":x: *Snapshot set {escape(verification.set)} is bad*: a check of a clone failed",
        Result.NOT_CHECKED: f":warning: *Snapshot set {escape(verification.set)} could not be verified*: this says "
        "nothing of its data",
    }[verification.result]
    blocks = paragraph([lead, *(_verdict(one) for one in verification.verdicts)])
    for one in verification.verdicts:
        if one.log:
            blocks += [context(f"the check of {quoted(one.claim)} said"), *preformatted(one.log[-LOG_LINES:])]
    return blocks


def _verdict(one: Verdict) -> str:
    because = f": {quoted(one.why, 300)}" if one.why else ""
    code = f" (exit {one.exit_code})" if one.exit_code else ""
    return f"{SYMBOL[one.result]} {quoted(one.claim)} {escape(one.result)}{code}{because}"


def turned_back(reason: str) -> list[Block]:
    """Before it cleans up."""
    return [section(f":x: *The test does not go on.* What it made is removed first; then more.\n{quoted(reason)}")]


def done(operation: Operation, took: str) -> list[Block]:
    """Everything passed, and everything is gone."""
    assert operation.goal.verifying
    lead = (
        f":white_check_mark: *snapshot set {escape(operation.goal.verifying.set)} can be restored* as far as its checks"
    )
    return paragraph([f"{lead} tell, after {took}", _gone(operation)])


def left_as(operation: Operation) -> str:
    """After a failure, what is left of the test; gone is only what was seen gone."""
    is_clean = operation.outcome is not None and operation.outcome.back_up is True
    return _gone(operation) if is_clean else _left(operation)


def _gone(operation: Operation) -> str:
    return f"Nothing of {escape(operation.cluster)} was touched, and nothing of the test is left."


def _left(operation: Operation) -> str:
    remove = by_hand(operation.target.namespace, operation.id)
    return f"Nothing of {escape(operation.cluster)} was touched, but *not all of the test was seen gone*: {remove}"


def go_on(operation: Operation) -> str:
    """What to type next."""
    assert operation.goal.verifying
    again = f"`/tml verify {escape(operation.cluster)} {escape(operation.goal.verifying.set)}` tests it again"
    fresh = f"`/tml snapshot {escape(operation.cluster)}` takes another set, if this one is bad"
    return f"{again}\n{fresh}"


def left_behind(namespace: str, found: Sequence[Leftover]) -> list[Block]:
    """What tests that do not run any more left: whoever sees it removes it."""
    blocks: list[Block] = []
    for operation in dict.fromkeys(one.operation for one in found):
        refs = [one.ref for one in found if one.operation == operation]
        names = [quoted(f"{'claim' if ref.kind is Kind.CLAIM else 'pod'} {ref.name}") for ref in refs[:SHOWN]]
        names += [f"{len(refs) - SHOWN} more"] if len(refs) > SHOWN else []
        lead = f":warning: *Left of the restore test {quoted(operation)}*, which does not run: {listed(names)}"
        blocks.append(section(f"{lead}\n{by_hand(namespace, operation)}"))
    return blocks


def by_hand(namespace: str, operation: str) -> str:
    line = f"kubectl -n {namespace} delete pods,persistentvolumeclaims -l tml-bot/scratch={operation}"
    return f"`{quoted(line.replace('`', ''))}` removes it"
