"""The configuration: what is read, and one line for everything that is wrong with it."""

import dataclasses
import re
import traceback
from datetime import timedelta
from pathlib import Path

import pytest

from bot.settings import ClusterSettings, Settings, SettingsError, load_settings, settings_digest
from lifecycle.approval import Terms
from lifecycle.checks import Check
from lifecycle.model import Component, Target, Verb
from lifecycle.quiescing import HotCommands

BOT, APP = "xoxb-1111-BotSecret", "xapp-1-A1-AppSecret"
TOKENS = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}
WHOLE = """\
channel: C0OPS
data_dir: /var/lib/tml-bot
health_port: 9090
clusters:
  prod:
    context: eks-prod
    namespace: ml550
    environment: production
    channel: C0PROD
    operators: ["@S0TMLOPS", U0ALICE]
    viewers: ["*"]
    probe_url: https://api.example.com/mashping
    deadlines: {down: 10m, up: 45m, rolling: 1h30m}
    approval:
      delete: {approvers: ["@S0LEADS", U0BOB], needed: 2, next_approvers: ["@S0CHIEFS"], escalate_after: 3m}
    keep_services: false
  staging:
    namespace: ml550
    environment: staging
"""
SMALL = "channel: C0OPS\nclusters:\n  dev:\n    namespace: tml\n    environment: dev\n"


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "tml.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, TOKENS if environ is None else environ)


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(folder, text, environ)
    return [line.removeprefix(f"{folder / 'tml.yaml'}:") for line in str(raised.value).splitlines()]


def test_the_whole_file_is_read(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE)
    prod, staging = settings.clusters["prod"], settings.clusters["staging"]
    assert (settings.channel, settings.data_dir, settings.health_port) == ("C0OPS", Path("/var/lib/tml-bot"), 9090)
    assert (prod.name, prod.target, prod.is_production) == ("prod", Target("eks-prod", "ml550"), True)
    assert (prod.operators, prod.viewers) == (("@S0TMLOPS", "U0ALICE"), ("*",))
    assert prod.deadlines == {
        "down": timedelta(minutes=10),
        "up": timedelta(minutes=45),
        "rolling": timedelta(minutes=90),
    }
    assert prod.channel == "C0PROD"
    assert (staging.channel, staging.target) == ("C0OPS", Target(None, "ml550"))
    assert (staging.operators, staging.viewers, staging.is_production) == ((), (), False)


def test_who_approves_what_is_read(tmp_path: Path) -> None:
    approval = load(tmp_path, WHOLE).clusters["prod"].approval
    assert approval["delete"] == Terms(
        needed=2,
        tiers=(("@S0LEADS", "U0BOB"), ("@S0CHIEFS",)),
        expires_after=timedelta(minutes=30),
        execute_within=timedelta(minutes=10),
        escalate_after=timedelta(minutes=3),
        reason_required=True,
    )
    others = "expires: 1h, execute_within: 5m, reason_required: false"
    written = load(tmp_path, cluster(approval=f"{{delete: {{approvers: [U0BOB], {others}}}}}"))
    assert written.clusters["dev"].approval["delete"] == Terms(
        needed=1,
        tiers=(("U0BOB",),),
        expires_after=timedelta(hours=1),
        execute_within=timedelta(minutes=5),
        reason_required=False,
    )


def test_what_a_restore_test_runs_is_by_component_and_leaves_open_what_is_snapshotted(tmp_path: Path) -> None:
    own = '{sql: {verify: [sh, -c, "test -s /x"]}, cache: {snapshot: true}, log: {snapshot: false, verify: [ls]}}'
    written = load(tmp_path, cluster(components=own)).clusters["dev"]
    assert dict(written.checks) == {Component.SQL: ("sh", "-c", "test -s /x"), Component.LOG: ("ls",)}
    assert written.unsaved == {Component.LOG}
    assert load(tmp_path, cluster(components="{sql: {}}")).clusters["dev"].unsaved == {Component.CACHE}
    for wrong in ("test -s /x", "[]", "7", "[sh, 7]"):
        (said,) = problems(tmp_path, cluster(components=f"{{sql: {{verify: {wrong}}}}}"))
        assert "expected " in said


