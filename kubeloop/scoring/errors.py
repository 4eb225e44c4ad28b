"""Why a pipeline has no plan, and why a row is not scored by one."""


class Unscorable(Exception):
    """A row that the plan leaves to scikit-learn: the schema refuses a cell, or the learner a number.

    No failure: the slow path answers, or explains.

    Attributes:
        row: Its place in what was asked, from 0, where it is known.
    """

    def __init__(self, row: int | None = None) -> None:
        super().__init__("the row is for the slow path")
        self.row = row


class Refused(Exception):
    """A pipeline, or a part of one, that has no plan; scikit-learn serves it.

    Attributes:
        reason: For the manifest and for a person.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
