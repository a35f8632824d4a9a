"""Analysis pipelines and tables of their results."""
