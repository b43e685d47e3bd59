"""The checksum of what people may edit and raysearch reads back: exported schedules, configurations, plans.

It is taken over the values, so a comment, another layout or another order of names is no change. A mapping
that has a place for it holds it as an entry, another one as a comment:

    to_entry({"lr": 0.1})                         # {"lr": 0.1, "checksum": "crc32:91bd5f86"}
    to_comment({"lr": 0.1})                       # "# checksum: crc32:91bd5f86"

What has no checksum was written by hand, and is taken as it is. Where the checksum does not fit, a person or
a disk changed the values since: they count as they stand, and whoever reads them says so (`edited`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.core.yaml_io import read_text_and_mapping, write_yaml
from raysearch.storage.checked_json import ENTRY, WORD, checksum_of

PLANNED = "checksum of the strategy"  # in a spec: of what `raysearch plan --write` put there
_REMNANT = re.compile(rf"#.*{WORD}")


def to_entry(value: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping, of values that JSON has, with its checksum as the last entry."""
    return {**value, ENTRY: checksum_of(_plain(value))}


def from_entry(written: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """(the mapping without its checksum, whether it was changed since it was written)."""
    value = {name: held for name, held in written.items() if name != ENTRY}
    if ENTRY in written:
        return value, written[ENTRY] != checksum_of(_plain(value))
    return value, WORD in json.dumps(_plain(value))  # the name of the entry is what was changed


def to_comment(value: Mapping[str, Any], name: str = ENTRY) -> str:
    """The checksum of a mapping, of values that JSON has, as a line of YAML."""
    return f"# {name}: {checksum_of(_plain(value))}"


def differs(text: str, value: Any, name: str = ENTRY) -> bool:
    """Whether a text of YAML with this value has a comment with a checksum that does not fit it."""
    found = re.search(rf"^\s*# {name}: ({WORD}[0-9a-f]{{8}})$", text, re.MULTILINE)
    if found is None:
        return _REMNANT.search(text) is not None  # the comment is what was changed
    return found[1] != checksum_of(_plain(value))


def edited(what: str, remedy: str = "export it again") -> str:
    """What is said of values that do not fit their checksum."""
    return (
        f"{what}: its checksum does not fit, so its values were edited, or damaged, since they were written. "
        f"They are taken as they stand; delete the checksum if you edited them, {remedy} if you did not"
    )


def config_text(config: Mapping[str, Any]) -> str:
    """A configuration as the text of a YAML file, with its checksum."""
    return f"{write_yaml(config)}{to_comment(config)}\n"


def read_config(file: Path, option: str) -> tuple[dict[str, Any], str]:
    """(the configuration in the file that an option names, what is to be said of it).

    Raises:
        SpecError: with the option and the file, for one that cannot be read or holds something else.
    """
    text, value = read_text_and_mapping(file, option, "names and values")
    return value, edited(f"{option} {file}") if differs(text, value) else ""


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
