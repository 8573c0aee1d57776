import json
from dataclasses import FrozenInstanceError, replace

import pytest
from torchvision.transforms import RandomErasing

from vae_augment.config import PRESETS, FitConfig

BAD = {
    "preset": ["slow", None],
    "sharing": ["some"],
    "invariances": [True, "rotated", None],
    "policy": ["tuned"],
    "latent_dim": [0, 513, 8.0, True],
    "image_size": [7, 257],
    "steps": [0, -5, "many"],
    "width": [4, 12, 520],
    "batch_size": [0, 65_537, None],
    "exemplars": [-1, None],
    "learning_rate": [0, 1.5, float("nan"), None, "fast"],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option, values in BAD.items() for value in values])
def test_a_bad_option_is_named_with_the_value_that_came(option, value):
    with pytest.raises(ValueError, match=rf"^{option} must be .*{value}"):
        FitConfig(**{option: value})


@pytest.mark.parametrize("preset", PRESETS)
def test_resolve_fills_in_the_presets_values_for_a_large_dataset(preset):
    resolved = FitConfig(preset=preset).resolve(60_000)
    assert {name: getattr(resolved, name) for name in ("latent_dim", "width", "steps")} == {
        name: PRESETS[preset][name] for name in ("latent_dim", "width", "steps")
    }
    assert FitConfig(preset=preset).image_size_cap == PRESETS[preset]["image_size"]


def test_resolve_keeps_what_was_given_or_resolved():
    given = FitConfig(latent_dim=3, width=8, steps=7, image_size=20)
    assert given.resolve(10) == given.resolve(10_000_000) == given
    resolved = FitConfig().resolve(12_345)
    assert resolved.resolve(99) == resolved
    assert resolved.image_size is None  # left to the images


def test_steps_rise_with_the_dataset_between_two_bounds():
    steps = [FitConfig().resolve(images).steps for images in (1, 5_000, 10_000, 50_000, 1_000_000)]
    assert steps[0] == steps[1] < steps[2] < steps[3] == steps[4]


@pytest.mark.parametrize(
    "config", [FitConfig(), FitConfig(preset="best", latent_dim=5, policy="none", exemplars=0, learning_rate=0.1)]
)
def test_the_dict_of_a_config_gives_the_config_back(config):
    assert FitConfig(**config.to_dict()) == config


@pytest.mark.parametrize("moves", ["none", "affine", "colour", "elastic", "elastic-colour"])
def test_invariances_may_be_any_moves_by_name(moves):
    assert FitConfig(invariances=moves).resolve(100).invariances == moves


def test_invariances_may_be_a_transform_which_a_dict_calls_custom():
    transform = RandomErasing()
    config = FitConfig(invariances=transform, steps=5)
    assert config.invariances is config.resolve(100).invariances is transform
    assert config.to_dict() == FitConfig(invariances="custom", steps=5).to_dict()
    json.dumps(config.to_dict())
    assert FitConfig(**config.to_dict()) == replace(config, invariances="custom")


@pytest.mark.parametrize("option", ["preset", "sharing", "policy"])
def test_other_options_are_no_transforms(option):
    with pytest.raises(ValueError, match=f"^{option} must be one of .*, got <"):
        FitConfig(**{option: lambda image: image})


def test_a_config_cannot_be_changed():
    with pytest.raises(FrozenInstanceError, match="width"):
        FitConfig().width = 16
