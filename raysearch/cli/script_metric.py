"""What a script's trials are compared by, as far as its text shows what it prints and logs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

METRIC = "val_loss"  # where none was seen
NAMED = 5  # names that are given where none of them tells which way is better
WAYS = (  # parts of a name, the preferred first, and which way is better
    (r"\w*loss", "min"),
    (r"acc\d*|accuracy|top\d+", "max"),
    (r"err(or)?|rmse|mse|mae|nll|ppl|perplexity|wer", "min"),
    (r"score|f1|auc|auroc|bleu|iou|miou|map|r2", "max"),
)
HELD_OUT = (r"val|valid|validation|eval|dev", r"test")  # the preferred first; what is trained on comes last
CALLS = {"print", "dumps", "log", "report", "log_metrics", "log_dict", "info"}
WHAT = "printed as JSON, or logged by wandb.log, each iteration"


@dataclass(frozen=True, slots=True)
class Metric:
    """The metric of a script.

    Attributes:
        name: of the metric.
        mode: "min" or "max".
        is_seen: the script's text has it, and shows which way is better.
        others: names that were seen where `is_seen` is False.
    """

    name: str
    mode: str
    is_seen: bool = True
    others: tuple[str, ...] = ()

    def lines(self, script: str) -> list[str]:
        """The two lines of a spec."""
        name = self.name if re.fullmatch(r"\w[\w./@-]*", self.name) else json.dumps(self.name)
        if self.is_seen:
            return [f"metric: {name}   # {WHAT}", f"mode: {self.mode}   # which way is better"]
        seen = f"; there are {', '.join(self.others)}" if self.others else ""
        return [
            f"metric: {name}   # NOT SEEN in {script}: set it to what is {WHAT}{seen}",
            f"mode: {self.mode}   # NOT SEEN either: set it to which way is better, min or max",
        ]


def metric_of(tree: ast.AST) -> Metric:
    """The metric that a script prints or logs: held out before trained on, losses before accuracies.

    >>> metric_of(ast.parse('print(json.dumps({"train_loss": 2, "val/acc@1": 3}))')).name
    'val/acc@1'
    """
    logged = [*dict.fromkeys(_logged(tree))]
    for names in (logged, [*dict.fromkeys(_kept(tree))]):
        ranked = [(rank, mode, name) for name in names for rank, mode in _ranks(name)]
        if ranked:
            _, mode, name = min(ranked, key=lambda one: one[0])
            return Metric(name, mode)
    return Metric(METRIC, "min", False, tuple(logged[:NAMED]))


def _logged(tree: ast.AST) -> Iterator[str]:
    """The names in what is given to calls that print or log."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or _name(node.func) not in CALLS:
            continue
        for given in node.args:
            yield from _keys(given)
            yield from _in_text(given)
        if _name(node.func) == "report":
            yield from (one.arg for one in node.keywords if one.arg)


def _kept(tree: ast.AST) -> Iterator[str]:
    """The names in all dicts, and those that are set in one: `metrics["val_loss"] = ...`."""
    for node in ast.walk(tree):
        yield from _keys(node)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield from _text(node.slice)


def _keys(node: ast.AST, prefix: str = "") -> Iterator[str]:
    """The names of a dict, nested ones as they are reported: `outer/inner`."""
    if not isinstance(node, ast.Dict):
        return
    for key, value in zip(node.keys, node.values, strict=True):
        for name in _text(key):
            if isinstance(value, ast.Dict):
                yield from _keys(value, f"{prefix}{name}/")
            elif not [*_text(value)]:  # text is no metric: {"loss": "mse"}
                yield prefix + name


def _in_text(node: ast.AST) -> Iterator[str]:
    """The names in JSON that is written as text: `f'{{"val_loss": {loss}}}'`."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(part for value in node.values for part in _text(value))
        yield from re.findall(r'"([^"{}]+)": ?', text) if text.startswith("{") else ()


def _text(node: ast.AST | None) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def _name(node: ast.AST) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _ranks(name: str) -> Iterator[tuple[tuple[int, int, bool], str]]:
    """((rank of the data, rank of its kind, whether it is a best one), mode); none where it tells no mode."""
    words = re.findall(r"[a-z]+\d*", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    of = [i for i, part in enumerate(HELD_OUT) if any(re.fullmatch(part, word) for word in words)]
    where = of[0] if of else len(HELD_OUT) + ("train" in words)
    for kind, (part, mode) in enumerate(WAYS):
        if any(re.fullmatch(part, word) for word in words):
            yield (where, kind, "best" in words), mode
            return
