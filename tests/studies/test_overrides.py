"""Settings of a single method, as a user writes them."""

from dataclasses import replace
from typing import Any

import pytest

from datacondense.cli.main import parsed
from datacondense.cli.study import Study as StudyCommand
from datacondense.condensation.registry import METHODS
from datacondense.errors import InputError
from datacondense.studies.config import StudyConfig, parse_override
from datacondense.studies.named_sets import KNOWN
from datacondense.studies.study import Study
from datacondense.studies.tasks import Condense, SearchLearningRate
from datacondense.tasks.task import settings_of
from tests.studies.test_comparison import EVERY, SMALL, _made_data, learned, method, of, sources  # noqa: F401


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


def overridden(*texts: str, **more: Any) -> Study:
    return of(replace(EVERY, override=texts, **more))


def test_an_override_changes_one_method_alone() -> None:
    usual = of(EVERY)
    study = overridden("dm.iterations=9", "distribution-matching.siamese=none", "dsa.real-batch=64")
    changed = {row for row in KNOWN if sources(study, row, "2") != sources(usual, row, "2")}
    assert changed == {"distribution-matching", "siamese-matching"}
    first = learned(study, "distribution-matching", "2")
    assert (first.iterations, settings_of(first)["method"]["siamese"]) == (9, "none")
    assert method(study, "siamese-matching", "2").real_batch == 64


def test_each_method_may_search_its_own_learning_rates() -> None:
    study = overridden("dm.image-lrs=1,3.5", "dsa.image_lrs=0.2", image_lrs=(0.1, 0.5))
    rates = {}
    for row in METHODS:
        first = sources(study, row, "2")[0]
        assert isinstance(first, Condense)
        assert isinstance(first.search, SearchLearningRate)
        rates[row] = tuple(first.search.scores)
        tried = {
            task.source.method.name
            for tasks in first.search.scores.values()
            for task in tasks
            if isinstance(task.source, Condense)
        }
        assert tried == {METHODS[row]().name}
    assert rates.pop("distribution-matching") == (1, 3.5)
    assert rates.pop("siamese-matching") == (0.2,)
    assert set(rates.values()) == {(0.1, 0.5)}
    # A given one is not searched.
    fixed = overridden("dm.image_lr=3", image_lrs=(0.1, 0.5))
    assert method(fixed, "distribution-matching", "2").image_lr == 3


@pytest.mark.parametrize("name", ["dm.image_lrs", "dm.image-lrs"])
def test_learning_rates_of_a_single_method_need_held_out_images_too(name: str) -> None:
    study = overridden(f"{name}=1,3")
    searched = {row for row in METHODS if learned(study, row, "2").search is not None}
    assert searched == {"distribution-matching"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo.iterations=3", r"There is no method 'foo': choose from gradient-matching \(dc\)"),
        ("dm.matching_steps=3", "no setting 'matching_steps' of DistributionMatchingConfig: choose from ipc"),
        ("dm.iterations=1.5", "iterations is 1.5, but must be an integer of 1 or more"),
        ("dm.iterations=0", "iterations is 0, but must be an integer of 1 or more"),
        ("dm.real_batch=many", "real_batch is 'many', but must be of type int"),
        ("dm.image_momentum=1", "image_momentum is 1, but must be at least 0 and below 1"),
        ("dm.image_lrs=slow", "image_lrs is 'slow', but must be of type list of float"),
        ("dm.image_lrs=1,-3", "image_lrs are 1, -3, but must be distinct numbers above 0"),
        ("dm.method=mine", "method is no setting that a variant can change: leave it out"),
        ("dc.ipc_of=0=3", "ipc_of is '0=3', but must be of type Mapping"),
        ("dm.network=convnot", "no network 'convnot'"),
        (
            "dm.ipc=5",
            "override is 'dm.ipc=5', but images per class are the columns of the table: give --ipcs",
        ),
    ],
)
def test_an_impossible_override_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        overridden(text)


def test_an_override_without_effect_is_refused() -> None:
    given = replace(SMALL, override=("dm.iterations=9",))
    message = r"override is 'dm.iterations=9', but distribution-matching is not compared here: leave it out, or compare"
    for name in ("comparison", "distillation"):
        with pytest.raises(InputError, match=message):
            of(given, name=name)
    with pytest.raises(InputError, match="this study does not compare methods: leave --override out"):
        of(given, name="activation")


def test_a_row_by_its_short_name_takes_the_overrides_of_its_method(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[StudyConfig] = []

    def note(command: StudyCommand) -> int:
        given.append(command.study)
        return 0

    monkeypatch.setattr(StudyCommand, "__call__", note)
    words = ["--rows", "dm", "--override", "dm.iterations=9", "--seeds", "1", "--repeats", "1"]
    assert parsed(["compare", "mnist", "--out", "OUT", *words])() == 0
    study = of(given[0])
    assert study.rows == ("distribution-matching",)
    assert learned(study, "distribution-matching", "1").iterations == 9


def test_overrides_reach_all_rows_of_their_method() -> None:
    study = of(replace(SMALL, override=("dd.iterations=7", "dc.iterations=8")), name="distillation")
    assert [learned(study, row, "1").iterations for row in study.rows] == [7, 7, 7, 8]
