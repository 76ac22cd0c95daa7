"""Representative real batches: k-means written out, and what a run draws by it."""

from dataclasses import replace

import pytest
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info
from torch import Tensor

from datacondense import (
    DatasetDistillationConfig,
    DistributionMatchingConfig,
    GradientMatchingConfig,
    ImageSet,
    InputError,
    ParameterMatchingConfig,
    build_network,
)
from datacondense.condensation.method import Method, MethodConfig
from datacondense.condensation.representative import nearest_to_centres
from datacondense.condensation.state import Step
from datacondense.networks.features import penultimate_features
from tests.condensation.by_hand import SEED, fresh_parameters, real_batches
from tests.conftest import MakeSet

CONFIG = GradientMatchingConfig(
    network="convnet-w4-d1",
    real_batch=2,
    matching_steps=3,
    real_sampling="representative",
    representative_every=2,
    precision="float64",
)


def nearest_by_hand(features: Tensor, number: int) -> list[int]:
    """Run Lloyd's algorithm point by point, then take the nearest point of each centre that is still free."""
    centres = list(features[:number])
    for _ in range(10):
        own = [min(range(number), key=lambda k, x=x: float((x - centres[k]).norm())) for x in features]  # type: ignore[misc]
        assert set(own) == set(range(number))
        centres = [
            torch.stack([x for x, place in zip(features, own, strict=True) if place == k]).mean(0)
            for k in range(number)
        ]
    taken: list[int] = []
    for centre in centres:
        free = [n for n in range(len(features)) if n not in taken]
        taken.append(min(free, key=lambda n: float((features[n] - centre).norm())))
    return taken


@pytest.mark.parametrize("number", [1, 3, 7])
def test_images_nearest_to_the_centres_equal_those_by_hand(number: int) -> None:
    features = torch.randn(40, 3, generator=torch.Generator().manual_seed(number)).double()
    assert nearest_to_centres(features, number).tolist() == nearest_by_hand(features, number)


def test_every_cluster_has_its_image() -> None:
    line = torch.tensor([0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 20.0, 21.0, 22.0])[:, None]
    order = torch.tensor([0, 3, 6, 1, 2, 4, 5, 7, 8])
    assert line[order][nearest_to_centres(line[order], 3)].flatten().tolist() == [1, 11, 21]


@pytest.mark.parametrize(("size", "number"), [(4, 4), (3, 5), (1, 1)])
def test_few_images_are_all_taken(size: int, number: int) -> None:
    assert nearest_to_centres(torch.randn(size, 2), number).tolist() == list(range(size))


def test_equal_images_are_taken_once_each_without_a_warning() -> None:
    assert sorted(nearest_to_centres(torch.ones(6, 2), 4).tolist()) == [0, 1, 2, 3]


def test_clusters_are_found_by_one_thread_and_torch_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = KMeans.fit
    threads: list[int] = []

    def fit(self: KMeans, features: object) -> KMeans:
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return plain(self, features)

    monkeypatch.setattr(KMeans, "fit", fit)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        nearest_to_centres(torch.randn(50, 2), 4)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}


def by_hand(train: ImageSet, config: MethodConfig, label: int, outer: int, inner: int) -> Tensor:
    """Return the batch of a class that is found at a step."""
    network = build_network(config.network, train.image_shape, train.num_classes)
    parameters = fresh_parameters(network, "network", outer)
    buffers = network.measure_statistics(parameters, real_batches(train, 12, "statistics", outer, inner))
    members = train.class_indices[label]
    method = config.build(train, SEED)
    generator = method.sampler.generator("representative", outer, inner, label)
    pool = train.normalised(members[torch.randperm(len(members), generator=generator)[:16]]).double()
    features = penultimate_features(network, parameters, pool, buffers)
    return pool[nearest_by_hand(features, config.real_batch)]


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, network="convnet-w4-d1-bn")])
def test_batches_are_those_by_hand_until_they_are_found_anew(make: MakeSet, config: MethodConfig) -> None:
    train = make(per_class=12)
    method: Method[MethodConfig] = config.build(train, SEED)
    steps = [Step(outer, inner) for outer in range(2) for inner in range(3)]
    for label in range(3):
        batches = [method.real_batch(label, step) for step in steps]
        # Every second step of the run, across iterations.
        for number, found in enumerate(((0, 0), (0, 2), (1, 1))):
            expected = by_hand(train, config, label, *found)
            assert torch.equal(batches[2 * number], expected)
            assert torch.equal(batches[2 * number + 1], expected)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        DistributionMatchingConfig(network="mlp", real_batch=2, real_sampling="representative"),
        ParameterMatchingConfig(network="mlp", real_batch=2, real_sampling="representative"),
    ],
    ids=lambda config: config.name,
)
def test_all_methods_use_them(make: MakeSet, config: MethodConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    method: Method[MethodConfig] = config.build(make(per_class=12), SEED)
    used = []

    def note(label: int, step: Step) -> Tensor:
        used.append(label)
        return method.sampler.real(label, 2, "real", *step)

    monkeypatch.setattr(method._representatives, "batch", note)
    method.step(method.init(), Step(0, 0))
    assert set(used) == {0, 1, 2}


def test_batches_of_a_training_on_real_images_are_counted_on(make: MakeSet) -> None:
    config = ParameterMatchingConfig(
        network="mlp", real_batch=2, real_steps=3, real_sampling="representative", representative_every=2
    )
    method = config.build(make(per_class=12), SEED)
    batches = [method.real_batch(0, Step(outer, 0), number) for outer in range(2) for number in range(3)]
    assert all(torch.equal(batches[number], batches[number + 1]) for number in (0, 2, 4))
    assert not any(torch.equal(batches[number], batches[number + 2]) for number in (0, 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda: DatasetDistillationConfig(real_sampling="representative"),
        lambda: ParameterMatchingConfig(real_sampling="representative", experts=2),
    ],
)
def test_methods_without_such_batches_refuse_them(change: object) -> None:
    assert callable(change)
    with pytest.raises(InputError, match="draws no real batches of single classes with these settings"):
        change()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="real_sampling is 'best', but real images are 'random' or 'repr"):
        replace(CONFIG, real_sampling="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="representative_every is 0, but must be 1 or more"):
        replace(CONFIG, representative_every=0)


def test_the_kind_of_a_step_says_how_real_images_are_found() -> None:
    assert ", representative, B = 2" in CONFIG.kind
    assert CONFIG.kind != replace(CONFIG, real_sampling="random").kind
