"""Every learner and every treatment of a column: the plan answers as scikit-learn does, and C with the twin's bits."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, HuberRegressor, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from kubeloop.learning.inputs import to_frame
from kubeloop.learning.transformers import DateParts, DayInList, JoinedCategories, KeptColumns, MissingFlags
from kubeloop.scoring.compile import compile_plan
from kubeloop.scoring.errors import Refused
from kubeloop.scoring.operations import DATE_PARTS
from kubeloop.scoring.plan import plan_bytes, read_plan
from kubeloop.scoring.scorer import Scorer

from .conftest import NUMBERS, SCHEMA, Row, truth_of

NAMES = [f"n{place}" for place in range(NUMBERS)]
CLASSIFIERS = {
    "logistic": LogisticRegression(max_iter=500),
    "discriminant": LinearDiscriminantAnalysis(),
    "gaussian": GaussianNB(),
    "bernoulli": BernoulliNB(),
    "tree": DecisionTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(12, random_state=0),
    "extra": ExtraTreesClassifier(11, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=8, random_state=0),
    "hist": HistGradientBoostingClassifier(max_iter=10, random_state=0),
    "ada": AdaBoostClassifier(n_estimators=12, random_state=0),
    "perceptron": MLPClassifier((9, 5), max_iter=20, random_state=0),
    "voting": VotingClassifier(
        [("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=4))], voting="soft", weights=[1, 2]
    ),
    "stacking": StackingClassifier(
        [("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=4))], LogisticRegression(), cv=2
    ),
}
CALIBRATED = {
    "sigmoid": ("logistic", "discriminant", "gaussian", "tree", "boosting", "hist", "ada", "stacking", "perceptron"),
    "isotonic": ("gaussian", "tree", "forest", "boosting", "hist"),
    "temperature": ("logistic", "bernoulli", "forest", "boosting", "hist", "voting"),
}
"""Methods, and what they are tried on; a linear decision meets an isotonic step to the last bit only by chance."""
CLASSIFIERS |= {
    f"{method}-{name}": CalibratedClassifierCV(clone(CLASSIFIERS[name]), method=method, cv=2)
    for method, names in CALIBRATED.items()
    for name in names
}
REGRESSORS = {
    "linear": LinearRegression(),
    "ridge": Ridge(),
    "lasso": Lasso(0.01),
    "elastic": ElasticNet(0.01),
    "huber": HuberRegressor(max_iter=1000),
    "tree": DecisionTreeRegressor(random_state=0),
    "forest": RandomForestRegressor(9, random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=8, random_state=0),
    "hist": HistGradientBoostingRegressor(max_iter=10, random_state=0),
    "ada": AdaBoostRegressor(n_estimators=9, random_state=0),
    "perceptron": MLPRegressor(hidden_layer_sizes=(9,), activation="tanh", max_iter=20, random_state=0),
    "voting": VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=4))]),
    "stacking": StackingRegressor(
        [("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=4))], Ridge(), cv=2, passthrough=True
    ),
}
ONE_HOT = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
CATEGORIES = {
    "one_hot": ONE_HOT,
    "sparse": OneHotEncoder(handle_unknown="ignore"),
    "rare": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=40, sparse_output=False),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": TargetEncoder(random_state=0),
    "mode": Pipeline([("i", SimpleImputer(strategy="most_frequent", missing_values=None)), ("e", clone(ONE_HOT))]),
}
SCALERS = {
    "standard": StandardScaler(),
    "robust": RobustScaler(),
    "min_max": MinMaxScaler(clip=True),
    "max_abs": MaxAbsScaler(),
    "products": PolynomialFeatures(interaction_only=True, include_bias=False),
}


def prepared(scaler: Any = None, encoder: Any = ONE_HOT) -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("n", Pipeline([("i", SimpleImputer(strategy="median")), ("s", clone(scaler or StandardScaler()))]), NAMES),
            ("b", SimpleImputer(strategy="most_frequent"), ["flag"]),
            ("c", clone(encoder), ["ward", "code"]),
        ]
    )


def held(pipeline: Any, training: list[Row], fresh: list[Row], task: str) -> Scorer:
    """Fit, compile, and hold both evaluators against scikit-learn; the scorer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(to_frame(training, SCHEMA), truth_of(training, task))
        frame = to_frame(fresh, SCHEMA)
        wanted = pipeline.predict(frame)[:, np.newaxis] if task == "regression" else pipeline.predict_proba(frame)
    plan = read_plan(*plan_bytes(compile_plan(pipeline, SCHEMA)))
    scorer, twin = Scorer(plan, SCHEMA), Scorer(plan, SCHEMA, native=False)
    assert (scorer.evaluator, twin.evaluator) == ("native", "numpy")
    got = np.array(scorer.score_rows(fresh))
    assert (np.abs(got - wanted) / np.maximum(1.0, np.abs(wanted))).max() <= 1e-12
    assert (got.argmax(axis=1) == wanted.argmax(axis=1)).all()
    assert got.tobytes() == np.array(twin.score_rows(fresh)).tobytes()
    for size in (1, 3, 7, 8, 13, 40):
        parts = [scorer.score_rows(fresh[start : start + size]) for start in range(0, len(fresh), size)]
        assert got.tobytes() == np.concatenate(parts).tobytes(), size
    columns = [list(cells) for cells in zip(*fresh, strict=True)]
    assert got.tobytes() == scorer.score_columns(columns, len(fresh)).tobytes()
    return scorer


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("learner", CLASSIFIERS)
def test_classifiers(learner: str, task: str, training_rows: list[Row], fresh_rows: list[Row]) -> None:
    held(Pipeline([("f", prepared()), ("m", clone(CLASSIFIERS[learner]))]), training_rows, fresh_rows, task)


