"""What holds for every method: where its randomness comes from, how it goes on, what it refuses and what it records."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datacondense import ImageSet, InputError, RunConfig, condense
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.registry import METHODS
from datacondense.condensation.state import Step
from datacondense.random import seeded_generator
from datacondense.run_folder import RunFolder
from tests.condensation.made_runs import RESULT, Clock, break_run, logged, result_bytes
from tests.condensation.made_settings import NETWORKS, OPTIONS, RECORDED, SETTINGS, small
from tests.conftest import MakeSet, has_kernels, make_set

RUN = RunConfig(seed=3, iterations=3, checkpoint_every=0)
PUBLISHED_ITERATIONS = {
    "gradient-matching": 1000,
    "siamese-matching": 1000,
    "idc": 2000,
    "distribution-matching": 20000,
    "parameter-matching": 1000,
    "dataset-distillation": 23600,
}
each_method = pytest.mark.parametrize("name", METHODS)
each_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


def test_every_method_is_in_the_contract() -> None:
    assert set(METHODS) == set(PUBLISHED_ITERATIONS)


Finished = Callable[[MethodConfig], tuple[Path, ImageSet]]
_FINISHED: dict[str, tuple[Path, ImageSet]] = {}


@pytest.fixture
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Run settings to their end on the tiny set, once for all tests; return the folder and the result."""

    def run(settings: MethodConfig) -> tuple[Path, ImageSet]:
        if repr(settings) not in _FINISHED:
            folder = tmp_path_factory.mktemp("finished")
            _FINISHED[repr(settings)] = folder, condense(make_set(), settings, RUN, directory=folder)
        return _FINISHED[repr(settings)]

    return run


# Every option where there are statistics to keep as well, and each method where there are none.
BROKEN = [*((name, NETWORKS[1]) for name in SETTINGS), *((name, NETWORKS[0]) for name in METHODS)]


@pytest.mark.parametrize(("name", "network"), BROKEN)
def test_a_broken_run_ends_with_the_same_bytes(
    tiny: ImageSet, tmp_path: Path, finished: Finished, name: str, network: str
) -> None:
    settings = replace(SETTINGS[name], network=network)
    full, _ = finished(settings)
    # The last step of an iteration: the network in the making is read back, and a fresh one follows.
    break_run(tiny, settings, RUN, tmp_path, at=(1, settings.steps_per_iteration - 1))
    condense(tiny, settings, RUN, directory=tmp_path, resume=True)
    assert result_bytes(tmp_path) == result_bytes(full)
    assert logged(tmp_path) == logged(full)


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "dataset-distillation"])
def test_a_broken_run_of_the_fused_engine_ends_with_the_same_bytes(
    tiny: ImageSet, tmp_path: Path, name: str, precision: str
) -> None:
    settings = small(name, network="convnet-w32-d2", engine="fused", precision=precision)
    run = replace(RUN, iterations=2)
    condensed = condense(tiny, settings, run, directory=tmp_path / "full")
    used = condensed.provenance["environment"]
    assert (used["engine"], used["precision"]) == ("fused", precision)
    break_run(tiny, settings, run, tmp_path / "broken", at=(1, 0))
    condense(tiny, settings, run, directory=tmp_path / "broken", resume=True)
    assert result_bytes(tmp_path / "broken") == result_bytes(tmp_path / "full")


@pytest.mark.parametrize("settings", [SETTINGS[name] for name in METHODS], ids=METHODS)
def test_a_run_goes_on_with_its_own_settings_only(
    tiny: ImageSet, make: MakeSet, tmp_path: Path, settings: MethodConfig
) -> None:
    break_run(tiny, settings, RUN, tmp_path, at=(1, 0))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = METHODS["parameter-matching" if settings.name != "parameter-matching" else "dataset-distillation"]
    for train, method, run, message in (
        (tiny, replace(settings, image_lr=0.25), RUN, r"settings\.image_lr was 0\.5 and is now 0\.25"),
        (tiny, other(real_batch=4), RUN, rf"method was '{settings.name}' and is now '"),
        (tiny, settings, replace(RUN, seed=4), r"run\.seed was 3 and is now 4"),
        (make(seed=1), settings, RUN, r"source\.fingerprint was '\w{16}' and is now '\w{16}'"),
    ):
        with pytest.raises(InputError, match=message):
            condense(train, method, run, directory=tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name, change in OPTIONS.values() if "iterate_averaging" in change]
    + [("distribution-matching", OPTIONS["pool"][1])],
)
def test_averaging_weighs_steps_by_the_third_power_and_leaves_the_run_alone(
    tiny: ImageSet, name: str, change: dict[str, Any]
) -> None:
    plain, averaging = (
        small(name, **{**change, "iterate_averaging": averages, "precision": "float64"}).build(tiny, 3)
        for averages in (False, True)
    )
    state, averaged, each = plain.init(), averaging.init(), []
    steps = plain.settings.steps_per_iteration
    for step in (Step(outer, inner) for outer in range(3) for inner in range(steps)):
        (state, loss), (averaged, same) = plain.step(state, step), averaging.step(averaged, step)
        assert loss == same
        assert torch.equal(averaged.images, state.images)
        each.append(state.images)
        # What the recursion comes to: step t of T weighs 4 t (t+1) (t+2) / (T (T+1) (T+2) (T+3)).
        T = len(each)
        weights = [4 * t * (t + 1) * (t + 2) / (T * (T + 1) * (T + 2) * (T + 3)) for t in range(1, T + 1)]
        assert sum(weights) == pytest.approx(1)
        expected = torch.stack([w * images for w, images in zip(weights, each, strict=True)]).sum(0)
        torch.testing.assert_close(averaged.result, expected)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_recorded_changes_the_images_and_cannot_change_in_a_run(
    tiny: ImageSet, tmp_path: Path, finished: Finished, option: str
) -> None:
    name, change = OPTIONS[option]
    plain, settings = small(name), SETTINGS[option]
    _, condensed = finished(settings)
    (field, value), *_ = change.items()
    assert condensed.provenance["settings"][field] == value
    before = finished(plain)[1].images
    assert len(before) < len(condensed) or not torch.allclose(condensed.images, before, atol=1e-4)
    break_run(tiny, settings, RUN, tmp_path, at=(1, 0))
    with pytest.raises(InputError, match=rf"settings\.{field}(\.class 1)? was "):
        condense(tiny, plain, RUN, directory=tmp_path, resume=True)


