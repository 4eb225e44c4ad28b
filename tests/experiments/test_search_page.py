"""What a person sees of a search: axes have their names and units."""

from typing import Any

from kubeloop.reports.search_page import search_section


def facts(**metrics: float) -> dict[str, Any]:
    trials = [
        {
            "number": number,
            "status": "Succeeded",
            "reason": "",
            "value": 0.5 + number / 10,
            "seconds": 9.0 + number,
            "parameters": {"C": str(number)},
            "metrics": {"roc_auc": 0.5, **metrics},
        }
        for number in range(3)
    ]
    parameter = {"name": "C", "kind": "double", "log": False, "low": 0.0, "high": 3.0, "values": []}
    search = {"metric": "roc_auc", "direction": "maximize", "algorithm": "tpe", "best": 2, "value": 0.7, "failed": 0}
    return {"search": {**search, "first": {"contract": 0}, "reason": "", "parameters": [parameter]}, "trials": trials}


def test_quality_stands_against_the_seconds_of_training() -> None:
    page = str(search_section(facts(train_seconds=1.5)))
    assert "Training, seconds" in page
    assert "ROC AUC against the seconds of all fits of a trial." in page


def test_where_a_program_does_not_tell_them_it_is_the_trials_own() -> None:
    page = str(search_section(facts()))
    assert "Trial, seconds" in page
    assert "ROC AUC against the seconds of a trial." in page
