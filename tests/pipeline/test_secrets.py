"""No secret of a command line, a file of options or the environment reaches what a run prints or leaves."""

import base64
import gzip
import http.server
import json
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
import yaml
from sounds import write_noise
from trial_runs import read

from pipeline import analyze, export_model, fit_pca, make_shards, report, run, smoke_test, verify
from pipeline.job import trial
from pipeline.report import write_report
from transforms import redact
from transforms.homes import ASSETS_DIR_VARIABLE
from transforms.storage.shared_files import SharedFile, cache_folder, sha256_of
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.vggish.postprocess import RELEASED_RANGE, PcaParams, encode_pca_params

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vggish"))
from test_checkpoint import keras_layers, write_h5

pytestmark = pytest.mark.usefixtures("nothing_remembered", "stand_in_network")

USER, PASSWORD, SIGNATURE = "someuser", "pa55/word+1", "S1GNATURE+/x=="
SECRETS = [USER, PASSWORD, SIGNATURE, "XPIRES01"]


def check_hidden(text: str, secrets=SECRETS) -> None:
    for secret in secrets:
        forms = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
        for form in {*forms, base64.b64encode(secret.encode()).decode()}:
            assert form not in text, text
    assert base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in text


def all_text(folder: Path) -> str:
    """Names and contents of all files below a folder."""
    texts = []
    for path in sorted(folder.rglob("*")):
        texts.append(str(path))
        if path.is_file():
            data = path.read_bytes()
            texts.append((gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="replace"))
    return "\n".join(texts)


# --- options of Beam


# --- runs


class _Files(http.server.BaseHTTPRequestHandler):
    """Serves files only for the right user, password and signature."""

    files: dict[str, bytes]

    def do_GET(self):
        url = urlsplit(self.path)
        known = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        signature = parse_qs(url.query).get("sig", [""])[0]
        if self.headers.get("Authorization") != known or not signature.startswith(SIGNATURE):
            self.send_error(403)
            return
        data = self.files.get(url.path[1:])
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    weights = Path(write_h5(folder / "w.weights.h5", keras_layers())).read_bytes()
    pca = PcaParams(
        np.eye(EMBEDDING_SIZE, dtype=np.float32), np.zeros((EMBEDDING_SIZE, 1), np.float32), RELEASED_RANGE
    )
    files = {
        "w.weights.h5": weights,
        "pca.npz": encode_pca_params(pca),
        "labels.csv": b'index,mid,display_name\n0,/m/a,"A"\n1,/m/b,"B"\n',
    }
    handler = type("Handler", (_Files,), {"files": files})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def address(server: str, name: str, signature: str = SIGNATURE) -> str:
    user, password = quote(USER, safe=""), quote(PASSWORD, safe="")
    return f"http://{user}:{password}@{server}/{name}?sig={quote(signature, safe='')}&Expires=XPIRES01"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(ASSETS_DIR_VARIABLE, raising=False)
    return cache_folder()


@pytest.fixture
def audio(tmp_path) -> Path:
    for n in range(2):
        write_noise(tmp_path / "audio" / f"clip{n}.wav", 1.0 + n, seed=n)
    (tmp_path / "audio" / "bad.wav").write_bytes(b"no audio")
    return tmp_path / "audio"


BEAMS = {
    "s3_secret_access_key": "s3-zq9x",
    "s3_session_token": "s3-token-zq9x",
    "s3_access_key_id": "id-zq9x",
    "azure_connection_string": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=zq9x==",
    "blob_service_endpoint": "https://a.blob.example/c?sv=1&sig=zq9x",
    "maven_repository_url": "https://u:zq9x@maven.example/",
    "profiler_extra_env_vars": "PASSWORD=zq9x",
    "job_server_jvm_properties": "-Dpassword=zq9x",
}


def beam_flags(folder: Path) -> list[str]:
    """Some with `=`, some with a space, some in a file."""
    given = list(BEAMS.items())
    (folder / "options.yaml").write_text(yaml.safe_dump(dict(given[::3])))
    with_equals = [f"--{name}={value}" for name, value in given[1::3]]
    with_space = [word for name, value in given[2::3] for word in (f"--{name}", value)]
    return [f"--config={folder}/options.yaml", *with_equals, *with_space]