def test_an_approval_that_is_not_configured_can_be_given_by_nobody(tmp_path: Path) -> None:
    written = load(tmp_path, SMALL).clusters["dev"].approval
    assert dict(written) == dict(ClusterSettings("dev", "tml", "dev", "C0OPS").approval)
    assert {verb: (terms.needed, terms.listed) for verb, terms in written.items()} == {
        "delete": (1, ()),
        "restore-in-place": (1, ()),
        "purge": (1, ()),
    }
    assert written["delete"].reason_required
    assert {verb for verb in Verb if verb in written} == {Verb.DELETE, Verb.RESTORE_IN_PLACE, Verb.PURGE}


@pytest.mark.parametrize(("environment", "keeps"), [("production", True), ("Production", True), ("dev", False)])
def test_a_delete_in_production_keeps_the_services(tmp_path: Path, environment: str, keeps: bool) -> None:
    assert load(tmp_path, cluster(environment=environment)).clusters["dev"].keep_services is keeps
    assert load(tmp_path, cluster(environment=environment, keep_services="true")).clusters["dev"].keep_services
    assert not load(tmp_path, cluster(environment=environment, keep_services="false")).clusters["dev"].keep_services


def test_nothing_is_verified_by_itself_unless_it_says_how_often(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).clusters["dev"].verify_every is None
    often = load(tmp_path, cluster(snapshots="{verify_every: 7d}")).clusters["dev"]
    assert often.verify_every == timedelta(days=7)
    assert not often.retention.removes


def test_nothing_may_be_lost_for_good_unless_the_cluster_says_so(tmp_path: Path) -> None:
    assert not load(tmp_path, SMALL).clusters["dev"].allow_unrecoverable
    assert load(tmp_path, cluster(allow_unrecoverable="true")).clusters["dev"].allow_unrecoverable
    (said,) = problems(tmp_path, cluster(allow_unrecoverable="'yes please'"))
    assert "allow_unrecoverable: expected true or false" in said


def test_a_stop_scales_unless_the_cluster_says_that_it_removes(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).clusters["dev"].stop_mode == "scale"
    assert load(tmp_path, cluster(stop_mode="remove")).clusters["dev"].stop_mode == "remove"


def test_captures_stay_in_their_namespace_unless_another_one_is_named(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).clusters["dev"].copy_to is None
    assert load(tmp_path, cluster(captures="{copy_to: elsewhere}")).clusters["dev"].copy_to == "elsewhere"


def test_what_a_delete_leaves_is_read(tmp_path: Path) -> None:
    assert not load(tmp_path, WHOLE).clusters["prod"].keep_services
    assert not load(tmp_path, SMALL).clusters["dev"].keep_services


CHECK = "component: cm, command: [clustermanager, ls, components], expects: 'sql.*ACTIVE'"


def test_a_check_of_the_configuration_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).clusters["dev"].configuration_check is None
    plain = load(tmp_path, cluster(configuration_check=f"{{{CHECK}}}")).clusters["dev"].configuration_check
    assert plain == Check(Component.CM, ("clustermanager", "ls", "components"), "sql.*ACTIVE")
    others = f"{CHECK}, container: tml-cm, timeout: 10s, within: 5m"
    assert load(tmp_path, cluster(configuration_check=f"{{{others}}}")).clusters["dev"].configuration_check == Check(
        Component.CM,
        ("clustermanager", "ls", "components"),
        "sql.*ACTIVE",
        "tml-cm",
        timedelta(seconds=10),
        timedelta(minutes=5),
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{}", "configuration_check.component: missing"),
        (
            f"{{{CHECK.replace('cm', 'database')}}}",
            "expected one of nosql, log, cm, sql, cache, tm, reporting, got 'data",
        ),
        (f"{{{CHECK.replace('[clustermanager, ls, components]', '[]')}}}", "command: expected at least one"),
        (f"{{{CHECK.replace('[clustermanager, ls, components]', 'ls -l')}}}", "command: expected a list, got 'ls -l'"),
        (f"{{{CHECK.replace('components]', '5]')}}}", "command[2]: expected text, got 5 (put it in quotes)"),
        (f"{{{CHECK.replace('sql.*ACTIVE', 'a(b')}}}", "expects: expected a regular expression: missing )"),
        (f"{{{CHECK.replace('sql.*ACTIVE', '')}}}", "expects: expected a regular expression that is searched for"),
        (f"{{{CHECK}, expect: x}}", "configuration_check.expect: unknown key, did you mean expects?"),
        (f"{{{CHECK}, timeout: soon}}", "timeout: expected a duration"),
    ],
)
def test_a_check_that_cannot_be_run_is_a_problem(tmp_path: Path, written: str, expected: str) -> None:
    told = "\n".join(problems(tmp_path, cluster(configuration_check=written)))
    assert expected in told


