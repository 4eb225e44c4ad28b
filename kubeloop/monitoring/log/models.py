"""What the log knows of the model that answered: enough to read its rows and answers back."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from kubeloop.contract.monitoring import Log
from kubeloop.digests import canonical_json, document_digest
from kubeloop.learning.inputs import InputColumn, Kind, category_text
from kubeloop.packaging.manifest import Manifest, Value

Task = Literal["binary", "multiclass", "regression"]


class LoggedColumn(BaseModel):
    """One column of a logged row.

    Attributes:
        name: The feature's name.
        kind: As in `kubeloop.learning.inputs.InputColumn`.
        kept: `plain` as it came; `hashed` under the Site's key (equal cells stay equal); `dropped`: always null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    kept: Literal["plain", "hashed", "dropped"] = "plain"


class LoggedModel(BaseModel):
    """One version of a served model, as written into the log beside its rows.

    Attributes:
        version: What `model-version` in the events says, or the package's digest; empty: not known.
        task: What it predicts.
        columns: Of a logged row, in the order of its cells: the order of the package's features.
        classes: In the order of the probabilities' columns; empty in regression, or where they are not known.
        positive: The class of interest of a binary task.
        keys: Whether business keys are kept `plain` or `hashed` under the Site's key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version: str = ""
    task: Task
    columns: tuple[LoggedColumn, ...]
    classes: tuple[Value, ...] = ()
    positive: Value | None = None
    keys: Literal["plain", "hashed"] = "plain"

    @property
    def schema_(self) -> list[InputColumn]:
        """The columns as `kubeloop.learning.inputs.to_frame` wants them, without bounds: the log keeps what came."""
        kinds: dict[str, Kind] = {
            column.name: "category" if column.kept == "hashed" else column.kind for column in self.columns
        }
        return [
            InputColumn(name=name, kind=kind, categories=None, minimum=None, maximum=None, nullable=True)
            for name, kind in kinds.items()
        ]

    def class_words(self) -> dict[str | None, Value]:
        """The class that a label's text (`category_text`) means; 1 and 0 are words for true and false, too."""
        words: dict[str | None, Value] = {}
        if self.classes and all(isinstance(value, bool) for value in self.classes):
            words = {"1": True, "0": False, "True": True, "False": False}
        return words | {category_text(value): value for value in self.classes}

    def text(self) -> str:
        """Canonical JSON without the version, which has a column of its own."""
        return canonical_json(self.model_dump(mode="json", exclude={"version"}))

    def digest(self) -> str:
        """Of `text`: models of equal digest have the same columns and classes."""
        return document_digest(self.model_dump(mode="json", exclude={"version"}))


def read_model(version: str, text: str) -> LoggedModel:
    """The model of a `LoggedModel.text`."""
    document: Mapping[str, Any] = json.loads(text)
    return LoggedModel.model_validate({**document, "version": version})


def model_of(manifest: Manifest, version: str) -> LoggedModel:
    """The logged model of a package, with what its contract says of privacy.

    Args:
        manifest: The package's.
        version: What its events will say: the digest, unless the InferenceService's annotation says otherwise.
    """
    contract = manifest.contract
    log = Log.model_validate((contract.get("monitoring") or {}).get("log") or {})

    def kept(name: str) -> Literal["plain", "hashed", "dropped"]:
        return "dropped" if name in log.drop else "hashed" if name in log.hash else "plain"

    return LoggedModel(
        version=version,
        task=manifest.task,
        columns=tuple(
            LoggedColumn(name=feature.name, kind=feature.kind, kept=kept(feature.name)) for feature in manifest.features
        ),
        classes=manifest.classes,
        positive=manifest.positive,
        keys=log.keys or ("hashed" if _personal_id(contract) else "plain"),
    )


def _personal_id(contract: Mapping[str, Any]) -> bool:
    data = contract.get("data") or {}
    columns = data.get("columns") or {}
    return any((columns.get(name) or {}).get("policy") == "pii" for name in data.get("id") or ())
