"""Settings of a single method, as a user writes them."""

from typing import Any

import pytest

from datacondense.errors import InputError
from datacondense.studies.config import StudyConfig, parse_override


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("dm.iterations=2000", ("dm", "iterations", 2000)),
        ("dm.draws=2000", ("dm", "iterations", 2000)),  # the former name
        ("dm.image-lr=1e-2", ("dm", "image_lr", 0.01)),
        ("dc.class_collective=True", ("dc", "class_collective", True)),
        ("dd.fixed_network=False", ("dd", "fixed_network", False)),
        ("dsa.siamese=dsa:color-crop", ("dsa", "siamese", "dsa:color-crop")),
        ("dm.image_lrs=1,3,10", ("dm", "image_lrs", (1, 3, 10))),
        ("dc.transform=max-pool-1,", ("dc", "transform", ("max-pool-1",))),
        ("dc.network=package.module:make=2", ("dc", "network", "package.module:make=2")),
    ],
)
def test_an_override_is_read(text: str, read: tuple[str, str, Any]) -> None:
    found = parse_override(text)
    assert found == read
    assert type(found[2]) is type(read[2])


@pytest.mark.parametrize(
    "text", ["dm.iterations", "iterations=3", "dm.iterations=", ".iterations=3", "dm.=3", ""]
)
def test_an_override_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"must be METHOD\.SETTING=VALUE, as in dm\.iterations=2000"):
        StudyConfig(override=(text,))
