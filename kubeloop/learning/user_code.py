"""The user's own transformers (`features.code`): imported in training alone, known by their digest."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeloop.digests.trees import file_digest
from kubeloop.errors import InputError, PermanentError

_SHAPE = "def transformers(columns: list[str]) -> list[tuple[str, transformer, list[str]]]"


@dataclass(frozen=True)
class UserCode:
    """What the file holds.

    Attributes:
        path: As the contract names it.
        digest: Of its bytes.
        make: Its function `transformers`.
    """

    path: str
    digest: str
    make: Callable[[list[str]], Any]

    def parts(self, columns: list[str]) -> tuple[tuple[str, Any, list[str]], ...]:
        """New, unfitted transformers with the columns that each reads.

        Args:
            columns: The model's inputs.

        Raises:
            InputError: The function fails, or gives something else.
        """
        try:
            made = [(f"own-{name}", one, list(wanted)) for name, one, wanted in self.make(list(columns))]
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, LookupError, ImportError) as error:
            raise InputError(
                f"{self.path}: transformers() failed: {type(error).__name__}: {error}", f"it should be {_SHAPE}"
            ) from error
        for name, one, wanted in made:
            lost = [column for column in wanted if column not in columns]
            if lost or not hasattr(one, "fit"):
                what = f"reads {lost[0]!r}, which is no input of the model" if lost else "has no method `fit`"
                raise InputError(
                    f"{self.path}: the transformer {name[4:]!r} {what}", f"the inputs are {', '.join(columns)}"
                )
        return tuple(made)


def load_code(name: str, folder: Path) -> UserCode:
    """Import the file; its folder is not put on the path, so it is one file.

    Args:
        name: As the contract names it, relative to `folder`.
        folder: Where loop.yaml lies.

    Raises:
        InputError: It is not there, or cannot be imported.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise InputError(
            f"features.code names {name!r}, but there is no such file beside loop.yaml", "correct the path", file=name
        )
    digest = file_digest(path)
    module_name = f"kubeloop_user_code_{digest[7:19]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"features.code names {name!r}, which is no Python file", "name a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # classes of it are found by their module's name
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, TypeError, ValueError, AttributeError, OSError, LookupError) as error:
        raise InputError(f"{name} cannot be imported: {type(error).__name__}: {error}", "mend the file") from error
    make = getattr(module, "transformers", None)
    if not callable(make):
        raise InputError(f"{name} has no function `transformers`", f"write {_SHAPE}", file=name)
    return UserCode(name, digest, make)


def blame(code: UserCode, error: PermanentError) -> InputError:
    """What to say when the fitted result of the user's code cannot be kept in a model file."""
    return InputError(
        f"{code.path}: what it fits cannot be kept in a model file: {error.problem}",
        "put it together from scikit-learn's transformers (scalers, encoders, KBinsDiscretizer, PowerTransformer, "
        "QuantileTransformer, PolynomialFeatures, Pipeline); serving has none of your code",
        file=code.path,
    )
