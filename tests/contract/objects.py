"""The objects that the contract is tried on; their pods need nothing and are ready as soon as they run."""

from typing import Any

Json = dict[str, Any]
IMAGE = "busybox:1.37"
SCRIPT = "trap 'exit 0' TERM; echo starting; sleep 3600 & wait"
"""What its container does where a node really runs it."""


def template(name: str, **spec: Any) -> Json:
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", SCRIPT]}
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [container], **spec},
    }


def stateful_set(name: str = "web", replicas: int = 1, **spec: Any) -> Json:
    """Without annotations, as the vendor's are."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name),
            **spec,
        },
    }


def deployment(name: str = "app", replicas: int = 1) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name)},
    }


def pod(name: str = "one", **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template(name, **spec)["spec"]}


def config(name: str = "map", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def lease(holder: str = "one") -> Json:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 1}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "tml-bot"}, "spec": spec}
