"""What must be true of a folder after any sequence of runs and disturbances.

docs/reliability.md states the promises. After each completed run, all shards, the source of each record and
the lines on each input are compared with those of one undisturbed run. The comparison covers each split whose
inputs were read by completed runs since their last disturbance. In other splits, where a run must still read
an input again, no record may be lost or truncated.
"""

import json
import shutil
import signal
from collections import defaultdict
from pathlib import Path

from oracle import RUN_FILES, Content, all_records, shard_line
from workspace import Mode, Workspace


class Expectations:
    """Starts runs that write to one folder, and checks the folder after each of them.

    Attributes:
      workspace: the resources that all sequences of a process share.
      sharding: the current value of --sharding.
      present: the groups of inputs in the corpus.
      read: split -> file -> version of the segments with which a completed run has read the file; its records
        have not been disturbed since.
      unsettled: split -> files that a run must read again before its records are compared.
      lines: file -> splits whose lines on the file must be listed. Lines on other files are not compared.
      untold: splits whose sources were deleted; any of several inputs of a record may then be its source.
      last: split -> the mode of its last run.
      foreign: files that no run wrote -> their content and modification time.
      own: paths of shards that must exist.
      cut: paths of shards that were truncated.
      must_overwrite: whether the folder has another sharding than the command.
    """

    workspace: Workspace

    def __init__(self):
        super().__init__()
        self.workspace.pool.clear()
        shutil.rmtree(self.workspace.out, ignore_errors=True)
        self.workspace.counts["sequences"] += 1
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

    def files_of(self, names) -> frozenset[str]:
        corpus = self.workspace.pool.corpus
        return frozenset(str(p) for name in names for p in (corpus / name).iterdir())

    def shards(self) -> dict[str, bytes]:
        """Returns the path and content of all shards, without files that no run wrote."""
        out = self.workspace.out
        paths = [path for path in out.glob("*/*.tfrecord") if path not in self.foreign]
        return {str(path.relative_to(out)): path.read_bytes() for path in paths}

    @property
    def run_folder(self) -> Path:
        return self.workspace.out / "_run"

    def command(self, mode: Mode, names, overwrite: bool = False) -> list[str]:
        flags = self.workspace.flags(mode, self.sharding)
        if names == self.present:
            flags.append(f"--input={self.workspace.pool.corpus}/*/*")
        else:
            flags += [f"--input={self.workspace.pool.corpus}/[{''.join(sorted(names))}]/*"]
        return [*flags, "--overwrite"] if overwrite else flags

    def check_end(self, mode, names, overwrite, status: int, printed: str, is_last: bool = True) -> None:
        """Checks the folder after a run that ended with this status and printed this text."""
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
            self.completed(mode, files, status, printed, is_last=is_last)
        else:
            self.failed(mode, files, status, printed, overwrite)

    def failed(self, mode: Mode, files, status: int, printed: str, overwrite: bool = False) -> None:
        if status == -signal.SIGKILL:
            self.workspace.counts["kills"] += 1
        else:
            # The error names the truncated shard; this applies the remedy that it states.
            named = [path for path in self.cut if f"{self.workspace.out}/{path}: is damaged" in printed]
            assert status == 1 and named, (status, printed)
            assert "remove it and run the same command again" in printed, printed
            for path in named:
                (self.workspace.out / path).unlink()
                self.cut.discard(path)
                self.own.discard(path)
        self.forget(mode, files, overwrite)
        self.check_whole()

    def forget(self, mode: Mode, files, overwrite: bool) -> None:
        """Notes that a run over some files started and did not complete."""
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
        self, mode: Mode, files, status: int, printed: str, tried: bool = False, is_last: bool = True
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
        content = Content.of(self.workspace.out, self.whole_shards())
        self.own = set(content.shards)
        self.check_account(content, mode, files, status, printed, tried)
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
        """Checks that all shards are complete, and that files that no run wrote are unchanged."""
        whole = self.whole_shards()
        all_records(self.workspace.out, whole)
        assert whole.keys() >= self.own - self.cut, (whole.keys(), self.own)
        for path, (data, time_ns) in self.foreign.items():
            assert path.read_bytes() == data and path.stat().st_mtime_ns == time_ns, path

    def check_account(
        self, content: Content, mode: Mode, files, status: int, printed: str, tried: bool
    ) -> None:
        account = content.account
        assert account["balanced"] and account["lost"] == [], account
        total = {name: content.total(name) for name in ("expected", "written", "rejected", "existing")}
        assert total["expected"] == total["written"] + total["rejected"] + total["existing"], account
        fraction = total["rejected"] / max(1, total["expected"])
        nothing = not tried and not (total["written"] or total["existing"])
        assert status == (4 if fraction > 0.4 or nothing else 0), (status, account)
        assert f"clips expected {total['expected']} = written {total['written']}" in printed, printed
        if self.is_settled(mode.split) and files == self.read[mode.split].keys() and not tried:
            expected_status, expected = self.undisturbed(mode.split)
            assert status == expected_status, (status, printed)
            assert account["rejected_by_reason"] == expected.account["rejected_by_reason"], account
            assert account["expected"] == expected.account["expected"], account
            assert total["written"] + total["existing"] == expected.total("written"), account

    def undisturbed(self, split: str) -> tuple[int, Content]:
        (version,) = set(self.read[split].values())
        return self.workspace.undisturbed(Mode(split, version), self.sharding, frozenset(self.read[split]))

    def check_split(self, content: Content, split: str) -> None:
        """Checks that the shards and sources are equal to those of one undisturbed run."""
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
        """Checks the list of shards, and that the lines on each input equal those of one undisturbed run."""
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
                else:  # the last run that read the file had another split
                    assert all(line in wanted and line["reason"] == "duplicate" for line in there), there

    def check_no_traces(self) -> None:
        out = self.workspace.out
        files = {path for path in out.rglob("*") if path.is_file()} - self.foreign.keys()
        left = {str(path.relative_to(out)) for path in files} - self.shards().keys()
        left -= {f"_run/{name}" for name in RUN_FILES}
        assert all(name.startswith("_run/sources/") for name in left), left
