"""An approval as people see it: the card in the channel, the modal that asks for the name, and what is told of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.views.blocks import (
    MODAL_LIMIT,
    Block,
    Message,
    actions,
    alert,
    button,
    context,
    escape,
    message,
    paragraph,
    quoted,
    section,
    shortened,
)
from bot.views.losses import Told
from bot.views.modals import NAME, REASON, form, text_input
from bot.views.plan import cautions, effect, fate, given_up, losses_of, lost_for_good, waves, ways_back
from bot.views.words import duration, listed, mention, when
from lifecycle.approval import GROUP, Approval, ApprovalState, Decision
from lifecycle.model import Verb
from lifecycle.plain import from_plain
from lifecycle.plan import Plan
from storage.audit import Recorded

MODAL = "approve"

SYMBOL = {
    ApprovalState.PENDING: ":raised_hand:",
    ApprovalState.APPROVED: ":white_check_mark:",
    ApprovalState.EXECUTED: ":white_check_mark:",
    ApprovalState.DENIED: ":no_entry:",
    ApprovalState.EXPIRED: ":hourglass:",
    ApprovalState.WITHDRAWN: ":leftwards_arrow_with_hook:",
    ApprovalState.VOID: ":wastebasket:",
}


def headline(approval: Approval) -> str:
    """What is asked and how it stands: what a phone shows first."""
    what = f"{approval.verb} {approval.cluster}"
    match approval.state:
        case ApprovalState.PENDING:
            return f"{approval.verb.capitalize()} {approval.cluster}? Needs {_more(approval)}"
        case ApprovalState.APPROVED:
            return f"Approved, not begun: {what}"
        case ApprovalState.EXECUTED:
            return f"Approved and begun: {what} ({approval.operation})"
        case _:
            return f"{approval.state.capitalize()}: {what}. Nothing was done"


def _more(approval: Approval) -> str:
    if approval.terms.needed == 1:
        return "a second person's yes"
    return "one more person's yes" if approval.missing == 1 else f"{approval.missing} more people's yes"


def live(approval: Approval, _entries: Sequence[Recorded]) -> Message:
    """The card; its buttons are there as long as somebody can decide something."""
    lost = lost_for_good(plan_of(approval)) if approval.is_open else []
    lines = [f"{SYMBOL[approval.state]} *{escape(headline(approval))}*", *lost, _asked(approval), *_said(approval)]
    blocks = [*paragraph(lines), *plan_blocks(approval), *_buttons(approval), context(_footer(approval))]
    return message(headline(approval), blocks)


def bare(approval: Approval) -> Message:
    """In place of a card that Slack does not take."""
    text = headline(approval)
    return message(text, [section(f"*{quoted(text)}*\nSlack did not take the details. `/tml approvals` shows them.")])


def plan_blocks(approval: Approval) -> list[Block]:
    """What would be done, what is removed, how it comes back; nothing of it once it is decided."""
    if not approval.is_open:
        return []
    plan = plan_of(approval)
    return [
        *paragraph(["*Plan*, each line when the one before is through", *waves(plan)]),
        *paragraph([effect(plan), *fate(plan), *cautions(plan)]),
    ]


def plan_of(approval: Approval) -> Plan:
    """The plan that the approval is bound to."""
    return from_plain(Plan, approval.plan)


def _asked(approval: Approval) -> str:
    because = f", because {quoted(approval.reason)}" if approval.reason else ""
    return f"{mention(approval.requester)} asks to {approval.verb} *{escape(approval.cluster)}*{because}"


def _said(approval: Approval) -> list[str]:
    lines = [_decision(one) for one in approval.decisions]
    if approval.void_reason:
        lines.append(f":information_source: {quoted(approval.void_reason)}")
    return lines


def _decision(said: Decision) -> str:
    lead = ":white_check_mark: {} said yes {}" if said.yes else ":no_entry: {} said no {}"
    because = f": {quoted(said.reason)}" if said.reason else ""
    return lead.format(mention(said.approver), when(said.at)) + because


def _buttons(approval: Approval) -> list[Block]:
    if approval.state is ApprovalState.PENDING:
        return [
            actions(
                button("Approve …", "approve", approval.id, "danger"),
                button("Deny", "deny", approval.id),
                button("Withdraw", "withdraw", approval.id),
            )
        ]
    if approval.state is ApprovalState.APPROVED:
        return [actions(button("Run it", "run", approval.id, "danger"))]
    return []


def _footer(approval: Approval) -> str:
    parts = [escape(approval.id), f"plan {approval.digest[:12]}"]
    if approval.state is ApprovalState.PENDING:
        parts += [f"approvers: {named(approval.terms.listed)}", f"expires {when(approval.expires_at)}"]
    if approval.state is ApprovalState.APPROVED and approval.execute_by:
        parts.append(f"has to begin by {when(approval.execute_by)}")
    if approval.replaces:
        parts.append(f"in place of {escape(approval.replaces)}")
    return " · ".join(parts)


def named(listed_: Sequence[str]) -> str:
    """Approvers as they are written in the configuration, as mentions."""
    return listed([_named(one) for one in listed_])


def _named(entry: str) -> str:
    return f"<!subteam^{escape(entry[1:])}>" if entry.startswith(GROUP) else f"<@{escape(entry)}>"


def thread(_approval: Approval, entries: Sequence[Recorded]) -> Message | None:
    """Who said what, in order; None when these entries have nothing to say."""
    lines = [line for entry in entries for line in _told(entry)]
    return message(lines[0], [context("\n".join(lines))]) if lines else None


def _told(entry: Recorded) -> list[str]:
    tell = TELLERS.get(entry.kind)
    return [tell(entry)] if tell else []


def _by(entry: Recorded) -> str:
    return f"<@{escape(entry.actor.user)}>" if entry.actor else "somebody"


def _reason(entry: Recorded) -> str:
    return f": {quoted(entry.data['reason'])}" if entry.data.get("reason") else ""


def _approvers(entry: Recorded) -> str:
    return named(entry.data["approvers"])


TELLERS: Mapping[str, Callable[[Recorded], str]] = {
    "approval-yes": lambda entry: f":white_check_mark: {_by(entry)} said yes{_reason(entry)}",
    "approval-no": lambda entry: f":no_entry: {_by(entry)} said no{_reason(entry)}. Nothing was done",
    "approval-withdrawn": lambda entry: f":leftwards_arrow_with_hook: {_by(entry)} took it back. Nothing was done",
    "approval-expired": lambda entry: (
        f":hourglass: {'approved, but not begun in time' if entry.data['approved'] else 'nobody decided in time'}"
    ),
    "approval-reminded": lambda entry: f":bell: still open, {_approvers(entry)}: it expires soon",
    "approval-escalated": lambda entry: f":bell: no decision yet, so these are asked now: {_approvers(entry)}",
    "approval-void": lambda entry: f":wastebasket: void: {quoted(entry.data['why'])}",
    "approval-executed": lambda entry: f":arrow_forward: begun as {escape(entry.data['operation'])}",
}


def modal(approval: Approval) -> dict[str, Any]:
    """What is lost first, then what a yes means, once more, and the name to type."""
    plan = plan_of(approval)
    lines = [_asked(approval), f"Target: `{escape(str(approval.target))}`"]
    rest = [*ways_back(plan), *given_up(plan)] if plan.verb is Verb.DELETE else fate(plan)
    told = [block for one in losses_of(plan) for block in _lost(one)]
    told += [*paragraph(lines), *paragraph(waves(plan)), *paragraph([effect(plan), *rest, *cautions(plan)])]
    asked = [
        text_input(NAME, f"Type the cluster's name: {approval.cluster}", optional=False),
        text_input(REASON, "Anything to add?", optional=True),
        context(f"{escape(approval.id)} · plan {approval.digest[:12]}"),
    ]
    blocks = [*shortened(told, MODAL_LIMIT - len(asked)), *asked]
    return form(MODAL, approval.id, f"{approval.verb.capitalize()} {approval.cluster}", "Approve", blocks)


def _lost(one: Told) -> list[Block]:
    """In red where it would be missed."""
    return [alert(one.head), *paragraph(one.lines)] if one.is_grave else paragraph([one.head, *one.lines])


def unopened(approval: Approval) -> Message:
    """In place of the modal, which Slack did not open."""
    text = "Slack did not open the dialog, so nothing was decided."
    line = f"Press again, or type `/tml approve {escape(approval.id)} NAME` with the cluster's name."
    return message(text, [section(f":warning: {text} {line}")])


def requested(approval: Approval) -> Message:
    """Acknowledged: it has an id and waits."""
    text = f"Asked for: {approval.verb} {approval.cluster} ({approval.id})"
    lines = [
        f":raised_hand: *{escape(text)}*",
        f"It waits for {_more(approval)}, from {named(approval.terms.listed)}, in <#{approval.place.channel}>.",
        f"`/tml withdraw {escape(approval.id)}` takes it back.",
    ]
    return message(text, [*paragraph(lines), context("Nothing was changed yet.")])


def approved(approval: Approval) -> Message:
    """One yes of several."""
    text = f"Your yes to {approval.id} is recorded; {approval.missing} more needed"
    return message(text, [section(f":white_check_mark: {escape(text)}.")])


def ended(approval: Approval) -> Message:
    """A no, or taken back."""
    text = f"{approval.id} is {approval.state}. Nothing was done."
    return message(text, [section(f"{SYMBOL[approval.state]} {escape(text)}")])


def renewed(before: Approval, fresh: Approval, changes: Sequence[str]) -> Message:
    """The cluster changed since it was asked for: the old yes counts no more."""
    text = f"{before.cluster} has changed since {before.id} was asked for: a new approval is needed"
    lines = [f":warning: *{escape(text)}*", *(f"• {quoted(change)}" for change in changes)]
    lines.append(f"Asked anew as {escape(fresh.id)}, in <#{fresh.place.channel}>. Nothing was done.")
    return message(text, paragraph(lines))


def open_ones(approvals: Sequence[Approval]) -> Message:
    """What waits."""
    if not approvals:
        text = "Nothing that you may see waits for an approval."
        return message(text, [section(text)])
    rows = [section(f"{SYMBOL[one.state]} *{escape(headline(one))}*\n{_asked(one)}\n{_ways(one)}") for one in approvals]
    return message("Open approvals", [section("*Open approvals*"), *rows])


def _ways(approval: Approval) -> str:
    if approval.state is ApprovalState.APPROVED:
        return f"{escape(approval.id)} · approved; *Run it* on its card"
    left = duration(approval.expires_at - approval.made_at)
    return (
        f"`/tml approve {escape(approval.id)} {escape(approval.cluster)}` or `/tml deny {escape(approval.id)}` · "
        f"expires {when(approval.expires_at)}, {left} after it was asked for"
    )


def notice(approval: Approval, link: str | None) -> Message:
    """The direct message to one who may decide."""
    text = f"{approval.cluster}: your yes or no to a {approval.verb} is asked for ({approval.id})"
    where = f"<{link}|Open the card>" if link else f"Its card is in <#{approval.place.channel}>."
    return message(text, [section(f":raised_hand: *{escape(text)}*\n{_asked(approval)}\n{where}")])