HOT = "component: sql, before: [sh, -c, freeze], after: [sh, -c, thaw]"


def test_commands_around_a_hot_cut_are_read_and_by_default_there_are_none(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).clusters["dev"].hot_commands is None
    plain = load(tmp_path, cluster(hot_commands=f"{{{HOT}}}")).clusters["dev"].hot_commands
    assert plain == HotCommands(Component.SQL, ("sh", "-c", "freeze"), ("sh", "-c", "thaw"))
    others = f"{HOT}, container: tml-sql, timeout: 10s, hold: 5s"
    assert load(tmp_path, cluster(hot_commands=f"{{{others}}}")).clusters["dev"].hot_commands == HotCommands(
        Component.SQL,
        ("sh", "-c", "freeze"),
        ("sh", "-c", "thaw"),
        "tml-sql",
        timedelta(seconds=10),
        timedelta(seconds=5),
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{component: sql, before: [freeze]}", "hot_commands.after: missing"),
        (f"{{{HOT.replace('[sh, -c, thaw]', '[]')}}}", "hot_commands.after: expected at least one"),
        (f"{{{HOT.replace('[sh, -c, freeze]', 'freeze')}}}", "hot_commands.before: expected a list, got 'freeze'"),
        (f"{{{HOT}, holds: 5s}}", "hot_commands.holds: unknown key, did you mean hold?"),
        (f"{{{HOT}, hold: 0s}}", "hot_commands.hold: expected a duration"),
    ],
)
def test_commands_that_cannot_be_run_or_have_nothing_after_them_are_a_problem(
    tmp_path: Path, written: str, expected: str
) -> None:
    assert expected in "\n".join(problems(tmp_path, cluster(hot_commands=written)))


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALL)
    assert (settings.health_port, settings.slack_api_url) == (8080, "https://slack.com/api/")
    assert settings.kubeconfig is None
    assert settings.database_url.get_secret_value() == "sqlite+aiosqlite:///var/tml-bot/tml-bot.db"


def test_the_default_database_is_in_the_data_directory(tmp_path: Path) -> None:
    url = load(tmp_path, WHOLE).database_url.get_secret_value()
    assert url == "sqlite+aiosqlite:////var/lib/tml-bot/tml-bot.db"


def test_the_environment_has_the_last_word(tmp_path: Path) -> None:
    given = {
        "SLACK_API_URL": "http://127.0.0.1:9/api",
        "TML_BOT_DATABASE_URL": "sqlite+aiosqlite:////pw/tml-bot.db",
        "KUBECONFIG": "/a:/b",
    }
    settings = load(tmp_path, SMALL, TOKENS | given)
    assert settings.slack_api_url == "http://127.0.0.1:9/api/"
    assert settings.database_url.get_secret_value() == "sqlite+aiosqlite:////pw/tml-bot.db"
    assert settings.kubeconfig == "/a:/b"
    assert "pw" not in repr(settings)


def test_the_process_environment_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    assert len(problems(tmp_path, SMALL, {})) == 2


def test_tokens_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "bot").write_text(f"{BOT}\n")
    (tmp_path / "app").write_text(APP)
    files = {"SLACK_BOT_TOKEN_FILE": str(tmp_path / "bot"), "SLACK_APP_TOKEN_FILE": str(tmp_path / "app")}
    settings = load(tmp_path, SMALL, files)
    assert (settings.bot_token.get_secret_value(), settings.app_token.get_secret_value()) == (BOT, APP)


def cluster(**lines: str) -> str:
    written = {"namespace": "tml", "environment": "dev"} | lines
    body = "".join(f"    {key}: {value}\n" for key, value in written.items())
    return f"channel: C0OPS\nclusters:\n  dev:\n{body}"


