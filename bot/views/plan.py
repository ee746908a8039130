"""A plan as people read it before they say yes."""

from collections import Counter
from collections.abc import Sequence

from bot.views import kept, removals, snapshots
from bot.views.blocks import quoted
from bot.views.losses import Told, lines_of, told
from bot.views.verification import planned as tested
from bot.views.words import listed
from lifecycle import losses
from lifecycle.model import Action, Kind, Step, Verb
from lifecycle.plan import SCALING, OnTraffic, Plan
from lifecycle.volumes import Volume

TRAFFIC = {
    OnTraffic.STOPS: "API traffic stops with the first wave (tm) and stays down until the next start, or restore.",
    OnTraffic.PAUSES: "API traffic stops with the first wave (tm), and comes back when all is cut and up again.",
    OnTraffic.COMES_BACK: "API traffic comes back at the end, when tm and all that it needs are ready.",
    OnTraffic.INTERRUPTED: (
        "Pods are replaced one after another; a component with one replica is away while its pod restarts."
    ),
    OnTraffic.UNTOUCHED: "API traffic is not touched: no step of this changes whether tm answers.",
}
VOLUMES = "Volumes, services, addresses and secrets stay as they are."
DONE_TO = {
    Action.CAPTURE: "write down every object as it is, in a Secret of the namespace",
    Action.LABEL: "label {}, for the volume group to find them",
    Action.CUT: "cut {}, all at once, into snapshots",
    Action.QUIESCE: "run the command before, cut all and see it cut, run the command after in any case",
    Action.RESUME: "run the command after",
    Action.RETAIN: "see the snapshots ready, and kept whatever becomes of the namespace",
    Action.KEEP: "set {} to Retain, and see it so",
    Action.REMOVE: "remove {}",
    Action.MAKE: "make {} again, as written down",
    Action.OVERWRITE: "overwrite {} with what is written down",
    Action.REBIND: "free {} for the claims of the old names",
    Action.RELEASE: "let the data go with {}",
    Action.GIVE_UP: "give {} up, each with its reclaim policy of before",
    Action.GIVE_BACK: "give {} back the reclaim policies of before",
    Action.CLONE: "make {} of the snapshots, by names of their own",
    Action.CHECK: "look at each in one of {}, mounted for reading only",
    Action.LET_GO: "let {} go with their claims",
    Action.CLEAN: "remove {} again, whatever they showed",
}


CUT_TOGETHER = "cut them all at one moment, as {}"


def waves(plan: Plan) -> list[str]:
    """One numbered line per wave; what stands in one line goes at the same time."""
    return [f"{number}. {listed(_wave(plan, wave))}" for number, wave in enumerate(plan.waves, 1)] or [
        "nothing is left to do but to see it ready"
    ]


def _wave(plan: Plan, wave: Sequence[Step]) -> list[str]:
    """What is done to workloads by itself, everything else by what is done to how many of what."""
    scaling = [_scaling(plan, step) for step in wave if step.action in (*SCALING, Action.FLUSH)]
    others = dict.fromkeys(step.action for step in wave if step.action not in (*SCALING, Action.FLUSH))
    return scaling + [_done_to(wave, action).format(_counted(wave, action)) for action in others]


def _done_to(wave: Sequence[Step], action: Action) -> str:
    is_group = any(step.ref.kind is Kind.GROUP for step in wave if step.action is action)
    return CUT_TOGETHER if is_group and action is Action.CUT else DONE_TO[action]


def _scaling(plan: Plan, step: Step) -> str:
    label = plan.goal.topology[step.ref].label
    match step.action:
        case Action.FLUSH:
            return f"{label} flushed to its volume (nodetool flush)"
        case Action.SCALE_TO_ZERO:
            return f"{label} {step.replicas} → 0"
        case Action.SCALE_UP:
            return f"{label} 0 → {step.replicas}"
        case _:
            return f"{label} ×{step.replicas}"


def _counted(wave: Sequence[Step], action: Action) -> str:
    """3 StatefulSets and 1 Service."""
    kinds = Counter(step.ref.kind for step in wave if step.action is action)
    return listed([f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items()])


def effect(plan: Plan) -> str:
    """What it means for the API traffic."""
    return TRAFFIC[plan.on_traffic]


