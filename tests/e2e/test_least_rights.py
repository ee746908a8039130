"""What the project says it needs is what it needs: the Role and the scopes that deploy/ names are enough."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import sandbox
from bot.settings import load_settings
from lifecycle.kube.rights import CHECKING, COPYING, DELETING, FINDING, NEEDED, READING, REBINDING, REMOVING
from lifecycle.ports import Right
from lifecycle.snapshots import MAY_NOT_EXECUTE
from sandbox import CONTEXT, Sandbox, tml
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.resources import SNAPSHOTS
from tests.e2e.homes import COPIES, a_set, copying, lose, make_again, restored, with_copies
from tests.e2e.town import SCALE, Town, bot, words_of

DEPLOY = Path(__file__).parents[2] / "deploy"


def rules(name: str, kind: str = "Role") -> list[dict[str, Any]]:
    documents = yaml.safe_load_all((DEPLOY / "rbac" / name).read_text())
    return [rule for document in documents if document["kind"] == kind for rule in document["rules"]]


def granted(found: list[dict[str, Any]]) -> set[Right]:
    return {
        Right(verb, group, resource, name)
        for rule in found
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or [""]
    }


def scopes() -> list[str]:
    manifest = yaml.safe_load((DEPLOY / "slack-manifest.yaml").read_text())
    return list(manifest["oauth_config"]["scopes"]["bot"])


OPTIONAL = {Right("list", "autoscaling", "horizontalpodautoscalers"), Right("list", "keda.sh", "scaledobjects")}
"""Read where that is allowed."""


@pytest.mark.parametrize(("name", "asked"), [("role.yaml", NEEDED), ("look.yaml", READING)])
def test_the_documented_roles_grant_what_is_asked_for_and_nothing_else(name: str, asked: tuple[Right, ...]) -> None:
    assert granted(rules(name)) == {*asked} | OPTIONAL


def test_only_the_role_for_a_check_lets_the_bot_run_anything_in_a_pod() -> None:
    assert granted(rules("check.yaml")) == {*CHECKING}
    for name in ("role.yaml", "delete.yaml", "look.yaml"):
        assert not granted(rules(name)) & {*CHECKING}


def test_the_role_for_copies_grants_what_is_asked_for_and_nothing_else() -> None:
    assert granted(rules("captures.yaml")) == {*COPYING}
    assert granted(rules("captures.yaml", "ClusterRole")) | granted(rules("snapshot.yaml")) >= {*REBINDING, *FINDING}
    assert granted(rules("captures.yaml", "ClusterRole")) <= {*REBINDING, *FINDING}


def test_the_documented_role_can_write_nothing_but_workloads_and_the_lease() -> None:
    writing = {
        resource
        for rule in rules("role.yaml")
        if set(rule["verbs"]) - {"get", "list", "watch"}
        for resource in rule["resources"]
    }
    assert writing == {"statefulsets", "deployments", "leases"}


def test_the_example_configuration_is_valid() -> None:
    tokens = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}
    assert set(load_settings(DEPLOY / "tml-bot.yaml", tokens).clusters) == {"prod", "staging"}


def test_the_manifest_for_kubernetes_brings_a_configuration_that_needs_no_kubeconfig(tmp_path: Path) -> None:
    manifest = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "tml-bot.yaml").read_text()))
    (config,) = [document for document in manifest if document["kind"] == "ConfigMap"]
    (deployment,) = [document for document in manifest if document["kind"] == "Deployment"]
    file = tmp_path / "tml-bot.yaml"
    file.write_text(config["data"]["tml-bot.yaml"])
    settings = load_settings(file, {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"})
    assert [cluster.context for cluster in settings.clusters.values()] == [None]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": config["metadata"]["name"]}} in volumes


@asynccontextmanager
async def allowed(
    folder: Path, *names: str, configured: Callable[[Sandbox], Path] = Sandbox.write_configuration
) -> AsyncIterator[Town]:
    """With these files' Roles in staging, their ClusterRoles, and the documented scopes; nothing more."""
    async with sandbox.start(folder, time_scale=SCALE, limits=None, scopes=scopes()) as box:
        where = {"captures.yaml": COPIES}
        found = [
            Role.of({**rule, "namespaces": [where.get(name, tml.STAGING_NAMESPACE)]})
            for name in names
            for rule in rules(name)
        ]
        found += [Role.of(rule) for name in names for rule in rules(name, "ClusterRole")]
        box.kubernetes.server.tokens["least"] = Identity("system:serviceaccount:tml-bot:tml-bot", tuple(found))
        configuration = configured(box)
        with_copies(box)
        box.kubernetes.kubeconfig(box.kubeconfig, {CONTEXT: tml.STAGING_NAMESPACE}, {CONTEXT: "least"})
        async with bot(box, configuration):
            yield Town(box)