@each_setting
def test_the_result_is_a_function_of_the_seed(
    tiny: ImageSet, tmp_path: Path, finished: Finished, settings: MethodConfig
) -> None:
    torch.manual_seed(1)
    one, condensed = finished(settings)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    condense(tiny, settings, RUN, directory=tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert result_bytes(tmp_path) == result_bytes(one)
    other = condense(tiny, settings, replace(RUN, seed=4))
    assert not torch.allclose(other.images, condensed.images, atol=1e-3)


@each_setting
def test_the_result_holds_the_images_class_by_class_and_all_settings(
    tiny: ImageSet, finished: Finished, settings: MethodConfig
) -> None:
    folder, condensed = finished(settings)
    saved = ImageSet.load(folder / RESULT)
    assert torch.equal(saved.images, condensed.images)
    assert saved.labels.tolist() == [0, 0, *([1] * (3 if settings.ipc_of else 2)), 2, 2]
    assert saved.factor == settings.factor
    assert (saved.soft_labels is not None) == getattr(settings, "learn_labels", False)
    assert (saved.mean, saved.std, saved.class_names) == (tiny.mean, tiny.std, tiny.class_names)
    assert bool(saved.images.isfinite().all())
    record = saved.provenance
    assert record == json.loads(json.dumps(condensed.provenance))
    assert (record["method"], record["iterations_done"]) == (settings.name, 3)
    later = {field.name for field in fields(settings.resolved()) if field.metadata.get("added")}
    known = {field.name for field in fields(settings)}
    assert known - later <= set(record["settings"]) <= known
    assert [
        key
        for key, value in record["settings"].items()
        if value is None and key not in {"graph_memory", "ipc_of"}
    ] == []
    assert {**record, **RunFolder(folder).settings()} == record


@each_method
def test_a_method_has_its_published_length_and_its_name(tiny: ImageSet, name: str) -> None:
    record = condense(tiny, small(name), RunConfig(time_limit="0.01s")).provenance
    assert record["run"]["iterations"] == PUBLISHED_ITERATIONS[name]
    assert record["iterations_done"] < 100
    assert record["method"] == RECORDED[name]


@each_method
def test_a_time_limit_ends_a_run_with_a_whole_result(tiny: ImageSet, tmp_path: Path, name: str) -> None:
    settings = small(name)
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch=patch)
        clock.time_steps_of(type(settings.build(tiny, RUN.seed)))
        run = replace(RUN, iterations=100, time_limit="35s")
        condensed = condense(tiny, settings, run, directory=tmp_path)
    assert condensed.provenance["iterations_done"] == 4 / settings.steps_per_iteration
    assert torch.equal(ImageSet.load(tmp_path / RESULT).images, condensed.images)
    assert [entry["seconds"] for entry in RunFolder(tmp_path).metrics()] == [10, 20, 30, 40]


@each_setting
def test_a_step_is_a_function_of_the_state_and_of_its_numbers(tiny: ImageSet, settings: MethodConfig) -> None:
    method, again = settings.build(tiny, 5), settings.build(tiny, 5)
    first = method.init()
    assert torch.equal(first.images, again.init().images)
    # The last step of an iteration, whose network comes with the state, and the first of a later one.
    for where in (Step(0, 0), Step(0, settings.steps_per_iteration - 1), Step(7, 0)):
        before = {name: tensor.clone() for name, tensor in first.to_tensors().items()}
        new, loss = method.step(first, where)
        other, other_loss = again.step(first, where)
        assert loss == other_loss
        found, expected = new.to_tensors(), other.to_tensors()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
        for name, tensor in first.to_tensors().items():
            assert torch.equal(tensor, before[name])
            assert not tensor.requires_grad
        assert not torch.equal(new.images, first.images)
        first = new


