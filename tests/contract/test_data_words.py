"""What is said of mistakes in rules, checks, terms and the split."""

import re
from collections.abc import Callable

import pytest

from kubeloop.contract.durations import length_of
from kubeloop.contract.model import Contract
from kubeloop.contract.sections import sections_of
from kubeloop.errors import InputError

HEAD = """\
kubeloop: 1
name: small
data:
  sources: [{name: a, path: a.csv}]
  time: t
  columns:
    x: {type: number}
    s: {type: text}
    g: {type: category}
    t: {type: date}
    secret: {type: number, policy: deny}
    y: {type: integer}
"""
TAIL = """\
target: {column: y, task: binary}
estimator: {kind: logistic_regression}
metrics: {primary: roc_auc}
"""

MISTAKES = [
    (
        "x: {type: number}",
        "x: {type: number, pattern: a}",
        "`pattern` is for the types category and text, 'x' is of type",
    ),
    ("s: {type: text}", "s: {type: text, pattern: '('}", "expected a regular expression, got '(' ("),
    (
        "s: {type: text}",
        "s: {type: text, pattern: '(?=a)b'}",
        "without look-around and back references (RE2), got '(?='",
    ),
    ("s: {type: text}", "s: {type: text, pattern: '(a)\\1'}", "without look-around and back references (RE2)"),
    ("x: {type: number}", "x: {type: number, null_at_most: 1.5}", "expected at most 1"),
    (
        "x: {type: number}",
        "x: {type: number, nullable: false, null_at_most: 0.1}",
        "every row of 'x' must have a value",
    ),
    ("policy: deny", "policy: deny, unique: true", "'secret' is under policy deny, so it is never read, and no rule"),
    ("  columns:", "  rules: [{name: r, expression: xx > 1}]\n  columns:", "'xx' is not a column of data.columns"),
    ("  columns:", "  rules: [{name: r, expression: secret > 1}]\n  columns:", "'secret' is under policy deny"),
    ("  columns:", "  rules: [{name: r, expression: x >}]\n  columns:", "is no expression"),
    (
        "  columns:",
        "  rules: [{name: r, expression: x > 1}, {name: r, expression: x > 2}]\n  columns:",
        "a second rule is called 'r'",
    ),
    ("  columns:", "  checks: {rows: {at_least: 5, at_most: 4}}\n  columns:", "at_least 5 is more than at_most 4"),
    ("  columns:", "  checks: {fresh_within: 7 days}\n  columns:", "expected text like ^[1-9][0-9]{0,8}(s|min|h|d)$"),
    ("  time: t\n", "  checks: {fresh_within: 7d}\n", "`fresh_within` needs `data.time`"),
    (
        "  columns:",
        "  checks: {group_share_at_least: {column: gg, share: 0.1}}\n  columns:",
        "'gg' is not a column that is read; did you mean 'g'?",
    ),
    ("  columns:", "  checks: {change: {}}\n  columns:", "expected a bound, such as `rows_at_most: 0.5`, got none"),
    (
        "  sources: [{name: a, path: a.csv}]",
        "  terms: {licence: CC0, origin: ' ', owner: we}\n  sources: [{name: a, path: a.csv}]",
        "data.terms.origin: expected where the data comes from, got nothing",
    ),
    (
        "{name: a, path: a.csv}]",
        "{name: a, path: a.csv}, {name: b, path: b.csv, terms: {licence: CC0, origin: here, owner: we}}]\n"
        "  joins: [{source: b, on: [s]}]",
        "data.sources[0]: 'a' has no terms, and 'b' has: by what right is it used? add `terms`",
    ),
    ("target:", "split: {by: hash, column: g}\ntarget:", "`column` is not for `by: hash`"),
    ("target:", "split: {by: time, unit: hour}\ntarget:", "expected day or row, for 't' is a date, got hour"),
    ("target:", "split: {by: group}\ntarget:", "expected `split.column` or `data.group` with `by: group`, got neither"),
    ("target:", "split: {by: group, column: secret}\ntarget:", "'secret' is not a column that is read"),
    ("target:", "split: {by: stratified, column: x}\ntarget:", "got 'x' of type number"),
    ("target:", "split: {by: column}\ntarget:", "expected `split.column` with `by: column`, got none"),
    ("target:", "split: {by: column, column: g}\ntarget:", "so it is no feature: name it in features.drop"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_mistakes(old: str, new: str, said: str, read: Callable[[str], Contract]) -> None:
    text = HEAD + TAIL
    assert old in text
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read(text.replace(old, new, 1))
    assert len(caught.value.context["findings"]) == 1, str(caught.value)


def test_a_split_by_time_needs_a_time(read: Callable[[str], Contract]) -> None:
    with pytest.raises(InputError, match=re.escape("split.by: expected `data.time` with `by: time`, got none")):
        read((HEAD + TAIL).replace("  time: t\n", "").replace("target:", "split: {by: time}\ntarget:"))


def test_strata_of_a_regression(read: Callable[[str], Contract]) -> None:
    text = (
        (HEAD + TAIL).replace("binary", "regression").replace("roc_auc", "rmse").replace("logistic_regression", "ridge")
    )
    with pytest.raises(InputError, match=r"split\.by: expected `split\.column` with `by: stratified`"):
        read(text.replace("target:", "split: {by: stratified}\ntarget:"))


RIGHT = [
    ("s: {type: text}", r"s: {type: text, pattern: '^(?:a|\\1)(?i:b)$', unique: true, null_at_most: 0.1}"),
    ("  columns:", "  rules: [{name: r, expression: x > 1 or y = 0}]\n  columns:"),
    ("  columns:", "  checks: {rows: {at_least: 5}, fresh_within: 36h, change: {mean_at_most: 3}}\n  columns:"),
    ("target:", "split: {by: time}\ntarget:"),
    ("target:", "split: {by: group, column: t}\ntarget:"),
    ("target:", "split: {by: stratified}\ntarget:"),
    ("target:", "split: {by: column, column: g}\nfeatures: {drop: [g]}\ntarget:"),
]


@pytest.mark.parametrize(("old", "new"), RIGHT)
def test_what_is_right(old: str, new: str, read: Callable[[str], Contract]) -> None:
    assert read((HEAD + TAIL).replace(old, new, 1)).name == "small"


def test_terms_of_a_source_go_before_those_of_all(read: Callable[[str], Contract]) -> None:
    terms = "{licence: CC0, origin: here, owner: we, expires: 2027-12-31}"
    text = (HEAD + TAIL).replace("  time: t", f"  terms: {terms}\n  time: t")
    assert {k: str(v) for k, v in sections_of(read(text)).validation.expires.items()} == {"a": "2027-12-31"}
    own = text.replace("path: a.csv", "path: a.csv, terms: {licence: CC0, origin: here, owner: we}")
    assert sections_of(read(own)).validation.expires == {}


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30min", 1800), ("3h", 10_800), ("7d", 604_800)])
def test_durations(text: str, seconds: int) -> None:
    assert length_of(text).total_seconds() == seconds


KPI = "business: {problem: p, outcome: o, owner: w, kpis: [{name: k, expression: accuracy * x, owner: w}]}"
PERSONAL = [
    ("s", "slices: [{name: one, where: s = 'a'}]", "slices[0].where: 's' is under policy pii"),
    ("s", KPI, None),
    ("x", KPI, "business.kpis[0].expression: 'x' is under policy pii"),
    ("g", "split: {by: stratified, column: g}", "split.column: 'g' is under policy pii"),
    ("g", "split: {by: group, column: g}", None),
    ("g", "gate: {blocks: g}", "gate.blocks: 'g' is under policy pii"),
]


@pytest.mark.parametrize(("name", "words", "said"), PERSONAL)
def test_values_that_stay_at_the_source_can_be_asked_for_nowhere(
    name: str, words: str, said: str | None, read: Callable[[str], Contract]
) -> None:
    head = re.sub(rf"(    {name}: \{{type: \w+)", r"\1, policy: pii", HEAD)
    # Of three columns one must be left to learn from.
    text = head.replace("    y:", "    z: {type: number}\n    y:") + TAIL + words + "\n"
    if said is None:
        read(text)
        return
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read(text)
    assert "no task after `ingest` sees its values" in str(caught.value)