A_CLUSTER_NAME = "expected a cluster name of at most 40 characters a-z, 0-9 and -, not beginning with -"
NOBODY = "expected user ids (U…/W…) or user groups (@S…): nobody could approve"
TOO_FEW = "3 have to approve, but only 2 are listed; list more, or a group (@S…)"
PROBLEMS = [
    (
        cluster(operators="[alice]"),
        "6: clusters.dev.operators[0]: expected a user id (U…/W…) or a user group (@S…), got 'alice'",
    ),
    (
        cluster(operators='[U0ALICE, "*"]'),
        "6: clusters.dev.operators[1]: expected a user id (U…/W…) or a user group (@S…), got '*'",
    ),
    (
        cluster(viewers="\n      - U0BOB\n      - S0TML"),
        "8: clusters.dev.viewers[1]: expected a user id (U…/W…), a user group (@S…) or \"*\", got 'S0TML'",
    ),
    (cluster(operators="U0ALICE"), "6: clusters.dev.operators: expected a list, got 'U0ALICE'"),
    (cluster(opperators="[U0ALICE]"), "6: clusters.dev.opperators: unknown key, did you mean operators?"),
    (
        SMALL + "zzz: 1\n",
        "6: zzz: unknown key, known here: command_line, channel, data_dir, health_port, clusters",
    ),
    (cluster(namespace="550"), "4: clusters.dev.namespace: expected a namespace's name, got 550 (put it in quotes)"),
    (
        cluster(environment="off"),
        (
            "5: clusters.dev.environment: expected one word such as production or staging, "
            "got the yes-or-no value false (put it in quotes)"
        ),
    ),
    *(
        (cluster(channel=f"{tag} x"), "6: clusters.dev.channel: expected a channel id (C… or G…), got 'x'")
        for tag in ("!!bool", "!!int", "!!timestamp")
    ),
    (cluster(context=""), "6: clusters.dev.context: expected text, got nothing"),
    (cluster(channel="'#ops'"), "6: clusters.dev.channel: expected a channel id (C… or G…), got '#ops'"),
    (cluster(channel="U0ALICE"), "6: clusters.dev.channel: expected a channel id (C… or G…), got 'U0ALICE'"),
    (
        cluster(probe_url="ftp://x"),
        "6: clusters.dev.probe_url: expected an address that begins with http:// or https://, got 'ftp://x'",
    ),
    (
        cluster(probe_url="'http://[x'"),
        "6: clusters.dev.probe_url: expected an address that begins with http:// or https://, got 'http://[x'",
    ),
    (
        cluster(probe_url="https://me:geheim@x/"),
        "6: clusters.dev.probe_url: expected an address without a user or a password: it is shown to people",
    ),
    (
        cluster(deadlines="{down: soon}"),
        "6: clusters.dev.deadlines.down: expected a duration such as 90s, 10m, 1h30m or 7d, got 'soon'",
    ),
    (
        cluster(deadlines="{down: 0s}"),
        "6: clusters.dev.deadlines.down: expected a duration such as 90s, 10m, 1h30m or 7d, got '0s'",
    ),
    (
        cluster(deadlines="{down: 90}"),
        "6: clusters.dev.deadlines.down: expected a duration such as 90s, 10m, 1h30m or 7d, got 90",
    ),
    (
        cluster(deadlines="{rollin: 1h}"),
        "6: clusters.dev.deadlines.rollin: unknown phase, did you mean rolling?",
    ),
    (cluster(deadlines="10m"), "6: clusters.dev.deadlines: expected a mapping, got '10m'"),
    (
        cluster(approval="{delete: {approvers: [U0BOB], needed: 0}}"),
        "6: clusters.dev.approval.delete.needed: expected at least 1: a delete always needs a second person",
    ),
    (
        cluster(approval="{delete: {approvers: [U0BOB], needed: two}}"),
        "6: clusters.dev.approval.delete.needed: expected a number of people, got 'two'",
    ),
    (
        cluster(approval="{delete: {approvers: [U0BOB], needed: true}}"),
        "6: clusters.dev.approval.delete.needed: expected a number of people, got the yes-or-no value true",
    ),
    *(
        (
            cluster(approval=f"\n      delete:\n        {written}"),
            f"{line}: clusters.dev.approval.delete.approvers: {NOBODY}",
        )
        for written, line in (("approvers: []", 8), ("needed: 1", 7), ("next_approvers: [U0BOB]", 7))
    ),
    (
        cluster(approval="{delete: {approvers: [U0BOB, U0BOB], next_approvers: [U0EVE], needed: 3}}"),
        f"6: clusters.dev.approval.delete.approvers: {TOO_FEW}",
    ),
    (
        cluster(approval="{delete: {approvers: [bob]}}"),
        ("6: clusters.dev.approval.delete.approvers[0]: expected a user id (U…/W…) or a user group (@S…), got 'bob'"),
    ),
    (
        cluster(approval="{delete: {approvers: [U0BOB], reason_required: 'no'}}"),
        "6: clusters.dev.approval.delete.reason_required: expected true or false, got 'no'",
    ),
    (
        cluster(approval="{delete: {approvers: [U0BOB], expire: 30m}}"),
        "6: clusters.dev.approval.delete.expire: unknown key, did you mean expires?",
    ),
    (
        cluster(approval="{stop: {}}"),
        "6: clusters.dev.approval.stop: unknown key, known here: delete, restore_in_place, purge",
    ),
    (cluster(approval="{delete: }"), "6: clusters.dev.approval.delete: expected a mapping, got nothing"),
    (cluster(approval="[U0BOB]"), "6: clusters.dev.approval: expected a mapping, got a list"),
    *(
        (
            cluster(approval=f"{{{verb}: {{approvers: [U0BOB]}}}}"),
            f"6: clusters.dev.approval.{verb}: unknown key, known here: delete, restore_in_place, purge",
        )
        for verb in ("deploy", "start")
    ),
    (
        cluster(approval="{delete: {approvers: [U0BOB], expires: '7'}}"),
        "6: clusters.dev.approval.delete.expires: expected a duration such as 90s, 10m, 1h30m or 7d, got '7'",
    ),
    (cluster(keep_services="''"), "6: clusters.dev.keep_services: expected true or false, got ''"),
    (
        f"command_line: {{team: tml, people: {{root: U0ALICE}}}}\n{SMALL}",
        "1: command_line.team: expected a workspace's id (T…), of an organisation E…, got 'tml'",
    ),
    (
        f"command_line: {{team: T0TML, people: {{root: '@S0OPS'}}}}\n{SMALL}",
        "1: command_line.people.root: expected a user id (U…/W…), got '@S0OPS'",
    ),
    (f"command_line: {{team: T0TML, people: {{}}}}\n{SMALL}", "1: command_line.people: expected at least one"),
    (
        cluster(snapshots="{verify_every: weekly}"),
        "6: clusters.dev.snapshots.verify_every: expected a duration such as 90s, 10m, 1h30m or 7d, got 'weekly'",
    ),
    (
        cluster(snapshots="{verify_evry: 7d}"),
        "6: clusters.dev.snapshots.verify_evry: unknown key, did you mean verify_every?",
    ),
    (
        cluster(captures="{copy_to: tml}"),
        "6: clusters.dev.captures: copy_to: expected another namespace than the cluster's own, whose loss it is for",
    ),
    (
        cluster(captures="{copy_to: Not_A_Name}"),
        "6: clusters.dev.captures.copy_to: expected a namespace's name, got 'Not_A_Name'",
    ),
    (
        cluster(captures="{copyto: elsewhere}"),
        "6: clusters.dev.captures.copyto: unknown key, did you mean copy_to?",
    ),
    (cluster(stop_mode="gone"), "6: clusters.dev.stop_mode: expected scale or remove, got 'gone'"),
    (
        cluster(stop_mode="remove", snapshot_on_stop="true"),
        "6: clusters.dev.stop_mode: a stop that removes takes no snapshot set: drop this, or snapshot_on_stop",
    ),
    (cluster(stop_mode="[remove]"), "6: clusters.dev.stop_mode: expected scale or remove, got a list"),
    (SMALL + "health_port: 99999\n", "6: health_port: expected a port between 0 and 65535, got 99999"),
    (
        SMALL + f"health_port: 0x{'9' * 5000}\n",
        "6: health_port: expected a port between 0 and 65535, got a very large number",
    ),
    (SMALL + "health_port: yes\n", "6: health_port: expected a port between 0 and 65535, got the yes-or-no value true"),
    (SMALL + "data_dir: 7\n", "6: data_dir: expected text, got 7 (put it in quotes)"),
    (SMALL + "channel: C0TWO\n", "6: channel: written twice, first in line 1"),
    (
        SMALL + "  dev:\n    namespace: x\n    environment: y\n",
        "6: clusters.dev: written twice, first in line 3",
    ),
    ("channel: C0OPS\nclusters:\n  dev:\n    environment: dev\n", "3: clusters.dev.namespace: missing"),
    ("channel: C0OPS\nclusters:\n  dev:\n    namespace: tml\n", "3: clusters.dev.environment: missing"),
    ("channel: C0OPS\nclusters:\n  dev:\n", "3: clusters.dev: expected a mapping, got nothing"),
    ("channel: C0OPS\n", "1: clusters: missing"),
    ("channel: C0OPS\nclusters: {}\n", "2: clusters: expected at least one cluster"),
    ("channel: C0OPS\nclusters:\n", "2: clusters: expected a mapping, got nothing"),
    ("channel: C0OPS\nclusters: [dev]\n", "2: clusters: expected a mapping, got a list"),
    ("- dev\n", "1: expected a mapping, got a list"),
    ("", "1: expected a mapping, got nothing"),
    (
        SMALL.replace("channel: C0OPS", "data_dir: x"),
        "3: clusters.dev: no channel; name one here, or one for all clusters at the top",
    ),
    (
        SMALL + "  two: {namespace: tml, environment: dev}\n",
        "6: clusters.two: the same context and namespace (in-cluster/tml) as clusters.dev; a cluster has one name",
    ),
    (
        SMALL.replace("dev:", "stop:", 1),
        "3: clusters.stop: 'stop' is a command's word; call the cluster something else",
    ),
    (
        SMALL.replace("dev:", "because:", 1),
        "3: clusters.because: 'because' is a command's word; call the cluster something else",
    ),
    *(
        (
            SMALL.replace("dev:", f"{name}:", 1),
            f"3: clusters.{name}: {A_CLUSTER_NAME}",
        )
        for name in ("Dev", "dev_1", "x" * 41, "-dev", "dév")
    ),
]


