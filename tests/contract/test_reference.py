"""docs/contract.md says what the models say, and shows every chapter."""

from pathlib import Path

from kubeloop.contract.model import Contract
from kubeloop.contract.reference import EXAMPLES, PLACE, reference


def texts(root: Path) -> list[str]:
    return [(root / "examples" / name / "loop.yaml").read_text(encoding="utf-8") for name in EXAMPLES]


def test_the_page_is_what_the_models_say(root: Path) -> None:
    there = (root / PLACE).read_text(encoding="utf-8")
    assert there == reference(texts(root)), "run `make compile`"


def test_every_chapter_and_word_is_on_it(root: Path) -> None:
    page = reference(texts(root))
    for chapter in Contract.model_fields:
        assert f"\n## {chapter}\n" in page
    assert "| `margin` | number, at least 0 or string |" in page
    assert "| `at_least` | number |" in page


def test_an_example_stands_in_its_chapter_alone() -> None:
    page = reference(["name: one\n\ndata:\n  # A remark.\n  id: [key]\n\nseed: 3\n"])
    assert page.count("```yaml") == 3
    assert "```yaml\ndata:\n  # A remark.\n  id: [key]\n```" in page
