"""What a gate returns: never a bare boolean, always a verdict with its reasons and its evidence."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["pass", "fail", "inconclusive"]
BaselineStatus = Literal["champion", "none_yet", "unavailable", "not_applicable"]


class Check(BaseModel):
    """One thing that a gate looked at.

    Attributes:
        name: Stable machine name, such as `threshold:roc_auc`.
        verdict: What this check alone says.
        reason: One sentence for a person: what was required, what was seen.
        evidence: The numbers behind it; JSON types, finite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    verdict: Verdict
    reason: str
    evidence: dict[str, Any] = Field(default_factory=dict)


class Decision(BaseModel):
    """The verdict of a gate.

    Attributes:
        gate: Which gate spoke: `data`, `model`, `package`.
        verdict: `fail` if any check failed, else `inconclusive` if any check could not tell, else `pass`.
        baseline: What the candidate was held against; `unavailable` never passes.
        checks: All that was looked at, in order, the passing ones included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: str
    verdict: Verdict
    baseline: BaselineStatus = "not_applicable"
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> list[str]:
        """Why it is not a pass; for a pass, why it is one."""
        blocking = [check.reason for check in self.checks if check.verdict != "pass"]
        return blocking or [check.reason for check in self.checks]


def decide(gate: str, checks: Iterable[Check], baseline: BaselineStatus = "not_applicable") -> Decision:
    """Combine checks into a Decision; without a single check it is inconclusive, for nothing passes on no evidence."""
    found = tuple(checks)
    verdicts = {check.verdict for check in found}
    verdict: Verdict
    if "fail" in verdicts:
        verdict = "fail"
    elif "inconclusive" in verdicts or not found or baseline == "unavailable":
        verdict = "inconclusive"
    else:
        verdict = "pass"
    return Decision(gate=gate, verdict=verdict, baseline=baseline, checks=found)
