"""Pretrained networks as the classifier of an evaluation."""

import sys

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import evaluate
from vae_augment.evaluation.backbones import LEAST_SIDE, Pretrained
from vae_augment.fitting.classifier import new_classifier, predict, train_classifier

timm = pytest.importorskip("timm")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def weights_at_hand(monkeypatch):
    """Small networks, with weights that are drawn instead of fetched."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: create(name, **options))


def made(name, shape=(1, 12, 12)):
    return new_classifier(Pretrained(name), shape, 3, seed=0, device=CPU)


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 40, 20)])
@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("kind", ["timm:", "probe:timm:"])
def test_images_of_any_size_have_logits(kind, model, shape):
    model = made(kind + model, shape)
    images = torch.rand(5, *shape)
    assert model(images).shape == (5, 3)
    assert predict(model, images).shape == (5,)


def batches(steps):
    random = torch.Generator().manual_seed(0)
    return iter([(torch.rand(8, 1, 12, 12, generator=random), torch.arange(8) % 3) for _ in range(steps)])


@pytest.mark.parametrize("name", ["timm:test_resnet", "probe:timm:test_resnet"])
def test_a_probe_trains_its_layer_alone(name):
    model = made(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train_classifier(model, batches(2), steps=2)
    changed = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == ({"model"} if name.startswith("timm") else {"head"})


def test_small_images_are_enlarged_and_large_ones_reduced_to_what_the_network_knows():
    def longest(side):
        return max(made("timm:test_resnet", (3, side, side // 2)).size)

    assert longest(28) == LEAST_SIDE
    assert longest(130) == 160  # a multiple of 32
    assert longest(1000) == 160  # its own
    assert made("timm:test_resnet", (3, 96, 64)).size == (128, 96)


def test_batches_are_predicted_as_single_images_are():
    model = made("probe:timm:test_resnet").eval()
    images = torch.rand(130, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images)[:3], model(images[:3]))


def test_an_evaluation_says_its_classifier():
    options = {"seeds": 1, "steps": 2, "arms": ["none"], "config": CONFIG, "progress": False}
    found = evaluate(Shapes(6), classifier="probe:timm:test_resnet", **options)
    assert found.setup["classifier"] == "probe:timm:test_resnet"
    assert "Classifier: probe:timm:test_resnet." in str(found)
    assert "classifier" not in evaluate(Shapes(6), **options).setup


@pytest.mark.parametrize("name", ["resnet18", "timm:", "probe:timm:", "probe:resnet18", ""])
def test_other_names_are_refused(name):
    with pytest.raises(TypeError, match=r"classifier must be a function or None, got .* timm:NAME or probe:timm:NAME"):
        evaluate(Shapes(6), classifier=name)


def test_a_model_that_timm_does_not_know_is_named():
    with pytest.raises(ValueError, match="classifier 'timm:nonsense': no model, or no weights of it"):
        made("timm:nonsense")
    with pytest.raises(ValueError, match="takes images of 1 or 3 channels, got 4"):
        made("timm:test_resnet", (4, 12, 12))


def test_a_model_that_is_none_is_told_before_any_fit(monkeypatch):
    monkeypatch.setattr("vae_augment.evaluation.rounds.fit", None)
    with pytest.raises(ValueError, match="classifier 'probe:timm:nonsense': no model"):
        evaluate(Shapes(6), classifier="probe:timm:nonsense", config=CONFIG, steps=2, seeds=1, progress=False)


def test_without_timm_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r'pip install "vae-augment\[timm\]"'):
        Pretrained("timm:test_resnet")
