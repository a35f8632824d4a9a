"""The records of a feature folder: which exist, from which inputs, and how they are merged."""
