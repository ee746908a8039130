"""What the project says it needs is what it needs: the Role and the scopes that deploy/ names are enough."""

from pathlib import Path
from typing import Any

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


def granted(right: Right, given: list[dict[str, Any]]) -> bool:
    return any(
        right.group in rule["apiGroups"] and right.resource in rule["resources"] and right.verb in rule["verbs"]
        for rule in given
    )


def test_the_documented_role_has_every_right_that_is_asked_for() -> None:
    assert [str(right) for right in NEEDED if not granted(right, rules("role.yaml"))] == []
    assert [str(right) for right in READING if not granted(right, rules("look.yaml"))] == []


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
