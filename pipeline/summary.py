"""What a command says at its end, for a person as a table and for a machine as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.graph import REJECTED_LIST
from pipeline.manifest import Account
from pipeline.progress import duration
from transforms.account import REJECTED
from transforms.audioset.own_shards import RUN_FOLDER

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def table(rows: Mapping[str, str]) -> list[str]:
    """Names and values in two columns; a row without a value is left out."""
    width = max((len(name) for name in rows), default=0)
    return [f"{name:<{width}}  {value}" for name, value in rows.items() if value]


def size(num_bytes: float) -> str:
    """Bytes as a person says them, in decimal units."""
    for unit in _UNITS:
        if num_bytes < 1000 or unit == _UNITS[-1]:
            break
        num_bytes /= 1000
    return f"{num_bytes:.0f} {unit}" if unit == "bytes" else f"{num_bytes:.3g} {unit}"


def print_result(lines: Sequence[str], values: Mapping[str, Any], as_json: bool) -> None:
    """Prints a command's result on the output stream, as lines or as one JSON object."""
    print(json.dumps(values, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes:
      account: of its clips.
      output: the feature folder.
      shards, size_bytes: of the folder after the run.
      wall_s: from the check of the command to the last file.
      report: path of the report.
      skipped: inputs that were left out, for a person; empty if none were.
    """

    account: Account
    output: str
    shards: int
    size_bytes: int
    wall_s: float
    report: str
    skipped: str = ""

    @property
    def real_time_factor(self) -> float:
        """Seconds of audio that were embedded in a second, start and end of the run included."""
        return self.account.audio_s / self.wall_s

    def lines(self) -> list[str]:
        account, rejects = self.account, self.account.total(REJECTED)
        embedded = f"{duration(account.audio_s)} in {account.frames:,} frames" if account.frames else "none"
        speed = f", {self.real_time_factor:,.1f}x real time" if account.frames else ""
        again = f"{RUN_FOLDER}/{REJECTED_LIST}-*.jsonl says why; try them again with --input_rejects"
        return [
            *account.lines(),
            *table(
                {
                    "audio embedded": embedded,
                    "wall time": duration(self.wall_s) + speed,
                    "features": f"{self.output}: {self.shards:,} shards, {size(self.size_bytes)}",
                    "report": self.report,
                    "rejected": f"{rejects:,}: {again}" if rejects else "",
                    "skipped": self.skipped,
                    "next": f"python -m pipeline.verify {self.output}",
                }
            ),
        ]

    def to_json(self, status: int) -> dict[str, Any]:
        return {
            "exit_status": status,
            "account": self.account.to_json(),
            "audio_seconds": self.account.audio_s,
            "frames": self.account.frames,
            "wall_seconds": round(self.wall_s, 3),
            "real_time_factor": round(self.real_time_factor, 3),
            "output": self.output,
            "shards": self.shards,
            "size_bytes": self.size_bytes,
            "report": self.report,
            "skipped": self.skipped,
        }
