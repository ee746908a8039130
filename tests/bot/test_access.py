"""Who may do what: one table per rule, denied by default."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bot.access import Access, DirectoryUnavailable, Profile, Role, Undecided
from bot.settings import ClusterSettings
from lifecycle.approval import Terms
from lifecycle.errors import NotAllowed
from lifecycle.model import Person, Verb

TEAM, ENTERPRISE = "T0HOME", "E0ORG"
ALICE, BOB = Person(TEAM, "U0ALICE"), Person(TEAM, "U0BOB")
MEMBER = Profile(team_id=TEAM)
OPERATOR, VIEWER = Role.OPERATOR, Role.VIEWER


class People:
    """A directory in memory that counts what it was asked."""

    def __init__(
        self,
        groups: Mapping[str, set[str] | DirectoryUnavailable] | None = None,
        profile: Profile | DirectoryUnavailable = MEMBER,
    ) -> None:
        self.groups = groups or {}
        self.described = profile
        self.asked: list[str] = []

    async def profile(self, person: Person) -> Profile:
        self.asked.append(person.user)
        if isinstance(self.described, DirectoryUnavailable):
            raise self.described
        return self.described

    async def members(self, group: str) -> frozenset[str]:
        self.asked.append(group)
        members = self.groups.get(group, set())
        if isinstance(members, DirectoryUnavailable):
            raise members
        return frozenset(members)


def cluster(operators: tuple[str, ...] = (), viewers: tuple[str, ...] = ()) -> ClusterSettings:
    return ClusterSettings("prod", "ml550", "production", "C0PROD", operators=operators, viewers=viewers)


async def refusal(people: People, configured: ClusterSettings, role: Role, person: Person = ALICE) -> NotAllowed:
    with pytest.raises(NotAllowed) as raised:
        await Access(people, TEAM).require(person, configured, role)
    return raised.value


GROUPS = {"S0OPS": {"U0ALICE", "U0CAROL"}, "S0EMPTY": set[str]()}


@pytest.mark.parametrize(
    ("operators", "viewers", "role"),
    [
        ((), (), None),
        (("U0ALICE",), (), OPERATOR),
        (("U0BOB", "U0ALICE"), (), OPERATOR),
        (("U0BOB",), (), None),
        (("@S0OPS",), (), OPERATOR),
        (("@S0EMPTY", "@S0OPS"), (), OPERATOR),
        (("@S0EMPTY",), (), None),
        (("@S0UNKNOWN",), (), None),
        ((), ("U0ALICE",), VIEWER),
        ((), ("@S0OPS",), VIEWER),
        ((), ("*",), VIEWER),
        (("*",), (), None),
        (("U0BOB",), ("*",), VIEWER),
        (("@S0OPS",), ("*",), OPERATOR),
        (("@S0OPS",), ("U0BOB",), OPERATOR),
        (("S0OPS",), (), None),
        (("alice", "u0alice"), ("Alice",), None),
    ],
)
async def test_a_full_member_has_the_role_that_is_configured(
    operators: tuple[str, ...], viewers: tuple[str, ...], role: Role | None
) -> None:
    access = Access(People(GROUPS), TEAM)
    configured = cluster(operators, viewers)
    assert await access.role_of(ALICE, configured) == role
    for wanted in Role:
        if role is not None and role >= wanted:
            await access.require(ALICE, configured, wanted)
        else:
            await refusal(People(GROUPS), configured, wanted)


@pytest.mark.parametrize(
    ("profile", "who"),
    [
        (Profile(team_id=TEAM, is_restricted=True), "Guests"),
        (Profile(team_id=TEAM, is_restricted=True, is_ultra_restricted=True), "Guests"),
        (Profile(team_id=TEAM, is_ultra_restricted=True), "Guests"),
        (Profile(team_id=TEAM, is_bot=True), "Bots"),
        (Profile(team_id=TEAM, deleted=True), "Deactivated users"),
        (Profile(team_id=TEAM, is_stranger=True), "People of other workspaces"),
        (Profile(team_id="T0OTHER"), "People of other workspaces"),
        (Profile(team_id=""), "People of other workspaces"),
        (Profile(team_id="T0OTHER", enterprise_id=ENTERPRISE), "People of other workspaces"),
    ],
)
async def test_who_is_no_full_member_is_refused_even_if_listed(profile: Profile, who: str) -> None:
    people = People({"S0OPS": {"U0ALICE"}}, profile)
    configured = cluster(("U0ALICE", "@S0OPS"), ("*",))
    for role in Role:
        refused = await refusal(people, configured, role)
        assert str(refused) == f"{who} may not do this, even if they are listed in the configuration."
        assert not isinstance(refused, Undecided)
    assert await Access(people, TEAM).role_of(ALICE, configured) is None


async def test_having_authorised_an_app_is_no_reason_to_refuse() -> None:
    people = People(profile=Profile(team_id=TEAM, is_app_user=True))
    await Access(people, TEAM).require(ALICE, cluster(("U0ALICE",)), OPERATOR)


@pytest.mark.parametrize("team", ["T0OTHER", ENTERPRISE, ""])
async def test_the_same_user_id_of_another_team_is_somebody_else(team: str) -> None:
    people = People()
    await refusal(people, cluster(("U0ALICE",), ("*",)), VIEWER, Person(team, "U0ALICE"))
    assert people.asked == []


@pytest.mark.parametrize(
    ("team", "profile", "allowed"),
    [
        (ENTERPRISE, Profile(team_id=TEAM, enterprise_id=ENTERPRISE), True),
        (TEAM, Profile(team_id="T0SISTER", enterprise_id=ENTERPRISE), True),
        ("T0SISTER", Profile(team_id="T0SISTER", enterprise_id=ENTERPRISE), False),
        (TEAM, Profile(team_id="T0OTHER", enterprise_id="E0OTHER"), False),
        (TEAM, Profile(team_id="T0OTHER"), False),
        ("E0OTHER", Profile(team_id="T0OTHER", enterprise_id="E0OTHER"), False),
    ],
)
async def test_in_an_enterprise_its_own_id_counts_as_well(team: str, profile: Profile, allowed: bool) -> None:
    access = Access(People(profile=profile), TEAM, ENTERPRISE)
    role = await access.role_of(Person(team, "U0ALICE"), cluster(("U0ALICE",)))
    assert role == (OPERATOR if allowed else None)


@pytest.mark.parametrize(
    ("operators", "viewers", "role", "text"),
    [
        (
            ("U0ALICE", "@S0TMLOPS"),
            ("*",),
            OPERATOR,
            "This is for operators of prod: U0ALICE, group S0TMLOPS.",
        ),
        ((), (), OPERATOR, "This is for operators of prod: nobody."),
        (
            ("U0ALICE",),
            ("U0CAROL",),
            VIEWER,
            "This is for viewers of prod: U0CAROL; and for operators of prod: U0ALICE.",
        ),
        (
            ("@S0EMPTY",),
            (),
            OPERATOR,
            "This is for operators of prod: group S0EMPTY. Group S0EMPTY is empty, so it grants nobody.",
        ),
    ],
)
async def test_a_refusal_says_who_may(
    operators: tuple[str, ...], viewers: tuple[str, ...], role: Role, text: str
) -> None:
    refused = await refusal(People({"S0TMLOPS": {"U0CAROL"}}), cluster(operators, viewers), role, BOB)
    assert str(refused) == text
    assert refused.code == "not-allowed"


@pytest.mark.parametrize(("retry", "ending"), [(True, " Try again in a minute."), (False, "")])
async def test_an_unreadable_group_grants_nobody_and_that_is_undecided(retry: bool, ending: str) -> None:
    people = People({"S0OPS": DirectoryUnavailable(retry, "ratelimited" if retry else "missing_scope")})
    refused = await refusal(people, cluster(("@S0OPS",)), OPERATOR)
    reason = "ratelimited" if retry else "missing_scope"
    assert isinstance(refused, Undecided)
    assert str(refused) == (
        "This is for operators of prod: group S0OPS. "
        f"Group S0OPS could not be read ({reason}), so it grants nobody.{ending}"
    )
    assert await Access(people, TEAM).role_of(ALICE, cluster(("@S0OPS",))) is None


async def test_another_group_or_everybody_still_grants_when_one_is_unreadable() -> None:
    people = People({"S0BAD": DirectoryUnavailable(retry=True), **GROUPS})
    access = Access(people, TEAM)
    await access.require(ALICE, cluster(("@S0BAD", "@S0OPS")), OPERATOR)
    assert await access.role_of(ALICE, cluster(("@S0BAD",), ("*",))) == VIEWER
    assert await access.role_of(ALICE, cluster(("@S0BAD",), ("@S0OPS",))) == VIEWER


@pytest.mark.parametrize(("retry", "ending"), [(True, " Try again in a minute."), (False, "")])
async def test_when_slack_does_not_say_who_somebody_is_nobody_is_let_in(retry: bool, ending: str) -> None:
    people = People(profile=DirectoryUnavailable(retry, "no answer in time"))
    refused = await refusal(people, cluster(("U0ALICE",), ("*",)), VIEWER)
    assert isinstance(refused, Undecided)
    assert str(refused) == f"Slack did not say who you are (no answer in time), so nothing was done.{ending}"
    assert await Access(people, TEAM).role_of(ALICE, cluster(("U0ALICE",))) is None


async def test_groups_are_asked_about_only_when_no_listed_id_decides() -> None:
    people = People(GROUPS)
    await Access(people, TEAM).require(ALICE, cluster(("@S0OPS", "U0ALICE")), OPERATOR)
    await Access(people, TEAM).require(ALICE, cluster(("@S0OPS",), ("*",)), VIEWER)
    assert people.asked == ["U0ALICE", "U0ALICE"]


def approved_by(*tiers: tuple[str, ...]) -> ClusterSettings:
    """Everybody is an operator, so that nobody is an approver for that."""
    return replace(cluster(("U0ALICE", "U0BOB"), ("*",)), approval={Verb.STOP: Terms(1, tiers)})


async def approver_refusal(people: People, configured: ClusterSettings, person: Person = ALICE) -> NotAllowed:
    with pytest.raises(NotAllowed) as raised:
        await Access(people, TEAM).require_approver(person, configured, Verb.STOP)
    return raised.value


@pytest.mark.parametrize(
    ("tiers", "allowed"),
    [
        ((("U0ALICE",),), True),
        ((("@S0OPS",),), True),
        ((("U0BOB",), ("U0ALICE",)), True),
        ((("@S0EMPTY",), ("@S0OPS",)), True),
        ((), False),
        ((("U0BOB",),), False),
        ((("@S0EMPTY", "@S0UNKNOWN"),), False),
        ((("*",),), False),
    ],
)
async def test_an_approver_is_who_is_listed_for_it_and_nobody_else(
    tiers: tuple[tuple[str, ...], ...], allowed: bool
) -> None:
    people, configured = People(GROUPS), approved_by(*tiers)
    if allowed:
        await Access(people, TEAM).require_approver(ALICE, configured, Verb.STOP)
    else:
        refused = await approver_refusal(people, configured)
        assert str(refused).startswith("This is for approvers of a stop of prod: ")
        assert refused.code == "not-allowed"


@pytest.mark.parametrize("flag", ["deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger"])
async def test_who_is_no_full_member_approves_nothing_even_if_listed(flag: str) -> None:
    people = People(GROUPS, replace(MEMBER, **{flag: True}))
    refused = await approver_refusal(people, approved_by(("U0ALICE", "@S0OPS")))
    assert "even if they are listed" in str(refused)
    await approver_refusal(people, approved_by(("U0ALICE",)), Person("T0OTHER", "U0ALICE"))


async def test_who_left_the_group_a_moment_ago_approves_nothing() -> None:
    people = People({"S0OPS": {"U0ALICE", "U0CAROL"}})
    access, configured = Access(people, TEAM), approved_by(("@S0OPS",))
    await access.require_approver(ALICE, configured, Verb.STOP)
    people.groups = {"S0OPS": {"U0CAROL"}}
    await approver_refusal(people, configured)
    assert await access.still_approvers([ALICE, Person(TEAM, "U0CAROL")], configured, Verb.STOP) == {
        Person(TEAM, "U0CAROL")
    }


@pytest.mark.parametrize(("retry", "ending"), [(True, " Try again in a minute."), (False, "")])
async def test_an_unreadable_group_of_approvers_is_nobody_and_that_is_undecided(retry: bool, ending: str) -> None:
    people, configured = People({"S0BAD": DirectoryUnavailable(retry)}), approved_by(("@S0BAD", "U0CAROL"))
    refused = await approver_refusal(people, configured)
    assert isinstance(refused, Undecided)
    assert str(refused) == (
        "This is for approvers of a stop of prod: group S0BAD, U0CAROL. "
        f"Group S0BAD could not be read (no answer), so it grants nobody.{ending}"
    )
    with pytest.raises(Undecided):
        await Access(people, TEAM).still_approvers([ALICE], configured, Verb.STOP)
