from dataclasses import replace

import pytest
import torch

from tests.conftest import CONFIG
from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank, fit
from vae_augment.bank.shown_images import shown_images
from vae_augment.fitting import callbacks, stages
from vae_augment.fitting.budget import warm_batch
from vae_augment.fitting.components import begin_with_components, number_of_components
from vae_augment.images.moves import AFFINE
from vae_augment.images.tensors import to_float, to_uint8
from vae_augment.model.conv_vae import ConvVAE

CONFIG = replace(CONFIG, latent_dim=6, components=4)


def smooth(count=60, size=(24, 32), seed=0):
    """Photographs of a kind: colours that change slowly, uint8 [N, 3, H, W]."""
    coarse = torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    return to_uint8(torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=True))


class Photographs(torch.utils.data.Dataset):
    def __init__(self, seed=0):
        self.images, self.targets = smooth(seed=seed), [i % 3 for i in range(60)]

    def __len__(self):
        return 60

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


def begun(vae, images, moves=None):
    params = vae.init(torch.Generator().manual_seed(1))
    begin_with_components(vae, params, images, moves, torch.Generator().manual_seed(2))
    return params


def error(vae, params, images):
    x = to_float(images)[None]
    return (vae.decode(params, vae.encode(params, x)[0]) - x).square().mean().sqrt().item()


def test_a_vae_begins_as_its_components_and_with_their_error():
    images, others = smooth(), smooth(seed=5)
    errors = []
    for components in (1, 4, 12):
        vae = ConvVAE((3, 24, 32), 12, width=8, components=components)
        params = begun(vae, images)
        errors.append(error(vae, params, others))
        assert params["log_sigma"].exp().item() == pytest.approx(error(vae, params, images), abs=2e-3)
    assert errors[0] > 1.2 * errors[1] > 2 * errors[2]
    assert errors[2] < 0.06  # twelve numbers are all that makes these images


def test_codes_have_the_variance_of_the_prior_and_do_not_correlate():
    vae, images = ConvVAE((3, 24, 32), 5, width=8, components=5), smooth(200)
    mean, logvar = vae.encode(begun(vae, images), to_float(images)[None])
    assert torch.allclose(torch.cov(mean[0].T), torch.eye(5), atol=0.15)
    assert (logvar < 0).all()


def test_moved_copies_widen_the_components():
    vae, images = ConvVAE((3, 24, 32), 5, width=8, components=5), smooth(20)
    moved = to_uint8(AFFINE.draw(to_float(smooth(100, seed=9)), torch.Generator().manual_seed(3)))
    assert error(vae, begun(vae, images, AFFINE.draw), moved) < error(vae, begun(vae, images), moved)


@pytest.mark.parametrize("images", [smooth(1), smooth(3), torch.full((9, 3, 24, 32), 255, dtype=torch.uint8)])
def test_few_images_or_images_of_one_colour_give_finite_weights(images):
    vae = ConvVAE((3, 24, 32), 8, width=8, components=8)
    params = begun(vae, images)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in params.values())
    assert error(vae, params, images) < 0.1


def test_a_bank_with_components_is_fitted_saved_extended_and_served(tmp_path):
    dataset = Photographs()
    bank = fit(dataset, config=CONFIG, progress=False)
    assert (bank.vae.components, bank.latent_dim, bank.config.components) == (4, 6, 4)
    bank.save(tmp_path / "bank.safetensors")
    loaded = VAEBank.load(tmp_path / "bank.safetensors")
    weights = loaded.content.weights.params()
    for name in bank.vae.fixed:
        assert weights[name].abs().sum() > 0
        assert torch.equal(weights[name], weights[name][:1].expand_as(weights[name]))
    images, labels = dataset.images[:9], torch.tensor(dataset.targets[:9])
    assert torch.equal(loaded.reconstruct(images, labels), bank.reconstruct(images, labels))
    assert fit(dataset, config=CONFIG, progress=False).sha256 == bank.sha256
    assert list(shown_images(bank, images[::3], 0)) == ["real", "jittered", "reconstructed", "generated"]
    extended = fit(Photographs(seed=1), start=loaded, classes=[2], progress=False)
    assert extended.vae == bank.vae
    one = images[:1], labels[:1]
    assert torch.equal(extended.subset([0]).reconstruct(*one), bank.subset([0]).reconstruct(*one))
    served = VAEAugmentedDataset(dataset, loaded, p_generate=0.5, p_jitter=0.5, seed=0)
    together = served.__getitems__(list(range(9)))
    for index, (image, label) in enumerate(together):
        alone = served[index]
        assert label == alone[1]
        assert torch.equal(image, alone[0])