def fate(plan: Plan) -> list[str]:
    """What becomes of data and addresses, a line each."""
    match plan.verb:
        case Verb.DELETE:
            risks = (one for one in losses_of(plan) if one.way is not losses.Way.NONE)
            return [*ways_back(plan), *lines_of(risks), *given_up(plan)]
        case Verb.PURGE:
            return kept.planned(plan.goal)
        case Verb.RESTORE:
            brought = [*_bound_again(plan), *snapshots.cloned(plan.goal), *snapshots.emptied(plan.goal)]
            return brought + _addresses(plan)
        case Verb.RESTORE_IN_PLACE:
            return [*snapshots.exchanged(plan.goal), *kept.promised(plan.goal), *snapshots.planned(plan.goal)]
        case Verb.REMOVE:
            return removals.fate(plan)
        case Verb.RETURN:
            return removals.fate_of_return(plan)
        case Verb.VERIFY:
            return tested(plan.goal)
        case _:
            return [VOLUMES, *snapshots.planned(plan.goal)]


def losses_of(plan: Plan) -> tuple[Told, ...]:
    """Of a delete: what is lost for good, and what is if a way back fails; the worst first."""
    return told(plan.goal, losses.ways_back(plan.goal)) if plan.verb is Verb.DELETE else ()


def lost_for_good(plan: Plan) -> list[str]:
    """What has to be said first, a line each; of nearly every plan nothing."""
    return lines_of(one for one in losses_of(plan) if one.way is losses.Way.NONE)


def ways_back(plan: Plan) -> list[str]:
    """For each volume how its data come back, or why they do not."""
    goal = plan.goal
    which = "each volume that is there" if goal.lost_claims else "each volume"
    empty = [one for one in goal.claims if not one.volume]
    return [
        f"*Ways back*, of {which}: it is kept (Retain), and a restore binds it again: the same bytes",
        *_kept(plan),
        *(snapshots.planned(goal) or ["*No snapshots* are taken: the loss of a volume itself has no way back."]),
        *(f"• {quoted(one.name)} has no volume: there is nothing in it to keep" for one in empty),
        *(snapshots.written_down(goal) if goal.cutting is None else []),
    ]


def _kept(plan: Plan) -> list[str]:
    """Each volume, each that there is not, and how long."""
    goal = plan.goal
    lines = [
        f"• {quoted(one.claim)}: volume {quoted(one.name)}, {quoted(one.capacity)}{_uid(plan, one)}"
        for one in goal.volumes
    ]
    lines += [
        f"• {quoted(one.name)}: *no way back*: its volume {quoted(one.volume)} is gone, or another claim's"
        for one in goal.lost_claims
    ]
    return [*lines, *kept.promised(goal)]


def given_up(plan: Plan) -> list[str]:
    """Of the addresses of a delete, with those that stay."""
    return _addresses(plan) + _staying(plan)


def _uid(plan: Plan, volume: Volume) -> str:
    """The claim's, where the volume's name does not have it: a provisioner calls a volume pvc-UID."""
    claim = next(claim for claim in plan.goal.claims if claim.name == volume.claim)
    return "" if claim.uid in volume.name else f", the claim's uid {quoted(claim.uid)}"


def _bound_again(plan: Plan) -> list[str]:
    if not plan.goal.volumes:
        return []
    count = len(plan.goal.volumes)
    return [f"{count} kept volumes are bound to claims of their old names: the same bytes, no copying."]


def _addresses(plan: Plan) -> list[str]:
    given_up = [part for part in plan.goal.parts if part.addresses]
    what = "is given up" if plan.verb is Verb.DELETE else "was given up: the new one may be another"
    return [
        f":warning: the address {quoted(', '.join(part.addresses))} of {quoted(part.ref.name)} {what}; "
        "DNS that names it has to follow"
        for part in given_up
    ]


def _staying(plan: Plan) -> list[str]:
    return [
        f":information_source: {quoted(part.ref.name)} stays with its address {quoted(', '.join(part.addresses))}"
        for part in plan.goal.staying
    ]


def cautions(plan: Plan) -> list[str]:
    """Warnings, counts that somebody has to confirm, and what is left out, a line each."""
    topology = plan.goal.topology
    lines = [f":warning: {quoted(warning)}" for warning in plan.warnings]
    lines += [
        f":warning: {topology[ref].label}: nobody remembers its count; cm declares {plan.goal.counts[ref]}"
        for ref in plan.doubtful
    ]
    lines += [f":information_source: {topology[ref].label} stays at zero" for ref in plan.goal.left]
    if plan.goal.unverified:
        lines.append(":warning: several sql pods, untethered: replication will not be checked")
    return lines
