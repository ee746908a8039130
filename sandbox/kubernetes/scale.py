"""The Scale that workloads show as a subresource (autoscaling/v1)."""

from sandbox.kubernetes import status
from sandbox.kubernetes.resources import Object

_SHARED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def of(workload: Object) -> Object:
    metadata = {key: workload["metadata"][key] for key in _SHARED if key in workload["metadata"]}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": workload["spec"].get("replicas", 1)},
        "status": {
            "replicas": (workload.get("status") or {}).get("replicas", 0),
            "selector": _selector(workload["spec"].get("selector") or {}),
        },
    }


def put(workload: Object, scale: Object) -> None:
    """Carries a Scale over to its workload, with the uid and resourceVersion it insists on. Raises ApiError (422)."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise _invalid(workload["metadata"]["name"], replicas)
    workload["spec"]["replicas"] = replicas
    for key in ("uid", "resourceVersion"):
        if (scale.get("metadata") or {}).get(key):
            workload["metadata"][key] = scale["metadata"][key]


def _invalid(name: str, replicas: object) -> status.ApiError:
    why = status.invalid_field("spec.replicas", str(replicas), "must be greater than or equal to 0")
    details = {"name": name, "group": "autoscaling", "kind": "Scale", "causes": [why]}
    message = f'Scale.autoscaling "{name}" is invalid: {why["field"]}: {why["message"]}'
    return status.failure(422, "Invalid", message, details)


def _selector(selector: Object) -> str:
    """As text: `app=a,tier in (b,c)`."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or []:
        values = ",".join(rule.get("values") or [])
        shown = {
            "In": f"{rule['key']} in ({values})",
            "NotIn": f"{rule['key']} notin ({values})",
            "Exists": rule["key"],
            "DoesNotExist": f"!{rule['key']}",
        }
        parts.append(shown[rule["operator"]])
    return ",".join(parts)
