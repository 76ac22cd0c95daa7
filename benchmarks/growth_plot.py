"""Plot docs/speed-growth.png from the record of growth.py.

python benchmarks/growth_plot.py
"""

from pathlib import Path

from tables import CURVES, curve, fixed_settings, short

from datacondense.reports.plotting import FONT, SMALL, bare, new_figure, save_png

if __name__ == "__main__":
    figure = new_figure(10, 4.6)
    panels = figure.subplots(2, len(CURVES), sharex="col", squeeze=False)
    for (name, title), (above, below) in zip(CURVES.items(), panels.T, strict=True):
        rows = curve(name)
        bare(above)
        bare(below)
        above.set_title("\n".join(fixed_settings(name).rsplit(", ", 1)), fontsize=SMALL)
        above.plot(rows[name], rows.seconds, "o-", color="C0")
        above.set_ylim(0, 1.1 * max(rows.seconds))
        below.plot(rows[name], rows.megabytes_peak, "s-", color="C1", label="peak")
        below.plot(rows[name], rows.megabytes_before, "--", color="gray", label="before the first step")
        # The smallest classes lie close together on an axis up to 200.
        shown = [value for value in rows[name] if value != 20 or name == "ipc"]
        below.set_xlabel(title, fontsize=FONT)
        below.set(ylim=(0, None), xscale="log" if name == "stored" else "linear")
        below.set_xticks(shown, map(short, shown), minor=False)
        below.minorticks_off()
    panels[0, 0].set_ylabel("seconds per step", fontsize=FONT)
    panels[1, 0].set_ylabel("memory, MB", fontsize=FONT)
    panels[1, 0].legend(loc="lower right", frameon=False, fontsize=FONT)
    save_png(figure, Path(__file__).parents[1] / "docs" / "speed-growth.png")
