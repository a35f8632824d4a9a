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
from sounds import write_noise

pytestmark = pytest.mark.integration

PICTURES = {"map", "lengths", "values", "clip-0", "clip-1", "clip-2"}
# A short run has no picture of its progress, and other weights may clip no value.
OPTIONAL = {"throughput", "saturation", "frames"}
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


def set_width(browser, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


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


@pytest.fixture(scope="module")
def long_names(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("long_names")
    for name in ("W" * 200, LONG * 2, "日本語の長い名前" * 8):
        write_noise(folder / "audio" / f"{name}.wav", 2.0)
    (folder / "audio" / f"{'x' * 200}.wav").write_text("This is not audio.")
    return make_report(folder / "features", f"--input={folder}/audio/*")


@pytest.fixture(params=["demo", "recordings"])
def report(request) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [360, 1280, 2200])
def test_all_pictures_are_there_and_the_console_is_silent(browser, report, scheme, width):
    handler = functools.partial(_Quiet, directory=report.parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    set_width(browser, width)
    browser.get_log("performance")
    url = f"http://127.0.0.1:{server.server_port}/report.html"
    browser.get(url)
    page = browser.execute_script(
        """return {
          pictures: Object.fromEntries([...document.querySelectorAll("figure")].map(f => {
            const box = f.querySelector("svg").getBoundingClientRect();
            const parts = f.querySelectorAll("svg path, svg image, svg circle").length;
            return [f.id, [box.left, box.right, box.height, parts]];
          })),
          images: [...document.querySelectorAll("svg image")].map(i => {
            const box = i.getBoundingClientRect();
            return [box.width, box.height];
          }),
          smallest: Math.min(...[...document.querySelectorAll("svg text")].map(t =>
            t.getBoundingClientRect().height)),
          width: document.documentElement.scrollWidth,
          colour: getComputedStyle(document.body).backgroundColor,
        }"""
    )
    server.shutdown()
    assert PICTURES <= set(page["pictures"]) <= PICTURES | OPTIONAL
    for name, (left, right, height, parts) in page["pictures"].items():
        assert 0 <= left < right <= width and height > 40 and parts > 2, name
    assert len(page["images"]) == 12  # of each clip two pictures, then their colour bars
    for number, (across, high) in enumerate(page["images"]):
        assert across > 100 if number % 4 < 2 else 5 < across < 40 < high
    assert page["smallest"] >= 10 and page["width"] <= width
    assert page["colour"] == SCHEMES[scheme]
    assert browser.get_log("browser") == []
    requested = {entry["message"].split('"url":"')[1].split('"')[0] for entry in _requests(browser)}
    assert {address for address in requested if not address.startswith("data:")} == {url}


@pytest.mark.parametrize("width", [360, 1280])
def test_tables_sort_and_filter_groups_are_highlighted_and_clips_are_heard(browser, demo, width):
    set_width(browser, width)
    browser.get(demo.as_uri())
    run = browser.execute_script

    def ids() -> list[str]:
        return run(
            "return [...document.querySelectorAll('#clips tbody tr')].filter(row => row.offsetParent)"
            ".map(row => row.cells[0].textContent)"
        )

    before = ids()
    assert len(before) > 3 and before == sorted(before)
    click = "document.querySelectorAll('#clips th button')[0].click()"
    run(click)
    assert ids() == before
    run(click)
    assert ids() == before[::-1]
    filter_by = "const i = document.querySelectorAll('.tools input'); i[i.length - 1].value = arguments[0];"
    run(f"{filter_by} i[i.length - 1].dispatchEvent(new Event('input'))", before[1])
    assert ids() == [name for name in before[::-1] if before[1] in name]

    run("document.querySelector('.legend li').click()")
    opacities = (
        "return [...document.querySelectorAll('.points circle')].map(c => getComputedStyle(c).opacity)"
    )
    assert set(run(opacities)) == {"1", "0.08"}
    run("document.querySelector('.legend li').click()")
    assert set(run(opacities)) == {"1"}

    durations_s = browser.execute_async_script(
        """const done = arguments[arguments.length - 1];
        Promise.all([...document.querySelectorAll("audio")].map(audio => new Promise(resolve => {
          audio.addEventListener("loadedmetadata", () => resolve(audio.duration));
          audio.addEventListener("error", () => resolve(0));
          audio.preload = "metadata";
          audio.load();
        }))).then(done);"""
    )
    assert len(durations_s) == 3 and min(durations_s) > 0.9


@pytest.mark.parametrize("width", [360, 1280, 2200])
def test_long_names_widen_neither_the_page_nor_a_table(browser, long_names, width):
    set_width(browser, width)
    browser.get(long_names.as_uri())
    widths = browser.execute_script(
        """return [document.documentElement, ...document.querySelectorAll(".card, .scroll")].map(
          part => [part.scrollWidth, part.clientWidth])"""
    )
    assert len(widths) > 8 and all(inner <= outer for inner, outer in widths)
    titles = browser.execute_script(
        "return [...document.querySelectorAll('figure h3')].map(h => h.getBoundingClientRect().height)"
    )
    assert max(titles) < 80  # at most two lines and a margin


def test_the_page_is_complete_without_its_script(browser, demo):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(demo.as_uri())
        text = browser.find_element("tag name", "body").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "Clips with features" in text and "Filter" not in text and "not_audio" in text


def _requests(browser) -> list[dict]:
    return [e for e in browser.get_log("performance") if '"Network.requestWillBeSent"' in e["message"]]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass
