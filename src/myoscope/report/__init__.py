"""Report: one self-contained HTML page that a reader can check by eye."""

from myoscope.report.page import render

__all__ = ["render"]
