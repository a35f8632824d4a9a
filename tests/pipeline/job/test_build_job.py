"""The steps of a run have the values of its options."""

import pytest

from pipeline.cli.options import parse_options
from pipeline.job.build_job import build_job
from pipeline.job.config import prepare_offline
from pipeline.job.validate import validate
from transforms.embed_examples import FusedModelHandler, VggishModelHandler


def job_of(*flags: str, add: bool = False):
    options = parse_options(["--input=a", "--output=out", "--weights=random:0", *flags])
    return build_job(prepare_offline(validate(options)), add, ["earlier.jsonl"])


@pytest.mark.parametrize(
    "flags, batch_size",
    [
        ((), 32),
        (("--precision=bfloat16",), 64),
        (("--precision=float16",), 64),
        (("--precision=bfloat16", "--batch_size=8"), 8),
    ],
)
def test_batches_are_larger_in_16_bit_precision(flags, batch_size):
    handler = job_of(*flags).embed.handler
    assert isinstance(handler, VggishModelHandler) and not isinstance(handler, FusedModelHandler)
    assert handler._batch_size == batch_size


@pytest.mark.parametrize(
    "flags, quantize",
    [((), True), (("--postprocess=raw",), False), (("--frontend=accelerator",), False)],
)
def test_bytes_are_made_once(flags, quantize):
    job = job_of(*flags)
    assert job.quantize is quantize
    assert isinstance(job.embed.handler, FusedModelHandler) == ("--frontend=accelerator" in flags)
    assert job.extract.extraction.windows == ("--frontend=accelerator" in flags)


def test_records_are_looked_up_only_if_there_are_some():
    assert job_of().extract.records is None
    assert job_of(add=True).extract.records is not None
    assert job_of().keep.earlier == ["earlier.jsonl"] and job_of().progress is None


def test_hints_and_schema_and_sharding_reach_their_steps():
    hints = ["--inference_hint=min_ram=16GB", "--inference_hint=accelerator=type:a;count:1"]
    job = job_of(*hints, "--output_schema=youtube8m", "--sharding=hash:3")
    assert job.embed.hints == {"min_ram": "16GB", "accelerator": "type:a;count:1"}
    assert job.write.schema.name == "youtube8m" and job.write.sharding.num_shards == 3
