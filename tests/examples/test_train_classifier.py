"""A classifier learns, reports its metrics, and tags an audio file."""

import csv
import json

import keras
import numpy as np
import pytest
from commands import ROOT, run_command
from sounds import write_noise

from pipeline.assets.released import PCA_PARAMS, WEIGHTS
from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.errors import SettingError
from transforms.storage.tfrecord import frame_records

pytestmark = pytest.mark.integration

CLASSES = ["Speech", 'Horn, "loud"', "Rain", "Silence", "Never heard"]
NO_ASSETS = ["--weights=random:0", "--pca_params=none"]


def write_features(folder, clips: int, dtype=np.uint8, label: int | None = None):
    """Clips of one to ten frames: the first four classes shift a quarter of the dimensions each."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    for shard in range(10):
        records = []
        for number in range(clips // 10):
            labels = np.flatnonzero(rng.random(4) < 0.3)
            values = rng.normal(128, 40, (rng.integers(1, 11), 4, 32))
            values[:, labels] += 50
            codes = np.clip(values, 0, 255).reshape(-1, 128).astype(dtype)
            segment = Segment(
                "train", f"{shard}{number}", 0.0, 10.0, (*labels.tolist(),) if label is None else (label,)
            )
            records.append(encode_example(segment, codes))
        (folder / "train" / f"{shard}.tfrecord").write_bytes(frame_records(records))
    return folder


@pytest.fixture(scope="module")
def labels_csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "classes.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "mid", "display_name"])
        writer.writerows([n, f"/m/{n}", name] for n, name in enumerate(CLASSES))
    return path


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("features") / "features", 1_000)


@pytest.mark.parametrize(
    "model, flags", [("attention", ["--epochs=8", "--members=2"]), ("logistic", ["--epochs=100"])]
)
def test_a_classifier_learns_reports_and_tags(model, flags, features, labels_csv, tmp_path, example):
    output = tmp_path / "model"
    command = ["train_classifier.py", features, f"--output={output}", f"--class_labels={labels_csv}"]
    out = example(*command, f"--model={model}", *flags, f"--evaluate={features}/train")
    report = json.loads((output / "report.json").read_text())
    assert report["held_out"]["mean_average_precision"] > 0.9 and report["held_out"]["classes"] == 4
    assert report["held_out"]["left_out"] == ["Never heard"] and report["held_out"]["d_prime"] > 2
    assert report["evaluate"]["clips"] == 1_000 and 60 < report["held_out"]["clips"] < 140
    assert len(report["curves"]["mAP"]) == report["recipe"]["epochs"]
    assert report["curves"]["loss"][-1] < report["curves"]["loss"][0]
    assert f"held_out: mAP {report['held_out']['mean_average_precision']:.4f}" in out
    assert (output / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    with open(output / "held_out_by_class.csv", newline="") as file:
        assert {row["name"] for row in csv.DictReader(file)} == set(CLASSES[:4])

    write_noise(tmp_path / "clip.wav", 12.0, 44_100)
    command = [output, tmp_path / "clip.wav", "--top=3", *NO_ASSETS]
    tagged = run_command(str(ROOT / "examples" / "tag_file.py"), *map(str, command))
    assert tagged.returncode == 0
    assert [line.split(" (")[0] for line in tagged.stderr.splitlines()] == [
        f"tag_file: warning: the classes are wrong: the model was trained on features made with other {name}"
        for name in ("weights", "pca_params")
    ]
    lines = tagged.stdout.splitlines()[2:]
    assert report["embedded_with"] == {"weights": WEIGHTS.sha256, "pca_params": PCA_PARAMS.sha256}
    assert [line.split(": ")[0] for line in lines] == ["0.00 to 9.60 s", "9.60 to 11.52 s"]
    assert all(sum(line.count(name) for name in CLASSES) == 3 for line in lines)
    command = ["train_classifier.py", features, f"--output={output}", f"--class_labels={labels_csv}"]
    assert "already contains model.keras" in example(*command, status=2)


def test_the_same_seed_gives_the_same_model(features, labels_csv, tmp_path, example):
    flags = ["train_classifier.py", features, f"--class_labels={labels_csv}", "--epochs=2", "--members=2"]
    scores = []
    for name in ("one", "two"):
        example(*flags, f"--output={tmp_path / name}")
        import classifier  # registers the layer

        model, names = classifier.read_classifier(tmp_path / name)
        assert names == CLASSES and isinstance(model, keras.Model)
        scores.append(model.predict(np.ones((1, 10, 128), np.float32), verbose=0))
        longer = model.predict(np.ones((1, 25, 128), np.float32), verbose=0)
        np.testing.assert_allclose(longer, scores[-1], atol=1e-5)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_bad_features_are_one_line(features, labels_csv, tmp_path, example):
    command = ["train_classifier.py", f"--output={tmp_path / 'out'}", f"--class_labels={labels_csv}"]
    (tmp_path / "empty").mkdir()
    assert "contains no *.tfrecord with a record" in example(*command, tmp_path / "empty", status=2)
    raw = write_features(tmp_path / "raw", 20, np.float32)
    assert "its frames are raw, but quantized frames are expected" in example(*command, raw, status=2)
    beyond = write_features(tmp_path / "beyond", 20, label=5)
    assert "label 5 is beyond the list of 5 classes" in example(*command, beyond, status=2)
    few = write_features(tmp_path / "few", 10)
    assert "give a folder of more clips with labels" in example(*command, few, "--held_out=1e-9", status=2)
    assert not (tmp_path / "out" / "model.keras").exists()


def test_bad_files_to_tag_are_one_line(tmp_path, example):
    write_noise(tmp_path / "clip.wav", 2.0)
    line = example("tag_file.py", tmp_path, tmp_path / "clip.wav", *NO_ASSETS, status=2)
    assert "has no model.keras; give a folder that train_classifier.py wrote" in line


def test_a_model_knows_the_weights_of_its_features(tmp_path):
    import classifier

    released = {"weights": WEIGHTS.sha256, "pca_params": PCA_PARAMS.sha256}
    assert classifier.embedded_with(str(tmp_path)) == released
    settings = {"weights": "random:3", "pca_params": None}
    (tmp_path / "_run").mkdir()
    (tmp_path / "_run" / "manifest.json").write_text(json.dumps({"settings": settings}))
    for folder in (tmp_path, tmp_path / "train", f"{tmp_path}/train/"):
        assert classifier.embedded_with(str(folder)) == settings
    (tmp_path / "report.json").write_text(json.dumps({"embedded_with": settings}))
    assert classifier.trained_with(tmp_path) == settings
    for text in ("{", "{}", '{"embedded_with": 1}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(SettingError, match="does not name the weights of the features"):
            classifier.trained_with(tmp_path)
