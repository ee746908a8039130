"""What came of a command, as its answer."""

from bot.outcome import Approved, Asked, Begun, Choice, Interrupted, Opposed, Outcome, Renewed, Requested
from bot.views import answers, approval, snapshots
from bot.views.blocks import Message


def told(outcome: Outcome) -> Message:
    match outcome:
        case Requested(asked):
            return approval.requested(asked)
        case Approved(said):
            return approval.approved(said)
        case Renewed(before, fresh, changes):
            return approval.renewed(before, fresh, changes)
        case Begun(operation):
            return answers.begun(operation)
        case Asked(proposal, plan, changed):
            return answers.card(proposal, plan, changed=changed)
        case Opposed(running, proposal):
            return answers.opposed(running, proposal)
        case Interrupted(operation):
            return answers.interrupted(operation)
        case Choice(hot, cold, downtime):
            return snapshots.choice((hot.proposal, hot.plan), (cold.proposal, cold.plan), downtime)
