"""What a person sees of a search: axes have their names and units."""

from typing import Any

from kubeloop.reports.search_page import search_lede, search_section


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


def test_a_search_says_how_far_its_best_is_from_whoever_came_first() -> None:
    found = facts()
    assert "Trial 0 has the parameters of the contract; the best one is better by 0.2" in str(search_section(found))
    assert search_lede(found) == "Best ROC AUC 0.7, in trial 2; 3 trials."
    found["search"] |= {"best": 0, "value": 0.5}
    assert "Trial 0 has the parameters of the contract, and none was better." in str(search_section(found))


def test_objectives_and_seconds_stand_below_each_other() -> None:
    found = facts()
    found["trials"][0] |= {"value": 0.41771, "seconds": 12.5}
    found["trials"][1] |= {"value": 0.372, "seconds": 0.0625}
    found["trials"][2] |= {"value": 23410.0, "seconds": 1200.0}
    page = str(search_section(found))
    for cell in ("0.41771", "0.37200", "23410", "12.50", "0.06", "1,200.00"):
        assert f">{cell}<" in page


def test_only_a_contracts_search_vouches_for_its_rows() -> None:
    words = "no trial has seen a test row"
    assert words not in str(search_section(facts()))
    assert words in str(search_section({**facts(), "source": "search"}))
