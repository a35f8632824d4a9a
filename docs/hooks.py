"""Hooks of MkDocs: links to files outside of docs/."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Copy files outside of docs/ that a page links to into the site; a missing file is a broken link."""
    for path in sorted(Path(config.docs_dir).glob("*.md")):
        for name in _OUTSIDE.findall(path.read_text()):
            target = _site_path(name)
            if (ROOT / name).is_file() and files.get_file_from_path(target) is None:
                files.append(File.generated(config, target, content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return _OUTSIDE.sub(lambda link: f"]({_site_path(link[1])}", markdown)


def _site_path(name: str) -> str:
    """Return the path in the site of a file outside of docs/.

    Text files get the suffix .txt, so that browsers show them and MkDocs does not take a .md file for a page.
    """
    return f"project/{name}.txt" if name.endswith((".md", ".yaml", ".py")) else f"project/{name}"
