"""YAML as people mean it: 1e-4 is a number, on and 12:30 are text, a key given twice is an error.

PyYAML follows YAML 1.1, where `1e-4` is text, `off` is false and `12:30` is 750. Here plain scalars
follow YAML 1.2, and a tag (`!!set`) that is none of its core schema is an error. What is written is quoted
wherever either version would take text for something else. What is read has a limited depth and size, also
once its aliases are written out.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from raysearch.core.user_paths import user_path
from raysearch.errors import SpecError

TEXT_MAX = 2_000_000  # characters of a document
DEPTH_MAX = 60  # of lists and mappings inside one another
ALIASED_MAX = 10_000  # values that aliases repeat
DIGITS_MAX = 309  # of a whole number: the largest float has as many

_CORE = "tag:yaml.org,2002:"
_TAGS = {f"{_CORE}{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
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

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # (values, depth) of each node that is complete
        self._repeated = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; refuses what would be too deep or too large, before it is built."""
        is_alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _marked(f"more than {DEPTH_MAX} lists and mappings stand inside one another", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if is_alias:
            self._check_alias(node, mark)
        else:
            self._sizes[id(node)] = self._measured(node)
            _check_tag(node)
        return node

    def _measured(self, node: yaml.Node) -> tuple[int, int]:
        parts = [part for part in _parts(node) if part is not None]
        sizes = [self._sizes[id(part)] for part in parts]
        return 1 + sum(size for size, _ in sizes), 1 + max((depth for _, depth in sizes), default=0)

    def _check_alias(self, node: yaml.Node, mark: yaml.Mark) -> None:
        if id(node) not in self._sizes:
            text = "an anchor (&) stands inside what it names (*): a value cannot hold itself"
            raise _marked(text, mark)
        size, depth = self._sizes[id(node)]
        self._repeated += size
        if self._repeated > ALIASED_MAX:
            raise _marked(f"aliases (*) repeat more than {ALIASED_MAX:,} values", mark)
        if self._depth + depth > DEPTH_MAX:
            raise _marked(f"more than {DEPTH_MAX} lists and mappings stand inside one another", mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[Any, yaml.Node] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_CORE}merge":
                continue
            if (before := first.setdefault((key.tag, key.value), key)) is not key:
                line = before.start_mark.line + 1
                raise _marked(
                    f"{key.value!r} is given twice; it stands on line {line} already", key.start_mark
                )
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = self.construct_scalar(node).replace("_", "").lower()
        if node.tag.endswith(":int") and len(text) > DIGITS_MAX:
            raise _marked(f"a whole number of {len(text):,} digits; at most {DIGITS_MAX}", node.start_mark)
        if text.startswith(("0x", "0o")):
            return int(text, 0)
        if text.endswith((".inf", ".nan")):
            return float(text.replace(".", ""))
        return int(text) if node.tag.endswith(":int") else float(text)


def _marked(text: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, text, mark)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_tag(node: yaml.Node) -> None:
    """Raises for a tag that is none of the core schema, and for a scalar that is not what its tag says."""
    if node.tag not in _TAGS:
        tag = node.tag.replace(_CORE, "!!")
        raise _marked(f"could not determine a constructor for the tag {tag!r}: leave it out", node.start_mark)
    pattern = _PATTERNS.get(node.tag)
    if isinstance(node, yaml.ScalarNode) and pattern is not None and not pattern.match(node.value):
        kind = node.tag.removeprefix(_CORE)
        raise _marked(f"{node.value[:80]!r} is tagged !!{kind}, which it is not", node.start_mark)


class _Dumper(yaml.SafeDumper):
    """Writes no anchors: a value that stands twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Double quotes for the rarer line breaks, which other styles fold into spaces."""
        style = '"' if _BREAK.search(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_PATTERNS = {f"{_CORE}{name}": each for name, each in (("bool", _BOOL), ("int", _INT), ("null", _NULL))}
_PATTERNS[f"{_CORE}float"] = re.compile(f"{_INT.pattern}|{_FLOAT.pattern}")
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
    if len(text) > TEXT_MAX:
        raise SpecError(f"{source}: {len(text):,} characters; at most {TEXT_MAX:,} are read")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        context = f" ({error.context})" if error.context else ""
        raise SpecError(f"{source}{where}: {error.problem}{context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"{source}: {error}") from None


def read_mapping(file: Path, option: str, what: str) -> dict[str, Any]:
    """What stands in the YAML file that an option names: `what`, as a mapping.

    Raises:
        SpecError: with the option and the file, for one that cannot be read or holds something else.
    """
    return read_text_and_mapping(file, option, what)[1]


def read_text_and_mapping(file: Path, option: str, what: str) -> tuple[str, dict[str, Any]]:
    """As `read_mapping`, with the text before it, for who looks at its comments."""
    try:
        text = user_path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{option} {file}: cannot be read: {error}") from None
    found = read_yaml(text, file.name)
    if not isinstance(found, dict):
        raise SpecError(f"{option} {file}: holds {type(found).__name__}, not {what}")
    return text, found


def write_yaml(value: Any) -> str:
    """`value`, of plain values, as YAML; short lists on one line, keys in their order."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )
    return text
