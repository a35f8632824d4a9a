"""Runs the pipeline on a small generated corpus; ./run_local.sh runs this.

All options go to `pipeline.run`. Without --input and --config the corpus is demo/audio. If the released
weights cannot be downloaded, the demo prints a message and uses random weights.
"""

import pipeline  # noqa: F401, first, so that Ctrl-C ends the other imports with one line too

# isort: split

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from demo_corpus import make_demo_corpus

from pipeline import run, verify
from pipeline.assets.released import PCA_PARAMS, WEIGHTS, find_asset
from pipeline.output.run_files import REPORT_FILE, run_path
from pipeline.process.main import run_main
from transforms.errors import SettingError
from transforms.printable import printable, say

DEMO = Path(__file__).resolve().parent.parent / "demo"

READER = """\
import tensorflow as tf
context = {{"video_id": tf.io.FixedLenFeature([], tf.string)}}
frames = {{"audio_embedding": tf.io.FixedLenSequenceFeature([], tf.string)}}
records = tf.data.TFRecordDataset(tf.io.gfile.glob("{folder}/*/*.tfrecord"))
for clip, lists in records.map(lambda r: tf.io.parse_single_sequence_example(r, context, frames)):
    print(clip["video_id"].numpy(), tf.io.decode_raw(lists["audio_embedding"], tf.uint8))  # uint8[n, 128]
"""


def main(argv: Sequence[str]) -> int:
    given = {flag.split("=")[0] for flag in argv}
    if given & {"--input", "--config", "--help", "-h"}:
        return run.run(argv)
    audio, features = DEMO / "audio", DEMO / "features"
    make_demo_corpus(audio)
    say(f"demo corpus: {audio}, {len(list(audio.iterdir()))} files, two of them intentionally bad")
    flags = [f"--input={audio}/*", "--max_reject_fraction=0.5", *_stand_ins(argv, given)]
    if "--output" not in given:
        shutil.rmtree(features, ignore_errors=True)  # of the last demo
        flags.append(f"--output={features}")
    status = run.run([*flags, *argv])
    if status or "--output" in given:
        return status
    say("", f"made: {', '.join(str(p.relative_to(features)) for p in sorted(features.glob('*/*')))}")
    status = verify.run([str(features), "--strict"])
    reader = READER.format(folder=printable(str(features)))
    say("", "read them with:", "", *reader.split("\n"))
    say(f"look at the report: open {run_path(str(features), REPORT_FILE)} in a browser")
    say("then run your own audio: ./run_local.sh --input='/data/clips/**' --output=/data/features --plan")
    return status


def _stand_ins(argv: Sequence[str], given: set[str]) -> list[str]:
    """Return options that replace released files which are neither given nor available on this machine."""
    folders = [flag.partition("=")[2] for flag in argv if flag.startswith("--assets_dir=")]
    assets_dir = folders[-1] if folders else None
    flags = []
    for asset, stand_in in ((WEIGHTS, "--weights=random:0"), (PCA_PARAMS, "--pca_params=none")):
        if asset.option in given:
            continue
        try:
            find_asset(asset, None, assets_dir)
        except SettingError as error:
            say(error, "")
            flags.append(stand_in)
    if "--weights=random:0" in flags:
        say("The released weights are not available here, so this demo uses RANDOM WEIGHTS:")
        say("the layout of its files is right, but the embeddings are meaningless.", "")
    return flags


if __name__ == "__main__":
    sys.exit(run_main("run_local.sh", lambda: main(sys.argv[1:])))
