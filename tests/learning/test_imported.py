import json

import pandas as pd
import pytest
import skops.io

from kubeloop.contract.estimator import Estimator
from kubeloop.digests.trees import file_digest
from kubeloop.errors import InputError, IntegrityError
from kubeloop.learning.answers import answer
from kubeloop.learning.estimator_file import read_estimator
from kubeloop.learning.inputs import to_frame
from kubeloop.learning.training import train
from kubeloop.scoring.compile import compile_plan
from kubeloop.scoring.scorer import Scorer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of loop.yaml, as a task of a run sees it."""
    place = tmp_path / "inputs"
    place.mkdir()
    monkeypatch.setenv("KUBELOOP_INPUTS", str(place))
    monkeypatch.setenv("KUBELOOP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBELOOP_SITE_DIR", raising=False)
    return place


def pipeline(rows, model=None, text=True):
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    x = pd.DataFrame({"dose": rows["dose"].astype(float), "age": rows["age"].astype(float)})
    x["ward"] = rows["ward"].where(rows["ward"].notna(), None) if text else (rows.index % 3)
    encode = OneHotEncoder(handle_unknown="ignore")
    prepare = make_column_transformer((SimpleImputer(), ["dose", "age"]), (encode, ["ward"]))
    model = model or RandomForestClassifier(10, random_state=0)
    return make_pipeline(prepare, model).fit(x, rows["ill"])


def imported(section, **more):
    return section.model_copy(update={"estimator": Estimator(kind="imported", file="model.skops", **more)})


def test_a_fitted_model_comes_under_the_same_description(folder, make_section, make_rows, table, tmp_path):
    rows = make_rows()
    model = pipeline(rows)
    skops.io.dump(model, folder / "model.skops")
    out = tmp_path / "model"
    section = imported(make_section(), digest=file_digest(folder / "model.skops"))
    facts = train(section, {}, table(rows), out)
    described = json.loads((out / "model.json").read_text())
    assert facts["features"] == ["dose", "age", "ward"]  # the model's own order
    assert facts["excluded"]["smoker"] == "not read by the imported model"
    assert described["classes"] == ["no", "yes"]
    assert described["training_rows"] == {"kind": "unknown", "rows": None}
    assert any("not known which rows" in text for text in facts["warnings"])
    assert len(facts["cv"]["roc_auc"]["folds"]) == 5
    assert "no cross-validation" in facts["cv_method"]
    frame = to_frame(rows, described["schema"])
    given = answer(read_estimator(out / "estimator.skops"), frame, described["classes"], "binary")
    assert (given.probabilities == model.predict_proba(frame)).all()
    json.dumps(facts, allow_nan=False)


def test_a_model_that_was_calibrated_after_it_was_fitted(folder, make_section, make_rows, table, tmp_path):
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    rows = make_rows()
    first = pipeline(rows)
    x = first[0].transform(rows.assign(ward=rows["ward"].where(rows["ward"].notna(), None)))
    later = CalibratedClassifierCV(FrozenEstimator(first[-1]), method="isotonic").fit(x, rows["ill"])
    first.steps[-1] = ("calibrated", later)
    skops.io.dump(first, folder / "model.skops")
    out = tmp_path / "model"
    train(imported(make_section()), {}, table(rows), out)
    described, kept = json.loads((out / "model.json").read_text()), read_estimator(out / "estimator.skops")
    asked = to_frame(rows, described["schema"])
    assert (kept.predict_proba(asked) == first.predict_proba(asked)).all()
    scorer = Scorer(compile_plan(kept, described["schema"]), described["schema"])
    assert (scorer.score_columns([asked[name] for name in asked], len(asked)) == first.predict_proba(asked)).all()


def test_who_vouches_gets_the_rows_of_the_split(folder, make_section, make_rows, table, tmp_path):
    rows = make_rows()
    skops.io.dump(pipeline(rows), folder / "model.skops")
    facts = train(imported(make_section(), unseen_test=True), {}, table(rows), tmp_path / "model")
    assert facts["warnings"] == []
    assert json.loads((tmp_path / "model" / "model.json").read_text())["training_rows"]["kind"] == "hash"


def test_what_does_not_fit_the_contract_is_refused(folder, make_section, make_rows, table, tmp_path):
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

    rows = make_rows()
    place, section = folder / "model.skops", imported(make_section())

    def refused(said, found=section, kind=InputError):
        with pytest.raises(kind, match=said):
            train(found, {}, table(rows), tmp_path / "model")
        assert not (tmp_path / "model").exists()

    refused("'model.skops', but there is no such file")
    skops.io.dump(pipeline(rows), place)
    refused("should have the digest", imported(make_section(), digest=f"sha256-{'0' * 64}"), IntegrityError)
    refused("knows the classes no, yes, .* have b, a|a, b", make_section_of_origin(section))
    narrow = section.model_copy(update={"features": section.features.model_copy(update={"drop": ("dose",)})})
    refused("reads 'dose', which is no feature here: in features.drop", narrow)
    last = section.model_copy(update={"target": section.target.model_copy(update={"positive": "no"})})
    refused("has the class yes last, target.positive is no", last)
    skops.io.dump(pipeline(rows, text=False), place)
    refused("knows the categories of 'ward' as numbers")
    skops.io.dump(LogisticRegression().fit(rows[["age"]].to_numpy(), rows["ill"]), place)
    refused("reads 1 columns without names, the contract has 4 features")
    skops.io.dump(LinearRegression().fit(rows[["age"]], rows["bill"]), place)
    refused("a model with probabilities was expected")
    skops.io.dump(LogisticRegression().fit(rows[["dose"]].fillna(0), rows["ill"]), place)
    refused("cannot answer rows of the contract: ValueError: Input X contains NaN")
    skops.io.dump(Ridge().fit(rows[["age"]], rows["bill"]), place)
    regression = {"target": {"column": "bill", "task": "regression"}, "metrics": {"primary": "rmse"}}
    facts = train(imported(make_section(**regression)), {}, table(rows), tmp_path / "model")
    assert facts["features"] == ["age"]


def make_section_of_origin(section):
    columns = dict(section.data.columns)
    columns["origin"] = columns["origin"].model_copy(update={"policy": None})
    data = section.data.model_copy(update={"columns": columns})
    target = section.target.model_copy(update={"column": "origin", "positive": None})
    return section.model_copy(update={"data": data, "target": target})


def test_a_hostile_file_is_refused(folder, make_section, make_rows, table, tmp_path):
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(FunctionTransformer(json.loads), folder / "model.skops")
    with pytest.raises(IntegrityError, match="FunctionTransformer"):
        train(imported(make_section()), {}, table(make_rows()), tmp_path / "model")


OWN = """
from sklearn.preprocessing import KBinsDiscretizer, PowerTransformer
def transformers(columns):
    assert "age" in columns
    return [("bins", KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), ["age"]),
            ("power", PowerTransformer(), ["age"])]
