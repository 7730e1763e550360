"""The report of a deployment: one document, written for machines and rendered for people."""

from pipeline.report.document import SCHEMA_VERSION, build_document
from pipeline.report.html import render_html
from pipeline.report.write import write_report

__all__ = ["SCHEMA_VERSION", "build_document", "render_html", "write_report"]
