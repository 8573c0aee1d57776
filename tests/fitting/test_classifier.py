from functools import partial

import pytest
import torch
from torch import nn

from tests.conftest import Shapes
from vae_augment.fitting.classifier import (
    LARGE_SIDE,
    LEARNING_RATE,
    POOLED_RATE,
    PREDICT_BLOCK,
    ClassifierJob,
    PooledCNN,
    SmallCNN,
    features,
    logits,
    new_classifier,
    predict,
    train_classifier,
    train_classifiers,
)

CPU = torch.device("cpu")


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def images_and_labels(per_class=10, seed=0):
    data = Shapes(per_class, seed=seed)
    return torch.from_numpy(data.data)[:, None], torch.tensor(data.targets)


def batches(seed=0, size=16):
    images, labels = images_and_labels()
    draws = gen(seed)
    while True:
        chosen = torch.randint(len(labels), (size,), generator=draws)
        yield images[chosen].float() / 255, labels[chosen]


def small(seed=0, shape=(1, 12, 12), classes=3):
    return new_classifier(None, shape, classes, seed, CPU)


def trained(steps=4, seed=0, model=None, **options):
    return train_classifier(model or small(), batches(), steps=steps, seed=seed, **options)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


class Dropping(nn.Module):
    """Draws from the global generator, in `__init__` and in each step."""

    def __init__(self, shape, classes):
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(shape[0] * shape[1] * shape[2], classes))

    def forward(self, x):
        return self.layers(x)


# ---- the model ----


@pytest.mark.parametrize(
    "shape",
    [
        (1, 8, 8),
        (3, 12, 12),
        (1, 28, 28),
        (3, 9, 40),
        (3, 41, 41),
        (1, 8, 41),
        (3, 128, 13),
        (3, 50, 16),
        (1, 128, 128),
    ],
)
@pytest.mark.parametrize("classes", [2, 7])
def test_any_shape_that_a_bank_has_gives_logits_and_features(shape, classes):
    model = small(shape=shape, classes=classes)
    x = torch.rand(3, *shape, generator=gen())
    assert model(x).shape == (3, classes)
    assert model.features(x).shape == (3, 64)
    assert model(x).isfinite().all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 8, 41), (3, 41, 41)])
def test_a_pooled_network_learns_from_two_images_of_any_shape(shape):
    model = new_classifier(PooledCNN, shape, 2, 0, CPU)
    pair = torch.rand(2, *shape, generator=gen()), torch.tensor([0, 1])
    train_classifier(model, iter([pair] * 3), steps=3)
    assert model(pair[0]).isfinite().all()


@pytest.mark.parametrize("network", [None, PooledCNN, Dropping])
def test_a_network_is_trained_at_its_own_rate(network, monkeypatch):
    rates, schedule = [], torch.optim.lr_scheduler.OneCycleLR
    monkeypatch.setattr(
        torch.optim.lr_scheduler, "OneCycleLR", lambda o, rate, **kw: rates.append(rate) or schedule(o, rate, **kw)
    )
    trained(model=new_classifier(network, (1, 12, 12), 3, 0, CPU))
    assert rates == [POOLED_RATE if network is PooledCNN else LEARNING_RATE]


def test_large_images_cost_less_than_four_times_as_many_weights():
    below, above = (sum(p.numel() for p in small(shape=(3, n, n)).parameters()) for n in (LARGE_SIDE, LARGE_SIDE + 1))
    assert above < below


def test_a_classifier_is_a_function_of_its_seed_alone():
    torch.manual_seed(1)
    first = weights(small(seed=3))
    torch.manual_seed(2)
    assert torch.equal(weights(small(seed=3)), first)
    assert not torch.equal(weights(small(seed=4)), first)


@pytest.mark.parametrize("factory", [None, Dropping])
def test_making_and_training_one_leaves_the_global_generator_alone(factory):
    before = torch.get_rng_state()
    trained(model=new_classifier(factory, (1, 12, 12), 3, 0, CPU))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_callers_factory_is_given_the_shape_and_the_number_of_classes():
    model = new_classifier(Dropping, (2, 9, 10), 5, 0, CPU)
    assert isinstance(model, Dropping)
    assert (model.shape, model.layers[-1].out_features) == ((2, 9, 10), 5)


class Lazy(nn.Module):
    """Learns its sizes from its first batch; its batch normalisation must not learn more from it than that."""

    def __init__(self, shape, classes):
        super().__init__()
        self.batches = []
        self.layers = nn.Sequential(
            nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Dropout(), nn.Flatten(), nn.LazyLinear(classes)
        )

    def forward(self, x):
        self.batches.append((tuple(x.shape), self.training, torch.is_grad_enabled()))
        return self.layers(x)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_factory_may_use_lazy_modules():
    before = torch.get_rng_state()
    first, again, other = (new_classifier(Lazy, (1, 12, 12), 3, seed, CPU) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.batches == [((2, 1, 12, 12), False, False)]
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    assert (first.training, first.layers[1].running_mean.tolist()) == (True, [0.0] * 4)
    assert not torch.equal(weights(trained(model=first)), weights(again))
    images, _ = images_and_labels()
    assert predict(first, images).shape == (30,)


def test_a_factory_without_lazy_modules_is_not_run_for_its_sizes():
    class Refusing(Dropping):
        def forward(self, x):
            raise AssertionError("it was run")

    assert isinstance(new_classifier(Refusing, (1, 12, 12), 3, 0, CPU), Refusing)


@pytest.mark.parametrize(("made", "came"), [(None, "NoneType"), (3, "int"), (Dropping, "type")])
def test_a_factory_that_makes_no_module_is_told(made, came):
    with pytest.raises(TypeError, match=rf"classifier must make a torch.nn.Module, got {came}\."):
        new_classifier(lambda shape, classes: made, (1, 12, 12), 3, 0, CPU)


# ---- its training ----


def test_training_learns_what_can_be_learned():
    model = trained(steps=60)
    images, labels = images_and_labels(per_class=20, seed=5)
    assert (predict(model, images) == labels).double().mean() > 0.9
    assert (predict(small(), images) == labels).double().mean() < 0.7


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10])
def test_any_number_of_steps_is_taken_exactly_and_no_batch_more_is_read(steps):
    counted, given = [], batches()
    train_classifier(small(), (next(given) for _ in range(steps)), steps=steps, on_step=lambda: counted.append(1))
    assert len(counted) == steps
    model = small()
    before = weights(model)
    assert not torch.equal(weights(trained(steps, model=model)), before)
    assert not model.training


