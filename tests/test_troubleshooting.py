"""The page of error messages has the messages as the code says them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "notebooks" / "troubleshooting.md").read_text()
MESSAGES = [row.strip("`") for row in re.findall(r"^\| (`.*`) \| ", PAGE, flags=re.MULTILINE)]
GAP = "…"


@cache
def said() -> str:
    """All texts of the code, one a line; what is filled in is a gap."""
    texts = []
    for room in ("raysearch", "strategies", "cluster"):
        for file in (ROOT / room).rglob("*.py"):
            texts += [text_of(node) for node in ast.walk(ast.parse(file.read_text()))]
    return "\n".join(text.replace("\n", " ") for text in texts if text)


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{[^{}]*\}", GAP, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
    return ""


def test_the_page_has_many_messages() -> None:
    assert len(MESSAGES) == len({*MESSAGES}) > 50


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_of_the_code_s(message: str) -> None:
    parts = [re.escape(part.strip()) for part in message.split(GAP) if part.strip(" ;:,.()?")]
    assert parts
    assert re.search(".*".join(parts), said()), message


def test_a_message_that_nobody_says_is_found_out() -> None:
    assert not re.search("the moon is …".replace(GAP, ".*"), said())
