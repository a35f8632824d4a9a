"""Hooks of MkDocs: the version and the repository of the project, and its files outside of docs/."""

import re
from importlib.metadata import metadata
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Files in the project's root that are pages of the site: GitHub expects them there.
_PAGES = {name: name.lower() for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}
_RELATIVE = re.compile(r"\]\((?!\w+:|#)")
_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show the version on each page, and a link to the repository if pyproject.toml names one.

    The link is not MkDocs's `repo_url`, with which the theme requests data from GitHub.
    """
    project = metadata("audioset-beam")
    config.site_name += f" {project['Version']}"
    urls = dict(url.split(", ", 1) for url in project.get_all("Project-URL", []))
    if "Repository" in urls:
        icon = "fontawesome/brands/git-alt"
        config.extra["social"] = [{"icon": icon, "link": urls["Repository"], "name": "Repository"}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages, and files that pages link to, from outside of docs/; a missing file is a broken link."""
    texts = [path.read_text() for path in sorted(Path(config.docs_dir).glob("*.md"))]
    for name, page in _PAGES.items():
        # Its links are made relative to docs/, like those of the other pages.
        text = _RELATIVE.sub("](../", (ROOT / name).read_text()).replace("](../docs/", "](")
        files.append(File.generated(config, page, content=text))
        texts.append(text)
    for name in sorted({name for text in texts for name in _OUTSIDE.findall(text)} - _PAGES.keys()):
        if (ROOT / name).is_file():
            files.append(File.generated(config, _site_path(name), content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return _OUTSIDE.sub(lambda link: f"]({_site_path(link[1])}", markdown)


def _site_path(name: str) -> str:
    """Return the path in the site of a file outside of docs/.

    Text files get the suffix .txt, so that browsers show them and MkDocs does not take a .md file for a page.
    """
    text = name.endswith((".md", ".yaml", ".py"))
    return _PAGES.get(name) or f"project/{name}{'.txt' if text else ''}"
