"""The one error family.

Every error says what is wrong, what to do about it, and where. The class says what the caller may do next: mend the
input, retry, or accept that a gate refused. The command line maps the class to its exit code.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class KubeloopError(Exception):
    """An error with a way out.

    Args:
        problem: What is wrong, with what was expected and what came; one sentence, no trailing period needed.
        fix: What to do next, in the imperative.
        context: Where: file, line, column, row, task. Values must be JSON types; never a secret or a data value of a
            denied or PII column.
    """

    kind: ClassVar[str] = "permanent"
    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, fix: str, **context: Any) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix
        self.context: dict[str, Any] = context

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}"

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON types, the form in which it crosses a process boundary."""
        return {
            "class": type(self).__name__,
            "problem": self.problem,
            "fix": self.fix,
            "context": dict(self.context),
        }


class PermanentError(KubeloopError):
    """Retrying cannot help: something of ours, or of the environment, is broken."""


class InputError(PermanentError):
    """The user's input is wrong; nothing was written."""

    kind = "input"
    exit_code = 2


class IntegrityError(PermanentError):
    """Bytes are not what their digest or signature says."""

    kind = "integrity"


class TransientError(KubeloopError):
    """The same call may succeed later.

    Args:
        retry_after_s: How long to wait before the next try, in seconds; None when unknown.
    """

    kind = "transient"

    def __init__(self, problem: str, fix: str, *, retry_after_s: float | None = None, **context: Any) -> None:
        super().__init__(problem, fix, **context)
        self.retry_after_s = retry_after_s


class RefusedError(KubeloopError):
    """A gate said no. Not a crash: the loop did its work."""

    kind = "refused"
    exit_code = 3


_FAMILY: dict[str, type[KubeloopError]] = {
    cls.__name__: cls
    for cls in (KubeloopError, PermanentError, InputError, IntegrityError, TransientError, RefusedError)
}


def from_dict(document: Mapping[str, Any]) -> KubeloopError:
    """The error that `KubeloopError.to_dict` wrote in another process."""
    cls = _FAMILY.get(str(document.get("class")), PermanentError)
    return cls(str(document["problem"]), str(document["fix"]), **dict(document.get("context", {})))
