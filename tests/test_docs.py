"""The docs say what is true, and the site has no broken link."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.flags import all_options
from pipeline.cli.options import make_parser

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
generate = importlib.import_module("generate")

# Lines about commands that are not the project's, or not a user's; feature_names is YouTube-8M's.
_OTHERS = re.compile(
    r"^.*(?:mkdocs|pytest|tests[/.]|benchmarks|docs/|feature_names|pip |apt |gcloud |worker_pool).*$",
    re.MULTILINE,
)
# A whole name, not the beginning that a family of options shares (`--s3_...`).
_FLAG = re.compile(r"(?<![\w-])--([a-z]\w*[a-z0-9])(?![\w-])")


def test_what_follows_from_the_code_is_up_to_date():
    """Else run python docs/generate.py."""
    assert (ROOT / "docs" / "options.md").read_text() == generate.options_page()
    house = (ROOT / "docs" / "house.md").read_text()
    assert house == generate.house_page(house)


def test_every_option_in_help_is_in_the_docs_and_the_other_way_round():
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
        known |= set(re.findall(r'add_argument\(\s*"--(\w+)', path.read_text()))
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text().replace("\\\n", " ")
        unknown = set(_FLAG.findall(_OTHERS.sub("", text))) - known
        assert not unknown, (path.name, unknown)


def test_every_question_of_the_faq_has_an_answer():
    parts = re.split(r"^## (.*)$", (ROOT / "docs" / "faq.md").read_text(), flags=re.MULTILINE)[1:]
    questions, answers = parts[::2], parts[1::2]
    assert len(questions) >= 13 and all(question.endswith("?") for question in questions)
    assert all(len(answer.split()) > 15 for answer in answers)


@pytest.mark.integration
def test_the_site_builds_with_strict_links(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    pages = {path.parent.name for path in (tmp_path / "site").glob("*/index.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"} <= pages
    assert "Embeds clips of any length" in (tmp_path / "site" / "api" / "index.html").read_text()
