"""The account of a run: the outcome of every clip."""

import dataclasses
import json
from collections import Counter
from typing import Any

from pipeline.output.run_files import ACCOUNT_FILE, run_path
from transforms.storage.files import open_file
from transforms.write_account import (
    AUDIO_MS,
    EXISTING,
    EXPECTED,
    FILE_WITHOUT_SEGMENT,
    FRAMES,
    REJECTED,
    REJECTED_EARLIER,
    SEGMENT_WITHOUT_FILE,
    WRITTEN,
)

_LOST_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Account:
    """Counts of expected, written, rejected and existing clips.

    Attributes:
      counts: (split, outcome) -> number, with the outcomes of `transforms.write_account`.
      lost: (split, id, start in ms, number of inputs without an outcome) of clips with fewer or more outcomes
        than inputs, at most `transforms.write_account.MAX_LOST`.
    """

    counts: Counter[tuple[str, str]]
    lost: tuple[tuple[str, str, int, int], ...] = ()

    @classmethod
    def read(cls, output: str) -> "Account":
        """Reads the file that `transforms.write_account.WriteAccount` wrote to an output folder."""
        with open_file(run_path(output, ACCOUNT_FILE)) as file:
            return cls.from_json(json.load(file))

    @classmethod
    def from_json(cls, account: dict[str, Any]) -> "Account":
        """Returns the account with the values of such a file."""
        counts = Counter({(split, outcome): n for split, outcome, n in account["counts"]})
        return cls(counts, tuple((split, name, ms, n) for split, name, ms, n in account["lost"]))

    def total(self, outcome: str, split: str | None = None) -> int:
        """Returns the count of an outcome, in one split or in all; `outcome` may be a prefix: "rejected:"."""
        return sum(n for (s, o), n in self.counts.items() if o.startswith(outcome) and split in (None, s))

    @property
    def splits(self) -> list[str]:
        return sorted({split for split, outcome in self.counts if outcome in (EXPECTED, WRITTEN)})

    def reasons(self, split: str | None = None) -> dict[str, int]:
        """Returns reason -> number of rejected clips, in one split or in all."""
        reasons: Counter[str] = Counter()
        for (s, outcome), n in self.counts.items():
            if outcome.startswith(REJECTED) and split in (None, s):
                reasons[outcome.removeprefix(REJECTED)] += n
        return dict(sorted(reasons.items()))

    def reasons_text(self, split: str | None = None) -> str:
        """Returns `reasons` as text: corrupt 2, duplicate 1."""
        return ", ".join(f"{reason} {n}" for reason, n in self.reasons(split).items())

    @property
    def audio_s(self) -> float:
        """Seconds of audio that were embedded."""
        return self.total(AUDIO_MS) / 1000

    @property
    def frames(self) -> int:
        """Frames that were embedded."""
        return self.total(FRAMES)

    @property
    def is_balanced(self) -> bool:
        """Whether every clip of an input was written, rejected or existing, exactly once."""
        return not self.lost

    @property
    def reject_fraction(self) -> float:
        """Share of the expected clips that were rejected; 0 if there are none."""
        return self.total(REJECTED) / max(1, self.total(EXPECTED))

    def to_json(self) -> dict[str, Any]:
        names = {"expected": EXPECTED, "written": WRITTEN, "rejected": REJECTED, "existing": EXISTING}
        return {
            **{name: {s: self.total(outcome, s) for s in self.splits} for name, outcome in names.items()},
            "rejected_by_reason": {s: self.reasons(s) for s in self.splits},
            "rejected_earlier": self.total(REJECTED_EARLIER),
            "files_without_segment": self.total(FILE_WITHOUT_SEGMENT),
            "segments_without_file": self.total(SEGMENT_WITHOUT_FILE),
            "balanced": self.is_balanced,
            "lost": [list(clip) for clip in self.lost],
        }

    def lines(self) -> list[str]:
        """Returns the account as text: the total, then one line per split if there are several."""
        lines = [self._line("clips expected", None)]
        if len(self.splits) > 1:
            lines += [self._line(f"  {split}", split) for split in self.splits]
        for split in self.splits:
            if reasons := self.reasons_text(split):
                of = f" of {split}" if len(self.splits) > 1 else ""
                lines.append(f"rejected{of} by reason: {reasons}")
        for kind, text in (
            (REJECTED_EARLIER, "rejected by earlier runs, and not among these inputs"),
            (FILE_WITHOUT_SEGMENT, "files without a segment"),
            (SEGMENT_WITHOUT_FILE, "segments without a file"),
        ):
            if self.total(kind):
                lines.append(f"{text}: {self.total(kind)}")
        if not self.is_balanced:
            shown = ", ".join(
                f"{split}/{name} at {ms / 1000} s" for split, name, ms, _ in self.lost[:_LOST_SHOWN]
            )
            more = " and more, listed in the manifest" if len(self.lost) > _LOST_SHOWN else ""
            lines.append(
                f"THE COUNTS DO NOT ADD UP for {shown}{more}; run the same command again, and please report "
                "this"
            )
        return lines

    def _line(self, name: str, split: str | None) -> str:
        n = {o: self.total(o, split) for o in (EXPECTED, WRITTEN, REJECTED, EXISTING)}
        return (
            f"{name} {n[EXPECTED]} = written {n[WRITTEN]} + rejected {n[REJECTED]} + existing {n[EXISTING]}"
        )
