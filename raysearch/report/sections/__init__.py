"""The sections of a report as values, one file a section."""

from __future__ import annotations

from raysearch.report.sections.content import content_of
from raysearch.report.sections.values import Content, Picture, Section, TextTable, Tile

__all__ = ["Content", "Picture", "Section", "TextTable", "Tile", "content_of"]
