"""A dry run builds the graph and reads, writes and sends nothing; test_dataflow.py builds Dataflow's jobs."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.cli.options import parse_options
from pipeline.job.dry_run import build_offline, inner_steps, job_lines, step_hints


@pytest.fixture(scope="module")
def graph():
    flags = ["--input=gs://none/*", "--output=gs://none/out", "--inference_hint=min_ram=16GB"]
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    return build_offline(pipeline, parse_options(flags))


def test_a_job_is_described_by_its_steps_and_hints(graph):
    lines = job_lines(graph)
    steps = len(graph.components.transforms)
    assert lines[0] == f"dry run: {steps} steps; nothing was read, written or sent"
    assert "  ReadClips" in lines and "  EmbedExamples: min_ram=16000000000" in lines
    assert not any("machine type" in line for line in lines)


def test_the_innermost_steps_have_the_hints(graph):
    transforms = graph.components.transforms
    (embed,) = (name for name, step in transforms.items() if step.unique_name == "EmbedExamples")
    inner = [*inner_steps(graph, embed)]
    assert len(inner) > 2 and not any(transforms[name].subtransforms for name in inner)
    hinted = {transforms[name].unique_name for name in inner if step_hints(graph, name)}
    assert hinted and all("RunInference" in name for name in hinted)
