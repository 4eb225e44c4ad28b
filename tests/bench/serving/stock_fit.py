"""Runs in the stock server's environment: `python stock_fit.py TABLE MODEL FOLDER ROWS` fits a model.

It prints the probabilities of the first rows, by scikit-learn itself.
"""

import json
import sys
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ESTIMATORS = {
    "LR": lambda: LogisticRegression(max_iter=1000),
    "HGB": lambda: HistGradientBoostingClassifier(max_iter=200, early_stopping=False, random_state=0),
    "RF": lambda: RandomForestClassifier(n_estimators=200, random_state=0),
}


def main(table: str, model: str, folder: str, rows: str) -> None:
    data = pd.read_json(table, orient="split", convert_dates=False)
    x, y = data.drop(columns=["label"]), data["label"]
    texts = [name for name in map(str, x) if name.startswith("c")]
    numbers = [name for name in map(str, x) if name.startswith("n")]
    preparation = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        ]
    )
    fitted = make_pipeline(preparation, ESTIMATORS[model]()).fit(x, y)
    Path(folder).mkdir(parents=True, exist_ok=True)
    joblib.dump(fitted, Path(folder) / "model.joblib")
    json.dump(fitted.predict_proba(x.iloc[: int(rows)]).tolist(), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