"""
STRANGE = """
from sklearn.base import BaseEstimator, TransformerMixin
class Own(TransformerMixin, BaseEstimator):
    def fit(self, x, y=None):
        self.seen_ = 1
        return self
    def transform(self, x):
        return x
def transformers(columns):
    return [("own", Own(), ["age"])]
"""


def test_own_transformers_are_digested_fitted_and_kept(folder, make_section, make_rows, table, tmp_path):
    (folder / "mine.py").write_text(OWN)
    section = make_section(features={"code": "mine.py"})
    facts = train(section, {}, table(make_rows()), tmp_path / "model")
    described = json.loads((tmp_path / "model" / "model.json").read_text())
    assert facts["code"] == described["code"] == file_digest(folder / "mine.py")
    assert described["features_out"] == 2 + 1 + 4 + 4 + 1
    assert read_estimator(tmp_path / "model" / "estimator.skops")
    plain = train(make_section(), {}, table(make_rows()), tmp_path / "model")
    assert [each["version"] for each in plain["feature_table"]] != [each["version"] for each in facts["feature_table"]]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (STRANGE, r"mine.py: what it fits cannot be kept in a model file: .*\.Own"),
        ("x = 1", "has no function `transformers`"),
        ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError"),
        ("def transformers(c): return [1]", r"transformers\(\) failed: TypeError"),
        ("def transformers(c): return [('a', 1, ['age'])]", "has no method `fit`"),
        ("def transformers(c): return [('a', 1, ['mail'])]", "reads 'mail', which is no input"),
    ],
)
def test_code_that_cannot_be_used_is_the_users_to_mend(folder, code, said, make_section, make_rows, table, tmp_path):
    (folder / "mine.py").write_text(code)
    with pytest.raises(InputError, match=said):
        train(make_section(features={"code": "mine.py"}), {}, table(make_rows()), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_code_that_is_not_there_is_said(folder, make_section, make_rows, table, tmp_path):
    with pytest.raises(InputError, match="no such file beside loop"):
        train(make_section(features={"code": "mine.py"}), {}, table(make_rows()), tmp_path / "model")
