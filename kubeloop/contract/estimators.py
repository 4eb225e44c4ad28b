"""Which estimator fits which task, and the parameters it takes: scikit-learn's names, known without importing it."""

from kubeloop.contract.target import Task

_C, _R = "Classifier", "Regressor"
_TREE = (
    "ccp_alpha criterion max_depth max_features max_leaf_nodes min_impurity_decrease min_samples_leaf "
    "min_samples_split min_weight_fraction_leaf"
)
_FOREST = f"{_TREE} bootstrap max_samples monotonic_cst n_estimators oob_score"
_HIST = (
    "categorical_features early_stopping interaction_cst l2_regularization learning_rate loss max_bins max_depth "
    "max_features max_iter max_leaf_nodes min_samples_leaf monotonic_cst n_iter_no_change scoring tol "
    "validation_fraction"
)
_BOOST = f"{_TREE} learning_rate loss n_estimators n_iter_no_change subsample tol validation_fraction"
_MLP = (
    "activation alpha batch_size beta_1 beta_2 early_stopping epsilon hidden_layer_sizes learning_rate "
    "learning_rate_init max_fun max_iter momentum n_iter_no_change nesterovs_momentum power_t shuffle solver tol "
    "validation_fraction"
)
_SPARSE = "alpha copy_X fit_intercept max_iter positive precompute selection tol"
_CLASSIFIERS: dict[str, str] = {
    "sklearn.linear_model.LogisticRegression": "C class_weight dual fit_intercept intercept_scaling l1_ratio max_iter "
    "penalty solver tol",
    "sklearn.neighbors.KNeighborsClassifier": "metric n_neighbors p weights",
    "sklearn.naive_bayes.GaussianNB": "priors var_smoothing",
    "sklearn.naive_bayes.BernoulliNB": "alpha binarize class_prior fit_prior force_alpha",
    "sklearn.tree.DecisionTreeClassifier": f"{_TREE} class_weight monotonic_cst splitter",
    "sklearn.ensemble.RandomForestClassifier": f"{_FOREST} class_weight",
    "sklearn.ensemble.ExtraTreesClassifier": f"{_FOREST} class_weight",
    "sklearn.ensemble.HistGradientBoostingClassifier": f"{_HIST} class_weight",
    "sklearn.ensemble.GradientBoostingClassifier": _BOOST,
    "sklearn.ensemble.AdaBoostClassifier": "learning_rate n_estimators",
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": "n_components priors shrinkage solver "
    "store_covariance tol",
    "sklearn.neural_network.MLPClassifier": _MLP,
    "sklearn.ensemble.VotingClassifier": "weights",
    "sklearn.ensemble.StackingClassifier": "cv passthrough stack_method",
}
_REGRESSORS: dict[str, str] = {
    "sklearn.linear_model.LinearRegression": "copy_X fit_intercept positive tol",
    "sklearn.linear_model.Ridge": "alpha copy_X fit_intercept max_iter positive solver tol",
    "sklearn.linear_model.Lasso": _SPARSE,
    "sklearn.linear_model.ElasticNet": f"{_SPARSE} l1_ratio",
    "sklearn.linear_model.HuberRegressor": "alpha epsilon fit_intercept max_iter tol",
    "sklearn.neighbors.KNeighborsRegressor": "metric n_neighbors p weights",
    "sklearn.tree.DecisionTreeRegressor": f"{_TREE} monotonic_cst splitter",
    "sklearn.ensemble.RandomForestRegressor": _FOREST,
    "sklearn.ensemble.ExtraTreesRegressor": _FOREST,
    "sklearn.ensemble.HistGradientBoostingRegressor": f"{_HIST} quantile",
    "sklearn.ensemble.GradientBoostingRegressor": f"{_BOOST} alpha",
    "sklearn.ensemble.AdaBoostRegressor": "learning_rate loss n_estimators",
    "sklearn.neural_network.MLPRegressor": f"{_MLP} loss",
    "sklearn.ensemble.VotingRegressor": "weights",
    "sklearn.ensemble.StackingRegressor": "cv passthrough",
}
_SHORT_CLASSIFIERS = {
    "logistic_regression": "sklearn.linear_model.LogisticRegression",
    "k_neighbors": "sklearn.neighbors.KNeighborsClassifier",
    "naive_bayes": "sklearn.naive_bayes.GaussianNB",
    "decision_tree": "sklearn.tree.DecisionTreeClassifier",
    "random_forest": "sklearn.ensemble.RandomForestClassifier",
    "extra_trees": "sklearn.ensemble.ExtraTreesClassifier",
    "gradient_boosting": "sklearn.ensemble.HistGradientBoostingClassifier",
    "ada_boost": "sklearn.ensemble.AdaBoostClassifier",
    "mlp": "sklearn.neural_network.MLPClassifier",
    "voting": "sklearn.ensemble.VotingClassifier",
    "stacking": "sklearn.ensemble.StackingClassifier",
}
_SHORT_REGRESSORS = {
    "ridge": "sklearn.linear_model.Ridge",
    "linear": "sklearn.linear_model.LinearRegression",
    "lasso": "sklearn.linear_model.Lasso",
    "elastic_net": "sklearn.linear_model.ElasticNet",
    **{
        name: path.replace(_C, _R)
        for name, path in _SHORT_CLASSIFIERS.items()
        if name not in ("logistic_regression", "naive_bayes")
    },
}
IMPORTED = "imported"
"""The kind of a model that was fitted elsewhere; it takes no parameters."""

