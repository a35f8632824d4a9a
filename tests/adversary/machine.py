"""Draws sequences of runs and accidents, and compares the folder with one undisturbed run over everything.

What is promised (docs/reliability.md), and so what is compared after each run that comes to its end: of each
split whose inputs were read by such runs since the last accident that touched them, all shards, the source
of each record, and the lines on each input. Where something is still to be read again, no record may be lost
or halved. At the end all splits are read once more, and everything must be equal.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fork_server import MOST_CHANGES, RUN_FLAGS, ForkServer, Kill
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from oracle import RUN_FILES, Content, all_records, reject_lines, shard_line
from pool import GROUPS, Pool

ELSEWHERE = {
    "run": "theirs",
    "host": "elsewhere",
    "boot_id": "x",
    "pid_namespace": "y",
    "pid": 1,
    "process_started": 1.0,
    "since": "2100-01-01T00:00:00+00:00",
    "beat": 3,
}
# Files of somebody else that stand in no run's way.
FOREIGN = (
    "mydata/precious.tfrecord",
    "mydata/xa.tfrecord",
    "train/precious.tfrecord",
    "train/notes.txt",
    "train/below/xa.tfrecord",
    "train/.precious.tfrecord.0123456789abcdef0123456789abcdef.tmp",
    "notes.txt",
)
WORDS = (
    "tfrecord",
    "sources/",
    "before-",
    "own-shards",
    "rejected",
    "account",
    "written",
    "/shards.jsonl",
    "manifest",
    "inputs",
    "tried",
)


class Mode(NamedTuple):
    """How inputs become clips.

    Attributes:
      split: of the clips; each mode's alone, but for the two versions of segments.
      version: of the segments; 0: there are none.
    """

    split: str
    version: int = 0


MODES = (Mode("train"), Mode("other"), Mode("cut", 1), Mode("cut", 2))
modes = st.sampled_from((MODES[0], *MODES))
groups = st.frozensets(st.sampled_from(GROUPS), min_size=1)
kills = st.one_of(
    st.none(),
    st.builds(Kill, st.just(""), st.integers(1, MOST_CHANGES), st.booleans()),
    st.builds(Kill, st.sampled_from(WORDS), st.integers(1, 4), st.booleans()),
)


class Place:
    """What all sequences of a process share: the inputs, the process that forks, and runs to compare with.

    Attributes:
      counts: of sequences, runs, and what was done to them.
    """

    def __init__(self, folder: Path):
        self.pool = Pool(folder)
        self.out = folder / "out"
        self.server = ForkServer(folder / "server.log")
        self.counts = Counter[str]()
        self._folder = folder
        self._undisturbed: dict[tuple, tuple[int, Content]] = {}

    def flags(self, mode: Mode, sharding: str, output: Path | None = None) -> list[str]:
        flags = [*RUN_FLAGS, f"--output={output or self.out}", f"--sharding={sharding}"]
        flags.append(f"--split={mode.split}")
        if not mode.version:
            return flags
        segments = f"--segments={mode.split}={self._folder}/segments{mode.version}.csv"
        return [*flags, segments, f"--class_labels={self._folder}/labels.csv"]

    def undisturbed(self, mode: Mode, sharding: str, files: frozenset[str]) -> tuple[int, Content]:
        """Exit status and content of one run over some files into an empty folder."""
        key = mode, sharding, files, self.pool.is_mended
        if key not in self._undisturbed:
            output = self._folder / "undisturbed"
            shutil.rmtree(output, ignore_errors=True)
            flags = [*self.flags(mode, sharding, output), *(f"--input={path}" for path in sorted(files))]
            status, said = self.run(flags)
            assert status in (0, 4), said
            shards = {str(p.relative_to(output)): p.read_bytes() for p in output.glob("*/*.tfrecord")}
            self._undisturbed[key] = status, Content.of(output, shards)
            self.counts["undisturbed runs"] += 1
        return self._undisturbed[key]

    def run(self, flags: list[str], kill: Kill | None = None) -> tuple[int, str]:
        """Runs a command; its exit status and what it said."""
        return self.wait(self.start(flags, kill))

    def start(self, flags: list[str], kill: Kill | None = None) -> tuple[int, Path]:
        self.counts["runs"] += 1
        said = self._folder / f"said{self.counts['runs']}"
        return self.server.start(flags, said, kill), said

    def wait(self, started: tuple[int, Path]) -> tuple[int, str]:
        pid, said = started
        status = self.server.wait(pid)
        text = said.read_text() if said.exists() else ""
        said.unlink(missing_ok=True)
        assert "Traceback" not in text, text
        return status, text

    def close(self) -> None:
        self.server.close()


class Adversary(RuleBasedStateMachine):
    """One sequence.

    Attributes:
      read: split -> file -> version with which a run that came to its end has read it, and nothing has
        happened to its records since.
      unsettled: split -> files that must be read again before anything is promised of them.
      lines: file -> splits whose lines on it must be listed; a file that is missing has none that count.
      untold: splits of which somebody deleted the sources, so that nobody knows which of several inputs for
        one record it is of.
    """

    place: Place

    def __init__(self):
        super().__init__()
        self.place.pool.clear()
        shutil.rmtree(self.place.out, ignore_errors=True)
        self.place.counts["sequences"] += 1
        self.sharding = "audioset"
        self.present: set[str] = set()
        self.read: dict[str, dict[str, int]] = defaultdict(dict)
        self.unsettled: dict[str, set[str]] = defaultdict(set)
        self.lines: dict[str, set[str]] = {}
        self.untold: set[str] = set()
        self.last: dict[str, Mode] = {}
        self.foreign: dict[Path, tuple[bytes, int]] = {}
        self.own: set[str] = set()
        self.cut: set[str] = set()
        self.must_overwrite = False

    # What is there.

    def files_of(self, names) -> frozenset[str]:
        corpus = self.place.pool.corpus
        return frozenset(str(p) for name in names for p in (corpus / name).iterdir())

    def shards(self) -> dict[str, bytes]:
        """Those that are not somebody else's."""
        out = self.place.out
        paths = [path for path in out.glob("*/*.tfrecord") if path not in self.foreign]
        return {str(path.relative_to(out)): path.read_bytes() for path in paths}

    @property
    def run_folder(self) -> Path:
        return self.place.out / "_run"

    # What is done.

    @initialize(names=groups, sharding=st.sampled_from(["audioset", "audioset", "hash:3"]))
    def begin(self, names, sharding):
        self.sharding = sharding
        for name in sorted(names):
            self.add(name)

    def add(self, name: str) -> None:
        if name not in self.present:
            self.place.pool.add(name)
            self.present.add(name)

    @rule(name=st.sampled_from(GROUPS), mode=modes, kill=kills)
    def add_and_run_over_all(self, name, mode, kill):
        self.add(name)
        self.embed(mode, self.present, kill)

    @rule(names=groups, mode=modes, kill=kills)
    def run_over_some(self, names, mode, kill):
        self.embed(mode, (names & self.present) or self.present, kill)

    @rule(mode=modes, kill=kills)
    def overwrite(self, mode, kill):
        self.embed(mode, self.present, kill, overwrite=True)

    @rule(mode=modes, sharding=st.sampled_from(["audioset", "hash:2", "hash:3"]), kill=kills)
    def change_sharding(self, mode, sharding, kill):
        """It is refused; with --overwrite it is another folder."""
        before = self.shards()
        changes = sharding != self.sharding and bool(before) and not self.must_overwrite
        if changes:
            flags = [*self.place.flags(mode, sharding), f"--input={self.place.pool.corpus}/*/*"]
            status, said = self.place.run(flags)
            assert status == 2, said
            if not self.cut:
                assert f"made with sharding {self.sharding}, but this command has {sharding}" in said, said
            assert self.shards() == before
        self.must_overwrite |= changes
        self.sharding = sharding
        self.embed(mode, self.present, kill, overwrite=True)

    @rule(mode=modes, kill=kills)
    def retry_rejects(self, mode, kill):
        listed = reject_lines(self.place.out)
        before = {p: p.read_bytes() for p in self.run_folder.glob("rejected-*")}
        if self.must_overwrite:
            return
        flags = [*self.place.flags(mode, self.sharding), f"--input_rejects={self.run_folder}/rejected-*"]
        status, said = self.place.run(flags, kill)
        if not listed:
            assert status in (2, -signal.SIGKILL), said
            if status == 2:
                assert "no rejected clip" in said or (not before and "matches no file" in said), said
            return
        files = {line["file"] for line in listed if line["split"] == mode.split}
        whole = {path for path in files if not path.endswith((".tar", ".tfrecord"))}
        if status in (0, 4):
            self.completed(mode, whole, status, said, tried=True)
        else:
            self.failed(mode, files, status, said)

    @rule(names=groups, mode=modes, delay_s=st.floats(0.0, 1.0))
    def kill_by_the_clock(self, names, mode, delay_s):
        names = (names & self.present) or self.present
        pid, said = self.place.start(self.command(mode, names, self.must_overwrite))
        time.sleep(delay_s)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.came(mode, names, self.must_overwrite, *self.place.wait((pid, said)))

    @rule(first=groups, second=groups, mode=modes, kill=kills, delay_s=st.floats(0.0, 0.3))
    def two_at_once(self, first, second, mode, kill, delay_s):
        if self.must_overwrite or self.cut:
            return
        both = [(names & self.present) or self.present for names in (first, second)]
        started = [self.place.start(self.command(mode, both[0]), kill)]
        time.sleep(delay_s)
        started.append(self.place.start(self.command(mode, both[1])))
        ends = [self.place.wait(one) for one in started]
        self.place.counts["races"] += 1
        refused = [status == 2 and "another run is using this folder" in said for status, said in ends]
        assert not all(refused), ends
        self.place.counts["races that one lost"] += any(refused)
        # The one that came to its end was there last.
        order = sorted(range(2), key=lambda n: ends[n][0] != -signal.SIGKILL)
        for number in order:
            if not refused[number]:
                is_last = number == order[-1] or refused[order[-1]]
                self.came(mode, both[number], False, *ends[number], is_last=is_last)

    @rule(mode=modes)
    def hand_over(self, mode):
        """A job that nobody waits for, and whose launcher is taken for one of another machine."""
        flags = [*self.command(mode, self.present, self.must_overwrite), "--no_wait_until_finish"]
        status, said = self.place.run(flags)
        if status == 0:
            assert "the job is submitted" in said
            self.place.counts["jobs handed over"] += 1
            self.forget(mode, self.files_of(self.present), self.must_overwrite)
            self.lock_elsewhere()
        else:
            self.failed(mode, self.files_of(self.present), status, said)

    @rule()
    def lock_elsewhere(self):
        """A lock of a machine that is no more."""
        self.run_folder.mkdir(parents=True, exist_ok=True)
        (self.run_folder / "lock.json").write_text(json.dumps(ELSEWHERE))

    @precondition(lambda self: self.shards())
    @rule(number=st.integers(0, 9), is_cut=st.booleans())
    def damage_a_shard(self, number, is_cut):
        paths = sorted(self.shards())
        path = paths[number % len(paths)]
        data = (self.place.out / path).read_bytes()
        if is_cut and data:
            (self.place.out / path).write_bytes(data[: len(data) // 2 + 1])
            self.cut.add(path)
        else:
            (self.place.out / path).unlink()
            self.cut.discard(path)
            self.own.discard(path)
        split = path.split("/")[0]
        self.unsettle(split, {*self.read[split], *self.unsettled[split]})
        self.place.counts["shards cut or deleted"] += 1

    @precondition(lambda self: self.run_folder.exists() and not self.must_overwrite)
    @rule(number=st.integers(0, 30), data=st.sampled_from([None, b"", b"{", b"\xff\0"]), mode=modes)
    def damage_a_file_of_the_run(self, number, data, mode):
        """The next run goes on, or names the file in one line and changes nothing."""
        paths = sorted(path for path in self.run_folder.rglob("*") if path.is_file())
        if not paths:
            return
        path = paths[number % len(paths)]
        before = path.read_bytes()
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        elif path.name.startswith("before-"):
            # Its shard is then somebody else's, which runs of its own split name; others pass it over.
            mode = next(one for one in MODES if path.name.startswith(f"before-{one.split}="))
        shards = self.shards()
        splits = {path.name.partition("=")[0]} if path.parent.name == "sources" else set()
        self.untold |= splits
        for split in splits:
            self.unsettle(split, {*self.read[split], *self.unsettled[split]})
        status, said = self.place.run(self.command(mode, self.present))
        self.place.counts["files of _run damaged"] += 1
        if status in (0, 4):
            if splits and path.exists() and path.read_bytes() == data:
                path.unlink()  # a run of another split has no need of it; one that has says to delete it
            self.came(mode, self.present, False, status, said)
            return
        assert status in (1, 2) and len(said.splitlines()) <= 3, said
        if not self.cut:
            assert str(path) in said or "_run/" in said, (path, said)
        if status == 2:
            assert self.shards() == shards
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(before)
        if status == 1:
            self.forget(mode, self.files_of(self.present), False)

    @rule(spot=st.sampled_from(FOREIGN), data=st.binary(max_size=20))
    def put_a_foreign_file(self, spot, data):
        path = self.place.out / spot
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.foreign[path] = data, path.stat().st_mtime_ns

    @precondition(lambda self: self.sharding == "audioset" and not self.cut and not self.must_overwrite)
    @rule(overwrite=st.booleans())
    def put_a_foreign_file_in_the_way(self, overwrite):
        path, before = self.place.out / "train" / "qq.tfrecord", self.shards()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"precious")
        status, said = self.place.run(self.command(Mode("train"), self.present, overwrite))
        assert status == 2 and f"{path} has the path of a shard that this run may write" in said, said
        assert path.read_bytes() == b"precious"
        path.unlink()
        assert self.shards() == before

    @precondition(lambda self: "a" in self.present and not self.place.pool.is_mended)
    @rule()
    def mend_an_input(self):
        path = str(self.place.pool.mend())
        for split in list(self.read):
            if path in self.read[split] or path in self.unsettled[split]:
                self.unsettle(split, {path})
        self.lines.pop(path, None)

    # What is expected of it.

    def command(self, mode: Mode, names, overwrite: bool = False) -> list[str]:
        flags = self.place.flags(mode, self.sharding)
        if names == self.present:
            flags.append(f"--input={self.place.pool.corpus}/*/*")
        else:
            flags += [f"--input={self.place.pool.corpus}/[{''.join(sorted(names))}]/*"]
        return [*flags, "--overwrite"] if overwrite else flags

    def embed(self, mode: Mode, names, kill: Kill | None = None, overwrite: bool = False) -> None:
        overwrite |= self.must_overwrite
        status, said = self.place.run(self.command(mode, names, overwrite), kill)
        self.came(mode, names, overwrite, status, said)

    def came(self, mode, names, overwrite, status: int, said: str, is_last: bool = True) -> None:
        """What came of a run."""
        files = self.files_of(names)
        if status in (0, 4):
            if overwrite:
                self.read.clear()
                self.unsettled.clear()
                self.lines.clear()
                self.untold.clear()
                self.last.clear()
                self.own.clear()
                self.cut.clear()
                self.must_overwrite = False
            self.completed(mode, files, status, said, is_last=is_last)
        else:
            self.failed(mode, files, status, said, overwrite)

    def failed(self, mode: Mode, files, status: int, said: str, overwrite: bool = False) -> None:
        if status == -signal.SIGKILL:
            self.place.counts["kills"] += 1
        else:
            # A shard that was cut is named; the remedy is what the line says.
            named = [path for path in self.cut if f"{self.place.out}/{path}: is damaged" in said]
            assert status == 1 and named, (status, said)
            assert "remove it and run the same command again" in said, said
            for path in named:
                (self.place.out / path).unlink()
                self.cut.discard(path)
                self.own.discard(path)
        self.forget(mode, files, overwrite)
        self.check_whole()

    def forget(self, mode: Mode, files, overwrite: bool) -> None:
        """After a run over some files that did not come to its end."""
        self.last[mode.split] = mode
        if overwrite:
            for split in list(self.read):
                self.unsettle(split, set(self.read[split]))
            self.own.clear()
            self.lines.clear()
        self.unsettle(mode.split, set(files))
        for path in files:
            self.lines.pop(path, None)

    def unsettle(self, split: str, files: set[str]) -> None:
        for path in files:
            self.read[split].pop(path, None)
        self.unsettled[split] |= files

    def completed(
        self, mode: Mode, files, status: int, said: str, tried: bool = False, is_last: bool = True
    ) -> None:
        split = mode.split
        self.last[split] = mode
        self.unsettled[split] -= files
        for path in files:
            self.read[split][path] = mode.version
            self.lines[path] = {split} | (self.lines.get(path, set()) if tried else set())
        if not is_last:
            return
        self.check_whole()
        content = Content.of(self.place.out, self.whole_shards())
        self.own = set(content.shards)
        self.check_account(content, mode, files, status, said, tried)
        for one in list(self.read):
            if self.is_settled(one):
                self.check_split(content, one)
        self.check_lists(content)
        self.check_no_traces()

    def is_settled(self, split: str) -> bool:
        versions = self.read[split]
        return bool(versions) and not self.unsettled[split] and len(set(versions.values())) == 1

    def whole_shards(self) -> dict[str, bytes]:
        return {path: data for path, data in self.shards().items() if path not in self.cut}

    def check_whole(self) -> None:
        """Whatever happened: shards are whole, none is gone, and nobody else's file was touched."""
        whole = self.whole_shards()
        all_records(self.place.out, whole)
        assert whole.keys() >= self.own - self.cut, (whole.keys(), self.own)
        for path, (data, time_ns) in self.foreign.items():
            assert path.read_bytes() == data and path.stat().st_mtime_ns == time_ns, path

    def check_account(self, content: Content, mode: Mode, files, status: int, said: str, tried: bool) -> None:
        account = content.account
        assert account["balanced"] and account["lost"] == [], account
        total = {name: content.total(name) for name in ("expected", "written", "rejected", "existing")}
        assert total["expected"] == total["written"] + total["rejected"] + total["existing"], account
        fraction = total["rejected"] / max(1, total["expected"])
        nothing = not tried and not (total["written"] or total["existing"])
        assert status == (4 if fraction > 0.4 or nothing else 0), (status, account)
        assert f"clips expected {total['expected']} = written {total['written']}" in said, said
        if self.is_settled(mode.split) and files == self.read[mode.split].keys() and not tried:
            expected_status, expected = self.undisturbed(mode.split)
            assert status == expected_status, (status, said)
            assert account["rejected_by_reason"] == expected.account["rejected_by_reason"], account
            assert account["expected"] == expected.account["expected"], account
            assert total["written"] + total["existing"] == expected.total("written"), account

    def undisturbed(self, split: str) -> tuple[int, Content]:
        (version,) = set(self.read[split].values())
        return self.place.undisturbed(Mode(split, version), self.sharding, frozenset(self.read[split]))

    def check_split(self, content: Content, split: str) -> None:
        """Shards and sources are those of one undisturbed run."""
        _, expected = self.undisturbed(split)
        contested = set()
        if split in self.untold:
            rows = (line for of in expected.lines.values() for line in of.get(split, ()))
            contested = {(row["id"], 0) for row in rows if row["reason"] == "duplicate"}
        if not contested:
            difference = self.difference(content, expected, split)
            assert content.of_split(split) == expected.of_split(split), difference
        found, wanted = content.records[split], expected.records[split]
        assert found.keys() == wanted.keys(), (found.keys(), wanted.keys())
        for key in found.keys() - contested:
            assert found[key] == wanted[key], (key, found[key].source, wanted[key].source)

    def difference(self, content: Content, expected: Content, split: str) -> str:
        found, wanted = content.records[split], expected.records[split]
        keys = [key for key in {*found, *wanted} if found.get(key) != wanted.get(key)]
        return repr(
            [
                (key, found.get(key) and found[key].source, wanted.get(key) and wanted[key].source)
                for key in sorted(keys)
            ]
            + sorted(content.of_split(split).keys() ^ expected.of_split(split).keys())
        )

    def check_lists(self, content: Content) -> None:
        """The list of shards is true; of each input the lines are those of one undisturbed run."""
        listed = [json.loads(line) for line in content.listed.splitlines()]
        found = {row["path"]: row for row in listed if row["path"] not in self.cut}
        assert found == {path: shard_line(path, data) for path, data in content.shards.items()}
        if not self.cut:
            counts = {split: len(records) for split, records in content.records.items() if records}
            assert {k: n for k, n in content.clips.items() if n} == counts, content.clips
        for split in filter(self.is_settled, list(self.read)):
            _, expected = self.undisturbed(split)
            for path in self.read[split]:
                if path not in self.lines:
                    continue
                there = content.lines.get(path, {}).get(split, [])
                wanted = expected.lines.get(path, {}).get(split, [])
                if split in self.untold:
                    there, wanted = (
                        [line for line in lines if line["reason"] != "duplicate"] for lines in (there, wanted)
                    )
                if split in self.lines[path]:
                    assert there == wanted, (path, there, wanted)
                else:  # another split was the last to be read from it
                    assert all(line in wanted and line["reason"] == "duplicate" for line in there), there

    def check_no_traces(self) -> None:
        out = self.place.out
        files = {path for path in out.rglob("*") if path.is_file()} - self.foreign.keys()
        left = {str(path.relative_to(out)) for path in files} - self.shards().keys()
        left -= {f"_run/{name}" for name in RUN_FILES}
        assert all(name.startswith("_run/sources/") for name in left), left

    def teardown(self) -> None:
        """Reads all splits once more, if there was no fault so far."""
        if sys.exc_info()[0] is not None:
            return
        for split, mode in list(self.last.items()):
            if self.is_settled(split) and self.read[split].keys() == self.files_of(self.present):
                continue
            for _ in range(1 + len(self.cut)):  # a run names one shard that was cut, which is then removed
                self.embed(mode, self.present)
                if self.is_settled(split):
                    break
            assert self.is_settled(split), self.unsettled[split]


def draw(place: Place, sequences: int, number: int, steps: int = 5) -> None:
    """Draws sequences; those of a number are always the same.

    Args:
      steps: of a sequence, beside its end.

    Raises:
      AssertionError: of the shortest sequence found that does not hold.
    """
    machine = seed(number)(type("Adversary", (Adversary,), {"place": place}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=False,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
