"""python docs/pictures.py FOLDER: makes the README's pictures of a run and of its report from recordings.

FOLDER has a few WAV files that may be shown. Needs Chromium (.ci/install_chromium). The weights are random,
so that nothing is downloaded. The command in the first picture and the README say so; the lines above the
progress, in which the run names its runner and weights, are left out.
"""

import base64
import io
import os
import pty
import re
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

DOCS = Path(__file__).resolve().parent
# Characters of the terminal, and width of the browser: the least that has three figures side by side.
COLUMNS, WIDTH_PX = 104, 1240
# How often the run on the terminal has each recording, so that the speed is not only that of the start.
COPIES = 160
COMMAND = ["--input=clips/*", "--output=features", "--weights=random:0", "--pca_params=none"]
# The part of the report that is shown: spectrograms with sound, and the figures of all features.
SHOWN = """
  const [first, last] = ["clip-0", "map"].map(id => document.getElementById(id).parentElement);
  const top = first.previousElementSibling.previousElementSibling.getBoundingClientRect().top;
  return [top + scrollY, last.getBoundingClientRect().bottom + scrollY];
"""


def run_on_terminal(arguments: list[str], folder: Path) -> list[str]:
    """Run a command in a pseudo-terminal; return its lines, the first from the middle of its progress."""
    screen = bytearray()

    def read(terminal: int) -> bytes:
        data = os.read(terminal, 1 << 16)
        screen.extend(data)
        return data

    prepare = f'stty columns {COLUMNS} rows 40 && cd "$0" && exec "$@"'
    command = ["env", f"PYTHONPATH={DOCS.parent}", sys.executable, "-m", "pipeline.run", *arguments]
    if pty.spawn(["sh", "-c", prepare, str(folder), *command], read):
        raise RuntimeError(screen.decode())
    lines, live = [], []
    for line in screen.decode().replace("\r\n", "\n").split("\n"):
        states = [state.strip() for state in line.split("\r")]
        live += [state for state in states if re.match("embedding (?!.*about).* left", state)]
        lines.append(states[-1])
    plain = [Text.from_ansi(line).plain for line in lines]
    shown = [line for line in plain if line and not line.startswith(("runner:", "weights:", "embedding"))]
    return [*live[len(live) // 2 :][:1], *shown]


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
        metrics = {"width": WIDTH_PX, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(path.as_uri())
        top, bottom = driver.execute_script(SHOWN)
        # The README is narrower than the page, so that this is twice its pixels: sharp on a fine screen.
        shown = {"x": 0, "y": top - 20, "width": WIDTH_PX, "height": bottom - top + 40, "scale": 1.5}
        arguments = {"captureBeyondViewport": True, "clip": shown}
        return base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", arguments)["data"])
    finally:
        driver.quit()


def small_png(png: bytes) -> bytes:
    """Return a picture with a quarter of the shades per channel, which looks the same and is smaller."""
    data = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB").point(lambda shade: min(255, (shade + 2) // 4 * 4))
    picture.save(data, "PNG", optimize=True)
    return data.getvalue()


def main(recordings: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, copies in (("many", COPIES), ("few", 1)):
            clips = Path(folder, name, "clips")
            clips.mkdir(parents=True)
            for file in recordings.glob("*.wav"):
                for number in range(copies):
                    suffix = f"-{number:02}" if copies > 1 else ""
                    shutil.copy(file, clips / f"{file.stem}{suffix}.wav")
        lines = run_on_terminal(COMMAND, Path(folder, "many"))
        shown = " ".join(["audioset-beam", "run", "--input='clips/*'", *COMMAND[1:]])
        (DOCS / "run.svg").write_text(draw_run(shown, lines))
        run_on_terminal(COMMAND, Path(folder, "few"))
        report = Path(folder, "few", "features", "_run", "report.html")
        (DOCS / "report.png").write_bytes(small_png(draw_report(report)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
