"""What an object's own state and its events say is wrong with it; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from lifecycle.diagnosis import Finding
from lifecycle.kube import read
from lifecycle.kube.answers import Json
from lifecycle.kube.evidence import Evidence
from lifecycle.kube.masking import shown
from lifecycle.model import Kind
from lifecycle.workloads import Workload

LONGEST_MESSAGE = 400


class Weight(IntEnum):
    """How telling a symptom is; the lowest comes first."""

    CAUSE = 0
    """Nothing goes on until somebody changes something."""
    CONTAINER = 1
    """A container does not run or does not get ready."""
    WAITING = 2
    """It may still come by itself."""
    SUMMARY = 3
    """Follows from another one, if there is one."""


@dataclass(frozen=True)
class Log:
    """Whose last lines would tell more."""

    pod: str
    container: str
    previous: bool


@dataclass(frozen=True)
class Symptom:
    """A finding, how telling it is, and the log that belongs to it."""

    weight: Weight
    finding: Finding
    log: Log | None = None


def symptom(weight: Weight, what: str, reason: str, message: str = "", log: Log | None = None) -> Symptom:
    return Symptom(weight, Finding(what, reason, shown(" ".join(message.split()), LONGEST_MESSAGE)), log)


def _told(weight: Weight, what: str, event: Json) -> Symptom:
    return symptom(weight, what, str(event.get("reason") or "Warning"), str(event.get("message") or ""))


def of_missing(workload: Workload, evidence: Evidence) -> list[Symptom]:
    """Why a workload that should be up is not ready, most telling first."""
    found = evidence.object(workload)
    if found is None:
        return [symptom(Weight.CAUSE, str(workload.ref), "does not exist", "somebody deleted it")]
    return _ranked(
        [
            *_of_workload(workload, found, evidence),
            *(one for claim in evidence.claims(workload) for one in _of_claim(claim, evidence)),
            *(one for pod in evidence.pods(workload) for one in of_pod(pod, evidence)),
        ]
    )


def of_present(workload: Workload, evidence: Evidence) -> list[Symptom]:
    """Why a workload that should be gone is still there."""
    state = evidence.state(workload)
    found = []
    if state.is_up:
        owners = "".join(f"; {owner.kind} {owner.name} may set it again" for owner in workload.owners)
        message = f"it asks for {state.replicas} and {state.ready} are ready{owners}"
        found.append(symptom(Weight.CONTAINER, str(workload.ref), "up", message))
    elif state.exists and state.observed_generation < state.generation:
        found.append(_unseen(workload))
    found += [_of_terminating(pod, evidence) for pod in evidence.pods(workload) if read.is_deleting(pod)]
    if not state.is_up:
        found += [
            symptom(Weight.WAITING, _pod(pod), "not asked to stop yet", "its controller has not deleted it")
            for pod in evidence.pods(workload)
            if not read.is_deleting(pod)
        ]
    return _ranked(found)


def _ranked(found: list[Symptom]) -> list[Symptom]:
    return sorted(found, key=lambda one: one.weight)


def _of_workload(workload: Workload, found: Json, evidence: Evidence) -> Iterator[Symptom]:
    asked = read.replicas_of(found)
    if read.is_deleting(found):
        held = ", ".join(read.metadata(found).get("finalizers") or [])
        yield symptom(Weight.CAUSE, str(workload.ref), "Terminating", f"finalizers: {held}" if held else "")
    elif asked == 0:
        yield symptom(Weight.CAUSE, str(workload.ref), "at zero", "it asks for no pods")
    if not _is_observed(found):
        yield _unseen(workload)
    if len(evidence.pods(workload)) < asked:
        yield _pods_missing(workload, found, evidence, asked)
    progressing = read.condition(found, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        message = str(progressing.get("message", ""))
        yield symptom(Weight.SUMMARY, str(workload.ref), "ProgressDeadlineExceeded", message)


def _is_observed(found: Json) -> bool:
    generation = read.metadata(found).get("generation") or 0
    return bool((read.status_of(found).get("observedGeneration") or 0) >= generation)


def _unseen(workload: Workload) -> Symptom:
    return symptom(Weight.WAITING, str(workload.ref), "not seen by its controller", "its status is of an older version")


def _pods_missing(workload: Workload, found: Json, evidence: Evidence, asked: int) -> Symptom:
    """With the reason of what refused them: a quota, an admission webhook, a missing service account."""
    count = f"{len(evidence.pods(workload))} of {asked} pods exist"
    failure = read.condition(found, "ReplicaFailure")
    below = evidence.warning_below(workload) if workload.ref.kind is Kind.DEPLOYMENT else None
    event = evidence.warning(workload.ref.kind, found) or below
    if event:
        message = f"{count}: {event.get('message', '')}"
        return symptom(Weight.CAUSE, str(workload.ref), str(event.get("reason") or "Warning"), message)
    if failure.get("status") == "True":
        message = f"{count}: {failure.get('message', '')}"
        return symptom(Weight.CAUSE, str(workload.ref), str(failure.get("reason") or "ReplicaFailure"), message)
    return symptom(Weight.SUMMARY, str(workload.ref), "pods missing", count)


def _of_claim(claim: Json, evidence: Evidence) -> Iterator[Symptom]:
    what, phase = f"persistentvolumeclaim/{read.name_of(claim)}", read.claim(claim).status
    if phase == "Bound":
        return
    event = evidence.warning("PersistentVolumeClaim", claim)
    if event:
        yield _told(Weight.CAUSE, what, event)
    elif phase in ("Lost", "Terminating"):
        yield symptom(Weight.CAUSE, what, phase)
    else:
        yield symptom(Weight.SUMMARY, what, phase, "no volume is bound to it yet")


def _pod(pod: Json) -> str:
    return f"pod/{read.name_of(pod)}"


def of_pod(pod: Json, evidence: Evidence) -> list[Symptom]:
    """Why a pod is not ready, or why it is still there."""
    if read.is_deleting(pod):
        return [_of_terminating(pod, evidence)]
    if read.has_condition(pod, "Ready"):
        return []
    scheduled = read.condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return [_of_unscheduled(pod, scheduled, evidence)]
    status = read.status_of(pod)
    if status.get("phase") == "Failed":
        return [_of_failed(pod, status, evidence)]
    return _of_containers(pod, evidence)


def _of_failed(pod: Json, status: Json, evidence: Evidence) -> Symptom:
    """Ended by Kubernetes with a reason, or by itself with an exit code; what kept it from starting is a Warning."""
    reason, message = str(status.get("reason") or "Failed"), str(status.get("message", ""))
    event = evidence.warning("Pod", pod)
    log = None
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if "exitCode" in ended and ended.get("startedAt"):  # null of one that never ran (measured, 1.36)
            message = message or f"container {container.get('name')} ended with exit code {ended['exitCode']}"
            log = _log(pod, container, previous=False)
    told = f"{message}; {event.get('reason')}: {event.get('message', '')}" if event and log is None else message
    return symptom(Weight.CAUSE, _pod(pod), reason, told, log)


def _of_unscheduled(pod: Json, scheduled: Json, evidence: Evidence) -> Symptom:
    event = evidence.warning("Pod", pod, "FailedScheduling") or {}
    message = str(scheduled.get("message") or event.get("message") or "")
    return symptom(Weight.CAUSE, _pod(pod), str(scheduled.get("reason") or "Unschedulable"), message)


def _of_terminating(pod: Json, evidence: Evidence) -> Symptom:
    """What holds it: a finalizer, a node that does not answer, or just its grace period."""
    status, notes = read.status_of(pod), read.metadata(pod)
    said = [f"since {notes.get('deletionTimestamp')}"]
    said += [f"finalizers: {', '.join(notes['finalizers'])}"] if notes.get("finalizers") else []
    said += [f"grace period {notes['deletionGracePeriodSeconds']} s"] if notes.get("deletionGracePeriodSeconds") else []
    said += [f"{status['reason']} {status.get('message', '')}".strip()] if status.get("reason") else []
    event = evidence.warning("Pod", pod, "FailedKillPod", "NodeNotReady", "FailedPreStopHook", "ExceededGracePeriod")
    said += [f"{event.get('reason')}: {event.get('message', '')}"] if event else []
    said += [f"on node {node}"] if (node := read.spec_of(pod).get("nodeName")) else []
    return symptom(Weight.CONTAINER, _pod(pod), "Terminating", "; ".join(said))


def _of_containers(pod: Json, evidence: Evidence) -> list[Symptom]:
    status = read.status_of(pod)
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    found = [one for container in containers for one in _of_container(pod, container, evidence)]
    event = evidence.warning("Pod", pod)
    if found or event is None:
        return found or [symptom(Weight.WAITING, _pod(pod), "not ready", str(status.get("message") or ""))]
    return [_told(Weight.WAITING, _pod(pod), event)]


def _of_container(pod: Json, container: Json, evidence: Evidence) -> list[Symptom]:
    state = container.get("state") or {}
    if "waiting" in state:
        return [_of_waiting(pod, container, state["waiting"] or {}, evidence)]
    if "terminated" in state:
        return _of_ended(pod, container, state["terminated"] or {})
    if "running" in state and not container.get("ready") and _is_main(pod, container):
        return [_of_unready(pod, container, evidence)]
    return []


def _is_main(pod: Json, container: Json) -> bool:
    return any(one.get("name") == container.get("name") for one in read.spec_of(pod).get("containers") or [])


def _of_waiting(pod: Json, container: Json, waiting: Json, evidence: Evidence) -> Symptom:
    reason = str(waiting.get("reason") or "waiting")
    message = str(waiting.get("message") or "")
    if reason in ("ContainerCreating", "PodInitializing"):
        event = evidence.warning("Pod", pod)
        return _told(Weight.CAUSE, _pod(pod), event) if event else symptom(Weight.WAITING, _pod(pod), reason, message)
    log = _log(pod, container, previous=True) if reason == "CrashLoopBackOff" else None
    return symptom(Weight.CONTAINER, _pod(pod), reason, _with_last_end(message, container), log)


def _with_last_end(message: str, container: Json) -> str:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    if "exitCode" not in ended:
        return message
    end = " ".join(["last exit code", str(ended["exitCode"]), str(ended.get("reason") or "")]).strip()
    return f"{message} ({end})" if message else end


def _of_ended(pod: Json, container: Json, ended: Json) -> list[Symptom]:
    """An init container that ended well is no symptom."""
    code = ended.get("exitCode", 0)
    if code == 0 and not _is_main(pod, container):
        return []
    reason = str(ended.get("reason") or "Terminated")
    message = f"container {container.get('name')} ended with exit code {code} {ended.get('message', '')}"
    return [symptom(Weight.CONTAINER, _pod(pod), reason, message, _log(pod, container, previous=False))]


def _of_unready(pod: Json, container: Json, evidence: Evidence) -> Symptom:
    """Between two crashes a container runs too: its last end is then more telling than its silence now."""
    event = evidence.warning("Pod", pod, "Unhealthy")
    failed = str(event.get("message") or "") if event else ""
    restarts = container.get("restartCount") or 0
    if restarts:
        log = _log(pod, container, previous=event is None)
        return symptom(Weight.CONTAINER, _pod(pod), f"restarted {restarts}x", _with_last_end(failed, container), log)
    log = _log(pod, container, previous=False)
    if event:
        return symptom(Weight.CONTAINER, _pod(pod), "Unhealthy", failed, log)
    message = f"container {container.get('name')} runs and its readiness probe has not passed"
    return symptom(Weight.WAITING, _pod(pod), "not ready", message, log)


def _log(pod: Json, container: Json, *, previous: bool) -> Log:
    return Log(read.name_of(pod), str(container.get("name", "")), previous)
