"""The way a user writes a predictor by KServe's documentation: `python plain_model.py FOLDER --model_name ...`."""

import sys
from pathlib import Path
from typing import Any

folder = Path(sys.argv.pop(1))  # before kserve reads the command line

import joblib  # noqa: E402
from kserve import Model, ModelServer  # noqa: E402
from kserve.model_server import args  # noqa: E402
from kserve.utils.utils import get_predict_input, get_predict_response  # noqa: E402


class Plain(Model):  # type: ignore[misc]
    """Loads a joblib file and asks it."""

    def load(self) -> bool:
        """Read the model."""
        self.fitted = joblib.load(folder / "model.joblib")
        self.ready = True
        return True

    def predict(self, payload: Any, headers: Any = None) -> Any:
        """Ask it."""
        return get_predict_response(payload, self.fitted.predict_proba(get_predict_input(payload)), self.name)


made = Plain(args.model_name)
made.load()
ModelServer().start([made])
