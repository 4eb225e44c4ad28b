from collections.abc import Callable

import pytest

from kubeloop.contract.model import Contract
from kubeloop.errors import InputError

COLUMNS = """\
    note: {type: text}
    day: {type: date}
    pulse: {type: number}
    ward: {type: category}
    mail: {type: category, policy: pii}
"""


@pytest.fixture
def words(base: str, read: Callable[[str], Contract]) -> Callable[[str], Contract]:
    """Reads a contract with other features; it has the columns above, too."""

    def change(features: str) -> Contract:
        text = base.replace("    sick: {type", f"{COLUMNS}    sick: {{type")
        text = text.replace("  id: [key]\n", "  id: [key]\n  time: when\n")
        return read(text.replace("features: {use: [age, town]}", f"features: {features}"))

    return change


@pytest.mark.parametrize(
    "text",
    [
        "{columns: {note: {encode: target}, pulse: {impute: constant, fill: -1, indicator: true, scale: robust}}}",
        "{dates: {when: [hour, weekday], day: [month]}, numeric: {impute: random_sample, scale: none}}",
        "{interactions: [[age, pulse], [town, ward]], selection: {kind: l1, keep: 4}}",
        "{windows: [{name: visits, function: count, by: [ward], over: 7d}]}",
        "{windows: [{name: mean_pulse, function: mean, column: pulse, over: 12h}], code: my_features.py}",
        "{use: [], dates: {when: [hour]}}",
        "{categorical: {impute: mode, encode: target}}",
        "{holidays: {column: day, country: US}}",
    ],
)
def test_right_words_are_read(text: str, words: Callable[[str], Contract]) -> None:
    assert words(text).features


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{columns: {puls: {scale: none}}}", "'puls' is not a column of data.columns; did you mean 'pulse'?"),
        ("{columns: {mail: {encode: target}}}", "'mail' may not be a feature: policy pii"),
        ("{columns: {later: {scale: none}}}", "known_at is after"),
        ("{columns: {town: {scale: none}}}", "`scale` is for numbers, 'town' is of type category"),
        ("{columns: {pulse: {encode: one_hot}}}", "`encode` is for categories, 'pulse' is of type number"),
        ("{columns: {town: {impute: median}}}", "expected own, mode for the type category of 'town', got median"),
        ("{columns: {town: {encode: target, min_frequency: 5}}}", "`min_frequency` is not for `encode: target`"),
        ("{categorical: {encode: target, min_frequency: 5}}", "`min_frequency` is not for `encode: target`"),
        ("{use: [note]}", "type text is no feature; features.columns with `encode` makes a category of it"),
        ("{use: [day]}", "name its parts in features.dates"),
        ("{dates: {age: [hour]}}", "a column of type timestamp or date, got 'age' of type integer"),
        ("{dates: {wen: [hour]}}", "did you mean 'when'?"),
        ("{dates: {when: []}}", "at least one part"),
        ("{dates: {when: [hour, hour]}}", "the part 'hour' stands here twice"),
        ("{dates: {when: [hours]}}", "did you mean 'hour'?"),
        ("{holidays: {column: age, country: US}}", "timestamp or date"),
        ("{holidays: {column: day, country: USA}}", "features.holidays.country"),
        ("{interactions: [[age, town]]}", "expected two numbers or two categories, got integer and category"),
        ("{interactions: [[age, pulse], [pulse, age]]}", "interact already"),
        ("{interactions: [[age, age]]}", "interact already"),
        ("{interactions: [[age, puls]]}", "did you mean 'pulse'?"),
        ("{interactions: [[age]]}", "at least 2"),
        ("{interactions: [[age, sick]]}", "it is the target"),
        ("{windows: [{name: age, function: count, over: 7d}]}", "'age' is a column already"),
        ("{windows: [{name: n, function: mean, over: 7d}]}", "`mean` needs one"),
        ("{windows: [{name: n, function: count, column: pulse, over: 7d}]}", "`count` counts rows"),
        ("{windows: [{name: n, function: mean, column: sick, over: 7d}]}", "'sick' is the target, whose past"),
        ("{windows: [{name: n, function: mean, column: later, over: 7d}]}", "known_at is after"),
        ("{windows: [{name: n, function: mean, column: town, over: 7d}]}", "a column of numbers"),
        ("{windows: [{name: n, function: count, by: [mail], over: 7d}]}", "policy pii"),
        ("{windows: [{name: n, function: count, over: week}]}", "features.windows[0].over"),
        ("{code: ../x.py}", "a path below the folder of loop.yaml"),
        ("{selection: {kind: l2}}", "expected none, filter, l1 or permutation"),
    ],
)
def test_wrong_words_are_refused(text: str, said: str, words: Callable[[str], Contract]) -> None:
    with pytest.raises(InputError) as caught:
        words(text)
    assert said in str(caught.value)


def test_a_window_needs_the_time(base: str, read: Callable[[str], Contract]) -> None:
    text = "{windows: [{name: n, function: count, over: 7d}]}"
    with pytest.raises(InputError, match=r"a window needs `data\.time`"):
        read(base.replace("features: {use: [age, town]}", f"features: {text}"))
