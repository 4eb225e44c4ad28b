import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from kubeloop.contract.load import read_contract
from kubeloop.contract.model import Contract
from kubeloop.errors import InputError, from_dict

BAD: dict[str, tuple[str, str, str]] = {
    case: (each["old"], each["new"], each["said"])
    for case, each in yaml.safe_load((Path(__file__).parent / "mistakes.yaml").read_text(encoding="utf-8")).items()
}


@pytest.mark.parametrize("case", BAD)
def test_bad_contract(case: str, base: str, read: Callable[[str], Contract]) -> None:
    old, new, said = BAD[case]
    assert old in base
    with pytest.raises(InputError) as caught:
        read(base.replace(old, new, 1))
    shown = str(caught.value).splitlines()
    assert f"loop.yaml:{said}" in shown[0]
    found = caught.value.context["findings"]
    assert len(shown) == len(found) + 1
    assert f"{found[0]['line']}:{found[0]['column']} {found[0]['path']}".strip() in said
    assert "hunter2" not in str(caught.value) + json.dumps(caught.value.to_dict())


# These make a second thing wrong.
ALONE = set(BAD) - {"derived name taken", "time's type", "value of the wrong type"}


@pytest.mark.parametrize("case", sorted(ALONE))
def test_one_mistake_is_mostly_one_finding(case: str, base: str, read: Callable[[str], Contract]) -> None:
    old, new, _ = BAD[case]
    with pytest.raises(InputError) as caught:
        read(base.replace(old, new, 1))
    assert len(caught.value.context["findings"]) == 1, str(caught.value)


def test_the_base_is_right(base: str, read: Callable[[str], Contract]) -> None:
    assert read(base).name == "small"


def test_all_findings_at_once_in_the_order_of_the_file(base: str, read: Callable[[str], Contract]) -> None:
    text = base
    for case in (
        "unknown key",
        "metric and task",
        "target column",
        "boolean of YAML 1.1",
        "SLA without KPI",
        "password",
    ):
        old, new, _ = BAD[case]
        text = text.replace(old, new, 1)
    with pytest.raises(InputError) as caught:
        read(text)
    lines = [finding["line"] for finding in caught.value.context["findings"]]
    assert lines == [7, 11, 14, 22, 25, 28]
    assert caught.value.problem.endswith("(and 5 more)")
    assert caught.value.fix == "correct these 6 places"


def test_an_error_stays_an_input_error_across_processes(base: str, read: Callable[[str], Contract]) -> None:
    with pytest.raises(InputError) as caught:
        read(base.replace("kind: logistic_regression", "kind: logistic"))
    finding = caught.value.context["findings"][0]
    assert {key: finding[key] for key in ("line", "column", "path", "got", "nearest")} == {
        "line": 26,
        "column": 19,
        "path": "estimator.kind",
        "got": "the text 'logistic'",
        "nearest": "logistic_regression",
    }
    back = from_dict(json.loads(json.dumps(caught.value.to_dict())))
    assert (type(back), back.exit_code, back.problem) == (InputError, 2, caught.value.problem)


