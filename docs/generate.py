"""python docs/generate.py: writes the parts of the docs that are made from the code; a test checks them.

- options.md, from the parsers of the commands
- architecture.svg, the diagram of architecture.md, from the imports
- pipeline/cli/beam_options.json, from the installed version of Beam
- the example in python.md, from examples/own_pipeline.py, so that GitHub shows it as well as the site
"""

import contextlib
import io
import os
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import grimp
from diagram import draw

from pipeline import analyze, export_model, fit_pca, make_shards, smoke_test, verify
from pipeline.cli.beam_options import BEAM_OPTIONS
from pipeline.cli.beam_values import beam_options_json
from pipeline.cli.options import make_parser
from pipeline.cli.script import choose_command

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
EXAMPLE = "examples/own_pipeline.py"
# Commands besides pipeline.run.
COMMANDS = (verify, analyze, fit_pca, make_shards, export_model, smoke_test)
# Modules with a box of their own in the diagram, because they are below the other modules of their folder.
_GROUPS = {
    "pipeline.graph": "graph",
    "transforms.values": "clip_chunks clips pcm",
    "transforms.ground": "beam_internals errors example_protos frameworks homes launcher prefetch printable "
    "progress quiet_import redact secret_names stage worker_process",
}
_TITLES = {
    "pipeline": "pipeline: commands",
    "pipeline.graph": "pipeline: the graph",
    "transforms": "transforms: stages",
    "transforms.values": "transforms: values",
    "transforms.ground": "transforms: used everywhere",
}


def options_page() -> str:
    """Return docs/options.md."""
    parts = [
        "# Options\n",
        "The options of `python -m pipeline.run`, which is also `audioset-beam run`. It also accepts all "
        "options of Beam. A `--config` file may contain any of them. `--print_config` shows the values that "
        "a command resolves to.\n",
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
    parts.append(f"## Other commands\n\n```text\n$ audioset-beam --help\n{_help(choose_command)}```\n")
    for module in COMMANDS:
        parts.append(f"```text\n$ {module.__name__.replace('pipeline', 'python -m pipeline')} --help")
        parts.append(f"{_help(module.run)}```\n")
    return "\n".join(parts)


def _help(run: Callable[[Sequence[str]], object]) -> str:
    text, width = io.StringIO(), mock.patch.dict(os.environ, COLUMNS="100")
    with width, contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        run(["--help"])
    return text.getvalue()


def diagram() -> str:
    """Return a diagram of which package imports which.

    It has no arrow from one package to another where a path of other arrows connects them.
    """
    graph, packages = grimp.build_graph("pipeline", "transforms"), grimp.ImportGraph()
    members = defaultdict(set)
    for module in sorted(graph.modules):
        package = _package(module)
        depth = 1 if package in _GROUPS else package.count(".") + 1
        members[package].update(module.split(".")[depth : depth + 1])  # nothing for the package's __init__
        for imported in graph.find_modules_directly_imported_by(module):
            if imported.count(".") and _package(imported) != package:
                packages.add_import(importer=package, imported=_package(imported))
    boxes, arrows = {}, []
    for package in sorted(members):
        title = _TITLES.get(package, package.replace(".", "/"))
        boxes[package] = [title, *textwrap.wrap(", ".join(sorted(members[package])), 42)]
        direct = packages.find_modules_directly_imported_by(package)
        indirect = set().union(*map(packages.find_upstream_modules, direct))
        arrows += [(package, other) for other in sorted(direct - indirect)]
    return draw(boxes, arrows)


def _package(module: str) -> str:
    """Return the box of the diagram that contains a module."""
    top, *names = module.split(".")
    if len(names) > 1 or (names and (ROOT / top / names[0]).is_dir()):
        return f"{top}.{names[0]}"
    return next((group for group, members in _GROUPS.items() if names and names[0] in members.split()), top)


def pages() -> dict[Path, str]:
    """Return the pages that have generated parts, and the list of Beam's options, up to date."""
    example = (ROOT / EXAMPLE).read_text()
    return {
        DOCS / "options.md": options_page(),
        DOCS / "architecture.svg": diagram(),
        BEAM_OPTIONS: beam_options_json(),
        DOCS / "python.md": _with_block("python.md", f"<!-- {EXAMPLE} -->\n```python\n", example),
    }


def _with_block(name: str, opening: str, block: str) -> str:
    """Return a page with new text in the code block that follows `opening`."""
    head, _, rest = (DOCS / name).read_text().partition(opening)
    return f"{head}{opening}{block}```{rest.partition('```')[2]}"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
