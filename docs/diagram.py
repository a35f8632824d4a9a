"""Draws boxes and the arrows between them as an SVG. The boxes are in rows, and arrows only lead down."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from html import escape
from itertools import pairwise
from statistics import fmean

_BOX, _LANE, _GAP, _ROW_GAP, _MARGIN = 280, 4, 20, 34, 10  # a lane is where an arrow passes a row
_TITLE, _LINE, _PADDING = 18, 15, 10
# An image does not know the theme of its page, so these colors are legible on light and dark pages.
_HEAD = """<style>
text { fill: #333 }
.title { font: bold 13px sans-serif }
.line { font: 11px sans-serif }
rect { fill: #e8eaf6; stroke: #7986cb }
path { fill: none; stroke: #8a8f98; stroke-width: 1.5 }
marker path { fill: #8a8f98; stroke: none }
</style>
<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z"/>
</marker>"""


def draw(boxes: Mapping[str, Sequence[str]], arrows: Sequence[tuple[str, str]]) -> str:
    """Return the SVG; boxes are {name: [title, line, ...]}, arrows are pairs of names without a cycle."""
    rows, chains = _rows_and_chains(list(boxes), arrows)
    x = _order(rows, chains)
    left = min(x[node] - _width(node) / 2 for row in rows for node in row) - _MARGIN
    width, y = 2 * -left, _MARGIN
    top, bottom, parts = {}, {}, []
    for row in rows:
        heights = {node: _TITLE + _LINE * (len(boxes[node]) - 1) + _PADDING for node in row if node in boxes}
        for node in row:
            top[node], bottom[node] = y, y + heights.get(node, max(heights.values()))
        for name, height in heights.items():
            edge = x[name] - _BOX / 2
            parts.append(f'<rect x="{edge:.0f}" y="{y}" width="{_BOX}" height="{height}" rx="5"/>')
            for number, line in enumerate(boxes[name]):
                style = "line" if number else "title"
                place = f'x="{edge + _PADDING:.0f}" y="{y + _TITLE + _LINE * number}"'
                parts.append(f'<text class="{style}" {place}>{escape(line)}</text>')
        y += max(heights.values()) + _ROW_GAP
    for chain in chains:
        path = f"M{x[chain[0]]:.0f} {bottom[chain[0]]}"
        for upper, lower in pairwise(chain):
            start, end = top[lower] - _ROW_GAP, top[lower]
            middle = (start + end) // 2
            path += f"V{start}C{x[upper]:.0f} {middle} {x[lower]:.0f} {middle} {x[lower]:.0f} {end}"
        parts.append(f'<path marker-end="url(#head)" d="{path}"/>')
    size = f'viewBox="{left:.0f} 0 {width:.0f} {y - _ROW_GAP + _MARGIN}" width="{width:.0f}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', _HEAD, *parts, "</svg>\n"])


def _rows_and_chains(names: list[str], arrows: Sequence[tuple[str, str]]) -> tuple[list[list], list[list]]:
    """Return the nodes of each row and of each arrow: its two boxes, and a lane in each row between them."""
    above = {name: [start for start, end in arrows if end == name] for name in names}
    depth: dict[str, int] = {}
    for name in TopologicalSorter(above).static_order():
        depth[name] = max((depth[start] + 1 for start in above[name]), default=0)
    rows: list[list] = [[] for _ in range(max(depth.values()) + 1)]
    for name in names:
        rows[depth[name]].append(name)
    chains = []
    for start, end in arrows:
        lanes = [(start, end, number) for number in range(depth[start] + 1, depth[end])]
        for lane in lanes:
            rows[lane[-1]].append(lane)
        chains.append([start, *lanes, end])
    return rows, chains


def _order(rows: list[list], chains: list[list]) -> dict:
    """Sort each row by the mean position of its neighbors, so that few arrows cross; return the positions."""
    above, below = defaultdict(list), defaultdict(list)
    for chain in chains:
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    x = {node: position for row in rows for node, position in _centered(row)}
    for _ in range(8):
        for neighbors, order in ((above, rows), (below, rows[::-1])):
            for row in order:
                row.sort(key=lambda node: fmean(x[other] for other in neighbors[node] or [node]))
                x.update(_centered(row))
    return x


def _centered(row: list) -> Iterable[tuple]:
    """Yield the nodes of a row with their positions; the middle of the row is at 0."""
    left = -sum(_width(node) + _GAP for node in row) / 2
    for node in row:
        yield node, left + (_width(node) + _GAP) / 2
        left += _width(node) + _GAP


def _width(node) -> int:
    return _BOX if isinstance(node, str) else _LANE