def run_flags(server: str, audio: Path, output: Path, signature: str = SIGNATURE) -> list[str]:
    return [
        "--runner=FnApiRunner",
        f"--input={audio}/*",
        f"--output={output}",
        "--max_reject_fraction=1",
        f"--weights={address(server, 'w.weights.h5', signature)}",
        f"--pca_params={address(server, 'pca.npz', signature)}",
        f"--class_labels={address(server, 'labels.csv', signature)}",
    ]


def test_a_run_leaves_no_secret_and_a_new_signature_continues_it(
    server, cache, audio, tmp_path, screen, monkeypatch
):
    monkeypatch.setattr(report, "write_report", write_report)
    output, own = tmp_path / "out", beam_flags(tmp_path)
    status, text = screen(run.run, *run_flags(server, audio, output), *own)
    assert status == 0 and len(read(output)) == 2, text
    check_hidden(text + all_text(output) + all_text(cache), [*SECRETS, "zq9x"])
    first = json.loads((output / "_run" / "manifest.json").read_text())
    where = f"http://***@{server}"
    assert first["options"]["weights"] == f"{where}/w.weights.h5?sig=***&Expires=***"
    assert first["assets"]["pca_params"]["address"] == f"{where}/pca.npz?sig=***&Expires=***"
    for name in BEAMS:
        (shown,) = [flag for flag in first["options"]["beam_flags"] if flag.startswith(f"--{name}=")]
        assert "***" in shown
    html = (output / "_run" / "report.html").read_text()
    assert f"{where}/w.weights.h5?sig=***" in html

    # An earlier version may have left secrets in the manifest, which goes into the history.
    leaky = json.loads(json.dumps(first))
    leaky["options"]["weights"] = leaky["assets"]["weights"]["path"] = "https://u:zq9x@h/w?sig=zq9x"
    leaky["options"]["beam_flags"] = ["--s3_secret_access_key", "zq9x", "--gone_with_beam_2", "zq9x"]
    (output / "_run" / "manifest.json").write_text(json.dumps(leaky))

    before = {path: path.read_bytes() for path in output.glob("*/*.tfrecord")}
    status, text = screen(run.run, *run_flags(server, audio, output, SIGNATURE + "2"), "--json", *own)
    result = json.JSONDecoder().raw_decode(text)[0]
    assert status == 0 and result["account"]["existing"] == {"train": 2}
    assert {path: path.read_bytes() for path in output.glob("*/*.tfrecord")} == before
    second = json.loads((output / "_run" / "manifest.json").read_text())
    assert second["settings_sha256"] == first["settings_sha256"]
    (earlier,) = second["history"]
    assert earlier["options"]["weights"] == earlier["assets"]["weights"]["path"] == "https://***@h/w?sig=***"
    assert earlier["options"]["beam_flags"][0] == "--s3_secret_access_key=***"
    assert sorted(path.name for path in cache.rglob("*.*") if path.is_file() and path.suffix != ".lock") == [
        "labels.csv",
        "pca.npz",
        "w.weights.h5",
    ]
    check_hidden(text + all_text(output) + all_text(cache), [*SECRETS, "zq9x"])


def test_a_plan_and_printed_options_show_no_secret(server, cache, audio, tmp_path, screen, monkeypatch):
    monkeypatch.setattr(trial, "_TRIAL_S", 0.1)
    flags = run_flags(server, audio, tmp_path / "out")
    for extra in ("--plan", "--print_config"):
        status, text = screen(run.run, *flags, *beam_flags(tmp_path), extra)
        assert status == 0, text
        check_hidden(text, [*SECRETS, "zq9x"])


# --- errors, of every command


