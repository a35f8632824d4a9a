"""From options to a job that can run, and what it reports."""
