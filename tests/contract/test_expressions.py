import re

import pytest

from kubeloop.contract.expressions import check_expression, columns_of
from kubeloop.errors import InputError

NAMES = ("age", "arr_delay", "Sale Price", "sex")

GOOD = {
    "arr_delay > 15": ("arr_delay",),
    "age >= 65 and not (sex = '1' or sex is null)": ("age", "sex"),
    "age between 1 and 2.5e3": ("age",),
    "sex not in ('a', 'it''s', '-- no comment; really')": ("sex",),
    '"Sale Price" / 1000 - age % 2 + -3 > age // 2': ("Sale Price", "age"),
    "case when age < 18 then 'child' when age is not null then 'adult' else null end": ("age",),
    "case sex when '1' then true else false end": ("sex",),
    "coalesce(abs(age), least(age, 3), greatest(1, 2), round(age, 1)) <> 4": ("age",),
    "lower(sex) = upper('x') or sex != 'y'": ("sex",),
    "1": (),
}

BAD = {
    "": "an expression was expected, got nothing",
    " ": "an expression was expected, got nothing",
    "age >": "is no expression",
    "age > 5)": "is no expression",
    "agee > 5": "'agee' is not a known column; did you mean 'age'?",
    "AGE > 5": "'AGE' is not a known column; did you mean 'age'?",
    'sex = "m"': "'m' is not a known column; known are: Sale Price, age, arr_delay, sex",
    "age > 5; drop table x": "one expression was expected, got a ';'",
    "age > 5;": "one expression was expected, got a ';'",
    "age > 5 -- why": "got a comment in it",
    "age /* x */ > 5": "got a comment in it",
    "-- only": "got a comment in it",
    "select 1": "is not allowed in an expression",
    "(select 1)": "is not allowed in an expression",
    "age in (select 1)": "is not allowed in an expression",
    "exists (select 1)": "is not allowed in an expression",
    "drop table x": "is not allowed in an expression",
    "copy x to 'y'": "is not allowed in an expression",
    "pragma x": "is not allowed in an expression",
    "attach 'x'": "is not allowed in an expression",
    "age as x": "is not allowed in an expression",
    "age, sex": "is no expression",
    "main.age > 5": "is not allowed in an expression",
    "*": "is not allowed in an expression",
    "columns('a')": "is not allowed in an expression",
    "age::text": "is not allowed in an expression",
    "cast(age as text)": "is not allowed in an expression",
    "sex like 'a%'": "is not allowed in an expression",
    "sex || 'a'": "is not allowed in an expression",
    "age > $1": "is not allowed in an expression",
    "age > ?": "is not allowed in an expression",
    "age > :x": "is not allowed in an expression",
    "[age]": "is not allowed in an expression",
    "{'a': age}": "is not allowed in an expression",
    "age -> 1": "is not allowed in an expression",
    "if(age > 1, 2, 3)": "is not allowed in an expression; write case when ... then ... else ... end",
    "read_text('/etc/passwd')": "the function read_text is not allowed",
    "getenv('HOME')": "the function getenv is not allowed",
    "sum(age)": "the function sum is not allowed",
    "random()": "is not allowed in an expression",
    "lowr(sex)": "the function lowr is not allowed in an expression; did you mean 'lower'?",
    "sum(age) over ()": "is not allowed in an expression",
    "age > interval 1 day": "is not allowed in an expression",
    "current_date": "is not allowed in an expression",
    "(" * 400 + "age" + ")" * 400: "nested too deep",
    "age + " * 500 + "age": "at most 2,000 characters were expected, got 3,003",
    "age > '": "is no expression",
}


@pytest.mark.parametrize("text", GOOD)
def test_allowed(text: str) -> None:
    check_expression(text, NAMES)
    assert columns_of(text) == GOOD[text]


@pytest.mark.parametrize("text", GOOD)
def test_duckdb_takes_what_is_allowed(text: str) -> None:
    import duckdb

    table = "SELECT 1 AS age, 2 AS arr_delay, 3.5 AS \"Sale Price\", '1' AS sex"
    assert len(duckdb.sql(f"SELECT ({text}) FROM ({table})").fetchall()) == 1


@pytest.mark.parametrize("text", BAD)
def test_refused(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(BAD[text])) as caught:
        check_expression(text, NAMES)
    assert caught.value.fix


def test_a_slow_expression_is_refused_soon() -> None:
    for text in ("(" * 1900, "not " * 490 + "age", "case " * 390, "-" * 1900 + "1", "age in (" * 240):
        with pytest.raises(InputError):
            check_expression(text, NAMES)
