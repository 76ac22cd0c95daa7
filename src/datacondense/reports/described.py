"""Sets and runs as facts: names and plain JSON values."""

from typing import Any

from datacondense.image_set import ImageSet
from datacondense.reports.layout import duration
from datacondense.run_folder import RunFolder


def describe_set(images: ImageSet) -> dict[str, Any]:
    """Return the facts of a set."""
    pixels = images.pixels()
    return {
        "images": len(images),
        "classes": list(images.class_names),
        "images per class": sorted(set(images.class_sizes)),
        "shape (channels, height, width)": list(images.image_shape),
        "stored numbers": images.stored_numbers,
        "decoded images": len(images) * images.factor**2,
        "labels": "classes" if images.soft_labels is None else "soft",
        "pixel range": [round(float(pixels.min()), 4), round(float(pixels.max()), 4)],
        "normalisation mean": list(images.mean),
        "normalisation std": list(images.std),
        "fingerprint": images.fingerprint,
        "provenance": dict(images.provenance),
    }


def describe_run(folder: RunFolder) -> dict[str, Any]:
    """Return how far a run is."""
    settings, metrics = folder.settings(), folder.metrics()
    facts: dict[str, Any] = {
        "status": "finished" if folder.result.exists() else "unfinished, continue with --resume"
    }
    if metrics:
        last = metrics[-1]
        planned = settings.get("run", {}).get("iterations")
        facts["iterations"] = f"{last['iteration'] + 1} begun{'' if planned is None else f' of {planned}'}"
        facts["loss"] = last["loss"]
        facts["time"] = duration(last["seconds"])
    scores = [(entry["iteration"] + 1, entry["validation"]) for entry in metrics if "validation" in entry]
    if scores:
        facts["validation accuracy"] = {f"after {iteration} iterations": score for iteration, score in scores}
    return facts if folder.result.exists() else {**facts, "settings": settings}
