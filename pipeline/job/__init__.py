"""Turns options into a job that can run, and reports what it did."""
