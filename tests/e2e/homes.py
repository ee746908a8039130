"""Namespaces that go, and come again, and the one that captures are copied to."""

from pathlib import Path

from sandbox import Sandbox, tml
from sandbox.kubernetes.resources import NAMESPACES, SECRETS, Object
from sandbox.slack import Message
from tests.e2e.town import PATIENCE, Town, operation_in, unhurried, words_of

COPIES = "tml-captures"
REGISTRY_KEY = "tmgc-registry-key"


def copying(box: Sandbox, clusters: tuple[str, ...] = ("staging",)) -> Path:
    path = unhurried(box)
    text = path.read_text()
    for name in clusters:
        line = f"    environment: {'production' if name == 'prod' else name}\n"
        assert text.count(line) == 1
        text = text.replace(line, f"{line}    captures: {{copy_to: {COPIES}}}\n")
    path.write_text(text)
    return path


def make_namespace(box: Sandbox, name: str) -> None:
    box.kubernetes.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])


def with_copies(box: Sandbox) -> None:
    make_namespace(box, COPIES)


def is_there(box: Sandbox, namespace: str) -> bool:
    return box.kubernetes.store.find(NAMESPACES, None, namespace) is not None


async def lose(box: Sandbox, namespace: str = tml.STAGING_NAMESPACE) -> Object:
    """Somebody deletes the namespace; the pull secret, which is theirs to bring back."""
    key = box.kubernetes.store.get(SECRETS, namespace, REGISTRY_KEY)
    box.kubernetes.store.delete(NAMESPACES, None, namespace)
    await box.kubernetes.until(lambda _: not is_there(box, namespace), PATIENCE)
    return key


def make_again(box: Sandbox, key: Object) -> None:
    namespace = key["metadata"]["namespace"]
    make_namespace(box, namespace)
    box.kubernetes.apply([{**key, "metadata": {"name": REGISTRY_KEY, "namespace": namespace}}])


def captures_in(box: Sandbox, namespace: str) -> list[Object]:
    return [one for one in box.kubernetes.store.list(SECRETS, namespace) if one["type"] == "tml-bot/capture"]


async def a_set(place: Town) -> str:
    live = await place.orders("alice", "snapshot staging cold", "ops")
    await place.until_says(live, "Cut a snapshot set of staging")
    return operation_in(words_of(live))


async def restored(place: Town, words: str = "restore staging", cluster: str = "staging") -> Message:
    live = await place.orders("alice", words, "prod" if cluster == "prod" else "ops")
    await place.until_says(live, f"Restored {cluster}")
    return live
