"""What the project says it needs is what it needs: the Role and the scopes that deploy/ names are enough."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import sandbox
from bot.settings import load_settings
from lifecycle.kube.rights import NEEDED, READING
from lifecycle.ports import Right
from sandbox import CONTEXT, tml
from sandbox.kubernetes.access import Identity, Role
from tests.e2e.town import SCALE, Town, bot, words_of

DEPLOY = Path(__file__).parents[2] / "deploy"


def rules(name: str) -> list[dict[str, Any]]:
    return next(
        document["rules"]
        for document in yaml.safe_load_all((DEPLOY / "rbac" / name).read_text())
        if document["kind"] == "Role"
    )


def scopes() -> list[str]:
    manifest = yaml.safe_load((DEPLOY / "slack-manifest.yaml").read_text())
    return list(manifest["oauth_config"]["scopes"]["bot"])


OPTIONAL = {Right("list", "autoscaling", "horizontalpodautoscalers"), Right("list", "keda.sh", "scaledobjects")}
"""Read where that is allowed."""


@pytest.mark.parametrize(("name", "asked"), [("role.yaml", NEEDED), ("look.yaml", READING)])
def test_the_documented_roles_grant_what_is_asked_for_and_nothing_else(name: str, asked: tuple[Right, ...]) -> None:
    granted = {
        Right(verb, group, resource)
        for rule in rules(name)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {*asked} | OPTIONAL


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
