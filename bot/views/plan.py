"""A plan as people read it before they say yes."""

from bot.views.blocks import quoted
from bot.views.words import listed
from lifecycle.model import Action, Step
from lifecycle.plan import OnTraffic, Plan

TRAFFIC = {
    OnTraffic.STOPS: "API traffic stops with the first wave (tm) and stays down until the next start.",
    OnTraffic.COMES_BACK: "API traffic comes back at the end, when tm and all that it needs are ready.",
    OnTraffic.INTERRUPTED: (
        "Pods are replaced one after another; a component with one replica is away while its pod restarts."
    ),
    OnTraffic.UNTOUCHED: "API traffic is not touched: no step of this changes whether tm answers.",
}
VOLUMES = "Volumes, services, addresses and secrets stay as they are."


def waves(plan: Plan) -> list[str]:
    """One numbered line per wave; what stands in one line goes at the same time."""
    return [
        f"{number}. {listed([_step(plan, step) for step in wave])}" for number, wave in enumerate(plan.waves, 1)
    ] or ["nothing is left to do but to see it ready"]


def _step(plan: Plan, step: Step) -> str:
    label = plan.goal.topology[step.workload].label
    match step.action:
        case Action.SCALE_TO_ZERO:
            return f"{label} {step.replicas} → 0"
        case Action.SCALE_UP:
            return f"{label} 0 → {step.replicas}"
        case Action.ROLLOUT_RESTART:
            return f"{label} ×{step.replicas}"


def effect(plan: Plan) -> str:
    """What it means for the API traffic."""
    return TRAFFIC[plan.on_traffic]


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
