"""Plot of an architecture search: accuracy on each proxy against that of the reference, a panel for each proxy."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datacondense.applications.search_result import REFERENCE, SearchResult
from datacondense.reports import plotting
from datacondense.reports.plotting import COLOURS, FONT, TITLE

_SIDE = 2.6  # inches of a panel
_COLUMNS = 4


def plot_search(result: SearchResult, path: Path | str) -> None:
    """Plot accuracies as a PNG file; the same numbers give the same bytes."""
    plotting.save_png(search_figure(result), path)


def search_figure(result: SearchResult) -> Figure:
    """Return the held-out accuracies of architectures, against those of the reference, one panel for each proxy."""
    columns = min(_COLUMNS, len(result.proxies))
    rows = -(-len(result.proxies) // columns)
    figure = plotting.new_figure(_SIDE * columns + 0.4, _SIDE * rows + 0.8)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for panel, proxy in zip(panels, result.proxies, strict=False):
        _plot_proxy(panel, result, proxy)
    for panel in panels[len(result.proxies) :]:
        panel.set_visible(False)
    figure.suptitle("Accuracy of architectures on held-out images, %", fontsize=TITLE)
    figure.supxlabel("trained on the full set", fontsize=FONT)
    figure.supylabel("trained on the proxy", fontsize=FONT)
    return figure


def _plot_proxy(panel: Axes, result: SearchResult, proxy: str) -> None:
    """Plot a point for each architecture, with a mark on the one that the proxy picks."""
    plotting.bare(panel)
    panel.set_title(plotting.wrapped(proxy, _SIDE), fontsize=FONT)
    found = {
        name: lines.set_index("network")["held_out"].dropna() * 100
        for name, lines in result.frame.groupby("proxy")
    }
    if proxy not in found or not len(found[proxy]):
        return
    own, reference = found[proxy], found.get(REFERENCE)
    if reference is None:
        return
    both = own.to_frame("own").join(reference.rename("reference"), how="inner")
    panel.scatter(both["reference"], both["own"], s=12, color=COLOURS[0], linewidths=0)
    picked = own.idxmax()
    if picked in both.index:
        place = both.loc[[picked]]
        panel.scatter(place["reference"], place["own"], s=48, facecolors="none", edgecolors=COLOURS[1])
