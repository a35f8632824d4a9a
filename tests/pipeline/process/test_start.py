import os
import subprocess
import sys

from commands import ROOT

from pipeline.process.start import BEAM_VERSION, _check_beam


def test_another_version_of_beam_is_refused_in_one_line(tmp_path):
    """The commands use Beam's private parts. The first metadata on Python's path count."""
    metadata = tmp_path / "apache_beam-2.99.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: apache-beam\nVersion: 2.99.0\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['audioset-beam']; import pipeline"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"audioset-beam: error: needs apache-beam {BEAM_VERSION}, not 2.99.0: "
        f"pip install 'apache-beam[aws,gcp,hadoop]=={BEAM_VERSION}.*'\n"
    )
    _check_beam("pipeline.run")


def test_a_process_without_a_temporary_folder_is_refused_in_one_line():
    code = (
        "import sys, tempfile; sys.argv = ['audioset-beam']\n"
        "tempfile._candidate_tempdir_list = lambda: ['/does-not-exist']\n"
        "import pipeline"
    )
    environment = {**os.environ, "HOME": "/does-not-exist"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert "No usable temporary directory" in ended.stderr and "set TMPDIR" in ended.stderr


def test_another_program_may_import_the_package_without_its_frameworks_and_signals():
    code = (
        "import sys, signal, pipeline\n"
        "assert 'tensorflow' not in sys.modules and 'apache_beam' not in sys.modules\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_of_files_are_utf8_in_every_locale(tmp_path):
    """A command in a locale of ASCII starts again in UTF-8 mode, before anything else is imported."""
    package = tmp_path / "pipeline"
    package.mkdir()
    text = "from pipeline.process.start import _read_names_as_utf8\n_read_names_as_utf8()"
    (package / "__init__.py").write_text(f"__path__.append({str(ROOT / 'pipeline')!r})\n{text}")
    shown = "sys.getfilesystemencoding(), sys.stdout.encoding, ascii(os.listdir(sys.argv[1]))"
    look = f"import os, sys; print({shown})"
    (package / "names.py").write_text(look)
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "caf\u00e9.wav").touch()
    environment = {"PATH": os.defpath, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain = [sys.executable, "-c", look, str(folder)]
    command = [sys.executable, "-m", "pipeline.names", str(folder)]
    as_found, as_command = (
        subprocess.run(c, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        for c in (plain, command)
    )
    assert "utf-8" not in as_found.stdout.lower(), "the locale is UTF-8 whatever this test says"
    encoding, terminal, names = as_command.stdout.split(" ", 2)
    assert encoding == "utf-8" and terminal.lower() in ("ascii", "ansi_x3.4-1968", "us-ascii")
    assert names.strip() == r"['caf\xe9.wav']"
