"""A fit of somebody's own networks, and the bank that it gives: saved, read again, served, shown."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from examples.own_networks import NETWORKS
from tests.bank.test_bank import assert_same_classes
from tests.conftest import CONFIG, Shapes
from tests.own_networks import linear, with_batch_norm
from vae_augment import FitConfig, VAEAugmentedDataset, VAEBank, augment, export, fit
from vae_augment.bank.inference import Models
from vae_augment.fitting import Checkpoint, stages
from vae_augment.report.page import report_html
from vae_augment.report.reproduction import reproduction

QUICK = replace(CONFIG, steps=12)


def fitted(networks, config=QUICK, dataset=None, **options):
    return fit(dataset or Shapes(6), networks=networks, config=config, progress=False, **options)


@pytest.fixture(scope="module")
def own():
    return fitted(with_batch_norm)


@pytest.fixture
def path(own, tmp_path):
    own.save(tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sharing", ["warm-start", "none"])
def test_the_examples_networks_are_fitted_saved_read_generated_from_and_served(name, sharing, tmp_path):
    networks = NETWORKS[name]
    bank = fitted(networks, replace(QUICK, sharing=sharing, steps=4))
    assert "failed" not in {info.status for info in bank.class_infos}
    bank.save(tmp_path / "own.safetensors")
    again = VAEBank.load(tmp_path / "own.safetensors", networks=networks)
    assert again.sha256 == bank.sha256
    assert export(again, tmp_path / "made", per_class=2).total == 6
    served = VAEAugmentedDataset(Shapes(6), again, p_generate=0.5, p_jitter=0.5, seed=0, return_source=True)
    assert {source for _, _, source in served} == {1, 2}


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(own):
    assert fitted(with_batch_norm).sha256 == own.sha256
    assert fitted(with_batch_norm, seed=1).sha256 != own.sha256


def test_an_interrupted_fit_is_resumed(own, tmp_path, monkeypatch):
    plain, left = stages.train, [2]

    def train(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "train", train)
        with pytest.raises(KeyboardInterrupt):
            fitted(with_batch_norm, checkpoint=tmp_path / "kept")
    assert fitted(with_batch_norm, checkpoint=tmp_path / "kept").sha256 == own.sha256


def test_a_checkpoint_of_other_networks_is_not_used(tmp_path, monkeypatch):
    keys = []
    monkeypatch.setattr(
        "vae_augment.fitting.Checkpoint", lambda folder, key: keys.append(key) or Checkpoint(folder, key)
    )

    def wider(shape, latent_dim):
        torch.manual_seed(5)  # the weights of a trained network, as it were
        return linear(shape, latent_dim)

    for networks in (linear, linear, with_batch_norm, wider, None):
        fitted(networks, replace(QUICK, steps=1))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


def test_classes_share_the_statistics_of_the_start(own):
    params = own.content.weights.params()
    for name in own.vae.fixed:
        assert torch.equal(params[name], own.content.start.params[name].expand_as(params[name]))
        assert not torch.equal(params[name], torch.zeros_like(params[name]))
        assert not torch.equal(params[name], torch.ones_like(params[name]))


def test_classes_apart_have_statistics_of_their_own():
    bank = fitted(with_batch_norm, replace(QUICK, sharing="none"))
    means = bank.content.weights.params()["encoder.body.1.running_mean"]
    assert not torch.equal(means[0], means[1])


def test_classes_stacked_are_as_apart(own):
    stacked = stages.stack([own.content.weights.params([row]) for row in range(3)])
    z = torch.randn(3, 7, own.latent_dim, generator=torch.Generator().manual_seed(0))
    together = own.vae.decode(stacked, z)
    for row in range(3):
        alone = own.decode(z[row], torch.full((7,), row))
        torch.testing.assert_close(together[row], alone)


def with_dropout(shape, latent_dim):
    encoder, decoder = linear(shape, latent_dim)
    return encoder, nn.Sequential(nn.Dropout(0.3), *decoder)


@pytest.mark.parametrize("sharing", ["warm-start", "none"])
def test_dropout_goes_by_the_seed_and_leaves_torchs_generator_alone(sharing):
    config, state = replace(QUICK, sharing=sharing, policy="gentle"), torch.get_rng_state()
    first = fitted(with_dropout, config)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert fitted(with_dropout, config).sha256 == first.sha256


def test_weights_that_nothing_uses_do_not_stop_a_checkpoint(tmp_path, monkeypatch):
    def unused(shape, latent_dim):
        encoder, decoder = linear(shape, latent_dim)
        encoder.head = nn.Linear(3, 2)
        return encoder, decoder

    monkeypatch.setattr("vae_augment.fitting.callbacks.SECONDS", 0)
    monkeypatch.setattr("vae_augment.fitting.callbacks.KEEP_EVERY", 2)
    config = replace(QUICK, policy="gentle")
    assert fitted(unused, config, checkpoint=tmp_path / "kept").sha256 == fitted(unused, config).sha256


def test_a_merged_bank_draws_by_what_both_have(own):
    bare = fitted(with_batch_norm, replace(QUICK, exemplars=0), classes=["down"], seed=2)
    both = VAEBank.merge(own.subset(["across"]).with_policy(method="mixture"), bare)
    assert both.sample(torch.tensor([0, 1])).shape == (2, 1, 12, 12)


@pytest.mark.parametrize("sharing", ["warm-start", "none"])
def test_classes_trained_stacked_are_as_apart(sharing, monkeypatch):
    config = replace(QUICK, sharing=sharing, policy="gentle")
    apart = fitted(with_batch_norm, config).content.weights.params()
    monkeypatch.setitem(stages.CLASSES_AT_ONCE, "cpu", 3)
    monkeypatch.setattr(stages, "side_by_side", lambda work, groups: [work(group) for group in groups])
    stacked = fitted(with_batch_norm, config).content.weights.params()
    for name, tensor in apart.items():
        torch.testing.assert_close(stacked[name], tensor, rtol=0.02, atol=2e-3)


def test_a_file_holds_tensors_and_names_alone(path):
    tensors = load_file(path)
    assert {"class.weights", "base.weights"} <= set(tensors)
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["vae_augment"])
    assert ["encoder.body.1.running_mean", [144], True] in metadata["networks"]
    assert "components" not in metadata
    assert b"with_batch_norm" not in path.read_bytes()


def test_a_bank_is_read_with_its_networks_alone(path):
    with pytest.raises(ValueError, match=r"own.safetensors cannot be read: .*networks of its own"):
        VAEBank.load(path)
    with pytest.raises(ValueError, match=r"cannot be read: these networks are not those .*they differ in"):
        VAEBank.load(path, networks=linear)
    with pytest.raises(ValueError, match="cannot be read: networks must give an encoder and a decoder"):
        VAEBank.load(path, networks=lambda shape, latent_dim: nn.Flatten())


def test_networks_are_refused_for_a_bank_of_ours(bank_path):
    with pytest.raises(ValueError, match="cannot be read: it was fitted with the networks of this library"):
        VAEBank.load(bank_path, networks=linear)


def test_weights_that_overflow_are_found(own, tmp_path):
    content = copy.copy(own.content)
    weights = replace(content.weights, steps=torch.full_like(content.weights.steps, 1e37))
    VAEBank(replace(content, weights=weights)).save(tmp_path / "large.safetensors")
    with pytest.raises(ValueError, match="so large that images overflow"):
        VAEBank.load(tmp_path / "large.safetensors", networks=with_batch_norm)


def test_some_classes_are_read_merged_and_refitted(own, path):
    some = VAEBank.load(path, classes=["down"], networks=with_batch_norm)
    assert some.classes == ("down",)
    assert VAEBank.merge(own.subset(["across", "slanted"]), some).classes == own.classes
    with pytest.raises(ValueError, match="same shapes"):
        VAEBank.merge(own.subset(["across"]), fitted(linear, classes=["down"]))
    more = fit(Shapes(6, seed=1), classes=["down"], start=own, progress=False)
    assert_same_classes(more, own, ["across", "slanted"])
    with pytest.raises(ValueError, match="networks must be those of the start bank"):
        fitted(linear, FitConfig(), start=own)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_serve_the_same_items(own, method):
    served = VAEAugmentedDataset(Shapes(6), own, p_generate=0.4, p_jitter=0.4, seed=3)
    loader = DataLoader(served, batch_size=5, num_workers=2, multiprocessing_context=method, collate_fn=list)
    items = [image.tobytes() for batch in loader for image, _ in batch]
    assert items == [image.tobytes() for image, _ in served]


def test_items_do_not_depend_on_their_batch(own):
    models = Models(own.vae, own.content.weights, torch.device("cpu"))
    z, rows = torch.randn(9, own.latent_dim), torch.arange(9) % 3
    whole = models.decode_each(z, rows)
    assert all(torch.equal(models.decode_each(z[i : i + 1], rows[i : i + 1])[0], whole[i]) for i in range(9))


def test_augment_and_the_report_take_such_a_bank(own, data, tmp_path):
    assert augment(Shapes(6), own, tmp_path / "augmented", copies=1).total == 18
    page = report_html(own, data=data)
    assert "somebody&#39;s own" in page or "somebody's own" in page
    assert '"decoder": null' in page or '"decoder":null' in page
    assert "networks=networks" in reproduction(own)


def test_components_are_of_our_networks_alone():
    with pytest.raises(ValueError, match="leave components out, or networks"):
        fitted(linear, replace(QUICK, components=2, latent_dim=4))
