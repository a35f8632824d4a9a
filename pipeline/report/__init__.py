"""The report of a run and its features, `DIR/_run/report.html`: one file that needs no network."""

from pipeline.report.write import write_report

__all__ = ["write_report"]
