"""A slice of `raysearch bench fuzz --only flips`: each reader gives the right answer, or names the file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raysearch.bench.fuzz.flips import Flips
from raysearch.bench.fuzz.kinds import Case, OtherAnswer, Verdict
from raysearch.bench.fuzz.pool import attempt
from raysearch.run import orders

CASES = 150


@pytest.fixture(scope="module")
def flips(tmp_path_factory: pytest.TempPathFactory) -> Flips:
    kind = Flips()
    kind.prepare(tmp_path_factory.mktemp("flips"))
    return kind


@pytest.mark.slow
def test_a_bit_that_flips_in_a_stored_file_changes_no_answer_without_a_word(flips: Flips) -> None:
    tried = [attempt(flips, "flips", n, flips.case(11, n), lambda: "") for n in range(CASES)]
    assert [str(one) for one in tried if one.verdict.is_finding] == []
    assert sum(one.verdict is Verdict.REFUSED for one in tried) > CASES // 5


@pytest.mark.slow
def test_an_answer_that_changes_without_a_word_is_seen(flips: Flips, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown with orders, and a reader that verifies nothing."""

    def trusting(text: str) -> dict[str, Any]:
        return {name: value for name, value in json.loads(text).items() if name != "checksum"}

    monkeypatch.setattr(orders, "from_text", trusting)
    (file,) = [name for name in flips._files if name.startswith("orders/") and name.endswith(".answer")]
    at = (flips._whole / file).read_bytes().index(b"stopping")
    with pytest.raises(OtherAnswer, match=r"orders: .*rtopping"):
        flips.attempt(Case("one letter", (file, 8 * at, False)))
