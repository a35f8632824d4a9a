"""`DIR/_run/report.html`: what a run did and what its features look like, in one file without network."""

from pipeline.report.write import write_report

__all__ = ["write_report"]
