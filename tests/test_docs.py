"""The docs agree with the code, and the site shows their pages without a broken link."""

import html
import importlib
import json
import re
import subprocess
import sys
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mkdocs.config.defaults import MkDocsConfig

from pipeline.cli.flags import all_options
from pipeline.cli.options import make_parser
from transforms.errors import Reason
from transforms.vggish.params import EXAMPLE_FRAMES, Framing

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
generate = importlib.import_module("generate")
hooks = importlib.import_module("hooks")

PAGES = sorted((ROOT / "docs").glob("*.md"))
# Files in the project's root that are pages of the site.
ROOT_PAGES = ("changelog", "contributing", "security")

# Lines about commands of other projects, or for contributors only; feature_names is an option of YouTube-8M.
_OTHERS = re.compile(
    r"^.*(?:mkdocs|pytest|tests[/.]|benchmarks|docs/|feature_names|"
    r"pip |apt |docker build|gcloud |worker_pool).*$",
    re.MULTILINE,
)
# A whole name, not the beginning that several options share (`--s3_...`).
_FLAG = re.compile(r"(?<![\w-])--([a-z]\w*[a-z0-9])(?![\w-])")
_PATH = re.compile(r"`((?:pipeline|transforms|examples|benchmarks|tests|docs|configs|docker)/[\w./]+)`")
_MARKER = re.compile(r"-+ *8 *<")
_LINK = re.compile(r"\]\((?!http)([^)#\s]*)#([^)\s]+)\)")


def test_generated_parts_are_up_to_date():
    """If this fails, run python docs/generate.py."""
    for path, text in generate.pages().items():
        assert path.read_text() == text, path.name
    assert (ROOT / generate.EXAMPLE).read_text() in (ROOT / "docs" / "python.md").read_text()


def test_no_page_has_a_snippet_marker():
    """GitHub shows markers such as --8<-- as text, and so does the site after a formatter changed them."""
    for path in [*PAGES, *ROOT.glob("*.md")]:
        assert not _MARKER.search(path.read_text()), path.name


def test_the_docs_list_exactly_the_options_of_help():
    of_help = set(_FLAG.findall(make_parser().format_help())) - {
        "runner",
        "direct_num_workers",
        "temp_location",
    }
    page = (ROOT / "docs" / "options.md").read_text().partition("## Other commands")[0]
    of_docs = set(re.findall(r"^\| `--(\w+)", page, re.MULTILINE))
    assert of_docs == of_help - {"help"}


def test_pages_name_no_option_that_no_command_has():
    known = set(_FLAG.findall((ROOT / "docs" / "options.md").read_text()))
    known |= {name.removeprefix("--") for name in all_options(lambda parser: None)._option_string_actions}
    for path in (ROOT / "examples").glob("*.py"):
        known |= set(re.findall(r'\badd(?:_argument)?\(\s*"--(\w+)', path.read_text()))
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text().replace("\\\n", " ")
        unknown = set(_FLAG.findall(_OTHERS.sub("", text))) - known
        assert not unknown, (path.name, unknown)


def _anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_links_to_sections_lead_to_headings():
    for path in [*PAGES, *ROOT.glob("*.md")]:
        for name, anchor in _LINK.findall(path.read_text()):
            target = (path.parent / name) if name else path
            assert anchor in _anchors(target.read_text()), (path.name, name, anchor)


def test_files_that_the_docs_name_exist():
    """So that the docs follow when a module moves."""
    for path in [*PAGES, *ROOT.glob("*.md")]:
        names = _PATH.findall(path.read_text())
        assert all((ROOT / name).exists() for name in names), (path.name, names)


def _faq() -> dict[str, str]:
    """Return the FAQ: question -> answer."""
    parts = re.split(r"^## (.*)$", (ROOT / "docs" / "faq.md").read_text(), flags=re.MULTILINE)[1:]
    return {question: answer.strip() for question, answer in zip(parts[::2], parts[1::2], strict=True)}


def test_every_question_of_the_faq_has_an_answer_of_its_own():
    faq = _faq()
    assert len(faq) >= 14 and all(question.endswith("?") for question in faq)
    answers = list(faq.values())
    assert all(answer.endswith((".", ")")) and not answer.startswith("#") for answer in answers)
    assert len(set(answers)) == len(answers)


