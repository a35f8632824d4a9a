"""--dry_run: builds a run's graph, and for Dataflow its job, as far as possible offline."""

from collections.abc import Iterator
from typing import TypeAlias

import apache_beam as beam
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.internal.apiclient import (
    _FNAPI_ENVIRONMENT_MAJOR_VERSION,
    Environment,
    Job,
)
from apache_beam.transforms.resources import AcceleratorHint, MinRamHint

from pipeline.cli.options import Options
from pipeline.graph import build_graph
from pipeline.job.build_job import build_job
from pipeline.job.config import prepare_offline
from pipeline.job.validate import validate

Graph: TypeAlias = beam_runner_api_pb2.Pipeline
_HINT_NAMES = {AcceleratorHint.urn: "accelerator", MinRamHint.urn: "min_ram"}


def build_offline(pipeline: beam.Pipeline, options: Options) -> Job | Graph:
    """Builds a run's graph, or for a runner that submits jobs to a service, such as Dataflow's, the job.

    It opens no input, output, weights or other file, and sends nothing.

    Raises:
      SettingError: a mistake in the command.
    """
    config = prepare_offline(validate(options))
    build_graph(pipeline, build_job(config, add=False, earlier_rejects=()))
    if "dataflow" in type(pipeline.runner).__name__.lower():
        job = pipeline.run().job
        # Beam creates the environment only when it sends the job.
        job.proto.environment = Environment(
            [], job.options, _FNAPI_ENVIRONMENT_MAJOR_VERSION, "", job.proto_pipeline
        ).proto
        return job
    return pipeline.to_runner_api()


def job_lines(job: Job | Graph) -> list[str]:
    """Describes a job as text: its steps with their resource hints, and its machines."""
    graph = job.proto_pipeline if isinstance(job, Job) else job
    transforms = graph.components.transforms
    lines = [f"dry run: {len(transforms)} steps; nothing was read, written or sent"]
    for root in graph.root_transform_ids:
        for name in transforms[root].subtransforms:
            hints = sorted({hint for step in inner_steps(graph, name) for hint in step_hints(graph, step)})
            lines.append(f"  {transforms[name].unique_name}" + (f": {', '.join(hints)}" if hints else ""))
    return lines + (list(_machine_lines(job)) if isinstance(job, Job) else [])


def inner_steps(graph: Graph, name: str) -> Iterator[str]:
    """Yields the ids of the innermost steps of a step, which are the ones that run."""
    inner = graph.components.transforms[name].subtransforms
    if not inner:
        yield name
    for step in inner:
        yield from inner_steps(graph, step)


def step_hints(graph: Graph, name: str) -> list[str]:
    """Returns the resource hints of a step as NAME=VALUE, with sizes in bytes."""
    environment = graph.components.environments[graph.components.transforms[name].environment_id]
    hints = environment.resource_hints.items()
    return [f"{_HINT_NAMES.get(urn, urn)}={value.decode()}" for urn, value in hints]


def staged_files(graph: Graph) -> list[str]:
    """Returns the names of the files that workers get before they start, such as this project's package."""
    return sorted(
        {
            beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(file.role_payload).staged_name
            for environment in graph.components.environments.values()
            for file in environment.dependencies
        }
    )


def _machine_lines(job: Job) -> Iterator[str]:
    environment = job.proto.environment
    (pool,) = environment.worker_pools
    yield f"machine type: {pool.machine_type or 'the default'}"
    images = sorted({image.container_image for image in pool.sdk_harness_container_images})
    yield f"container image: {', '.join(images)}"
    yield f"threads per worker process: {pool.num_threads_per_worker or 'the default'}"
    yield f"staged: {', '.join(staged_files(job.proto_pipeline)) or 'nothing'}"
    yield f"service options: {', '.join(environment.service_options) or 'none'}"
    yield f"experiments: {', '.join(environment.experiments)}"
