"""The summary at the end of a run, as text and as JSON."""

from dataclasses import dataclass
from typing import Any

from pipeline.cli.text import format_bytes, format_duration, format_table
from pipeline.output.account import Account
from pipeline.output.run_files import REJECTED_LIST
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.printable import Attention, counted
from transforms.write_account import REJECTED

# Wall time from which a run's rate is shown. A shorter run is mostly its start and end, and its rate says
# nothing about a longer one.
MIN_RATED_S = 60.0


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes:
      account, output: the account of the clips, and the feature folder.
      shards, size_bytes: number and total size of the folder's shards after the run.
      root: the folder's root; see `pipeline.output.shard_list.root_of`.
      wall_s: seconds from the check of the command until all features and lists were written.
      report: path of the report; empty if it could not be written.
      skipped: text on skipped inputs; empty if there are none.
    """

    account: Account
    output: str
    shards: int
    size_bytes: int
    root: str
    wall_s: float
    report: str
    skipped: str = ""

    @property
    def real_time_factor(self) -> float:
        """Embedded seconds of audio per second, including the start and end of the run."""
        return self.account.audio_s / self.wall_s

    def lines(self) -> list[str]:
        account, rejects = self.account, self.account.total(REJECTED)
        frames = counted(account.frames, "frame")
        embedded = f"{format_duration(account.audio_s)} in {frames}" if account.frames else "none"
        has_rate = account.frames and self.wall_s >= MIN_RATED_S
        speed = f", {self.real_time_factor:,.0f}x real time" if has_rate else ""
        hint = f"see {RUN_FOLDER}/{REJECTED_LIST}-*.jsonl; process them again with --input_rejects"
        return [
            *account.lines(),
            *format_table(
                {
                    "audio embedded": embedded,
                    "wall time": format_duration(self.wall_s) + speed,
                    "features": f"{self.output}: {counted(self.shards, 'shard')}, "
                    f"{format_bytes(self.size_bytes)}",
                    "root": self.root,
                    "report": self.report,
                    "rejected": Attention(f"{rejects:,}: {hint}") if rejects else "",
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
            "root": self.root,
            "report": self.report,
            "skipped": self.skipped,
        }
