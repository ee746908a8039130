"""A pod's status as the kubelet writes it: each function changes a pod object from one state to the next."""

import hashlib
from typing import Any

from sandbox.kubernetes.controllers.owners import is_terminating, is_true, set_condition
from sandbox.kubernetes.resources import Object

NODE = "sandbox-node"
NODE_IP = "127.0.0.1"


def is_ready(pod: Object) -> bool:
    """Running and ready, as a StatefulSet counts it; a pod on its way out is so until its containers stop."""
    return pod.get("status", {}).get("phase") == "Running" and is_true(pod, "Ready")


def is_active(pod: Object) -> bool:
    """Neither over nor on its way out, as a ReplicaSet counts it."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") and not is_terminating(pod)


def probe_of(pod: Object) -> dict[str, Any] | None:
    """The readiness probe of the first container that has one."""
    probes = (container.get("readinessProbe") for container in pod["spec"]["containers"])
    return next((probe for probe in probes if probe), None)


def claims_of(pod: Object) -> dict[str, str]:
    """The names of the claims a pod mounts, by the pod's own name for the volume."""
    return {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or []
        if "persistentVolumeClaim" in volume
    }


def unschedulable(pod: Object, now: str, message: str) -> None:
    pod.setdefault("status", {})["phase"] = "Pending"
    set_condition(pod, now, "PodScheduled", "False", "Unschedulable", message)


def scheduled(pod: Object, now: str) -> None:
    pod.setdefault("status", {})["phase"] = "Pending"
    set_condition(pod, now, "PodScheduled", "True")


def accepted(pod: Object, now: str, ip: str) -> None:
    """The kubelet has taken the pod: its containers are being created."""
    status = pod.setdefault("status", {})
    status |= {"phase": "Pending", "hostIP": NODE_IP, "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now}
    set_condition(pod, now, "Initialized", "True")
    status["containerStatuses"] = [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": "",
            "ready": False,
            "started": False,
            "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}},
            "lastState": {},
        }
        for container in pod["spec"]["containers"]
    ]
    _not_ready(pod, now)


def waiting(pod: Object, now: str, reason: str, message: str = "") -> None:
    """Containers wait; one that has ended before keeps that as its last state."""
    for container in pod["status"]["containerStatuses"]:
        ended = container["state"].get("terminated")
        container |= {"state": {"waiting": _with_message(reason, message)}, "ready": False, "started": False}
        if ended:
            container["lastState"] = {"terminated": ended}
    _not_ready(pod, now)


def running(pod: Object, now: str) -> None:
    pod["status"]["phase"] = "Running"
    for container in pod["status"]["containerStatuses"]:
        ended = container["state"].get("terminated")
        container |= {
            "state": {"running": {"startedAt": now}},
            "started": True,
            "imageID": _image_id(container["image"]),
            "containerID": f"containerd://{_digest(pod['metadata']['uid'], container['name'], now)}",
        }
        if ended:
            container["lastState"] = {"terminated": ended}
    _not_ready(pod, now)


def restarted(pod: Object, now: str) -> None:
    """Running once more after an end."""
    for container in pod["status"]["containerStatuses"]:
        container["restartCount"] += 1
    running(pod, now)


def ready(pod: Object, now: str) -> None:
    for container in pod["status"]["containerStatuses"]:
        container["ready"] = True
    set_condition(pod, now, "ContainersReady", "True")
    set_condition(pod, now, "Ready", "True")


def not_ready(pod: Object, now: str) -> None:
    """Running, but its probe fails."""
    for container in pod["status"]["containerStatuses"]:
        container["ready"] = False
    _not_ready(pod, now)


def ended(pod: Object, now: str, exit_code: int) -> None:
    """The containers have ended; one that was waiting to be restarted keeps the end it had."""
    for container in pod["status"]["containerStatuses"]:
        state = container["state"]
        if "running" in state:
            container["state"] = {
                "terminated": {
                    "exitCode": exit_code,
                    "reason": "Completed" if exit_code == 0 else "Error",
                    "startedAt": state["running"]["startedAt"],
                    "finishedAt": now,
                    "containerID": container["containerID"],
                }
            }
        elif "terminated" in container["lastState"]:
            container["state"] = {"terminated": container["lastState"]["terminated"]}
        container |= {"ready": False, "started": False}
    _not_ready(pod, now)


def finished(pod: Object, now: str, exit_code: int) -> None:
    """The containers have ended and the pod with them: the last status before its removal."""
    ended(pod, now, exit_code)
    states = [container["state"].get("terminated", {}) for container in pod["status"]["containerStatuses"]]
    pod["status"]["phase"] = "Failed" if any(state.get("exitCode") for state in states) else "Succeeded"


def overdue(pod: Object, now: str) -> None:
    """Active for too long: what ran was killed, of what never ran nothing is known (kubelet, status manager)."""
    ended(pod, now, 137)
    for container in pod["status"]["containerStatuses"]:
        if "terminated" not in container["state"]:
            message = "The container could not be located when the pod was terminated"
            unknown = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": message}
            container["state"] = {"terminated": unknown}
    message = "Pod was active on the node longer than the specified deadline"
    pod["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded", "message": message}


def _not_ready(pod: Object, now: str) -> None:
    names = [container["name"] for container in pod["spec"]["containers"]]
    message = f"containers with unready status: [{' '.join(names)}]"
    for condition in ("ContainersReady", "Ready"):
        set_condition(pod, now, condition, "False", "ContainersNotReady", message)


def _with_message(reason: str, message: str) -> dict[str, str]:
    return {"reason": reason, "message": message} if message else {"reason": reason}


def _image_id(image: str) -> str:
    return f"{image.rpartition(':')[0] or image}@sha256:{_digest(image)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()
