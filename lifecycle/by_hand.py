"""What a person would type to finish it without the bot."""

from lifecycle.model import Action, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.phase import Phase
from lifecycle.simulation import waves


def by_hand(goal: Goal, observed: Observed, phase: Phase) -> tuple[str, ...]:
    """The kubectl lines that would finish it without the bot, in order."""
    steps = (step for wave in waves(phase, goal, observed) for step in wave)
    return tuple(f"{line}{_elsewhere(goal, step)}" for step in steps for line in kubectl(step))


def _elsewhere(goal: Goal, step: Step) -> str:
    """The last namespace on a line of kubectl is the one that counts."""
    part = next((one for one in goal.parts if one.ref == step.ref), None)
    return f" --namespace {part.namespace}" if part and part.namespace else ""


def kubectl(step: Step) -> tuple[str, ...]:
    """What a person would type for this step, without context and namespace; a stop keeps the note of the count."""
    match step.action:
        case Action.FLUSH:
            pods = (f"{step.ref.name}-{ordinal}" for ordinal in range(step.replicas))
            return tuple(f"kubectl exec {pod} -- nodetool flush" for pod in pods)
        case Action.SCALE_TO_ZERO:
            return (
                f"kubectl annotate {step.ref} tml-bot/replicas={step.replicas} --overwrite",
                f"kubectl scale {step.ref} --replicas=0",
            )
        case Action.SCALE_UP:
            return (f"kubectl scale {step.ref} --replicas={step.replicas}",)
        case Action.ROLLOUT_RESTART:
            return (f"kubectl rollout restart {step.ref}",)
        case Action.KEEP:
            policy = '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}'
            return (f"kubectl patch {step.ref} --patch '{policy}'",)
        case Action.LET_GO:
            policy = '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}'
            return (f"kubectl patch {step.ref} --patch '{policy}'",)
        case Action.RELEASE:
            return (f'kubectl patch {step.ref} --type merge --patch \'{{"spec":{{"deletionPolicy":"Delete"}}}}\'',)
        case Action.REMOVE | Action.CLEAN:
            return (f"kubectl delete {step.ref}",)
        case _:  # no line of a shell writes a capture, or reads one
            return ()
