"""A plan as people read it before they say yes."""

from bot.views.blocks import quoted
from bot.views.words import listed
from lifecycle.model import Action, Component, Step, Verb
from lifecycle.plan import Plan

TRAFFIC = {
    Verb.STOP: "API traffic stops with the first wave (tm) and stays down until the next start.",
    Verb.START: "API traffic comes back with the last wave, when tm is ready.",
    Verb.RESTART: "Pods are replaced one after another; a component with one replica is away while its pod restarts.",
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
    touches_traffic = any(plan.goal.topology[ref].component is not Component.CM for ref in plan.goal.counts)
    return TRAFFIC[plan.verb] if touches_traffic else "Only cm is concerned: API traffic is not touched."


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
