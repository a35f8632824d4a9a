import os

from forking import CONTEXT

from transforms.storage import exclusive
from transforms.storage.exclusive import Version


def test_only_one_program_creates_or_replaces_a_file(tmp_path):
    path = str(tmp_path / "folder" / "lock")
    assert exclusive.is_atomic(path) and exclusive.read(path) is None
    first = exclusive.create(path, b"1")
    assert first == exclusive.read(path) == Version(b"1")
    assert exclusive.create(path, b"other") is None
    second = exclusive.replace(path, b"2", first)
    assert second == exclusive.read(path)
    assert exclusive.replace(path, b"3", first) is None
    exclusive.remove(path, first)
    assert exclusive.read(path) == second
    exclusive.remove(path, second)
    assert exclusive.read(path) is None and exclusive.replace(path, b"3", second) is None
    exclusive.remove(path, second)
    assert not list((tmp_path / "folder").iterdir())


def test_a_temporary_file_that_another_run_deletes_is_written_again(tmp_path, monkeypatch):
    path, put = str(tmp_path / "lock"), exclusive.write_atomic
    swept = []

    def put_and_sweep(temporary, data):
        put(temporary, data)
        if len(swept) % 2 == 0:
            os.unlink(temporary)
        swept.append(temporary)

    monkeypatch.setattr(exclusive, "write_atomic", put_and_sweep)
    first = exclusive.create(path, b"1")
    assert first == exclusive.read(path)
    assert exclusive.replace(path, b"2", first) == exclusive.read(path) == Version(b"2")
    assert len(set(swept)) == 4


def count(path: str, times: int) -> None:
    for _ in range(times):
        while True:
            there = exclusive.read(path)
            if there and exclusive.replace(path, b"%d" % (int(there.data) + 1), there):
                break


def test_no_replacement_is_lost_among_processes(tmp_path):
    path = str(tmp_path / "count")
    exclusive.create(path, b"0")
    processes = [CONTEXT.Process(target=count, args=(path, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert exclusive.read(path) == Version(b"200")
    assert [file.name for file in tmp_path.iterdir()] == ["count"]