FILES = {
    "empty": (b"", "a contract was expected, got an empty file"),
    "blank": (b" \n\n", "a contract was expected, got an empty file"),
    "comments": (b"# nothing\n", "1:1: expected keys and values, such as `kubeloop: 1`, got nothing but comments"),
    "not UTF-8": (
        "kubeloop: 1\nname: m\xfcll\n".encode("latin-1"),
        "loop.yaml:2: UTF-8 text was expected, got the byte 0xfc",
    ),
    "UTF-16": ("kubeloop: 1".encode("utf-16"), "UTF-8 text was expected"),
    "a list": (b"- a\n- b\n", "1:1: expected keys and values, such as `kubeloop: 1`, got a list"),
    "a word": (b"hello", "got the text 'hello'"),
    "a tab": (
        b"kubeloop: 1\ndata:\n\tid: [a]\n",
        "loop.yaml:3:1: expected YAML, got a tab, where YAML allows spaces only",
    ),
    "NUL": (b"kubeloop: 1\nname: a\x00b\n", "loop.yaml:2:8: expected YAML, got a character that YAML does not allow"),
    "not closed": (b"kubeloop: 1\nid: [a\nname: b\n", "loop.yaml:3:"),
    "two documents": (b"kubeloop: 1\n---\nkubeloop: 1\n", "expected YAML, got a second document"),
    "unknown alias": (b"kubeloop: *x\n", "loop.yaml:1:11: expected YAML, got found undefined alias"),
    "deep": (b"a: " + b"[" * 5000, "loop.yaml:1:27: nested deeper than 24 levels"),
    "recursive": (b"a: &x [*x]\n", "nested deeper than 24 levels"),
    "laughs": (
        b"a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 10)) for n in range(98, 106)),
        "expected at most 50,000 values, got more, by aliases",
    ),
    "large": (b"#" * 1_000_001, "at most 1,000,000 bytes were expected, got more"),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_file(case: str, write: Callable[[str | bytes], Path]) -> None:
    content, said = FILES[case]
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read_contract(write(content))
    assert "fix: " in str(caught.value)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_contract(tmp_path / "loop.yaml")
    with pytest.raises(InputError, match="a file was expected, got a directory"):
        read_contract(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_contract(tmp_path / ("x" * 300))


def test_words_of_yaml_1_1_are_text(base: str, read: Callable[[str], Contract]) -> None:
    made = read(
        base.replace("values: [a, b]", "values: [no, on, Yes, 2027-01-31, 010, 1:30, 0x1F, 1e3, -.5, true]")
        .replace("positive: 1", "positive: 1\n")
        .replace(
            "key: {type: text}", "key: {type: text, description: ~, nullable: TRUE}".replace(" description: ~,", "")
        )
    )
    assert made.data.columns["town"].values == ("no", "on", "Yes", "2027-01-31", "010", "1:30", 31, 1000.0, -0.5, True)
    assert made.data.columns["key"].nullable is True


def test_names_of_columns_are_as_written(base: str, read: Callable[[str], Contract]) -> None:
    made = read(
        base.replace(
            "    key: ", '    no: {type: text}\n    2019: {type: text}\n    "Ämter %": {type: number}\n    key: '
        )
    )
    assert list(made.data.columns)[:3] == ["no", "2019", "Ämter %"]


def test_aliases_are_places_too(base: str, read: Callable[[str], Contract]) -> None:
    text = base.replace("key: {type: text}", "key: &same {type: text}\n    other: *same")
    assert read(text).data.columns["other"].type == "text"
    with pytest.raises(InputError, match=r"loop.yaml:14:23 data.columns.key.type: .*did you mean 'text'") as caught:
        read(text.replace("{type: text}", "{type: txt}"))
    assert len(caught.value.context["findings"]) == 2


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(base: str, write: Callable[[bytes], Path]) -> None:
    plain = read_contract(write(base.encode()))
    assert read_contract(write(b"\xef\xbb\xbf" + base.replace("\n", "\r\n").encode())) == plain


def test_too_large_for_parameters(base: str, read: Callable[[str], Contract]) -> None:
    columns = "".join(
        f"    c{n}: {{type: category, values: [{', '.join(f'v{i}' for i in range(60))}]}}\n" for n in range(90)
    )
    with pytest.raises(
        InputError, match=r"takes 1\d\d,\d\d\d bytes as pipeline parameters, at most 100,000 were expected"
    ):
        read(base.replace("    key: ", columns + "    key: "))


def test_a_wide_table_fits(base: str, read: Callable[[str], Contract]) -> None:
    columns = "".join(f"    measurement_{n}: {{type: number}}\n" for n in range(400))
    assert len(read(base.replace("    key: ", columns + "    key: ")).data.columns) == 407
