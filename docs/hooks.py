"""Hooks of MkDocs: unknown pages get a place, and links to the project's other files work."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leaves out of the navigation what is not there, and adds what it does not name."""
    docs = Path(config.docs_dir)
    named = {page for section in config.nav for page in _pages(section)}
    config.nav = [kept for section in config.nav if (kept := _kept(section, docs))]
    others = sorted(path.name for path in docs.glob("*.md") if path.name not in named)
    if others:
        config.nav.append({"More": others})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Puts files outside the docs that a page links to into the site; a missing one is a broken link."""
    for path in sorted(Path(config.docs_dir).glob("*.md")):
        for name in _OUTSIDE.findall(path.read_text()):
            target = _name(name)
            if (ROOT / name).is_file() and files.get_file_from_path(target) is None:
                files.append(File.generated(config, target, content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return _OUTSIDE.sub(lambda link: f"]({_name(link[1])}", markdown)


def _name(name: str) -> str:
    """Where a file outside the docs is in the site: as text, since another page may have its name."""
    return f"project/{name}.txt" if name.endswith((".md", ".yaml", ".py")) else f"project/{name}"


def _pages(section: dict | str) -> list[str]:
    if isinstance(section, str):
        return [section]
    (inner,) = section.values()
    return [inner] if isinstance(inner, str) else [page for item in inner for page in _pages(item)]


def _kept(section: dict | str, docs: Path) -> dict | str | None:
    if isinstance(section, str):
        return section if (docs / section).is_file() else None
    ((title, inner),) = section.items()
    if isinstance(inner, str):
        return section if (docs / inner).is_file() else None
    kept = [item for item in (_kept(item, docs) for item in inner) if item]
    return {title: kept} if kept else None
