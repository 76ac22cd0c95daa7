"""The progress of decoding images into the cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from datacondense.cli.console import Printer
from datacondense.data.image_store import OBSERVER, Report
from datacondense.reports.layout import duration


@contextmanager
def decoding_shown(command: Any) -> Iterator[None]:
    """Show how far decoding is while a command runs that reads images from the cache."""
    token = OBSERVER.set(partial(_watched, Printer(command.output)))
    try:
        yield
    finally:
        OBSERVER.reset(token)


@contextmanager
def _watched(printer: Printer, total: int | None) -> Iterator[Report]:
    """Show one set of images."""
    with printer.ticker("decoding") as tick:

        def report(done: int, rate: float) -> None:
            of_all = "" if total is None else f" of {total:,}"
            left = f", {duration((total - done) / rate)} left" if total and rate else ""
            tick(done, total or done + 1, f"{done:,}{of_all} images, {rate:,.0f} a second{left}")

        yield report
