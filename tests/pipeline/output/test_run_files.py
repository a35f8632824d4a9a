"""The lists in `_run`: their files are found, read and deleted, whatever the folder is called."""

from pathlib import Path

from pipeline.output import run_files
from pipeline.output.run_files import delete_input_list, delete_stale_lists, list_files, read_lines, run_path

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_files_of_a_list_are_found_and_no_others(tmp_path):
    folder = tmp_path / "out[1]*"
    run_folder = folder / "_run"
    run_folder.mkdir(parents=True)
    names = ("rejected-00001-of-00002.jsonl", "rejected-00000-of-00002.jsonl", "rejected.jsonl", "x.jsonl")
    for name in (*names, "inputs-00000-of-00001.jsonl"):
        (run_folder / name).touch()
    assert list_files(str(folder), "rejected") == [str(run_folder / name) for name in sorted(names[:2])]
    assert run_path(str(folder), "x.jsonl") == str(run_folder / "x.jsonl")
    delete_input_list(str(folder))
    assert {path.name for path in run_folder.iterdir()} == {*names}


def test_lines_have_numbers_and_empty_ones_are_skipped(tmp_path):
    (tmp_path / "list.jsonl").write_bytes('{"a": "\u2028"}\n\n2\n'.encode())
    assert [*read_lines(str(tmp_path / "list.jsonl"))] == [(1, '{"a": "\u2028"}'.encode()), (3, b"2")]


def test_files_of_a_list_with_another_number_of_files_are_deleted(tmp_path):
    for name in ("rejected-00000-of-00001.jsonl", "rejected-00000-of-00002.jsonl"):
        (tmp_path / "_run").mkdir(exist_ok=True)
        (tmp_path / "_run" / name).touch()
    delete_stale_lists(str(tmp_path), "rejected", 0)
    assert [path.name for path in (tmp_path / "_run").iterdir()] == ["rejected-00000-of-00001.jsonl"]


def test_files_have_the_names_of_the_docs():
    outputs, reliability = ((DOCS / f"{name}.md").read_text() for name in ("outputs", "reliability"))
    for name in (run_files.REJECTED_LIST, run_files.UNMATCHED_LIST):
        assert f"\n  _run/{name}-*.jsonl " in outputs
    for name in (run_files.REPORT_FILE, run_files.LOG_FILE):
        assert f"\n  _run/{name} " in outputs
    assert f"`_run/{run_files.DISPLACED_FILE}`" in reliability


def test_no_file_has_the_name_of_another():
    names = [value for name, value in vars(run_files).items() if name.endswith(("_LIST", "_FILE"))]
    assert len({*names}) == len(names) > 7 and all(isinstance(name, str) for name in names)
