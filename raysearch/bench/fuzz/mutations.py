"""Changes that turn a good document into one that nobody would write, in its text and in its values."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from raysearch.bench.fuzz.oddities import CHARACTERS, DOMAINS, EXPRESSIONS, NUMBERS, SNIPPETS, TEXTS

Rng = random.Random


def odd_value(rng: Rng) -> Any:
    """A value that stands where another one should."""
    simple: Callable[[], Any] = rng.choice(
        [lambda: rng.choice(NUMBERS), lambda: rng.choice(TEXTS), lambda: None]
    )
    made: Callable[[], Any] = rng.choice(
        [
            simple,
            simple,
            simple,
            simple,
            lambda: rng.choice(EXPRESSIONS),
            list,
            dict,
            lambda: [simple() for _ in range(rng.randint(1, 4))],
            lambda: {_key(rng): simple() for _ in range(rng.randint(1, 3))},
            lambda: {rng.choice(DOMAINS): [simple(), simple()]},
            lambda: {rng.choice(DOMAINS): [simple(), simple()], "when": odd_condition(rng)},
            lambda: _nested(rng.choice([5, 50, 330]), rng),
            lambda: list(range(rng.choice([100, 10_000]))),
        ]
    )
    return made()


def odd_condition(rng: Rng) -> Any:
    """What may stand under `when`."""
    names = ["optimizer", "lr", "layers", "nowhere", "/lr", "a.b"]

    def test() -> Any:
        number, text = rng.choice(NUMBERS), rng.choice(TEXTS)
        return rng.choice(["sgd", number, {"ge": number}, {"ne": [text]}, {"xx": 1}, {}, [], None])

    def case() -> Any:
        return {rng.choice(names): test() for _ in range(rng.randint(0, 3))}

    if rng.random() < 0.1:
        return rng.choice(TEXTS)
    return case() if rng.random() < 0.5 else [case() for _ in range(rng.choice([1, 3, 40]))]


def changed_value(document: Any, rng: Rng) -> tuple[Any, str]:
    """(a copy in which one to three values are others, what was done)."""
    document, done = copy.deepcopy(document), []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = [*_places(document)]
        if not places:
            break
        into, key = rng.choice(places)
        done.append(_change(into, key, places, rng))
    return document, "; ".join(done)


def changed_text(text: str, rng: Rng) -> tuple[str, str]:
    """(the text with one to three pieces changed, what was done)."""
    done = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        name, change = rng.choice(_TEXT_CHANGES)
        text, words = change(text, rng)
        done.append(f"{name} {words}")
    return text, "; ".join(done)


def changed_bytes(data: bytes, rng: Rng) -> tuple[bytes, str]:
    """(the bytes with some flipped, cut or put in, what was done)."""
    at = rng.randrange(max(1, len(data)))
    kind = rng.choice(["flip", "flip", "cut", "insert", "empty"])
    if kind == "flip" and data:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :], f"flip at {at}"
    if kind == "cut":
        return data[:at], f"cut at {at}"
    if kind == "insert":
        more = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 64])))
        return data[:at] + more + data[at:], f"{more!r:.60} at {at}"
    return b"", "empty"


def flow_text(document: Any) -> str:
    """The document as YAML in flow style, texts in double quotes; of any depth."""
    written: list[str] = []
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Written):
            written.append(value)
        elif isinstance(value, dict):
            parts = [
                part for k, v in value.items() for part in (_scalar(k), _Written(": "), v, _Written(", "))
            ]
            waiting += reversed([_Written("{"), *parts, _Written("}")])
        elif isinstance(value, list):
            parts = [part for v in value for part in (v, _Written(", "))]
            waiting += reversed([_Written("["), *parts, _Written("]")])
        else:
            written.append(_scalar(value))
    return "".join(written) + "\n"


# ---- inside


class _Written(str):
    """A piece of YAML, as it is to stand in the text."""


def _scalar(value: Any) -> _Written:
    if isinstance(value, float) and not math.isfinite(value):
        return _Written(".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf")
    if isinstance(value, int) and not isinstance(value, bool):
        return _Written(f"0x{value:x}" if value > 10**300 else Decimal(value))
    return _Written(json.dumps(value, ensure_ascii=False))


def _mild(value: Any, rng: Rng) -> Any:
    """A value of the same type, not far from this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return rng.choice([value + 1, value - 1, -value, value * 10, type(value)(0), value // 2, value * 3])
    if isinstance(value, list) and value:
        return rng.choice([value[::-1], [*value, value[0]], value[:1], value * 3, [*value, None]])
    if isinstance(value, dict) and value:
        return dict(rng.sample([*value.items()], len(value)))
    return f"{value}{rng.choice(['x', '', ' ', '-', 'é', '1'])}"


def _key(rng: Rng) -> Any:
    known = rng.choice(["lr", "name", "low", "high", "q", "weights", "x"])
    return rng.choice([rng.choice(TEXTS), known, rng.choice(NUMBERS)])


def _nested(depth: int, rng: Rng) -> Any:
    value: Any = rng.choice([1, {"uniform": [0, 1]}])
    as_list = rng.random() < 0.3
    for _ in range(depth):
        value = [value] if as_list else {"a": value}
    return value


def _places(document: Any) -> list[tuple[Any, Any]]:
    """(container, key) of the values in a document, at most 2,000 or so."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting and len(found) < 2000:
        into = waiting.pop()
        keys = list(into) if isinstance(into, dict) else range(len(into)) if isinstance(into, list) else ()
        for key in keys:
            found.append((into, key))
            waiting.append(into[key])
    return found


def _change(into: Any, key: Any, places: Sequence[tuple[Any, Any]], rng: Rng) -> str:
    how = rng.choice(["mild"] * 5 + ["odd", "odd", "odd", "drop", "swap", "add", "key", "type"])
    if how == "drop":
        del into[key]
        return f"without {key!r:.60}"
    if how == "swap":
        other, place = rng.choice(places)
        into[key] = copy.deepcopy(other[place])
    elif how == "mild":
        into[key] = _mild(into[key], rng)
    elif how == "type":
        value = into[key]
        into[key] = rng.choice([[value], {"value": value}, str(value)[:500], None])
    elif how == "odd" or isinstance(into, list):
        into[key] = odd_value(rng)
    else:
        fresh = _key(rng)
        into[fresh] = into.pop(key) if how == "key" else odd_value(rng)
        key = fresh
    return f"{key!r:.60} = {into[key]!r:.100}"


def _insert_snippet(text: str, rng: Rng) -> tuple[str, str]:
    """A piece of YAML in place of what stands after a colon, comma or bracket."""
    snippet = rng.choice(SNIPPETS)
    places = [i for i, c in enumerate(text) if c in ":[,"] or [0]
    at = rng.choice(places) + 1
    end = min((k for k in (text.find(c, at) for c in ",]}\n") if k >= 0), default=len(text))
    return f"{text[:at]} {snippet}{text[end:]}", f"{snippet!r:.80} at {at}"


def _insert_character(text: str, rng: Rng) -> tuple[str, str]:
    at = rng.randrange(len(text) + 1)
    character = rng.choice(CHARACTERS)
    return text[:at] + character + text[at:], f"{character!r} at {at}"


def _drop_line(text: str, rng: Rng) -> tuple[str, str]:
    lines = text.split("\n")
    gone = lines.pop(rng.randrange(len(lines)))
    return "\n".join(lines), repr(gone)[:80]


def _repeat_lines(text: str, rng: Rng) -> tuple[str, str]:
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    count = rng.choice([1, 2, 5])
    lines[at:at] = lines[at : at + count]
    return "\n".join(lines), f"{count} from line {at}"


def _indent(text: str, rng: Rng) -> tuple[str, str]:
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    lines[at] = " " * rng.choice([1, 2, 4, 40]) + lines[at]
    return "\n".join(lines), f"line {at}"


def _cut(text: str, rng: Rng) -> tuple[str, str]:
    at = rng.randrange(len(text) + 1)
    return text[:at], f"at {at}"


_TEXT_CHANGES: Sequence[tuple[str, Callable[[str, Rng], tuple[str, str]]]] = (
    ("snippet", _insert_snippet),
    ("snippet", _insert_snippet),
    ("snippet", _insert_snippet),
    ("character", _insert_character),
    ("without line", _drop_line),
    ("again", _repeat_lines),
    ("indented", _indent),
    ("cut", _cut),
)
