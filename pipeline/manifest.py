"""What ran, with what, and where every input went."""

import dataclasses
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pipeline.config import Config
from transforms.write_account import (
    FILE_WITHOUT_SEGMENT,
    READ,
    REJECTED,
    SEGMENT_WITHOUT_FILE,
    WRITTEN,
)

DISTRIBUTION = "audioset-beam"
# Those whose version can change a feature.
PACKAGES = (
    DISTRIBUTION,
    "apache-beam",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "numpy",
    "resampy",
    "soundfile",
)


@dataclasses.dataclass(frozen=True)
class Account:
    """Clips read, written and rejected.

    Attributes:
      counts: (split, outcome) -> number, with the outcomes of `transforms.write_account`.
    """

    counts: Counter[tuple[str, str]]

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, str, int]]) -> "Account":
        return cls(Counter({(split, outcome): n for split, outcome, n in rows}))

    def total(self, outcome: str, split: str | None = None) -> int:
        """Number with an outcome (a prefix: "rejected:" is any reason), of one split or of all."""
        return sum(n for (s, o), n in self.counts.items() if o.startswith(outcome) and split in (None, s))

    @property
    def splits(self) -> list[str]:
        return sorted({split for split, outcome in self.counts if outcome in (READ, WRITTEN)})

    @property
    def reasons(self) -> Counter[str]:
        """Reason of rejection -> number."""
        reasons: Counter[str] = Counter()
        for (_, outcome), n in self.counts.items():
            if outcome.startswith(REJECTED):
                reasons[outcome.removeprefix(REJECTED)] += n
        return reasons

    @property
    def closes(self) -> bool:
        """Whether in every split clips read = written + rejected."""
        return all(
            self.total(READ, s) == self.total(WRITTEN, s) + self.total(REJECTED, s)
            for s in {split for split, _ in self.counts}
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "read": {s: self.total(READ, s) for s in self.splits},
            "written": {s: self.total(WRITTEN, s) for s in self.splits},
            "rejected": {s: self.total(REJECTED, s) for s in self.splits},
            "rejected_by_reason": dict(sorted(self.reasons.items())),
            "files_without_segment": self.total(FILE_WITHOUT_SEGMENT),
            "segments_without_file": self.total(SEGMENT_WITHOUT_FILE),
            "closes": self.closes,
        }

    def lines(self) -> list[str]:
        """The account for a person: a sum, then a line a split where there are several."""
        lines = [self._line("clips read", None)]
        if len(self.splits) > 1:
            lines += [self._line(f"  {split}", split) for split in self.splits]
        if self.reasons:
            lines.append(
                "rejected by reason: " + ", ".join(f"{r} {n}" for r, n in sorted(self.reasons.items()))
            )
        for kind, text in (
            (FILE_WITHOUT_SEGMENT, "files that no segment names"),
            (SEGMENT_WITHOUT_FILE, "segments with no file"),
        ):
            if self.total(kind):
                lines.append(f"{text}: {self.total(kind)}")
        if not self.closes:
            lines.append("THE ACCOUNT DOES NOT CLOSE: clips were lost; please report this")
        return lines

    def _line(self, name: str, split: str | None) -> str:
        read, written, rejected = (self.total(o, split) for o in (READ, WRITTEN, REJECTED))
        return f"{name} {read} = written {written} + rejected {rejected}"


def make_manifest(config: Config, account: Account, started: str, finished: str) -> str:
    """The manifest's JSON text; times in ISO 8601."""
    manifest = {
        "started": started,
        "finished": finished,
        "options": dataclasses.asdict(config.options),
        "assets": {
            name: dataclasses.asdict(asset) if asset else None
            for name, asset in (
                ("weights", config.weights),
                ("pca_params", config.pca_params),
                ("class_labels", config.class_labels),
            )
        },
        "versions": package_versions(),
        "account": account.to_json(),
    }
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def package_versions() -> dict[str, str]:
    """Versions of Python, of the platform and of the packages that features depend on."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
