import multiprocessing
import threading

import apache_beam as beam

from transforms.progress import CLIPS, COUNTERS, FRAMES, CountProgress, ProgressFolder


def add_much(folder: ProgressFolder) -> None:
    threads = [threading.Thread(target=lambda: [folder.add(CLIPS) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_and_processes_lose_no_count(tmp_path):
    folder = ProgressFolder(str(tmp_path))
    folder.add(FRAMES, 7)
    context = multiprocessing.get_context("fork")  # the child must not count into its parent's file
    children = [context.Process(target=add_much, args=(folder,)) for _ in range(2)]
    for child in children:
        child.start()
    add_much(folder)
    for child in children:
        child.join()
    assert folder.read() == dict.fromkeys(COUNTERS, 0) | {CLIPS: 6000, FRAMES: 7}


def test_nothing_is_counted_without_the_folder(tmp_path):
    folder = ProgressFolder(str(tmp_path / "none"))
    folder.add(CLIPS)
    assert folder.read()[CLIPS] == 0 and not (tmp_path / "none").exists()


def test_elements_are_counted_while_they_are_processed(tmp_path):
    folder = ProgressFolder(str(tmp_path))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([1, 2, 3]) | CountProgress(folder, lambda n: [(FRAMES, n), (CLIPS, 1)])
    assert (folder.read()[FRAMES], folder.read()[CLIPS]) == (6, 3)
