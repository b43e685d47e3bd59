"""The HTML of sections, tables and figures. Text of users always goes through `shown`."""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from raysearch.core.formatting import cut
from raysearch.core.terminal_text import UNSAFE, escaped
from raysearch.report.sections.values import Content, Picture, Section, TextTable, Tile

if TYPE_CHECKING:
    import plotly.graph_objects as go

# A character of a JSON text as JSON escapes it (one beyond U+FFFF as two), or an unsafe one as it is.
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_CHARACTER = re.compile(rf"{_PAIR}|\\(?:u[0-9a-fA-F]{{4}}|.)|{UNSAFE.pattern}")
# The page loads nothing: scripts and styles are in it, pictures are data or drawn by plotly.
TEXT_SHOWN = 2_000  # characters of one text; a spec may be longer, see CODE_SHOWN
CODE_SHOWN = 200_000
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def page(content: Content, about: str) -> str:
    """The whole page."""
    body = "\n".join(
        [
            _header(content, about),
            *(_section(section) for section in content.sections),
            _decision(content.checks),
            f"<footer>{shown(about)}</footer>",
        ]
    )
    return shell(content.name, body, POLICY)


def plain_page(title: str, sections: Sequence[Section], policy: str) -> str:
    """A page of sections under a heading, without tiles and decision."""
    head = (
        f'<header><div class="top"><p class="kind">raysearch</p><button id="theme" type="button" '
        f'aria-label="light or dark">◐</button></div><h1>{shown(title)}</h1></header>'
    )
    return shell(title, "\n".join([head, *(_section(section) for section in sections)]), policy)


def shell(title: str, body: str, policy: str, scripts: str = "") -> str:
    """A page around a body, with plotly and our own style and script in it."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            f"<title>{shown(title)} · raysearch</title>",
            f"<style>{asset('report.css')}</style>",
            "</head>",
            "<body>",
            f"<main>{body}</main>",
            f"<script>{_plotly()}</script>",
            f"<script>{asset('report.js')}</script>",
            scripts,
            "</body>",
            "</html>",
            "",
        ]
    )


@functools.cache
def asset(name: str) -> str:
    """A file that ships with the package."""
    return (resources.files("raysearch.report") / "assets" / name).read_text("utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


# ---- parts


def _header(content: Content, about: str) -> str:
    links = "".join(f'<a href="#{s.key}">{shown(s.title)}</a>' for s in content.sections)
    return f"""<header>
<div class="top"><p class="kind">Search report</p><button id="theme" type="button" aria-label="light or dark">◐</button></div>
<h1>{shown(content.name)}</h1>
<p class="headline {content.tone}">{shown(content.headline)}</p>
<p class="about">{shown(content.metric)}, {shown(content.better)}</p>
<div class="tiles">{"".join(map(tile, content.tiles))}</div>
<nav>{links}<a href="#decision">Decision</a></nav>
</header>"""  # noqa: E501


def tile(one: Tile) -> str:
    """A number at the top."""
    return (
        f'<div class="tile {one.tone}"><div class="label">{shown(one.label)}</div>'
        f'<div class="value">{shown(one.value)}</div><div class="below">{shown(one.below)}</div></div>'
    )


def _section(section: Section) -> str:
    parts = [f'<section id="{section.key}">', f"<h2>{shown(section.title)}</h2>"]
    if section.words:
        parts.append(f'<div class="words">{"".join(f"<p>{shown(line)}</p>" for line in section.words)}</div>')
    if section.steps:
        parts.append(f'<ol class="steps">{"".join(_step(*one) for one in section.steps)}</ol>')
    parts += [picture(one) for one in section.pictures]
    parts += [_table(table) for table in section.tables]
    if section.code:
        code = html.escape(escaped(cut(section.code, CODE_SHOWN)))
        parts.append(f"<details open><summary>search.yaml</summary><pre>{code}</pre></details>")
    return "\n".join([*parts, "</section>"])


def _step(words: str, command: str) -> str:
    return f"<li>{shown(words)}<pre>{shown(command)}</pre></li>"


def picture(one: Picture) -> str:
    """A figure with its heading and note; wide ones scroll sideways on a phone."""
    heading = f"<h3>{shown(one.title)}</h3>" if one.title else ""
    note = f"<figcaption>{shown(one.note)}</figcaption>" if one.note else ""
    wide = " wide" if one.name == "parallel" else ""
    height = int(one.figure.layout.height or 400)
    return (
        f'<figure id="figure-{one.name}">{heading}<div class="scroll"><div class="plot{wide}" '
        f'style="height:{height}px"><script type="application/json">{figure_json(one.figure)}</script></div></div>'  # noqa: E501
        f"{note}</figure>"
    )


def figure_json(figure: go.Figure) -> str:
    """The figure as JSON that can stand in a script element: no `<` in it, and what is unsafe written out."""
    return _CHARACTER.sub(_written_out, str(figure.to_json())).replace("<", "\\u003c")


def _table(table: TextTable) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if i in table.numeric else ''}>{shown(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )

    rows = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in table.rows)
    return f'<div class="scroll"><table><thead><tr>{row(table.header, "th")}</tr></thead><tbody>{rows}</tbody></table></div>'  # noqa: E501


def _decision(checks: Iterable[str]) -> str:
    boxes = "".join(f'<label><input type="checkbox"><span>{shown(check)}</span></label>' for check in checks)
    return f"""<section id="decision"><h2>Decision</h2>
<div class="decision">{boxes}
<div class="fields"><label>Owner<input type="text" name="owner" placeholder="who decides"></label>
<label>Decision<select name="decision"><option>open</option><option>take the winner</option><option>keep the baseline</option><option>search on</option></select></label>
<label>Date<input type="text" name="date" placeholder="YYYY-MM-DD"></label></div>
<label class="why">Why<textarea name="why" rows="3"></textarea></label>
<button type="button" id="copy">Copy as text</button><span id="copied" role="status"></span>
<p class="hint">Nothing typed here is saved in the file: copy it, or print the page.</p></div></section>"""  # noqa: E501


def shown(text: object) -> str:
    """Text of users as HTML that shows tags, control characters and bidirectional marks too; cut if long."""
    return html.escape(escaped(cut(str(text), TEXT_SHOWN)))


def _written_out(found: re.Match[str]) -> str:
    """A character of a JSON text, itself or as JSON escapes it: `\\\\u202e` in place of an unsafe one."""
    whole = found[0]
    character = whole if len(whole) == 1 else json.loads(f'"{whole}"')
    return json.dumps(escaped(character))[1:-1] if UNSAFE.fullmatch(character) else whole
