"""Builds the package that Beam workers install with `--setup_file=./setup.py`; see pyproject.toml."""

from setuptools import setup

setup()
