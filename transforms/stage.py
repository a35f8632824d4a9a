"""The base class of the Beam stages."""

import apache_beam as beam


class Stage(beam.PTransform):
    """A PTransform whose subclasses are dataclasses."""

    def __post_init__(self) -> None:
        super().__init__()  # the generated __init__ does not call it