@pytest.mark.parametrize(("text", "expected"), PROBLEMS)
def test_a_problem_names_line_place_and_what_was_expected(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_words_that_yaml_takes_for_something_else_are_cluster_names_all_the_same(tmp_path: Path) -> None:
    assert list(load(tmp_path, SMALL.replace("dev:", "007:", 1)).clusters) == ["007"]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("channel: C0OPS\nclusters:\n  dev: [\n", 4, "not YAML"),
        ("channel: C0OPS\n\tclusters: x\n", 2, "not YAML"),
        ("channel: C0OPS\nclusters:\n  dev:\n    operators: [@S0TML]\n", 4, 'in quotes: "@S…"'),
        ("channel: C0OPS\nclusters:\n  dev:\n    viewers: [*]\n", 4, 'in quotes: "*"'),
        ("channel: C0OPS\n---\nchannel: C0OPS\n", 2, "another document"),
        ("channel: C0OPS\nclusters: !!python/name:os.system x\n", 2, "could not determine a constructor"),
        ("channel: C0OPS\n? [a, b]\n: x\n", 2, "a key has to be one word"),
        ("channel: C0OPS\nclusters: \x07\n", 2, "#x0007 is not allowed"),
        ("clusters: &a\n  dev: *a\n", 1, "an alias that contains itself"),
        ("clusters: " + "[" * 5000 + "\n", 1, "nested too deeply"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(tmp_path: Path, text: str, line: int, part: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f"{line}: ")
    assert part in problem


def test_every_problem_is_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = WHOLE.replace("C0OPS", "ops").replace("U0ALICE", "alice").replace("45m", "soon").replace("9090", "x")
    found = problems(tmp_path, text + "extra: 1\n", {"SLACK_APP_TOKEN": BOT, "SLACK_API_URL": "slack"})
    places = [re.match(r"(\d+: )?([^:]+)", line) for line in found]
    assert [place[2] for place in places if place] == [
        "channel",
        "health_port",
        "clusters.prod.operators[1]",
        "clusters.prod.deadlines.up",
        "extra",
        "SLACK_API_URL",
        "SLACK_BOT_TOKEN",
        "SLACK_APP_TOKEN",
    ]


def test_a_token_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "bot").write_bytes(b"\xff\xfe")
    environ = {"SLACK_BOT_TOKEN_FILE": str(tmp_path / "bot"), "SLACK_APP_TOKEN": APP}
    assert problems(tmp_path, SMALL, environ) == ["SLACK_BOT_TOKEN_FILE: the file it names is no text"]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingsError, match=rf"cannot be read: {why}"):
            load_settings(path, TOKENS)
    (tmp_path / "latin.yaml").write_bytes(b"channel: \xe9\n")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings(tmp_path / "latin.yaml", TOKENS)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"SLACK_BOT_TOKEN": BOT},
            "SLACK_APP_TOKEN: not set; set it to the token, or SLACK_APP_TOKEN_FILE to a file that holds it",
        ),
        (
            {"SLACK_BOT_TOKEN": " ", "SLACK_APP_TOKEN": APP},
            "SLACK_BOT_TOKEN: not set; set it to the token, or SLACK_BOT_TOKEN_FILE to a file that holds it",
        ),
        (
            TOKENS | {"SLACK_BOT_TOKEN_FILE": "/x"},
            "SLACK_BOT_TOKEN: set together with SLACK_BOT_TOKEN_FILE; set one of the two",
        ),
        (
            {"SLACK_BOT_TOKEN_FILE": "/no/such", "SLACK_APP_TOKEN": APP},
            "SLACK_BOT_TOKEN_FILE: the file it names cannot be read: No such file or directory",
        ),
        (TOKENS | {"SLACK_BOT_TOKEN": APP}, "SLACK_BOT_TOKEN: expected a token that begins with xoxb-"),
        (TOKENS | {"SLACK_APP_TOKEN": "geheim"}, "SLACK_APP_TOKEN: expected a token that begins with xapp-"),
        (
            TOKENS | {"TML_BOT_DATABASE_URL": "postgresql+asyncpg://u:geheim@h/d"},
            "TML_BOT_DATABASE_URL: expected an SQLite address, which begins with sqlite+aiosqlite://",
        ),
        (
            TOKENS | {"SLACK_API_URL": "https://u:geheim@h/"},
            "SLACK_API_URL: expected an address without a user or a password: it is shown to people",
        ),
    ],
)
def test_a_problem_of_the_environment_names_the_variable(
    tmp_path: Path, environ: dict[str, str], expected: str
) -> None:
    assert problems(tmp_path, SMALL, environ) == [expected]


