"""The banks of an evaluation: given by the caller, or fitted in each round with which options."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from tests.evaluation.test_rounds import Numbered, quick, studied
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.data.source import Source
from vae_augment.evaluation import rounds
from vae_augment.evaluation.rounds import Study
from vae_augment.exceptions import LeakageWarning

pytestmark = [  # one image of Shapes(9, seed=1) is by chance one of Shapes(9)
    pytest.mark.filterwarnings("ignore:1 of the 27 test images are in dataset too"),
    pytest.mark.filterwarnings("ignore:the bank given has seen images not trained on"),
]


@pytest.fixture(scope="module")
def fitted():
    return fit(Shapes(9), config=CONFIG, progress=False)


@pytest.fixture
def fits(monkeypatch):
    """The options of each fit."""
    given, fit_ = [], rounds.fit

    def spy(dataset, *, config, **options):
        given.append(config)
        return fit_(dataset, config=replace(config, steps=2), **options)

    monkeypatch.setattr(rounds, "fit", spy)
    return given


def test_a_bank_given_with_test_data_is_used(fitted, fits):
    result = quick(Shapes(9), bank=fitted, test=Numbered({0: 4, 1: 4, 2: 4}), arms=["none", "ours"])
    assert fits == []
    assert result.setup["images"] == 27


@pytest.mark.parametrize("options", [{}, {"per_class": 4}, {"per_class": 4, "test": Shapes(9, seed=1)}])
def test_a_bank_that_has_seen_more_than_is_trained_on_gives_its_options_alone(fitted, fits, options):
    with pytest.warns(LeakageWarning, match="the bank given has seen images not trained on"):
        quick(Shapes(9), bank=fitted, arms=["none", "ours"], config=FitConfig(), **options)
    assert fits == [fitted.config] * 2


def test_a_bank_may_be_given_by_its_path(fitted, fits, tmp_path):
    fitted.save(tmp_path / "bank.safetensors")
    options = {"arms": ["none", "ours"], "test": Shapes(9, seed=1), "config": FitConfig()}
    texts = {
        quick(Shapes(9), bank=bank, **options).to_json()
        for bank in (fitted, tmp_path / "bank.safetensors", str(tmp_path / "bank.safetensors"))
    }
    assert (len(texts), fits) == (1, [])


def without_policy(bank):
    return VAEBank(replace(bank.content, config=replace(bank.config, policy="none")))


@pytest.mark.filterwarnings("ignore:serving the images as they are")
def test_a_bank_fitted_without_a_policy_is_fitted_again_without_one(fitted, fits):
    quick(Shapes(9), bank=without_policy(fitted), arms=["none", "ours"], config=FitConfig())
    quick(Shapes(9), bank=fitted, arms=["none", "ours"], config=FitConfig(policy="none"))
    assert [config.policy for config in fits] == ["none"] * 4


def test_options_given_beside_a_bank_replace_its_own(fitted, fits):
    def turned(image):
        return image.flip(-1)

    custom = VAEBank(replace(fitted.content, config=replace(fitted.config, invariances="custom")))
    quick(Shapes(9), bank=custom, arms=["none", "ours"], config=FitConfig(invariances=turned, latent_dim=3))
    assert fits == [replace(fitted.config, invariances=turned, latent_dim=3)] * 2
    with pytest.raises(ValueError, match=r"invariances must be given again: a bank does not hold a transform\."):
        quick(Shapes(9), bank=custom, arms=["none", "ours"], config=FitConfig())


def test_a_preset_given_beside_a_bank_of_another_fills_in_its_own_values(fitted):
    given = FitConfig(preset="fast", width=16)
    wanted = replace(fitted.config, preset="fast", steps=None, latent_dim=None, width=16)
    assert studied_config(fitted, given) == wanted
    fast = VAEBank(replace(fitted.content, config=replace(fitted.config, preset="fast")))
    assert studied_config(fast, given) == replace(fitted.config, preset="fast", width=16)


def studied_config(bank, config):
    return Study(Source(Shapes(9)), bank, Source(Shapes(9, seed=1)), 4, config, 0)._config


def test_the_textbook_arm_has_the_callers_steps_and_size(fits):
    config = FitConfig(preset="fast", steps=3, latent_dim=5, width=24, batch_size=7)
    quick(Shapes(9), arms=["textbook"], config=config, seeds=1)
    usual = {"preset": "fast", "sharing": "none", "invariances": "none", "policy": "none", "image_size": 12}
    assert fits == [FitConfig(**usual, steps=3, latent_dim=5, width=24)]
    some = studied(Shapes(9))
    some._textbook = {}
    some.banks(["textbook"], some.split(0)[0], 0, "cpu")
    assert fits[1] == FitConfig(**usual | {"preset": "default"})


def test_a_bank_fitted_on_other_data_is_warned_of(fitted):
    with pytest.warns(LeakageWarning, match="the bank given was fitted on other data"):
        studied(Shapes(9, seed=5), bank=fitted, test=Shapes(9, seed=1))


def test_a_bank_given_is_matched_by_label(fitted):
    three = [(image, (4, 9, 11)[label]) for image, label in (Shapes(9)[i] for i in range(27))]
    infos = tuple(replace(i, label=n) for i, n in zip(fitted.class_infos, (4, 9, 11), strict=True))
    bank = type(fitted)(replace(fitted.content, class_infos=infos, data={}))
    two = [item for item in three if item[1] != 9]
    some = studied(
        two, bank=bank, test=[(image, (4, 9, 11)[label]) for image, label in Shapes(3, seed=1) if label != 1]
    )
    used = some.banks(["ours"], some.split(0)[0], 0, "cpu")["ours"]
    assert {info.name: info.label for info in used.class_infos} == {"across": 0, "slanted": 1}
    assert torch.equal(used.content.stats.mean, fitted.content.stats.mean[[0, 2]])
    assert bank.class_to_idx == {"across": 4, "down": 9, "slanted": 11}


def test_a_bank_that_lacks_a_class_is_refused_at_once(fitted):
    message = r"bank has no class for label 1 \('down'\) of dataset; it has labels \[0, 2\]\."
    with pytest.raises(ValueError, match=message):
        quick(Shapes(9), bank=fitted.subset([0, 2]), test=Shapes(9, seed=1))


@pytest.mark.filterwarnings("ignore:the bank given was fitted on other data")
def test_a_bank_given_is_matched_by_name_where_labels_are_names(fitted):
    def named(per_class, seed=0, left_out=()):
        shapes = Shapes(per_class, seed=seed)
        items = ((image, Shapes.classes[label]) for image, label in (shapes[i] for i in range(len(shapes))))
        return [item for item in items if item[1] not in left_out]

    some = studied(named(9, left_out=["down"]), bank=fitted, test=named(3, seed=1, left_out=["down"]))
    used = some.banks(["ours"], some.split(0)[0], 0, "cpu")["ours"]
    assert {info.name: info.label for info in used.class_infos} == {"across": 0, "slanted": 1}
    assert torch.equal(used.content.stats.mean, fitted.content.stats.mean[[0, 2]])
    result = quick(named(9), bank=fitted, test=named(3, seed=1), arms=["none", "ours"])
    assert list(result.rows[0]["recall"]) == list(Shapes.classes)
    with pytest.raises(ValueError, match="bank has no class 'down' of dataset; it has 'across', 'slanted'"):
        quick(named(9), bank=fitted.subset([0, 2]), test=named(3, seed=1))
