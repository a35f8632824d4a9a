"""The report in a real browser: on a phone and on a desktop, in light and in dark mode."""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from commands import ROOT, run_command
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

pytestmark = pytest.mark.integration

PICTURES = {"throughput", "lengths", "frames", "values", "saturation", "map", "clip-0", "clip-1", "clip-2"}
LONG = "a_name_without_a_place_to_break_" * 3  # wider than a phone
SCHEMES = {"light": "rgb(246, 247, 249)", "dark": "rgb(17, 21, 27)"}  # background colour in each mode


@pytest.fixture(scope="module")
def browser():
    subprocess.run([str(ROOT / ".ci" / "install_chromium")], check=True)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def make_report(output: Path, *flags: str) -> Path:
    trial = ["--weights=random:0", "--pca_params=none", "--max_reject_fraction=1"]
    result = run_command("-m", "pipeline.run", f"--output={output}", *trial, *flags)
    assert result.returncode == 0, result.stderr
    return output / "_run" / "report.html"


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / LONG
    sys.path.insert(0, str(ROOT / "examples"))
    from demo_corpus import make_demo_corpus

    make_demo_corpus(folder / "audio")
    return make_report(folder / "features", f"--input={folder}/audio/*")


@pytest.fixture(scope="module")
def recordings(shared, tmp_path_factory) -> Path:
    pca = f"--pca_params={shared}/data/vggish_pca_params.npz"
    output = tmp_path_factory.mktemp("recordings") / "features"
    return make_report(output, f"--input={shared}/data/audio/*.wav", pca)


@pytest.fixture(params=["demo", "recordings"])
def report(request) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [390, 1280])
def test_all_pictures_are_there_and_the_console_is_silent(browser, report, scheme, width):
    handler = functools.partial(_Quiet, directory=report.parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get_log("performance")
    url = f"http://127.0.0.1:{server.server_port}/report.html"
    browser.get(url)
    page = browser.execute_script(
        """return {
          pictures: Object.fromEntries([...document.querySelectorAll("figure")].map(f => {
            const box = f.querySelector("svg").getBoundingClientRect();
            const parts = f.querySelectorAll("svg path, svg image").length;
            return [f.id, [box.left, box.right, box.height, parts]];
          })),
          images: [...document.querySelectorAll("svg image")].map(i => i.getBoundingClientRect().width),
          smallest: Math.min(...[...document.querySelectorAll("svg text")].map(t =>
            t.getBoundingClientRect().height)),
          width: document.documentElement.scrollWidth,
          colour: getComputedStyle(document.body).backgroundColor,
        }"""
    )
    server.shutdown()
    assert set(page["pictures"]) == PICTURES
    for name, (left, right, height, parts) in page["pictures"].items():
        assert 0 <= left < right <= width and height > 40 and parts > 2, name
    assert len(page["images"]) == 6 and min(page["images"]) > 100
    assert page["smallest"] >= 9 and page["width"] <= width
    assert page["colour"] == SCHEMES[scheme]
    assert browser.get_log("browser") == []
    requested = {entry["message"].split('"url":"')[1].split('"')[0] for entry in _requests(browser)}
    assert {address for address in requested if not address.startswith("data:")} == {url}


def _requests(browser) -> list[dict]:
    return [e for e in browser.get_log("performance") if '"Network.requestWillBeSent"' in e["message"]]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass
