"""The HTML page: what it shows of runs, sets and studies, and that nothing in a file becomes markup."""

import re
import shutil
import subprocess
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datacondense import ImageSet, InputError, condense, load_condensed, write_report
from datacondense.data.config import DataConfig
from datacondense.data.splits import DataSplits
from datacondense.data.whitening import whitened
from datacondense.reports import html_report, real_images
from datacondense.reports.html_pictures import data_uri
from datacondense.reports.real_images import first_images
from datacondense.set_metadata import Whitening
from tests.condensation.made_runs import METHOD, RUN, break_run

NASTY = '<script>alert("1")</script>'
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


class Page(HTMLParser):
    """The tags of a page, its text, and where its pictures and links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [str(value) for name, value in attrs if name in {"src", "href", "srcset"}]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def with_data(monkeypatch: pytest.MonkeyPatch, train: ImageSet) -> None:
    """Let every name of a data set stand for these images."""
    monkeypatch.setattr(
        real_images, "load", lambda *_: DataSplits(train=train, test=train.subset(torch.arange(9)))
    )


def check(path: Path, pictures: int) -> Page:
    """Check that a page loads nothing and runs nothing, and return it."""
    page = Page(path)
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert all(source.startswith(("data:image/", "#")) for source in page.sources)
    assert page.tags.count("img") == pictures
    assert path.stat().st_size < 3_000_000
    return page


def test_a_finished_run_shows_all_that_is_known(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = replace(tiny, class_names=(NASTY, "b & b", "c"), provenance={"source": {"name": NASTY}})
    folder = tmp_path / NASTY.replace("/", "")
    condense(named, METHOD, RUN, directory=folder)
    log = folder / "metrics.jsonl"
    validation = '"validation": {"accuracy": 0.5, "std": 0.1, "n": 3}}'
    log.write_text(log.read_text().rstrip().removesuffix("}") + f", {validation}\n")
    with_data(monkeypatch, named)
    out = write_report(
        tmp_path / "r.html", folder, on="made", made_by=lambda known: f"make {known['method']} {NASTY}"
    )
    page = check(out, 4)  # first images, result, curves, neighbours
    for text in (
        "finished",
        "Loss and validation accuracy against seconds",
        "The first images",
        "The result",
        "median",
        "no proof of privacy",
        "GAN-Leaks",
    ):
        assert text in page.text
    assert f"make gradient-matching {NASTY}" in page.text
    assert "run.seed" in page.text
    assert "torch" in page.text[page.text.index("Machine") :]


def test_an_unfinished_run_shows_its_checkpoint(tiny: ImageSet, tmp_path: Path) -> None:
    break_run(tiny, METHOD, RUN, tmp_path / "run", at=(1, 0))
    page = check(write_report(tmp_path / "r.html", tmp_path / "run", privacy=False), 2)
    assert "unfinished, continue with --resume" in page.text
    assert "at the checkpoint, in iteration 2, step 1" in page.text
    assert "give it (--on DATASET)" in page.text
    assert "Privacy" not in page.text
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    page = check(write_report(tmp_path / "r.html", tmp_path / "run", force=True), 1)
    assert "no checkpoint to take images from" in page.text


def test_first_images_of_a_run_are_those_it_began_with(tiny: ImageSet) -> None:
    method = replace(METHOD, start="real")
    provenance = condense(tiny, method, replace(RUN, iterations=1)).provenance
    first = first_images(provenance, tiny)
    assert len(first) == 6
    for image, label in zip(first.pixels(), first.labels, strict=True):
        own = tiny.pixels(tiny.class_indices[label])
        assert (own - image).abs().amax((1, 2, 3)).min() < 1e-6
    other = replace(tiny, images=255 - tiny.images)
    with pytest.raises(InputError, match="not those of the run"):
        first_images(provenance, other)
    own_code = {**provenance, "settings": {**provenance["settings"], "network": "os:system"}}
    with pytest.raises(InputError, match="code of one's own"):
        first_images(own_code, tiny)


def test_a_whitening_that_cannot_be_undone_leaves_the_rest_of_the_page(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_data(monkeypatch, tiny)
    images = whitened(tiny, tiny, Whitening("kip", 0.1, tiny.fingerprint))
    page = check(write_report(tmp_path / "r.html", images, on="made"), 1)
    assert "Privacy was not measured: KIP's whitening drops the brightness" in page.text
    assert "Provenance" in page.text


def test_a_data_set_is_read_again_as_it_is_recorded(tiny: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, DataConfig]] = []

    def load(name: str, config: DataConfig) -> DataSplits:
        calls.append((name, config))
        return DataSplits(train=tiny, test=InputError("The split 'test' has no labels."))

    monkeypatch.setattr(real_images, "load", load)
    form = {"resize": 8, "channels": 1}
    source = {"name": "imagenette", "config": "320px", "split": "validation", **form}
    images = replace(tiny, dataset="imagenette", provenance={"source": source})
    found = real_images.real_images(images, None)
    assert found.train.fingerprint == tiny.fingerprint
    assert found.test is None
    real_images.real_images(images, "./copy")
    recorded = DataConfig(config="320px", train_split="validation", resize=8, channels=1)
    assert calls == [("imagenette", recorded), ("./copy", DataConfig(resize=8, channels=1))]


def test_pages_of_studies_are_shown_with_their_plots_and_no_html(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    Image.new("RGB", (40, 20), "red").save(folder / "mnist.png")
    Image.new("RGB", (40, 20), "red").save(tmp_path / "other.png")
    lines = [
        f"# Title {NASTY}",
        NASTY,
        "![plot](mnist.png) ![away](../other.png) ![far](https://example.org/x.png) ![none](no.png)",
        f"![nul](a%00.png) ![long]({'x' * 300}.png)",
        "[inside](other.md) [bad](javascript:alert(1))",
        "| a | b |\n| --- | ---: |\n| **1** | <img src=x onerror=alert(1)> |",
    ]
    (folder / "mnist.md").write_text("\n\n".join(lines))
    (folder / "notes.md").write_text("no page of ours: no table is beside it")
    (folder / "mnist.csv").write_text("")
    page = check(write_report(tmp_path / "r.html", folder), 1)
    assert page.text.count(NASTY) == 3  # the title twice, and the paragraph
    assert "[away] [far] [none]" in page.text
    assert "[nul] [long]" in page.text
    assert "notes" not in page.text
    assert "table" in page.tags
    several = write_report(tmp_path / "several.html", folder, folder / "notes.md")
    assert Page(several).sources[:2] == ["#subject-1", "#subject-2"]


def test_pictures_stay_below_a_size() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    found = data_uri(Image.fromarray(noise), 20_000)
    assert found.startswith("data:image/jpeg")
    assert len(found) < 20_100
    assert data_uri(Image.new("L", (9, 9)), 20_000).startswith("data:image/png")


def test_a_page_that_would_be_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_report, "_MOST_BYTES", 1000)
    with pytest.raises(InputError, match="report on fewer results"):
        write_report(tmp_path / "r.html", load_condensed("digits-1"), privacy=False)
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("out", "what", "message"),
    [
        ("r.txt", ["."], "no name of a page"),
        ("r.html", [], "nothing to report on"),
        ("r.html", ["."], "holds no run, no set and no page"),
        ("there.html", ["."], "exists: give another --out, or --force"),
    ],
)
def test_wrong_input_is_refused(
    out: str, what: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.html").touch()
    with pytest.raises(InputError, match=message):
        write_report(out, *what)


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
def test_no_page_scrolls_sideways_on_a_phone(tiny: ImageSet, tmp_path: Path) -> None:
    assert BROWSER is not None
    wide = "| " + " | ".join(f"column-{number}" for number in range(40)) + " |"
    (tmp_path / "wide.md").write_text(
        f"# {'w' * 300}\n\n{wide}\n|{' --- |' * 40}\n{wide}\n\n    {'code' * 100}\n"
    )
    images = replace(tiny, class_names=("x" * 200, "b", "c"), provenance={"path/" * 60: "long" * 90})
    report = write_report(
        tmp_path / "r.html", tmp_path / "wide.md", images, made_by=lambda _: "command " * 60
    )
    frame = f'<iframe id="f" style="width:390px;height:800px" srcdoc="{escape(report.read_text())}"></iframe>'
    measure = "const e = f.contentDocument.scrollingElement; document.title = e.scrollWidth - e.clientWidth"
    outer = tmp_path / "outer.html"
    outer.write_text(
        f"<style>iframe {{ border: 0 }}</style><body><script>onload = () => {{ {measure} }}</script>{frame}",
        "utf-8",
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--virtual-time-budget=5000", "--dump-dom", outer.as_uri()]
    found = subprocess.run(
        [BROWSER, *options], capture_output=True, text=True, check=True, timeout=300
    ).stdout
    assert re.findall(r"<title>(-?\d+)</title>", found) == ["0"]
