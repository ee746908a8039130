"""Who wrote what: the record of every request that meant to change something."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

HIDDEN = "(hidden)"
_SECRET_FIELDS = ("data", "stringData")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Write:
    """One request, answered or cut off; `body` is the object, the patch or the delete options, without secret data."""

    time: datetime
    identity: str
    user_agent: str
    verb: str
    resource: str
    """The plural."""
    group: str
    namespace: str
    name: str
    subresource: str
    body: Any
    dry_run: bool
    status: int
    before: str | None
    """The object's resourceVersion before; None: there was no object."""
    after: str | None
    """The object's resourceVersion after; None: there is no object any more."""

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"time": self.time.isoformat()}


def without_secrets(body: Any) -> Any:
    """The body of a write to a Secret: keys stay, values do not."""
    if isinstance(body, list):
        return [_hidden_step(step) for step in body]
    if not isinstance(body, dict):
        return body
    shown = {key: _hidden(value) if key in _SECRET_FIELDS else value for key, value in body.items()}
    annotations = (body.get("metadata") or {}).get("annotations") or {}
    if _LAST_APPLIED in annotations:
        # kubectl keeps the whole manifest there
        shown["metadata"] = {**body["metadata"], "annotations": {**annotations, _LAST_APPLIED: HIDDEN}}
    return shown


def _hidden(data: Any) -> Any:
    return dict.fromkeys(data, HIDDEN) if isinstance(data, dict) else HIDDEN


def _hidden_step(step: Any) -> Any:
    if not isinstance(step, dict) or "value" not in step:
        return step
    harmless = ("/metadata/labels", "/metadata/ownerReferences", "/metadata/finalizers", "/metadata/uid")
    return step if str(step.get("path", "")).startswith(harmless) else {**step, "value": HIDDEN}