async def test_a_delete_and_its_restore_run_with_the_documented_roles_and_scopes_and_nothing_more(
    tmp_path: Path,
) -> None:
    async with allowed(tmp_path, "role.yaml", "snapshot.yaml", "delete.yaml") as place:
        _, card = await place.asks("alice", "delete staging because it moves", "ops")
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "Deleted staging")
        back = await place.operation(words_of(await place.types("alice", "restore staging")), "ops")
        await place.until_says(back, "Restored staging")
        dm = place.box.slack.person("carol").direct_messages
        assert "your yes or no to a delete is asked for" in words_of(dm[0])


async def test_with_copies_a_lost_namespace_is_restored_from_a_set_with_the_documented_roles_and_nothing_more(
    tmp_path: Path,
) -> None:
    files = ("role.yaml", "snapshot.yaml", "delete.yaml", "captures.yaml")
    async with allowed(tmp_path, *files, configured=copying) as place:
        identity = await a_set(place)
        make_again(place.box, await lose(place.box))
        await restored(place, f"restore staging {identity} because somebody deleted it")
        _, card = await place.asks("alice", "delete staging because it moves", "ops")
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "Deleted staging")
        make_again(place.box, await lose(place.box))
        await restored(place)


async def test_without_the_role_for_copies_whatever_captures_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    files = ("role.yaml", "snapshot.yaml", "delete.yaml", "remove.yaml")
    async with allowed(tmp_path, *files, configured=copying) as place:
        for words in ("snapshot staging hot", "delete staging because of it", "stop staging --remove"):
            answer = words_of(await place.types("carol", words))
            assert "does not let the bot keep copies of captures there" in answer, words
            for verb in ("get", "list", "watch", "create", "delete"):
                assert f"{verb} secrets in {COPIES}" in answer, words
            assert "deploy/rbac/captures.yaml" in answer
        assert place.posted("ops") == []
        stopped = await place.orders("carol", "stop staging", "ops")
        await place.until_says(stopped, "Stopped staging")


async def test_without_the_right_to_contents_a_set_is_not_bound_anew(tmp_path: Path) -> None:
    async with allowed(tmp_path, "role.yaml", "snapshot.yaml", "delete.yaml") as place:
        identity = await a_set(place)
        for one in place.box.kubernetes.store.list(SNAPSHOTS, tml.STAGING_NAMESPACE):
            place.box.kubernetes.store.delete(SNAPSHOTS, tml.STAGING_NAMESPACE, one["metadata"]["name"])
        answer = words_of(await place.types("alice", f"plan restore staging {identity}"))
        assert "create volumesnapshotcontents (snapshot.storage.k8s.io)" in answer
        assert "deploy/rbac/captures.yaml" in answer


async def test_snapshots_run_with_their_role_and_the_documented_one_and_nothing_more(tmp_path: Path) -> None:
    async with allowed(tmp_path, "role.yaml", "snapshot.yaml") as place:
        live = await place.operation(words_of(await place.types("alice", "snapshot staging cold because of it")), "ops")
        await place.until_says(live, "Cut a snapshot set of staging")
        assert "nothing of it" not in place.thread(live)
        assert f"was *not flushed* before it went down: {MAY_NOT_EXECUTE}" in place.thread(live)
        live = await place.operation(words_of(await place.types("alice", "stop staging --snapshot")), "ops")
        await place.until_says(live, "Stopped staging")


async def test_nosql_is_flushed_with_the_role_for_running_commands_and_without_it_the_plan_says_that_it_is_not(
    tmp_path: Path,
) -> None:
    async with allowed(tmp_path / "few", "role.yaml", "snapshot.yaml") as place:
        planned = words_of(await place.types("alice", "plan snapshot staging cold"))
        assert f"*not flushed* before going down: cass-set-0, because {MAY_NOT_EXECUTE}" in planned
        assert "nodetool" not in planned
    async with allowed(tmp_path / "enough", "role.yaml", "snapshot.yaml", "check.yaml") as place:
        live = await place.operation(words_of(await place.types("alice", "snapshot staging cold")), "ops")
        await place.until_says(live, "Cut a snapshot set of staging")
        assert "cass-set-0 was flushed before it went down" in place.thread(live)


async def test_a_restore_test_runs_with_its_role_and_those_before_it_and_nothing_more(tmp_path: Path) -> None:
    async with allowed(tmp_path, "role.yaml", "snapshot.yaml", "verify.yaml") as place:
        live = await place.operation(words_of(await place.types("alice", "snapshot staging hot")), "ops")
        await place.until_says(live, "Cut a snapshot set of staging")
        live = await place.operation(words_of(await place.types("alice", "verify staging")), "ops")
        assert "can be restored" in await place.until_thread(live, "was touched")


