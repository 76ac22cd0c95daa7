"""Numbers that cannot be meant are refused with a sentence, before anything is computed or taken."""

from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from datacondense import DistributionMatchingConfig, GradientMatchingConfig, MethodConfig, RunConfig, condense
from datacondense.cli.main import main
from datacondense.errors import InputError
from datacondense.settings import check_at_least, check_momenta, check_rates, is_rate
from datacondense.studies.config import StudyConfig
from datacondense.tasks.workers import WorkersConfig
from tests.conftest import make_set

HUGE = str(2**63)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "condense digits --out {out} --threads 1000000000",
            "threads is 1000000000, but can be 1024 at most: give a",
        ),
        ("condense digits --out {out} --ipc 1000000000", "ipc is 1000000000, but can be 1000000 at most"),
        (
            f"condense digits --out {{out}} --graph-memory {HUGE}",
            f"graph_memory is {HUGE}, but can be 1000000000 at",
        ),
        (
            "condense digits --out {out} --image-lr 1e308",
            "image_lr is 1e+308, but a learning rate must be a number",
        ),
        (
            "condense digits --out {out} --network-lr nan",
            "network_lr is nan, but a learning rate must be a number",
        ),
        (
            "condense digits --out {out} --image-momentum nan",
            "image_momentum is nan, but must be at least 0 and below",
        ),
        (
            f"condense digits --out {{out}} --real-batch {HUGE}",
            f"real_batch is {HUGE}, but can be 1000000000 at most",
        ),
        (
            f"condense digits --out {{out}} --iterations {HUGE}",
            f"iterations is {HUGE}, but can be 1000000000 at most",
        ),
        (
            "condense digits --out {out} --validation-fraction nan",
            "validation_fraction is nan, but must be at least 0",
        ),
        ("condense digits --out {out} --network convnet-w999999-d1", "is larger than can be meant"),
        (
            f"evaluate x.safetensors --on digits --repeats {HUGE}",
            f"repeats is {HUGE}, but can be 100000 at most",
        ),
        (
            "evaluate x.safetensors --on digits --momentum nan",
            "momentum is nan, but must be at least 0 and below 1",
        ),
        (
            "evaluate x.safetensors --on digits --momentum inf",
            "momentum is inf, but must be at least 0 and below 1",
        ),
        ("study depth digits --out {out} --jobs 100000", "jobs is 100000, but can be 4096 at most"),
        ("compare digits --out {out} --ipcs 1 10000000", "ipc is 10000000, but can be 1000000 at most"),
        (
            "compare digits --out {out} --image-lr-scale 1e40",
            "image_lr_scale is 1e+40, but must be a number above 0",
        ),
        (
            "compare digits --out {out} --image-lrs 1 1e40",
            "image_lrs are 1.0, 1e+40, but must be distinct numbers",
        ),
        (f"noise digits --out {{out}} --seed {HUGE}", f"seed is {HUGE}, but can be {2**63 - 1} at most"),
        (f"demo --out {{out}} --repeats {HUGE}", f"repeats is {HUGE}, but can be 100000 at most"),
        ("show {set} --out {out}.png --max-per-class 0", "max_per_class is 0, but must be at least 1"),
    ],
)
def test_numbers_that_cannot_be_meant(
    command: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_set().save(tmp_path / "set.safetensors")
    words = command.format(out=tmp_path / "out", set=tmp_path / "set.safetensors").split()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: ")
    assert message in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["set.safetensors"]


@dataclass(frozen=True)
class Numbers:
    """Settings of some kinds."""

    seed: int | None = 0
    threads: int | None = 1
    steps: int | None = 1
    lr: float | None = 0.1
    momentum: float = 0.5


def test_the_largest_numbers_that_can_be_meant() -> None:
    at_most = Numbers(seed=2**63 - 1, threads=1024, steps=10**9, lr=3e38, momentum=0.999)
    check_at_least(at_most, 0, "seed", "threads", "steps")
    check_rates(at_most, "lr")
    check_momenta(at_most, "momentum")
    unset = Numbers(seed=None, threads=None, steps=None, lr=None)
    check_at_least(unset, 1, "seed", "threads", "steps")
    check_rates(unset, "lr")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", 2**63, f"seed is {2**63}, but can be {2**63 - 1} at most: give a smaller number."),
        ("threads", 1025, "threads is 1025, but can be 1024 at most: give a smaller number."),
        ("steps", 10**9 + 1, "steps is 1000000001, but can be 1000000000 at most: give a smaller number."),
        ("steps", 0, "steps is 0, but must be 1 or more."),
        ("steps", nan, "steps is nan, but must be 1 or more."),
        ("steps", inf, "steps is inf, but can be 1000000000 at most: give a smaller number."),
    ],
)
def test_whole_numbers_beyond_their_bounds(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        check_at_least(Numbers(**{name: value}), 1, name)
    assert str(refused.value) == message


@pytest.mark.parametrize("rate", [nan, inf, -inf, 0.0, -1.0, 3.5e38, 1e308, 1e-46, 1e-300])
def test_rates_are_numbers_in_float32(rate: float) -> None:
    assert not is_rate(rate)
    with pytest.raises(InputError) as refused:
        check_rates(Numbers(lr=rate), "lr")
    assert str(refused.value) == f"lr is {rate}, but a learning rate must be a number above 0 and below 3e38."


@pytest.mark.parametrize("value", [nan, inf, 1.0, -0.1])
def test_momenta_are_below_one(value: float) -> None:
    with pytest.raises(InputError, match=r"momentum is .*, but must be at least 0 and below 1"):
        check_momenta(Numbers(momentum=value), "momentum")


def test_settings_of_studies_and_workers_have_the_same_bounds() -> None:
    with pytest.raises(InputError, match="threads is 2000, but can be 1024 at most"):
        WorkersConfig(threads=2000)
    with pytest.raises(InputError, match="jobs is 0, but must be 1 or more"):
        WorkersConfig(jobs=0)
    with pytest.raises(InputError, match="seeds is 100001, but can be 100000 at most"):
        StudyConfig(seeds=10**5 + 1)
    with pytest.raises(InputError, match="kept is nan, but percentages must lie above 0"):
        StudyConfig(kept=(nan,))


@pytest.mark.parametrize(
    "method", [GradientMatchingConfig(ipc=10**6), DistributionMatchingConfig(ipc=10**6)], ids=["dc", "dm"]
)
def test_more_images_than_memory_holds_are_refused_at_once(method: MethodConfig) -> None:
    with pytest.raises(
        InputError, match=r"1000000 images of each class and their momentum take .* smaller --ipc"
    ):
        condense(make_set(num_classes=3, per_class=1, shape=(3, 256, 256)), method, RunConfig(iterations=1))