@each_setting
def test_iterations_have_networks_and_real_images_of_their_own(
    tiny: ImageSet, settings: MethodConfig
) -> None:
    method = settings.build(tiny, 5)
    losses = {method.step(method.init(), Step(outer, 0))[1] for outer in range(4)}
    assert len(losses) == 4


@each_method
@pytest.mark.parametrize("changes", [{"network": network} for network in NETWORKS] + [{"factor": 2}])
def test_the_first_step_follows_the_slope_of_its_loss(
    tiny: ImageSet, name: str, changes: dict[str, Any]
) -> None:
    method = small(name, **changes, precision="float64").build(tiny, 5)
    start, here = method.init(), Step(0, 0)
    # Momentum begins at zero; Adam's keeps half of a gradient.
    gradient = method.step(start, here)[0].velocity * (2 if name == "dataset-distillation" else 1)
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)).double()

    def loss(shift: Tensor) -> float:
        return method.step(replace(start, images=start.images + shift), here)[1]

    # So close that no ReLU between has its kink.
    difference = (loss(1e-8 * direction) - loss(-1e-8 * direction)) / 2e-8
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-4)
    assert abs(difference) > 1e-4


@each_method
def test_repeated_steps_lower_their_loss(tiny: ImageSet, name: str) -> None:
    method = small(name, image_lr=0.1, start="noise").build(tiny, 5)
    state, losses = method.init(), []
    for _ in range(12):
        state, loss = method.step(state, Step(0, 0))  # always the same network and real images
        losses.append(loss)
    assert losses[-1] < 0.95 * losses[0]


@each_method
def test_images_begin_as_noise_or_as_real_images_of_their_class(tiny: ImageSet, name: str) -> None:
    noise = small(name, start="noise").build(tiny, 5).init().images
    assert torch.equal(noise, torch.randn(noise.shape, generator=seeded_generator(5, "start")))
    real = small(name, ipc=12, start="real").build(tiny, 5).init().images
    for own, members in zip(real, tiny.class_indices, strict=True):
        found, expected = (
            set(map(tuple, part.flatten(1).tolist())) for part in (own, tiny.normalised(members))
        )
        assert found == expected
    with pytest.raises(
        InputError,
        match=r"ipc is 13, but the class 'class 0' has only 12 .* smaller --ipc or --start noise",
    ):
        small(name, ipc=13, start="real").build(tiny, 5)


@each_method
def test_classes_smaller_than_the_real_batch_are_learned_from(make: MakeSet, name: str) -> None:
    method = small(name, network="mlp").build(make(per_class=3), 5)
    state, loss = method.step(method.init(), Step(0, 0))
    assert bool(state.images.isfinite().all())
    assert loss > 0


@each_setting
def test_everything_is_float64_where_it_is_set(tiny: ImageSet, settings: MethodConfig) -> None:
    method = replace(settings, precision="float64").build(tiny, 5)
    state, _ = method.step(method.init(), Step(0, 0))
    assert {tensor.dtype for tensor in state.to_tensors().values()} == {torch.float64}
    assert method.backend == ("eager", "float64")
    # Rounding aside it is the same step.
    rounded = replace(settings, precision="float32").build(tiny, 5)
    other, _ = rounded.step(rounded.init(), Step(0, 0))
    torch.testing.assert_close(other.images.double(), state.images, rtol=1e-3, atol=1e-3)


@each_method
def test_settings_of_all_methods_are_checked(tiny: ImageSet, name: str) -> None:
    for field, value, message in (
        ("ipc", 0, "ipc is 0, but must be 1 or more"),
        ("real_batch", 0, "real_batch is 0, but must be 1 or more"),
        ("real_batch", -1, "real_batch is -1, but must be 1 or more"),
        ("image_lr", -1.0, "image_lr is -1.0, but a learning rate must be a number above 0"),
        ("image_lr", 0.0, "image_lr is 0.0, but a learning rate must be a number above 0"),
        ("image_lr", float("nan"), "image_lr is nan, but a learning rate must be a number above 0"),
        ("start", "zeros", "start is 'zeros', but images begin as 'noise' or as 'real' images"),
        ("precision", "half", "precision is 'half': choose one of auto, float64, float32, bfloat16"),
        ("engine", "quick", "engine is 'quick'"),
    ):
        with pytest.raises(InputError, match=message):
            small(name, **{field: value})
    with pytest.raises(InputError, match="There is no network 'nonet': choose one of"):
        condense(tiny, small(name, network="nonet"), RUN)


@each_method
def test_a_network_for_other_images_is_refused_before_anything_is_written(
    make: MakeSet, tmp_path: Path, name: str
) -> None:
    deep = small(name, network="convnet-w4-d9")
    with pytest.raises(InputError, match="pools 9 times, but images of 8x8"):
        condense(make(), deep, RUN, directory=tmp_path / "run", force=True)
    assert not (tmp_path / "run").exists()
