import csv
from pathlib import Path

from kubeloop.contract.load import read_contract


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_all_rows_of_heart_keep_the_rules(root: Path) -> None:
    folder = root / "examples" / "heart"
    columns = read_contract(folder / "loop.yaml").data.columns
    table = rows(folder / "heart.csv")
    assert len(table) == 303
    assert list(table[0]) == list(columns)
    for row in table:
        for name, column in columns.items():
            if row[name] == "":
                assert column.nullable
                continue
            value = float(row[name])
            assert column.minimum is None or column.minimum <= value
            assert column.maximum is None or value <= column.maximum
            assert column.values is None or value in column.values


def test_the_mislabelled_table_differs_in_one_column_and_breaks_its_rule(root: Path) -> None:
    folder = root / "examples" / "heart"
    right, wrong = rows(folder / "heart.csv"), rows(folder / "heart-mislabelled.csv")
    assert [row | {"trestbps": row["chol"]} for row in right] == wrong
    limit = read_contract(folder / "loop.yaml").data.columns["trestbps"].maximum
    assert limit is not None
    assert sum(float(row["trestbps"]) > limit for row in wrong) / 303 > 0.5


def test_every_example_says_where_its_data_comes_from(root: Path) -> None:
    for folder in (root / "examples").iterdir():
        assert "licence" in (folder / "ATTRIBUTION.md").read_text("utf-8").lower()
        assert read_contract(folder / "loop.yaml").name == folder.name


def test_what_the_demo_edits_is_there(root: Path) -> None:
    text = (root / "examples" / "heart" / "loop.yaml").read_text("utf-8")
    assert text.count("path: heart.csv") == 1
    assert "\nestimator:" in text
    assert "\nfeatures:" not in text
