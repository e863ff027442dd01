"""One word for one thing: the words that notebooks, guides, help and messages do not use, and what they say instead."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import nbformat
import pytest

from digitlib.cli import main

TOP = Path(__file__).parents[1]
PAGES = [
    TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "notebooks/README.md", TOP / "benchmarks/results/README.md",
    *sorted((TOP / "docs").rglob("*.md")),
]  # fmt: skip
NOTEBOOKS = sorted((TOP / "notebooks").rglob("[0-9]*.ipynb"))
MODULES = sorted((TOP / "digitlib").rglob("*.py"))

INSTEAD = {
    r"pictures?": "image",
    r"surest|sureness": "most confident, confidence",
    r"decline[sd]?|declining": "abstain, reject",
    r"believed": "accepted",
    r"familiar(ity)?": "in-distribution",
    r"varied": "augmented",
    r"mistakes?": "error, misclassified",
    r"commonest": "majority-class baseline",
    r"anew": "again",
    r"mend(s|ed|ing)?": "fix",
    r"by heart": "overfitting",
    r"held? out in turn": "cross-validation",
}
"""Words without another use here, as regular expressions, and what to write."""

IN_PROSE = INSTEAD | {
    r"named|naming": "predicted, classified; called",
    r"(?<!there )(is|are) no (?!longer\b)[a-z]+": "is not a",
    r"stands? in": "is in",
}
"""Also these in what people read through; code has other uses for them."""

CODE = re.compile(r"`[^`]*`|https?://\S+")
"""Code and addresses, in which names are as they are."""


def found(text: str, words: dict[str, str]) -> list[str]:
    """Return each place of `text` that has one of the words, with what to write."""
    hits = []
    for pattern, instead in words.items():
        for hit in re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE):
            around = " ".join(text[max(0, hit.start() - 40) : hit.end() + 40].split())
            hits.append(f"{hit[0]!r} (write: {instead}): … {around} …")
    return hits


def shown_texts(cell: nbformat.NotebookNode) -> Iterator[str]:
    """Return what a cell of a notebook tells a reader: Markdown, comments, strings, and the texts of its outputs."""
    yield cell.source
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        data = {kind: text for kind, text in output.get("data", {}).items() if kind.startswith("text/")}
        yield re.sub(r"base64,[\w+/=]+", "", json.dumps([data, output.get("metadata", {})], ensure_ascii=False))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(TOP)))
def test_guides_use_the_words_of_the_glossary(page: Path) -> None:
    assert found(CODE.sub("", page.read_text(encoding="utf-8")), IN_PROSE) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_use_the_words_of_the_glossary(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    hits = [hit for cell in cells if cell.cell_type == "markdown" for hit in found(cell.source, IN_PROSE)]
    hits += [
        hit for cell in cells if cell.cell_type == "code" for text in shown_texts(cell) for hit in found(text, INSTEAD)
    ]
    assert hits == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TOP)))
def test_docstrings_and_messages_use_the_words_of_the_glossary(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [hit for text in texts for hit in found(text, INSTEAD)] == []


def test_every_command_and_option_says_what_it_does_in_plain_words() -> None:
    for name, command in {"digitlib": main, **main.commands}.items():
        context = click.Context(command, info_name=name)
        assert found(command.get_help(context), IN_PROSE) == [], name
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.name}"
        first = (command.help or "").partition("\n")[0]
        assert re.match(r"[A-Z][a-z]+,? ", first), name
        assert first.endswith("."), name


def test_the_glossary_explains_the_terms_of_the_field() -> None:
    text = (TOP / "docs/teaching.md").read_text(encoding="utf-8").partition("## Glossary")[2]
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE))
    terms = " ".join(rows)
    for term in (
        "abstain", "architecture", "augmentation", "batch", "calibration", "confidence interval", "cross-entropy",
        "cross-validation", "epoch", "feature map", "filter", "fold", "generalization", "gradient descent", "kernel", "label noise",
        "learning rate", "logits", "majority-class baseline", "optimizer", "out-of-distribution", "overfitting", "padding",
        "Pareto front", "pooling", "regularization", "reliability diagram", "seed", "softmax", "split", "step", "stride", "sweep",
        "temperature scaling", "test set", "trial",
    ):  # fmt: skip
        assert term in terms, term
    assert [term for term, sentence in rows.items() if sentence.startswith("---")] in ([], [":---"])
    for term, sentence in rows.items():
        assert sentence.count(". ") == 0, term


def test_a_word_of_the_old_dialect_is_found_and_ordinary_english_is_not() -> None:
    text = "Name the picture; what is no digit is declined, and the surest mistakes are shown anew."
    assert [hit.split("'")[1] for hit in found(text, IN_PROSE)] == [
        "picture",
        "surest",
        "declined",
        "mistakes",
        "anew",
        "is no digit",
    ]
    assert found("There is no network, it is no longer there, and the commandment is amended.", IN_PROSE) == []