SECRETS = ("BotSecret", "AppSecret", "geheim")


def test_no_repr_of_the_settings_shows_a_secret(tmp_path: Path) -> None:
    given = TOKENS | {"TML_BOT_DATABASE_URL": "sqlite+aiosqlite:////geheim/tml-bot.db"}
    settings = load(tmp_path, WHOLE, given)
    for text in (repr(settings), str(settings), str(dataclasses.asdict(dataclasses.replace(settings, clusters={})))):
        assert not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("C0OPS", BOT),
        f"slack_bot_token: {BOT}\n" + SMALL,
        f"{BOT}: x\n" + SMALL,
        SMALL.replace("dev:", f"{BOT}:", 1),
        cluster(operators=f"[{BOT}, {APP}]"),
        cluster(probe_url=BOT),
        cluster(deadlines=f"{{{APP}: {BOT}}}"),
        f"channel: *{BOT}\n",
        f"channel: !{BOT} x\n",
        cluster(probe_url="https://me:geheim@x y/"),
        "x: [geheim\n",
    ],
)
def test_no_error_shows_a_secret_not_even_with_its_causes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tml.yaml"
    path.write_text(text, encoding="utf-8")
    given = {
        "SLACK_BOT_TOKEN_FILE": BOT,
        "SLACK_APP_TOKEN": "geheim-AppSecret",
        "SLACK_API_URL": BOT,
        "TML_BOT_DATABASE_URL": "x://u:geheim@h",
    }
    with pytest.raises(SettingsError) as raised:
        load_settings(path, given)
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert not any(secret in shown for secret in SECRETS)


def test_the_settings_are_frozen(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.channel = "C0X"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.clusters["dev"].channel = "C0X"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.clusters["x"] = settings.clusters["dev"]  # type: ignore[index]


def test_the_digest_follows_the_file_and_no_secret(tmp_path: Path) -> None:
    first = settings_digest(load(tmp_path, WHOLE))
    assert settings_digest(load(tmp_path, WHOLE, TOKENS | {"SLACK_BOT_TOKEN": "xoxb-2"})) == first
    assert settings_digest(load(tmp_path, "# a remark\n" + WHOLE)) == first
    for old, new in (
        ("U0ALICE", "U0BOB"),
        ("45m", "44m"),
        ("eks-prod", "eks"),
        ("C0PROD", "C0Q"),
        ("9090", "9091"),
        ("keep_services: false", "keep_services: true"),
        ("keep_services: false", "keep_services: false\n    stop_mode: remove"),
        ("3m", "4m"),
        ("S0CHIEFS", "S0X"),
    ):
        assert settings_digest(load(tmp_path, WHOLE.replace(old, new))) != first
