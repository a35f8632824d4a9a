from dataclasses import dataclass

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to

from transforms.stage import Stage


@dataclass
class Multiply(Stage):
    factor: int

    def expand(self, values: beam.PCollection) -> beam.PCollection:
        return values | beam.Map(lambda value: value * self.factor)


def test_a_stage_is_a_transform_with_the_fields_of_a_dataclass():
    assert Multiply(3).default_label() == "Multiply" and Multiply(3).factor == 3
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create([1, 2]) | Multiply(3), equal_to([3, 6]))
