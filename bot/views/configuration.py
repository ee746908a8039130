"""Whether a cluster that runs has its API configuration, as it is said at the end of an operation."""

from bot.views.blocks import quoted
from bot.views.losses import SYNCHRONISES
from lifecycle import configuration
from lifecycle.checks import Checked
from lifecycle.losses import Mode, mode_of
from lifecycle.operation import Goal, Operation, Outcome

ELSEWHERE = {
    Mode.TETHERED: f"It {SYNCHRONISES}",
    Mode.UNTETHERED: "The cluster is untethered: only a backup, or the volume that was there before, has it",
    Mode.UNKNOWN: "Whether the cluster is tethered is unknown, so do not count on MOM",
}
"""Where the configuration may be had from, when the volume of sql is new."""
WITHOUT = "`configuration_check` in the bot's configuration would show it"


def verdict(operation: Operation) -> str:
    """What qualifies the end; empty where nothing does."""
    return configuration.NOT_SEEN if configuration.is_missed(operation) else ""


def configuration_lines(goal: Goal, outcome: Outcome) -> list[str]:
    """What the check showed, and which volume made the question."""
    if outcome.checked is None:
        return []
    return [_checked(outcome.checked), *(_new_volumes(goal, outcome) if not outcome.checked.is_seen else [])]


def _checked(checked: Checked) -> str:
    detail = f" ({quoted(checked.detail, 200)})" if checked.detail else ""
    if checked.is_seen:
        return f":white_check_mark: {quoted(checked.verdict)}"
    without = f". {WITHOUT}" if checked.verdict == Checked.NO_CHECK else ""
    return f":warning: *configuration NOT seen*: {quoted(checked.verdict)}{detail}{without}"


def _new_volumes(goal: Goal, outcome: Outcome) -> list[str]:
    new = configuration.unseen(goal, outcome.claims)
    told = [
        f":warning: {quoted(claim.name)} is new: it was empty, and nobody has seen that it was filled" for claim in new
    ]
    return [*told, f"{ELSEWHERE[mode_of(goal)]}."] if told else []