@pytest.mark.parametrize("learner", REGRESSORS)
def test_regressors(learner: str, training_rows: list[Row], fresh_rows: list[Row]) -> None:
    held(Pipeline([("f", prepared()), ("m", clone(REGRESSORS[learner]))]), training_rows, fresh_rows, "regression")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("encoder", CATEGORIES)
def test_categories(encoder: str, task: str, training_rows: list[Row], fresh_rows: list[Row]) -> None:
    learner = Ridge() if task == "regression" else LogisticRegression(max_iter=500)
    if encoder == "ordinal":
        learner = DecisionTreeRegressor() if task == "regression" else DecisionTreeClassifier()
    pipeline = Pipeline([("f", prepared(None, CATEGORIES[encoder])), ("m", learner)])
    held(pipeline, training_rows, fresh_rows, task)


@pytest.mark.parametrize("scaler", SCALERS)
def test_scalers_before_a_tree(scaler: str, training_rows: list[Row], fresh_rows: list[Row]) -> None:
    pipeline = Pipeline([("f", prepared(SCALERS[scaler])), ("m", DecisionTreeClassifier(random_state=0))])
    held(pipeline, training_rows, fresh_rows, "binary")


def test_our_own_transformers(training_rows: list[Row], fresh_rows: list[Row]) -> None:
    days = np.unique([int(row[-1] // 86_400) for row in fresh_rows[::3]])
    features = ColumnTransformer(
        [
            ("n", SimpleImputer(strategy="mean"), NAMES),
            ("gap", MissingFlags(), NAMES),
            ("dates", DateParts(DATE_PARTS), ["seen"]),
            ("day", DayInList(days), ["seen"]),
            ("pair", Pipeline([("j", JoinedCategories()), ("e", clone(ONE_HOT))]), ["ward", "code"]),
        ]
    )
    kept = KeptColumns("filter", 20)
    pipeline = Pipeline([("f", features), ("k", kept), ("m", ExtraTreesClassifier(30, random_state=0))])
    held(pipeline, training_rows, fresh_rows, "binary")


@pytest.mark.parametrize("loss", ["exponential", "log_loss"])
def test_losses_of_boosting(loss: str, training_rows: list[Row], fresh_rows: list[Row]) -> None:
    learner = GradientBoostingClassifier(loss=loss, n_estimators=6, random_state=0)
    held(Pipeline([("f", prepared()), ("m", learner)]), training_rows, fresh_rows, "binary")


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile"])
def test_hist_boosting_with_gaps_and_its_own_categories(
    loss: str, training_rows: list[Row], fresh_rows: list[Row]
) -> None:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    features = ColumnTransformer([("n", "passthrough", [*NAMES, "flag"]), ("c", encoder, ["ward", "code"])])
    quantile = 0.4 if loss == "quantile" else None
    learner = HistGradientBoostingRegressor(loss=loss, quantile=quantile, max_iter=30, categorical_features=[6, 7])
    scorer = held(Pipeline([("f", features), ("m", learner)]), training_rows, fresh_rows, "regression")
    step = next(step for step in scorer.plan.operations if step.name == "forest")
    assert step.ints[4] > 2, "no test of a set of categories was learned"


@pytest.mark.parametrize("leaves", [2, 16, 17, 33, 64, 65])
def test_trees_of_every_size_answer_alike_alone_and_in_any_company(
    leaves: int, training_rows: list[Row], fresh_rows: list[Row]
) -> None:
    """Up to 64 leaves many rows go through a tree together, beyond that each walks; a few rows always walk."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    features = ColumnTransformer([("n", "passthrough", [*NAMES, "flag"]), ("c", encoder, ["ward", "code"])])
    learner = HistGradientBoostingClassifier(
        max_iter=9, max_leaf_nodes=leaves, min_samples_leaf=1, categorical_features=[6, 7], random_state=0
    )
    scorer = held(Pipeline([("f", features), ("m", learner)]), training_rows, fresh_rows, "multiclass")
    grown = [tree.get_n_leaf_nodes() for trees in learner._predictors for tree in trees]
    assert max(grown) == leaves
    alone = [scorer.score_rows([row])[0] for row in fresh_rows]
    assert len(fresh_rows) > 257
    for size in (7, 8, 9, 15, 16, 17, 255, 256, 257):
        assert scorer.score_rows(fresh_rows[:size]) == alone[:size]


def test_a_few_small_trees_beside_a_large_one(training_rows: list[Row], fresh_rows: list[Row]) -> None:
    """One is enough for blocks of 2,048 rows, in which the small ones go through theirs in parts."""
    small = HistGradientBoostingClassifier(max_iter=3, random_state=0)
    large = ExtraTreesClassifier(200, random_state=0)
    pipeline = Pipeline([("f", prepared()), ("m", VotingClassifier([("a", small), ("b", large)], voting="soft"))])
    many = [*fresh_rows] * (1 + 2100 // len(fresh_rows))
    scorer = held(pipeline, training_rows, many, "binary")
    assert max(step.ints[1] for step in scorer.plan.operations if step.name == "forest") > 32_768


@pytest.mark.parametrize(
    ("learner", "scaler", "reason"),
    [
        (KNeighborsClassifier(), StandardScaler(), "KNeighborsClassifier has no operation"),
        (LogisticRegression(), QuantileTransformer(n_quantiles=10), "QuantileTransformer has no operation"),
        (HistGradientBoostingClassifier(max_iter=2), PolynomialFeatures(3), "polynomial"),
        (VotingClassifier([("a", LogisticRegression())], voting="hard"), StandardScaler(), "hard voting"),
    ],
)
def test_what_has_no_plan_says_why(learner: Any, scaler: Any, reason: str, training_rows: list[Row]) -> None:
    pipeline = Pipeline([("f", prepared(scaler)), ("m", learner)])
    pipeline.fit(to_frame(training_rows, SCHEMA), truth_of(training_rows, "binary"))
    with pytest.raises(Refused, match=reason):
        compile_plan(pipeline, SCHEMA)


def test_a_learner_that_takes_no_gaps_has_no_plan_where_gaps_reach_it(training_rows: list[Row]) -> None:
    whole = [row for row in training_rows if None not in row[:NUMBERS]]
    pipeline = Pipeline([("f", ColumnTransformer([("n", "passthrough", NAMES)])), ("m", LogisticRegression())])
    pipeline.fit(to_frame(whole, SCHEMA), truth_of(whole, "binary"))
    with pytest.raises(Refused, match="no missing values"):
        compile_plan(pipeline, SCHEMA)


def test_a_calibration_that_has_not_seen_all_classes_has_no_plan(training_rows: list[Row]) -> None:
    truth = np.asarray(truth_of(training_rows, "multiclass"))
    some, all_rows = np.flatnonzero(truth != truth[0]), np.arange(len(truth))
    learner = CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3), cv=[(some, all_rows)])
    pipeline = Pipeline([("f", prepared()), ("m", learner)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(to_frame(training_rows, SCHEMA), truth)
    with pytest.raises(Refused, match="has not seen all classes"):
        compile_plan(pipeline, SCHEMA)
