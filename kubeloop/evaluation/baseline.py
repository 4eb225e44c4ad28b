"""What a challenger is held against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kubeloop.decisions import BaselineStatus
from kubeloop.learning.answers import Answers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Baseline:
    """The champion, or why there is none.

    Attributes:
        status: `champion`; `none_yet`, if the registry answered that there is none; else `unavailable`.
        predict: Answers to a frame of test rows; only for a champion.
        training_rows: The champion's `training_rows` (see `training.train`), by which unseen rows are known.
        digest: The champion's package.
        detail: One sentence for a person.
        classes: The classes in the order of the champion's probabilities; None if they are the challenger's.
    """

    status: BaselineStatus
    predict: Callable[["pd.DataFrame"], Answers] | None
    training_rows: dict[str, Any] | None
    digest: str | None
    detail: str
    classes: Sequence[Any] | None = None