_TASKS: dict[Task, tuple[dict[str, str], dict[str, str]]] = {
    "binary": (_SHORT_CLASSIFIERS, _CLASSIFIERS),
    "multiclass": (_SHORT_CLASSIFIERS, _CLASSIFIERS),
    "regression": (_SHORT_REGRESSORS, _REGRESSORS),
}
ESTIMATORS_OF_TASK: dict[Task, tuple[str, ...]] = {task: (*short, IMPORTED) for task, (short, _) in _TASKS.items()}
"""Short names by task; the linear one, which is everyone's rival, first."""

OURS = {
    "n_jobs": "training runs on one thread, so that its result repeats",
    "random_state": "it follows from `seed`",
    "verbose": "what was trained is in the report",
    "warm_start": "every training starts from nothing",
}
"""Parameters that a contract does not set, and why."""

FIXED = {
    "algorithm": "neighbours are searched one by one, for only then a model file is plain data",
    "leaf_size": "neighbours are searched one by one, so there are no leaves",
    "metric_params": "the metrics with a name need none",
    "estimator": "the members are small trees",
    "estimators": "write them as estimator.members",
    "final_estimator": "write it as estimator.final",
    "voting": "probabilities are averaged, for the endpoint gives probabilities",
    "flatten_transform": "nothing reads the votes one by one",
    "covariance_estimator": "use shrinkage",
    "init": "boosting starts from the mean",
}
"""Parameters that hold objects or decide what a model file is made of, and why nobody sets them."""

MIXED = ("voting", "stacking")
LINEAR = frozenset(
    {
        "sklearn.linear_model.LogisticRegression",
        "sklearn.linear_model.LinearRegression",
        "sklearn.linear_model.Ridge",
        "sklearn.linear_model.Lasso",
        "sklearn.linear_model.ElasticNet",
        "sklearn.linear_model.HuberRegressor",
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    }
)


def import_path(kind: str, task: Task) -> str | None:
    """scikit-learn's import path of a short name or an allowed path; None where it does not fit the task."""
    short, known = _TASKS[task]
    return short.get(kind) or (kind if kind in known else None)


def import_paths(task: Task) -> tuple[str, ...]:
    """All allowed import paths of a task."""
    return tuple(_TASKS[task][1])


def all_paths() -> tuple[str, ...]:
    """All allowed import paths."""
    return (*_CLASSIFIERS, *_REGRESSORS)


def parameters_of(kind: str, task: Task) -> tuple[str, ...]:
    """Parameters that a contract may set, sorted; none for a kind that does not fit the task."""
    path = import_path(kind, task)
    return tuple(sorted(_TASKS[task][1][path].split())) if path else ()


def mixed(kind: str) -> bool:
    """Whether the estimator is put together of members."""
    return kind in MIXED or kind.rpartition(".")[2].startswith(("Voting", "Stacking"))
