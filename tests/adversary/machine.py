"""Draws sequences of runs and disturbances, and compares each with one undisturbed run over everything."""

import json
import os
import signal
import sys
import time
from contextlib import suppress

from expectations import Expectations
from fork_server import MOST_CHANGES, Kill
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from oracle import reject_lines
from pool import GROUPS
from workspace import MODES, Mode, Workspace

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
# Files that no run wrote, at paths that no run needs.
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
modes = st.sampled_from((MODES[0], *MODES))
groups = st.frozensets(st.sampled_from(GROUPS), min_size=1)
kills = st.one_of(
    st.none(),
    st.builds(Kill, st.just(""), st.integers(1, MOST_CHANGES), st.booleans()),
    st.builds(Kill, st.sampled_from(WORDS), st.integers(1, 4), st.booleans()),
)


class Adversary(Expectations, RuleBasedStateMachine):
    """A sequence; each rule is a run or a disturbance. At the end, all splits are read once more."""

    @initialize(names=groups, sharding=st.sampled_from(["audioset", "audioset", "hash:3"]))
    def begin(self, names, sharding):
        self.sharding = sharding
        for name in sorted(names):
            self.add(name)

    def add(self, name: str) -> None:
        if name not in self.present:
            self.workspace.pool.add(name)
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
        """Checks that the change is refused; with --overwrite, a new folder replaces the old one."""
        before = self.shards()
        changes = sharding != self.sharding and bool(before) and not self.must_overwrite
        if changes:
            flags = [*self.workspace.flags(mode, sharding), f"--input={self.workspace.pool.corpus}/*/*"]
            status, printed = self.workspace.run(flags)
            assert status == 2, printed
            if not self.cut:
                assert f"made with sharding {self.sharding}, but this command has {sharding}" in printed, (
                    printed
                )
            assert self.shards() == before
        self.must_overwrite |= changes
        self.sharding = sharding
        self.embed(mode, self.present, kill, overwrite=True)

    @rule(mode=modes, kill=kills)
    def retry_rejects(self, mode, kill):
        listed = reject_lines(self.workspace.out)
        before = {p: p.read_bytes() for p in self.run_folder.glob("rejected-*")}
        if self.must_overwrite:
            return
        flags = [*self.workspace.flags(mode, self.sharding), f"--input_rejects={self.run_folder}/rejected-*"]
        status, printed = self.workspace.run(flags, kill)
        if not listed:
            assert status in (2, -signal.SIGKILL), printed
            if status == 2:
                assert "no rejected clip" in printed or (not before and "matches no file" in printed), printed
            return
        files = {line["file"] for line in listed if line["split"] == mode.split}
        whole = {path for path in files if not path.endswith((".tar", ".tfrecord"))}
        if status in (0, 4):
            self.completed(mode, whole, status, printed, tried=True)
        else:
            self.failed(mode, files, status, printed)

    @rule(names=groups, mode=modes, delay_s=st.floats(0.0, 1.0))
    def kill_by_the_clock(self, names, mode, delay_s):
        names = (names & self.present) or self.present
        pid, printed = self.workspace.start(self.command(mode, names, self.must_overwrite))
        time.sleep(delay_s)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.check_end(mode, names, self.must_overwrite, *self.workspace.wait((pid, printed)))

    @rule(first=groups, second=groups, mode=modes, kill=kills, delay_s=st.floats(0.0, 0.3))
    def two_at_once(self, first, second, mode, kill, delay_s):
        if self.must_overwrite or self.cut:
            return
        both = [(names & self.present) or self.present for names in (first, second)]
        started = [self.workspace.start(self.command(mode, both[0]), kill)]
        time.sleep(delay_s)
        started.append(self.workspace.start(self.command(mode, both[1])))
        ends = [self.workspace.wait(one) for one in started]
        self.workspace.counts["races"] += 1
        refused = [status == 2 and "another run is using this folder" in printed for status, printed in ends]
        assert not all(refused), ends
        self.workspace.counts["races that one lost"] += any(refused)
        # If one of the runs was killed, the other one was the last.
        order = sorted(range(2), key=lambda n: ends[n][0] != -signal.SIGKILL)
        for number in order:
            if not refused[number]:
                is_last = number == order[-1] or refused[order[-1]]
                self.check_end(mode, both[number], False, *ends[number], is_last=is_last)

    @rule(mode=modes)
    def hand_over(self, mode):
        """Submits a job without waiting for it, and then makes its lock look like another machine's."""
        flags = [*self.command(mode, self.present, self.must_overwrite), "--no_wait_until_finish"]
        status, printed = self.workspace.run(flags)
        if status == 0:
            assert "the job is submitted" in printed
            self.workspace.counts["jobs handed over"] += 1
            self.forget(mode, self.files_of(self.present), self.must_overwrite)
            self.lock_elsewhere()
        else:
            self.failed(mode, self.files_of(self.present), status, printed)

    @rule()
    def lock_elsewhere(self):
        """Leaves a lock of a machine that no longer exists."""
        self.run_folder.mkdir(parents=True, exist_ok=True)
        (self.run_folder / "lock.json").write_text(json.dumps(ELSEWHERE))

    @precondition(lambda self: self.shards())
    @rule(number=st.integers(0, 9), is_cut=st.booleans())
    def damage_a_shard(self, number, is_cut):
        paths = sorted(self.shards())
        path = paths[number % len(paths)]
        data = (self.workspace.out / path).read_bytes()
        if is_cut and data:
            (self.workspace.out / path).write_bytes(data[: len(data) // 2 + 1])
            self.cut.add(path)
        else:
            (self.workspace.out / path).unlink()
            self.cut.discard(path)
            self.own.discard(path)
        split = path.split("/")[0]
        self.unsettle(split, {*self.read[split], *self.unsettled[split]})
        self.workspace.counts["shards cut or deleted"] += 1

    @precondition(lambda self: self.run_folder.exists() and not self.must_overwrite)
    @rule(number=st.integers(0, 30), data=st.sampled_from([None, b"", b"{", b"\xff\0"]), mode=modes)
    def damage_a_file_of_the_run(self, number, data, mode):
        """Checks that the next run completes, or names the file in one line and changes nothing."""
        paths = sorted(path for path in self.run_folder.rglob("*") if path.is_file())
        if not paths:
            return
        path = paths[number % len(paths)]
        before = path.read_bytes()
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        elif path.name.startswith("before-"):
            # Its shard is then a foreign file: runs of the same split name it, and other runs ignore it.
            mode = next(one for one in MODES if path.name.startswith(f"before-{one.split}="))
        shards = self.shards()
        splits = {path.name.partition("=")[0]} if path.parent.name == "sources" else set()
        self.untold |= splits
        for split in splits:
            self.unsettle(split, {*self.read[split], *self.unsettled[split]})
        status, printed = self.workspace.run(self.command(mode, self.present))
        self.workspace.counts["files of _run damaged"] += 1
        if status in (0, 4):
            if splits and path.exists() and path.read_bytes() == data:
                path.unlink()  # this run did not read it; a run that reads it fails and says to delete it
            self.check_end(mode, self.present, False, status, printed)
            return
        assert status in (1, 2) and len(printed.splitlines()) <= 3, printed
        if not self.cut:
            assert str(path) in printed or "_run/" in printed, (path, printed)
        if status == 2:
            assert self.shards() == shards
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(before)
        if status == 1:
            self.forget(mode, self.files_of(self.present), False)

    @rule(spot=st.sampled_from(FOREIGN), data=st.binary(max_size=20))
    def put_a_foreign_file(self, spot, data):
        path = self.workspace.out / spot
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.foreign[path] = data, path.stat().st_mtime_ns

    @precondition(lambda self: self.sharding == "audioset" and not self.cut and not self.must_overwrite)
    @rule(overwrite=st.booleans())
    def put_a_foreign_file_in_the_way(self, overwrite):
        path, before = self.workspace.out / "train" / "qq.tfrecord", self.shards()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"precious")
        status, printed = self.workspace.run(self.command(Mode("train"), self.present, overwrite))
        assert status == 2 and f"{path} has the path of a shard that this run may write" in printed, printed
        assert path.read_bytes() == b"precious"
        path.unlink()
        assert self.shards() == before

    @precondition(lambda self: "a" in self.present and not self.workspace.pool.is_repaired)
    @rule()
    def repair_an_input(self):
        path = str(self.workspace.pool.repair())
        for split in list(self.read):
            if path in self.read[split] or path in self.unsettled[split]:
                self.unsettle(split, {path})
        self.lines.pop(path, None)

    def embed(self, mode: Mode, names, kill: Kill | None = None, overwrite: bool = False) -> None:
        overwrite |= self.must_overwrite
        status, printed = self.workspace.run(self.command(mode, names, overwrite), kill)
        self.check_end(mode, names, overwrite, status, printed)

    def teardown(self) -> None:
        """Reads all splits once more, unless a check has failed."""
        if sys.exc_info()[0] is not None:
            return
        for split, mode in list(self.last.items()):
            if self.is_settled(split) and self.read[split].keys() == self.files_of(self.present):
                continue
            for _ in range(1 + len(self.cut)):  # each run names one truncated shard, which is then removed
                self.embed(mode, self.present)
                if self.is_settled(split):
                    break
            assert self.is_settled(split), self.unsettled[split]


def draw(workspace: Workspace, sequences: int, number: int, steps: int = 5) -> None:
    """Draws sequences; the same seed always gives the same ones.

    Args:
      steps: number of steps of a sequence, without its end.

    Raises:
      AssertionError: of the shortest sequence found that does not hold.
    """
    machine = seed(number)(type("Adversary", (Adversary,), {"workspace": workspace}))
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
