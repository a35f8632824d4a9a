"""The main job on a small corpus made on the spot; what ./run_local.sh runs.

All options go to `pipeline.run`. Without --input and --config the corpus is demo/audio, and where the
released weights cannot be had, this goes on with random ones and says so.
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
    flags = []
    audio, features = DEMO / "audio", DEMO / "features"
    make_demo_corpus(audio)
    say(f"demo corpus: {audio}, {len(list(audio.iterdir()))} files, two of them bad on purpose")
    flags.append(f"--input={audio}/*")
    if "--output" not in given:
        shutil.rmtree(features, ignore_errors=True)  # the last demo's
        flags.append(f"--output={features}")
    flags += ["--max_reject_fraction=0.5", *_stand_ins(argv, given)]

    status = run.run([*flags, *argv])
    if status or "--output" in given:
        return status
    say("", f"made: {', '.join(str(p.relative_to(features)) for p in sorted(features.glob('*/*')))}")
    status = verify.run([str(features), "--strict"])
    reader = READER.format(folder=printable(str(features)))
    say("", "read them with:", "", *reader.split("\n"))
    say(f"look at them: open {run_path(str(features), REPORT_FILE)} in a browser")
    say("then your own: ./run_local.sh --input='/data/clips/**' --output=/data/features --plan")
    return status


def _stand_ins(argv: Sequence[str], given: set[str]) -> list[str]:
    """Flags in place of assets that neither the command line gives nor this machine can have."""
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
        say("The released weights cannot be had here, so this demo goes on with RANDOM WEIGHTS:")
        say("its files are laid out as they should be, and its embeddings mean nothing.", "")
    return flags


if __name__ == "__main__":
    sys.exit(run_main("run_local.sh", lambda: main(sys.argv[1:])))
