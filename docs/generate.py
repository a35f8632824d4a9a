"""python docs/generate.py: writes what of the docs follows from the code; a test holds it up to date.

- options.md from the commands' parsers,
- the diagram in house.md from the imports.
"""

import contextlib
import io
import os
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import grimp

from pipeline import analyze, export_model, fit_pca, make_shards, smoke_test, verify
from pipeline.cli.options import make_parser

DOCS = Path(__file__).resolve().parent
# Commands beside pipeline.run.
COMMANDS = (verify, analyze, fit_pca, make_shards, export_model, smoke_test)
ROOMS = ("audio", "audioset", "shards", "vggish")
# What rooms know too: the lowest layer of the contracts in pyproject.toml.
GROUND = ("ahead", "errors", "printable", "tfrecord")


def options_page() -> str:
    """docs/options.md."""
    parts = [
        "# Options\n",
        "Of `python -m pipeline.run`, or `audioset-beam` where pip installed it, beside all of Beam's. A "
        "`--config` file may have any of them; `--print_config` shows what a command resolves to.\n",
    ]
    for group in make_parser()._action_groups:
        rows = [action for action in group._group_actions if action.option_strings[-1:] != ["--help"]]
        if not rows:
            continue
        parts.append(f"## {group.title.split(' (')[0].capitalize()}\n\n| option | meaning |\n|---|---|")
        for action in rows:
            text = (action.help or "") % {"default": action.default}
            choices = f"{', '.join(f'`{c}`' for c in action.choices)}: " if action.choices else ""
            value = "" if action.nargs == 0 or action.choices else f" {action.metavar or action.dest.upper()}"
            parts.append(f"| `{action.option_strings[-1]}{value}` | {choices}{text} |")
        parts.append("")
    parts.append("## Other commands\n")
    for module in COMMANDS:
        parts.append(f"```text\n$ {module.__name__.replace('pipeline', 'python -m pipeline')} --help")
        parts.append(f"{_help(module.run)}```\n")
    return "\n".join(parts)


def _help(run: Callable[[Sequence[str]], int]) -> str:
    text = io.StringIO()
    width, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "100"
    try:
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            run(["--help"])
    finally:
        del os.environ["COLUMNS"]
        if width is not None:
            os.environ["COLUMNS"] = width
    return text.getvalue()


def diagram() -> str:
    """The house as a Mermaid chart: who imports whom."""
    graph = grimp.build_graph("pipeline", "transforms")
    members = defaultdict(list)
    for module in sorted(graph.modules):
        if module not in ("pipeline", "transforms", *(f"transforms.{room}" for room in ROOMS)):
            members[_storey(module)].append(module)
    edges = {
        (_storey(module), _storey(imported))
        for modules in members.values()
        for module in modules
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.count(".") and _storey(module) != _storey(imported)
    }
    lines = ["flowchart TD"]
    for storey in ("pipeline", "transforms", *ROOMS, "ground"):
        names = sorted({module.split(".")[1 + (storey in ROOMS)] for module in members[storey]})
        text = "<br>".join(textwrap.wrap(", ".join(names), 60))
        place = f"transforms/{storey}" if storey in ROOMS else "transforms" if storey == "ground" else storey
        lines.append(f'    {storey}["<b>{place}</b><br>{text}"]')
    lines += [f"    {a} --> {b}" for a, b in sorted(edges)]
    return "\n".join(lines)


def _storey(module: str) -> str:
    package, name, *_ = module.split(".")
    if package == "transforms" and name in GROUND:
        return "ground"
    return name if package == "transforms" and name in ROOMS else package


def house_page(page: str) -> str:
    """docs/house.md with the diagram as it is now."""
    head, _, rest = page.partition("```mermaid\n")
    return f"{head}```mermaid\n{diagram()}\n```{rest.partition('```')[2]}"


def main() -> None:
    (DOCS / "options.md").write_text(options_page())
    house = DOCS / "house.md"
    house.write_text(house_page(house.read_text()))


if __name__ == "__main__":
    main()
