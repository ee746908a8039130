"""Why something is not as it should be, and whether the gateway answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Traffic:
    """Whether the gateway answered, in one of four ways, with the address that was asked."""

    ANSWERS = "traffic answers"
    NO_ADDRESS = "pods ready, load balancer not yet"
    REFUSES = "the gateway answers, but not with 200"
    UNREACHABLE = "not reachable from the bot"

    verdict: str
    address: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that keeps a workload from its goal: the object, Kubernetes' reason and message, its last log lines."""

    object: str
    reason: str
    message: str
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """Why a phase's end was not seen, most telling first."""

    findings: tuple[Finding, ...] = ()

    @property
    def headline(self) -> str:
        """Object and reason of what comes first, short enough for a phone."""
        if not self.findings:
            return "nothing conspicuous was found"
        first = self.findings[0]
        return f"{first.object}: {first.reason}"
