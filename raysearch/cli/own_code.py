"""Code in a folder that `raysearch init` begins beside: which file it is, and what to change in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_IMPORT = r"^\s*(from|import( [\w., ]+,)?) {}\b"


@dataclass(frozen=True, slots=True)
class Kind:
    """A framework whose code is recognised.

    Attributes:
        marks: patterns that are all in a file of it.
        lines: what to change in such a file.
        then: how that file is searched, once they are changed.
    """

    marks: tuple[str, ...]
    lines: tuple[str, ...]
    then: str = "name it in search.yaml as `trainable: {file}:train`, with its own metric, mode and space"


KINDS: Mapping[str, Kind] = {
    "optuna": Kind(
        (_IMPORT.format("optuna"), r"\.suggest_\w+\("),
        (
            "from raysearch.integrations.optuna import search",
            "results = search(objective, samples=100, max_iterations=27)   # was: study.optimize",
            "print(results.best.config, results.best.value)   # was: study.best_params, ...",
        ),
        "run `python {file}`: it needs no search.yaml. max_iterations: how often a trial reports (1: never); "
        'for direction="maximize": mode="max"',
    ),
    "lightning": Kind(
        (_IMPORT.format("(pytorch_)?lightning"),),
        (
            "from raysearch.integrations.lightning import SearchCallback, resume_path",
            'Trainer(max_epochs=config["max_iterations"], callbacks=[SearchCallback(config)], ...)',
            "trainer.fit(..., ckpt_path=resume_path())   # both in a function train(config)",
        ),
    ),
    "huggingface": Kind(
        (_IMPORT.format("transformers"),),
        (
            "from raysearch.integrations.huggingface import SearchCallback, resume_path",
            "Trainer(..., callbacks=[SearchCallback(config)])",
            "trainer.train(resume_from_checkpoint=resume_path())   # both in a function train(config)",
        ),
    ),
    "function": Kind(
        (_IMPORT.format("torch"),),
        (
            "def train(config):   # around its training; the values to search are config[...]",
            'for epoch in range(config["max_iterations"]):',
            'raysearch.report({"val_loss": loss})   # at the end of each epoch',
        ),
    ),
}


def file_of(kind: str, texts: Mapping[str, str]) -> str:
    """The first file with code of the kind, by its name; empty where there is none."""
    marks = KINDS[kind].marks
    fits = (name for name, text in texts.items() if all(re.search(m, text, re.MULTILINE) for m in marks))
    return next(fits, "")


def what_to_change(kind: str, file: str, model: str) -> list[str]:
    """Lines that say that `model` is an example, and how the file is searched in place of it.

    >>> what_to_change("lightning", "net.py", "my_model.py")[0]
    'net.py is not what is searched: my_model.py is an example, of digits. To search net.py, change'
    """
    known = KINDS[kind]
    return [
        f"{file} is not what is searched: {model} is an example, of digits. To search {file}, change",
        *(f"  {line}" for line in known.lines),
        f"and {known.then.format(file=file)}.",
    ]
