"""YAML as people mean it: 1e-4 is a number, on and 12:30 are text, a key given twice is an error.

PyYAML follows YAML 1.1, where `1e-4` is text, `off` is false and `12:30` is 750. Here plain scalars
follow YAML 1.2. What is written is quoted wherever either version would take text for something else.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from raysearch.errors import SpecError

_INT = re.compile(r"[-+]?[0-9][0-9_]*$|0x[0-9a-fA-F]+$|0o[0-7]+$")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"(?:~|null|Null|NULL|)$")
_BREAK = re.compile("[\x85\u2028\u2029]")
_MERGE = re.compile(r"<<$")


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars, and unique keys."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if (before := first.setdefault((key.tag, key.value), key)) is not key:
                line = before.start_mark.line + 1
                text = f"{key.value!r} is given twice; it stands on line {line} already"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = self.construct_scalar(node).replace("_", "").lower()
        if text.startswith(("0x", "0o")):
            return int(text, 0)
        if text.endswith((".inf", ".nan")):
            return float(text.replace(".", ""))
        return int(text) if node.tag.endswith(":int") else float(text)


class _Dumper(yaml.SafeDumper):
    """Writes no anchors: a value that stands twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Double quotes for the rarer line breaks, which other styles fold into spaces."""
        style = '"' if _BREAK.search(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("merge", _MERGE, "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)
_Dumper.add_representer(str, _Dumper.represent_text)
# On top of the 1.1 rules: 1e-4 as text is quoted too.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def read_yaml(text: str, source: str) -> Any:
    """The value of one YAML document.

    Args:
        source: names the text in errors, such as the file's name.

    Raises:
        SpecError: with the line and column of what cannot be read.
    """
    try:
        value = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        context = f" ({error.context})" if error.context else ""
        raise SpecError(f"{source}{where}: {error.problem}{context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{source}: {error}") from None
    if _holds_itself(value, ()):
        raise SpecError(
            f"{source}: an anchor (&) stands inside what it names (*): a value cannot hold itself"
        )
    return value


def read_mapping(file: Path, option: str, what: str) -> dict[str, Any]:
    """What stands in the YAML file that an option names: `what`, as a mapping.

    Raises:
        SpecError: with the option and the file, for one that cannot be read or holds something else.
    """
    try:
        found = read_yaml(file.read_text(encoding="utf-8"), file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{option} {file}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise SpecError(f"{option} {file}: holds {type(found).__name__}, not {what}")
    return found


def _holds_itself(value: Any, above: tuple[int, ...]) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    if id(value) in above:
        return True
    parts = value.values() if isinstance(value, dict) else value
    return any(_holds_itself(part, (*above, id(value))) for part in parts)


def write_yaml(value: Any) -> str:
    """`value`, of plain values, as YAML; short lists on one line, keys in their order."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )
    return text