def test_training_is_a_function_of_weights_batches_and_seed():
    assert torch.equal(weights(trained()), weights(trained()))
    first, again, other = (
        weights(trained(model=new_classifier(Dropping, (1, 12, 12), 3, 0, CPU), seed=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_probabilities_of_one_class_train_as_its_label_does():
    hard = trained()
    soft = train_classifier(small(), ((x, nn.functional.one_hot(y, 3).float()) for x, y in batches()), steps=4)
    torch.testing.assert_close(weights(soft), weights(hard), rtol=0, atol=1e-5)


# ---- several at once ----


def jobs(count=5):
    networks = (SmallCNN, PooledCNN)
    models = [new_classifier(networks[seed % 2], (1, 12, 12), 3, seed, CPU) for seed in range(count)]
    return [ClassifierJob(model, partial(batches, seed), seed) for seed, model in enumerate(models)]


def test_classifiers_that_are_trained_at_once_have_the_bits_of_those_trained_in_turn(threads):
    threads(1)
    wanted = [weights(train_classifier(job.model, job.batches(), steps=6, seed=job.seed)) for job in jobs()]
    for count in (1, 2, 3, 8):
        threads(count)
        torch.manual_seed(7)
        before = torch.get_rng_state()
        found = train_classifiers(jobs(), steps=6)
        assert torch.get_num_threads() == count
        assert torch.equal(torch.get_rng_state(), before)
        assert not any(model.training for model in found)
        assert all(map(torch.equal, map(weights, found), wanted))
    assert train_classifiers([], steps=6) == []


@pytest.mark.parametrize("place", [0, 1])  # of those that are trained at once
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_one_that_fails_ends_the_others_and_its_error_is_raised(threads, error, place):
    threads(2)
    read = []

    def failing():
        yield from (batch for batch, _ in zip(batches(), range(3), strict=False))
        raise error("no more")

    def endless():
        for batch in batches():
            read.append(1)
            yield batch

    given = [ClassifierJob(small(), failing if n == place else endless, 0) for n in range(4)]
    with pytest.raises(error, match="no more"):
        train_classifiers(given, steps=10**6)
    assert len(read) < 10**4
    assert torch.get_num_threads() == 2


class Viewing(nn.Module):
    """As many models do: it takes its input and its features to lie in memory as they usually do."""

    def __init__(self, shape, classes):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(shape[0], 4, 3, padding=1), nn.Linear(4 * shape[1] * shape[2], classes)

    def forward(self, x):
        assert x.view(len(x), -1).shape == (len(x), x[0].numel())
        return self.head(self.convolution(x).view(len(x), -1))


def test_the_callers_model_may_view_its_tensors():
    x, y = torch.rand(8, 3, 12, 12, generator=gen()), torch.arange(8) % 3
    model = new_classifier(Viewing, (3, 12, 12), 3, 0, CPU)
    train_classifier(model, iter([(x.contiguous(memory_format=torch.channels_last), y)] * 2), steps=2)
    assert predict(model, (x * 255).to(torch.uint8)).shape == (8,)


# ---- its answers ----


def test_predictions_are_the_largest_logits_in_order_whatever_the_block():
    model = trained()
    images = torch.randint(256, (PREDICT_BLOCK + 7, 1, 12, 12), dtype=torch.uint8, generator=gen(9))
    predicted = predict(model, images)
    assert (predicted.dtype, predicted.shape) == (torch.int64, (len(images),))
    with torch.no_grad():
        expected = torch.cat([model(image[None].float() / 255) for image in images])
    sure = expected.topk(2).values.diff(dim=1)[:, 0].abs() > 1e-4
    assert sure.sum() > 400
    assert torch.equal(predicted[sure], expected.argmax(1)[sure])
    assert torch.equal(predict(model, images.float() / 255), predicted)


def test_features_of_bytes_and_floats_are_the_same():
    model = trained()
    assert isinstance(model, SmallCNN)
    images, _ = images_and_labels()
    found = features(model, images)
    assert (found.dtype, found.shape, found.requires_grad) == (torch.float32, (30, 64), False)
    assert torch.equal(features(model, images.float() / 255), found)


@pytest.mark.parametrize("network", [SmallCNN, PooledCNN])
def test_a_network_that_is_scaled_to_images_takes_them_in_units_of_their_standard_deviation(network):
    model = new_classifier(network, (1, 16, 16), 3, 0, CPU)
    images = torch.randint(60, 200, (40, 1, 16, 16), dtype=torch.uint8)
    values = images.float() / 255
    with torch.no_grad():
        wanted = model.eval()((values - values.mean()) / values.std())
    model.scale_to(images)
    torch.testing.assert_close(logits(model, images), wanted, rtol=1e-3, atol=1e-5)
    model.scale_to(torch.full_like(images, 7))  # of one value
    assert bool(logits(model, images).isfinite().all())