def test_the_figures_of_the_faq_are_those_of_the_code():
    text = "\n".join(_faq().values())
    least_s = Framing().hop_s + 0.015  # 95 hops of 10 ms and one window of 25 ms
    assert EXAMPLE_FRAMES == 96 and f"{least_s:g} s" in text and f"{Framing().hop_s:g} s" in text
    named = set(re.findall(r"\bas\s+`(\w+)`", text))
    assert named and named <= {reason.value for reason in Reason}


def test_the_site_links_to_the_repository_that_the_package_names(monkeypatch):
    package = Message()
    package["Version"] = "1.2.3"
    package["Project-URL"] = "Repository, https://host.example/project"
    monkeypatch.setattr(hooks, "metadata", lambda name: package)
    config = MkDocsConfig()
    config.load_dict({"site_name": "a-name"})
    config.validate()
    hooks.on_config(config)
    assert config.site_name == "a-name 1.2.3"
    assert [link["link"] for link in config.extra["social"]] == ["https://host.example/project"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return folder


def _text(page: Path) -> str:
    """Return the text that a reader of a page sees."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.read_text()))


@pytest.mark.integration
def test_the_site_builds_with_strict_links(site):
    pages = {path.parent.name for path in site.glob("*/index.html")}
    assert {*ROOT_PAGES, *(path.stem for path in PAGES)} - {"index"} <= pages


class _Html(HTMLParser):
    """The addresses in a page of the site, and the anchors that it has."""

    def __init__(self, page: Path):
        super().__init__()
        self.loaded: set[str] = set()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data") or (tag == "link" and name == "href"):
                self.loaded.add(value)
            elif name == "href":
                self.links.add(value)
            elif name == "id":
                self.anchors.add(value)


@pytest.mark.integration
def test_each_address_in_the_site_leads_somewhere(site):
    pages = {path: _Html(path) for path in site.rglob("*.html")}
    for path, page in pages.items():
        for address in page.loaded | page.links:
            url = urlsplit(address)
            if url.scheme or url.netloc:
                continue
            # 404.html has addresses that begin with a slash, since it is shown at any depth.
            start = site if url.path.startswith("/") else path.parent
            target = (start / unquote(url.path).lstrip("/")).resolve() if url.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), (path, address)
            assert not url.fragment or unquote(url.fragment) in pages[target].anchors, (path, address)


@pytest.mark.integration
def test_the_site_loads_nothing_from_another_server(site):
    for path in site.rglob("*.html"):
        foreign = {address for address in _Html(path).loaded if urlsplit(address).netloc}
        assert not foreign, (path, foreign)
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        assert not re.findall(r"""(?:url\(|@import)\s*["']?(?:\w+:)?//""", path.read_text()), path


@pytest.mark.integration
@pytest.mark.parametrize(
    ("word", "page"), [("gpu", "performance/"), ("resume", "reliability/"), ("labels", "inputs/")]
)
def test_a_search_for_a_word_finds_its_page(site, word, page):
    """The theme ranks a section by its title first: a section with the word there is above all others."""
    sections = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    titled = [part for part in sections if word in re.findall(r"\w+", part["title"].lower())]
    pages = {part["location"].partition("#")[0] for part in titled}
    assert page in pages and len(pages) <= 4


@pytest.mark.integration
def test_the_site_shows_the_code_of_the_example(site):
    shown = _text(site / "python" / "index.html")
    assert (ROOT / generate.EXAMPLE).read_text() in shown
    for path in site.glob("**/index.html"):
        assert not _MARKER.search(_text(path)), path


@pytest.mark.integration
def test_the_api_page_shows_which_parameters_have_defaults(site):
    page = site / "api" / "index.html"
    rows = re.findall(r"<tr class=\"doc-section-item\">(.*?)</tr>", page.read_text(), re.DOTALL)
    cells = [[_plain(cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)] for row in rows]
    parameters = {(row[0], row[-1]) for row in cells if len(row) == 4}
    assert {("audio", "required"), ("rate_hz", "None"), ("pca_params", "None")} <= parameters
    assert {("resampler", "RESAMPY"), ("quantize", "True")} <= parameters
    assert not [name for name, _ in parameters if "," in name]  # shown as required, whatever their defaults
    assert "input_format: str = AUTO" in _text(page)  # a field of a dataclass


def _plain(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split())
