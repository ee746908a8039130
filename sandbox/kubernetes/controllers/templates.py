"""Pods from pod templates, and the hash that tells one template from another."""

import hashlib
import json
from collections.abc import Mapping

from sandbox.kubernetes.controllers.object_faults import moved_from_template
from sandbox.kubernetes.resources import PODS, Object
from sandbox.kubernetes.store import ApiError, Store


def hash_of(template: Object) -> str:
    """Ten characters, the same for templates with the same content."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def pod_from(template: Object, metadata: Object, labels: Mapping[str, str]) -> Object:
    """A pod as a controller creates it; `metadata` has its name and owner, `labels` come on top of the template's."""
    own = template.get("metadata") or {}
    return {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {
            **metadata,
            "labels": {**(own.get("labels") or {}), **labels},
            "annotations": moved_from_template(own.get("annotations") or {}),
        },
        "spec": {**template["spec"]},
    }


def create_pod(store: Store, pod: Object, actor: str) -> str:
    """Create it; the reason why the API server would not, or nothing."""
    try:
        store.create(PODS, pod, actor=actor)
    except ApiError as error:
        return str(error.body.get("message", error))
    return ""