def test_components_are_as_before_after_decoding_in_inference_mode():
    vae = ConvVAE((3, 20, 26), 4, width=8, components=2)
    params = {
        name: tensor.requires_grad_(name not in vae.fixed)
        for name, tensor in vae.init(torch.Generator().manual_seed(1)).items()
    }
    with torch.inference_mode():
        vae.decode(params, torch.zeros(1, 2, 4))
    vae.loss(params, torch.rand(1, 2, 3, 20, 26), torch.zeros(1, 2, 4)).total.sum().backward()
    assert params["encoder.out.weight"].grad is not None


def test_a_move_that_gives_what_is_no_number_is_passed_over():
    def broken(images, generator):
        return torch.where(torch.arange(len(images)).view(-1, 1, 1, 1) % 2 == 0, images, torch.nan)

    vae = ConvVAE((3, 24, 32), 4, width=8, components=4)
    assert error(vae, begun(vae, smooth(), broken), smooth()) < 0.2


def test_a_training_resumes_with_the_components_it_had(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "SECONDS", 0)
    monkeypatch.setattr(callbacks, "KEEP_EVERY", 1)
    wanted = fit(Photographs(), config=CONFIG, progress=False)

    class Ended(Exception):
        pass

    taken = []

    def counted(self, *args, loss=ConvVAE.loss):
        taken.append(1)
        if len(taken) == 6:
            raise Ended
        return loss(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ConvVAE, "loss", counted)
        with pytest.raises(Ended):
            fit(Photographs(), config=CONFIG, progress=False, checkpoint=tmp_path / "kept")
    with monkeypatch.context() as patch:
        patch.setattr(stages, "begin_with_components", lambda *args: None)  # as if it gave others this time
        again = fit(Photographs(), config=CONFIG, progress=False, checkpoint=tmp_path / "kept")
    assert again.sha256 == wanted.sha256


def test_components_lower_the_error_of_a_short_fit():
    plain = fit(Photographs(), config=replace(CONFIG, components=0), progress=False)
    bank = fit(Photographs(), config=CONFIG, progress=False)
    rmse = [sum(info.rmse for info in each.class_infos) for each in (bank, plain)]
    assert rmse[0] < 0.8 * rmse[1]


@pytest.mark.parametrize(
    ("images", "options", "components"),
    [
        (smooth(), {}, 64),
        (smooth(), {"latent_dim": 10}, 10),
        (smooth(), {"components": 0}, 0),
        (smooth(), {"sharing": "none"}, 0),
        (smooth(), {"share": True}, 0),
        (smooth(size=(8, 128)), {}, 48),  # as many values as their reduced images have
        (smooth()[:, :1], {}, 64),  # grey textures
        (255 * (smooth()[:, :1] > 240).to(torch.uint8), {}, 0),  # drawings
        ((255 * (smooth()[:, :1] > 240).to(torch.uint8)).expand(-1, 3, -1, -1), {}, 0),  # stored in colour
    ],
)
def test_photographs_and_textures_have_components_if_nothing_is_said(images, options, components):
    config = FitConfig(**options)
    assert number_of_components(config, images) == components
    ConvVAE(tuple(images.shape[1:]), config.resolve(60, components).latent_dim, 8, components)


def test_few_photographs_are_trained_on_in_small_batches():
    small, large = (ConvVAE((3, side, side), 64, 8, 64) for side in (32, 64))
    assert [warm_batch(128, images, large) for images in (60, 4_999, 5_000)] == [32, 32, 256]
    assert warm_batch(128, 60, small) == 256
    assert warm_batch(128, 60, replace(large, components=0)) == 128
    assert warm_batch(1, 60, large) == 1


def test_latent_dimensions_are_as_many_as_components_if_nothing_is_said():
    assert FitConfig(components=40).resolve(100).latent_dim == 40
    assert FitConfig(components=4).resolve(100).latent_dim == FitConfig().resolve(100).latent_dim


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 5, "latent_dim": 4}, "components must be at most latent_dim, 4, got 5"),
        ({"components": 5, "sharing": "none"}, "components need sharing='warm-start', got 'none'"),
        ({"components": -1}, "components must be a whole number from 0 to 512, got -1"),
        ({"components": 1.5}, "components must be a whole number"),
    ],
)
def test_components_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**options)


def test_a_start_with_other_components_is_refused():
    bank = fit(Photographs(), config=CONFIG, progress=False)
    with pytest.raises(ValueError, match="components must be that of the start bank, 4, got 2"):
        fit(Photographs(), config=FitConfig(components=2), start=bank, progress=False)
