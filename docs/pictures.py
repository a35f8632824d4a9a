"""python docs/pictures.py: makes the README's pictures of a run and of its report, from the demo corpus.

Needs Chromium (.ci/install_chromium). The pictures show that the weights are random.
"""

import io
import os
import pty
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "examples"))
COLUMNS, SHOWN_PX = 118, (1280, 1330)


def run_on_terminal(arguments: list[str], folder: str) -> list[str]:
    """Run a command in a pseudo-terminal; return its lines, with the last state of the progress line."""
    screen = bytearray()

    def read(terminal: int) -> bytes:
        data = os.read(terminal, 1 << 16)
        screen.extend(data)
        return data

    prepare = f'stty columns {COLUMNS} rows 40 && cd "$0" && exec "$@"'
    command = ["env", f"PYTHONPATH={DOCS.parent}", sys.executable, "-m", "pipeline.run", *arguments]
    if pty.spawn(["sh", "-c", prepare, folder, *command], read):
        raise RuntimeError(screen.decode())
    lines, live = [], ""
    for line in screen.decode().replace("\r\n", "\n").split("\n"):
        states = [state.strip() for state in line.split("\r")]
        live = next((state for state in reversed(states) if state.startswith("embedding")), live)
        lines.append(states[-1])
    lines.insert(1, live)
    return [line for line in lines if line]


def draw_run(command: str, lines: list[str]) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ {command}", style="bold"))
    for line in lines:
        console.print(Text(line, style="green" if line.startswith("embedding") else ""), soft_wrap=True)
    svg = console.export_svg(title="audioset-beam")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # a font from another server


def draw_report(path: Path) -> bytes:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        width, height = SHOWN_PX
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(path.as_uri())
        return driver.get_screenshot_as_png()
    finally:
        driver.quit()


def main() -> None:
    from demo_corpus import make_demo_corpus

    with tempfile.TemporaryDirectory() as folder:
        make_demo_corpus(Path(folder, "clips"))
        arguments = ["--input=clips/*", "--output=features", "--weights=random:0", "--pca_params=none"]
        lines = run_on_terminal([*arguments, "--max_reject_fraction=0.5"], folder)
        shown = " ".join(["audioset-beam", "run", "--input='clips/*'", *arguments[1:]])
        (DOCS / "run.svg").write_text(draw_run(shown, lines))
        report = Path(folder, "features", "_run", "report.html")
        (DOCS / "report.png").write_bytes(draw_report(report))


if __name__ == "__main__":
    main()