def commands(weights: str, pca: str, labels: str, audio: Path, folder: Path) -> dict:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
    import fine_tune
    import tag_file

    segments = folder / "eval_segments.csv"
    segments.write_text('clip0, 0.000, 1.000, "/m/a"\n')
    inputs, output = f"--input={audio}/*", f"--output={folder}/out"
    return {
        "run": (run.run, inputs, output, "--pca_params=none", f"--weights={weights}"),
        "run_pca": (run.run, inputs, output, "--weights=random:0", f"--pca_params={pca}"),
        "run_plan": (run.run, inputs, output, "--plan", "--pca_params=none", f"--weights={weights}"),
        "run_labels": (run.run, inputs, output, f"--segments={segments}", f"--class_labels={labels}"),
        "make_shards": (
            make_shards.run,
            inputs,
            output,
            "--format=tar",
            f"--segments={segments}",
            f"--class_labels={labels}",
        ),
        "analyze": (analyze.run, inputs, f"--segments={segments}", f"--class_labels={labels}"),
        "verify": (verify.run, str(folder), f"--segments={segments}", f"--class_labels={labels}"),
        "export_model": (export_model.run, output, "--pca_params=none", f"--weights={weights}"),
        "smoke_test": (smoke_test.run, f"--weights={weights}"),
        "fine_tune": (fine_tune.main, output, f"--weights={weights}"),
        "run_input": (run.run, f"--input={weights}", output),
        "run_output": (run.run, inputs, f"--output={weights}"),
        "run_segments": (run.run, inputs, output, f"--segments=eval={labels}"),
        "run_config": (run.run, f"--config={weights}"),
        "fit_pca": (fit_pca.run, f"--features={weights}", f"--output={folder}/p.npz"),
        "fit_pca_output": (fit_pca.run, f"--features={folder}", f"--output={pca}"),
        "verify_folder": (verify.run, weights),
        "flink": (run.run, inputs, output, "--runner=FlinkRunner", f"--flink_master={weights}"),
        "tag_file": (tag_file.main, str(folder), str(audio / "clip0.wav"), f"--weights={weights}"),
    }


def bad_address(kind: str, server: str, name: str) -> str:
    if kind == "forbidden":
        return address(server, name, "WRONG" + SIGNATURE)
    if kind == "missing":
        return address(server, f"none-{name}")
    if kind == "no_connection":
        return address("127.0.0.1:9", name)
    if kind == "no_scheme_known":
        return address(server, name).replace("http:", "ftp:")
    # Signs that should be escaped: the password is then taken for a port.
    return f"https://{USER}:{PASSWORD}@{server}/{name}?sig={SIGNATURE}&Expires=XPIRES01"


@pytest.mark.parametrize("kind", ["forbidden", "missing", "no_connection", "no_scheme_known", "unescaped"])
def test_no_error_of_any_command_shows_a_secret(kind, server, cache, audio, tmp_path, screen):
    addresses = [bad_address(kind, server, name) for name in ("w.weights.h5", "pca.npz", "labels.csv")]
    for name, (command, *argv) in commands(*addresses, audio, tmp_path).items():
        status, text = screen(command, *argv)
        # Of analyze and verify the labels may be missing.
        assert status == 2 and len(text.splitlines()) <= 2, (name, text)
        check_hidden(text)
    check_hidden(all_text(cache))


def test_a_worker_shows_no_secret_of_a_file_that_it_cannot_download(server, cache):
    for kind in ("forbidden", "no_connection", "unescaped"):
        where = bad_address(kind, server, "w.weights.h5")
        with pytest.raises(Exception, match="could not be downloaded") as caught:
            SharedFile("/none/w.weights.h5", "0" * 64, where).local_path()
        error: BaseException | None = caught.value
        while error is not None:  # Beam prints all of them
            if not error.__suppress_context__ or error is caught.value:
                check_hidden(str(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_files_of_one_path_with_different_queries_are_kept_apart(server, cache):
    """The name in the cache has no query; the hash of the bytes distinguishes the files."""
    first = SharedFile("/none", sha256_of_bytes(server, cache), address(server, "labels.csv"))
    assert Path(first.local_path()).name == "labels.csv"
    with pytest.raises(Exception, match="has changed since the run began"):
        SharedFile("/none", "1" * 64, address(server, "labels.csv")).local_path()
    assert sha256_of(first.local_path()) == first.sha256


def sha256_of_bytes(server: str, cache: Path) -> str:
    from transforms.storage.shared_files import fetch

    return sha256_of(fetch(address(server, "labels.csv")))


def test_a_traceback_and_a_log_show_no_secret(screen, capsys, server):
    import logging

    def command(argv):
        redact.remember_address(address(server, "w"))
        logging.getLogger("elsewhere").warning("GET /w?sig=%s", quote(SIGNATURE, safe=""))
        print(f"{PASSWORD} at {address(server, 'w')}")
        raise RuntimeError(f"of {address(server, 'w')}")

    with pytest.raises(RuntimeError) as caught:
        screen(command)
    sys.excepthook(caught.type, caught.value, caught.tb)
    text = "".join(capsys.readouterr())
    assert "RuntimeError: of http://***@" in text
    check_hidden("\n".join(line for line in text.splitlines() if "RuntimeError" in line or " at " in line))
