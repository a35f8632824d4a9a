import os
import subprocess
import sys

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
        f"pipeline.run: error: needs apache-beam {BEAM_VERSION}, not 2.99.0: "
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
