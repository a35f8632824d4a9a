"""`DIR/_run/report.html`: what a run did and what its features look like, in one file without network."""

from pipeline.report.write import REPORT_FILE, write_report

__all__ = ["REPORT_FILE", "write_report"]
