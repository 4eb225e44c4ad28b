"""The sources that a package carries: the code of model and preprocessing, and a test that anybody can run."""

from pathlib import Path

from kubeloop.contract import Contract
from kubeloop.digests import file_digest
from kubeloop.errors import InputError
from kubeloop.packaging.manifest import CODE, TEST
from kubeloop.site.load import load_site

_TEST = '''"""Replay the golden requests of this package: its test data is in manifest.json, under `golden`.

PYTHONDONTWRITEBYTECODE=1 python -m pytest -p no:cacheprovider test/test_package.py
"""

from pathlib import Path

from kubeloop.packaging.golden import TOLERANCE
from kubeloop.packaging.read import read_package


def test_it_answers_as_when_it_was_judged() -> None:
    package = read_package(Path(__file__).resolve().parents[1])
    assert package.golden.requests
    assert package.prove() <= TOLERANCE
'''


def write_sources(stage: Path, contract: Contract, user_code: str | None) -> None:
    """Put the code of features, learners and answers, the user's own transformers, and the test into a package.

    Args:
        stage: The package as it is built.
        contract: For the user's code.
        user_code: Digest of the user's file that the model was trained with; None: it was trained without.

    Raises:
        InputError: The user's file is not the one that the model was trained with.
    """
    for name, source in _sources().items():
        _write(stage / name, source.read_bytes())
    _write(stage / TEST, _TEST.encode())
    if user_code is not None:
        _user_code(stage, str(getattr(contract.features, "code", "") or ""), user_code)


def sources_here() -> dict[str, str]:
    """The sources that a package built now would carry, without the user's: path in the package to digest."""
    return {name: file_digest(source) for name, source in _sources().items()}


def _sources() -> dict[str, Path]:
    import kubeloop.learning

    room = Path(str(kubeloop.learning.__file__)).parent
    inside = f"{CODE}/kubeloop/learning"
    return {f"{inside}/{path.relative_to(room).as_posix()}": path for path in sorted(room.rglob("*.py"))}


def _user_code(stage: Path, name: str, wanted: str) -> None:
    source = Path(load_site().inputs or ".") / name
    if not name or not source.is_file() or file_digest(source) != wanted:
        raise InputError(
            f"features.code should be the file that the model was trained with, {wanted[7:19]}, and {name!r} is not",
            "run again: what was trained is what is packaged",
            file=name,
        )
    _write(stage / CODE / "user" / source.name, source.read_bytes())


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
