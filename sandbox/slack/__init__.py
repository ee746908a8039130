"""A Slack workspace on this machine, for the unmodified Bolt app with another base URL."""

from sandbox.slack.driver import Person, Reply, SlackSandbox
from sandbox.slack.faults import Away, Faults
from sandbox.slack.limits import DEFAULT, Limits, Rate
from sandbox.slack.server import DEFAULT_SCOPES, start
from sandbox.slack.sockets import Outcome
from sandbox.slack.web_api import Call
from sandbox.slack.workspace import Channel, Group, Message, User, View

__all__ = [
    "DEFAULT",
    "DEFAULT_SCOPES",
    "Away",
    "Call",
    "Channel",
    "Faults",
    "Group",
    "Limits",
    "Message",
    "Outcome",
    "Person",
    "Rate",
    "Reply",
    "SlackSandbox",
    "User",
    "View",
    "start",
]