async def test_without_its_role_a_restore_test_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    async with allowed(tmp_path, "role.yaml", "snapshot.yaml") as place:
        live = await place.operation(words_of(await place.types("alice", "snapshot staging hot")), "ops")
        await place.until_says(live, "Cut a snapshot set of staging")
        answer = words_of(await place.types("alice", "verify staging"))
        assert "does not let the bot verify in ml550-staging" in answer
        assert "create pods, delete pods, create persistentvolumeclaims, delete persistentvolumeclaims" in answer


async def test_without_their_role_snapshots_are_refused_and_a_stop_without_them_is_not(tmp_path: Path) -> None:
    async with allowed(tmp_path, "role.yaml") as place:
        for words in ("snapshot staging", "snapshot staging hot", "stop staging --snapshot"):
            answer = words_of(await place.types("alice", words))
            assert "does not let the bot snapshot in ml550-staging" in answer, words
            assert "create volumesnapshots (snapshot.storage.k8s.io)" in answer
        assert place.posted("ops") == []
        live = await place.operation(words_of(await place.types("alice", "stop staging")), "ops")
        await place.until_says(live, "Stopped staging")


async def test_a_stop_that_removes_and_the_start_after_it_run_with_the_documented_role_and_nothing_cluster_wide(
    tmp_path: Path,
) -> None:
    async with allowed(tmp_path, "role.yaml", "remove.yaml") as place:
        live = await place.orders("carol", "stop staging --remove", "ops")
        await place.until_says(live, "Stopped and removed staging")
        assert "is stopped and removed" in words_of(await place.types("carol", "status staging"))
        secret = {"name": "sql-property", "namespace": tml.STAGING_NAMESPACE}
        place.box.kubernetes.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": {}}])
        back = await place.orders("carol", "start staging --overwrite", "ops")
        await place.until_says(back, "Started staging")
        assert "does not let the bot delete" in words_of(await place.types("carol", "delete staging because x"))


async def test_without_the_role_for_it_a_stop_that_removes_is_refused_with_the_rules_that_are_missing(
    tmp_path: Path,
) -> None:
    async with allowed(tmp_path, "role.yaml") as place:
        answer = words_of(await place.types("carol", "stop staging --remove"))
        assert "does not let the bot stop and remove in ml550-staging" in answer
        for right in (*(right for right in REMOVING if right not in NEEDED),):
            assert str(right) in answer
        assert place.posted("ops") == []
        stopped = await place.orders("carol", "stop staging", "ops")
        await place.until_says(stopped, "Stopped staging")
        started = await place.orders("carol", "start staging", "ops")
        await place.until_says(started, "Started staging")


async def test_without_the_roles_for_it_a_delete_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    async with allowed(tmp_path, "role.yaml") as place:
        for words in ("delete staging because it moves", "plan delete staging"):
            answer = words_of(await place.types("alice", words))
            assert "does not let the bot delete in ml550-staging" in answer
            for right in (*(right for right in DELETING if right not in NEEDED),):
                assert str(right) in answer, words
            assert "deploy/rbac" in answer
        assert "waits for an approval" in words_of(await place.types("alice", "approvals"))
        assert place.posted("ops") == []
        stopped = await place.orders("carol", "stop staging", "ops")
        await place.until_says(stopped, "Stopped staging")


async def test_the_main_job_runs_with_the_documented_role_and_scopes_and_nothing_more(tmp_path: Path) -> None:
    async with sandbox.start(tmp_path, time_scale=SCALE, limits=None, scopes=scopes()) as box:
        role = tuple(Role.of({**rule, "namespaces": [tml.STAGING_NAMESPACE]}) for rule in rules("role.yaml"))
        box.kubernetes.server.tokens["least"] = Identity("system:serviceaccount:tml-bot:tml-bot", role)
        configuration = box.write_configuration()
        box.kubernetes.kubeconfig(box.kubeconfig, {CONTEXT: tml.STAGING_NAMESPACE}, {CONTEXT: "least"})
        async with bot(box, configuration):
            place = Town(box)
            for verb, done in (("stop", "Stopped"), ("start", "Started"), ("restart --downtime", "Restarted")):
                words = f"{verb.split()[0]} staging {' '.join(verb.split()[1:])}".strip()
                live = await place.orders("carol", words, "ops")
                await place.until_says(live, f"{done} staging")
            assert "no right to list" not in words_of(await place.types("carol", "plan stop staging"))
            missing = words_of(await place.types("alice", "stop prod"))
            assert "does not let the bot" in missing
            assert "Nothing was changed" in missing
