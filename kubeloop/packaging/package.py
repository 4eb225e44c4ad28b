"""A verified package in memory: who it is, what it answers."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.packaging.manifest import ESTIMATOR, Golden, Manifest
from kubeloop.packaging.verify import read_verified

if TYPE_CHECKING:
    import pandas as pd

    from kubeloop.learning.answers import Answers
    from kubeloop.learning.inputs import InputColumn


class Package:
    """A package whose bytes were verified; the estimator is loaded at the first prediction, and verified again then.

    Attributes:
        folder: Where it lies.
        digest: Its identity.
        manifest: All that it says about itself.
        signature: Fingerprint of the key that signed it, or `unsigned`.
    """

    def __init__(self, folder: Path, digest: str, manifest: Manifest, signature: str) -> None:
        self.folder = folder
        self.digest = digest
        self.manifest = manifest
        self.signature = signature
        self._estimator: Any = None
        self._loading = threading.Lock()

    def __repr__(self) -> str:
        return f"Package({self.name}, {self.digest[7:19]})"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def task(self) -> str:
        """`binary`, `multiclass` or `regression`."""
        return self.manifest.task

    @property
    def schema(self) -> "list[InputColumn]":
        """The features in the order of a request's cells, as `kubeloop.learning.inputs.to_frame` wants them."""
        return [feature.column() for feature in self.manifest.features]

    @property
    def classes(self) -> list[Any]:
        """The classes in the order of the probabilities' columns; empty in regression."""
        return list(self.manifest.classes)

    @property
    def golden(self) -> Golden:
        """Requests made up from the schema, with the answers of the judged model."""
        return self.manifest.golden

    def load(self) -> Any:
        """The estimator, read from bytes that have the digest of the manifest.

        Raises:
            IntegrityError: The file changed since, or holds a type that no model of ours holds.
        """
        with self._loading:
            if self._estimator is None:
                from kubeloop.learning.estimator_file import read_estimator_bytes

                content = read_verified(self.folder, ESTIMATOR, self.manifest.files[ESTIMATOR])
                self._estimator = read_estimator_bytes(content, ESTIMATOR)
            return self._estimator

    def plan_files(self) -> tuple[bytes, bytes] | None:
        """Document and arrays of the scoring plan, with the digests of the manifest; None: scikit-learn serves.

        Raises:
            IntegrityError: A file changed since.
        """
        plan = self.manifest.scoring_plan
        if plan is None or len(plan.files) != 2:
            return None
        document, arrays = (read_verified(self.folder, name, self.manifest.files[name]) for name in plan.files)
        return document, arrays

    def reference_bytes(self) -> bytes | None:
        """The reference profile, with the digest of the manifest; None: the package has none.

        `kubeloop.monitoring.reference.packaged.reference_of` reads it.

        Raises:
            IntegrityError: The file changed since.
        """
        name = self.manifest.reference_profile
        return None if name is None else read_verified(self.folder, name, self.manifest.files[name])

    def predict(self, rows: "pd.DataFrame | Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]]") -> "Answers":
        """Answers to rows.

        Args:
            rows: n rows: a frame, mappings by column, or sequences of cells in feature order; None is missing.

        Returns:
            n answers, in the order of the rows.

        Raises:
            InputError: A row does not fit the schema.
            IntegrityError: As `load`.
        """
        from kubeloop.learning.answers import answer
        from kubeloop.learning.inputs import to_frame

        frame = to_frame(rows, self.schema)
        return answer(self.load(), frame, self.classes, self.manifest.task)

    def prove(self) -> float:
        """Ask the golden requests in this process and hold the answers against the expected ones.

        Returns:
            The largest difference.

        Raises:
            IntegrityError: An answer differs by more than `kubeloop.packaging.golden.TOLERANCE`.
        """
        from kubeloop.packaging.golden import prove

        return prove(self.golden, self.predict(list(self.golden.requests)), f"package {self.digest[7:19]}")
