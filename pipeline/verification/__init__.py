"""Checks of a feature folder, and comparison with another folder."""
