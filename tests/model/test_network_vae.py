"""A VAE of somebody's own networks: what it takes, what it refuses, classes together as apart."""

import copy
import pickle

import pytest
import torch
from torch import nn

from tests.own_networks import Encoder, linear, with_batch_norm
from vae_augment.model.network_vae import NetworkVAE
from vae_augment.model.vae import pick, stack

SHAPE, L = (1, 8, 10), 3


def weights_of(vae, classes):
    return stack([vae.init(torch.Generator().manual_seed(k)) for k in range(classes)])


def statistics(params):
    return {name: tensor for name, tensor in params.items() if "running" in name}


@pytest.mark.parametrize("networks", [linear, with_batch_norm])
@pytest.mark.parametrize("mapped", [True, False])
def test_classes_together_are_as_classes_apart(networks, mapped):
    vae = NetworkVAE(SHAPE, L, networks)
    assert vae._mapped == {"encoder", "decoder"}
    if not mapped:
        vae.__dict__["_mapped"] = frozenset()
    params, generator = weights_of(vae, 3), torch.Generator().manual_seed(0)
    x, noise = torch.rand(3, 5, *SHAPE, generator=generator), torch.randn(3, 5, L, generator=generator)
    mean, logvar = vae.encode(params, x)
    images, loss = vae.decode(params, mean), vae.loss(copy.deepcopy(params), x, noise)
    assert mean.shape == logvar.shape == (3, 5, L)
    assert images.shape == x.shape
    for k in range(3):
        own, one = pick(params, slice(k, k + 1)), slice(k, k + 1)
        torch.testing.assert_close(vae.encode(own, x[one])[0], mean[one])
        torch.testing.assert_close(vae.decode(own, mean[one]), images[one])
        torch.testing.assert_close(vae.loss(copy.deepcopy(own), x[one], noise[one]).total, loss.total[one])
    rows = torch.tensor([2, 0, 2, 1])
    z = torch.randn(4, L, generator=generator)
    each = vae.decode_each(params, z, rows)
    for place, row in enumerate(rows.tolist()):
        own = pick(params, slice(row, row + 1))
        torch.testing.assert_close(each[place], vae.decode(own, z[None, place, None])[0, 0])


def test_a_module_that_cannot_be_mapped_is_called_class_by_class():
    class Asking(Encoder):
        def forward(self, images):
            return super().forward(images) if images.sum() > -1 else None  # no such choice within a map

    vae = NetworkVAE(SHAPE, L, lambda shape, latent_dim: (Asking(shape, latent_dim), linear(shape, latent_dim)[1]))
    assert vae._mapped == {"decoder"}
    params, x = weights_of(vae, 2), torch.rand(2, 4, *SHAPE)
    mean = vae.encode(params, x)[0]
    torch.testing.assert_close(vae.encode(pick(params, slice(1, 2)), x[1:])[0], mean[1:])


def test_statistics_are_collected_in_training_and_left_alone_in_use_and_in_tuning():
    vae = NetworkVAE(SHAPE, L, with_batch_norm)
    assert set(vae.fixed) == {
        f"{part}.running_{what}" for part in ("encoder.body.1", "decoder.1") for what in ("mean", "var")
    }
    assert list(vae.shapes)[-4:] == list(vae.fixed)
    params, x, noise = weights_of(vae, 2), torch.rand(2, 6, *SHAPE), torch.randn(2, 6, L)
    before = copy.deepcopy(statistics(params))
    vae.encode(params, x)
    vae.tuned().loss(params, x, noise)
    torch.testing.assert_close(statistics(params), before, rtol=0, atol=0)
    vae.loss(params, x, noise)
    assert all(
        not torch.equal(tensor[k], before[name][k]) for name, tensor in statistics(params).items() for k in (0, 1)
    )


def test_parameters_that_ask_for_no_gradient_are_fixed():
    def frozen(shape, latent_dim):
        encoder, decoder = linear(shape, latent_dim)
        encoder.body.requires_grad_(False)
        return encoder, decoder

    assert set(NetworkVAE(SHAPE, L, frozen).fixed) == {"encoder.body.1.weight", "encoder.body.1.bias"}


def test_images_are_clamped_in_use_but_have_gradients_beyond_white_in_training():
    vae = NetworkVAE(SHAPE, L, linear)
    params = weights_of(vae, 1)
    params["decoder.0.bias"] += 3
    params = {name: tensor.requires_grad_() for name, tensor in params.items()}
    assert vae.decode(params, torch.zeros(1, 2, L)).max() == 1
    vae.loss(params, torch.rand(1, 4, *SHAPE), torch.randn(1, 4, L)).total.sum().backward()
    assert params["decoder.0.bias"].grad.abs().min() > 0


def test_initial_weights_are_of_the_seed_and_leave_torchs_generator_alone():
    vae, state = NetworkVAE(SHAPE, L, linear), torch.get_rng_state()
    a, b, c = (vae.init(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["encoder.out.weight"], c["encoder.out.weight"])


def test_it_is_equal_to_one_of_the_same_networks_also_in_another_process():
    vae = NetworkVAE(SHAPE, L, lambda shape, latent_dim: linear(shape, latent_dim))
    again = pickle.loads(pickle.dumps(vae))
    assert vae == again == NetworkVAE(SHAPE, L, linear) == vae.tuned()
    assert hash(vae) == hash(again)
    assert vae != NetworkVAE(SHAPE, L, with_batch_norm)
    assert vae != NetworkVAE(SHAPE, L + 1, linear)
    params = weights_of(vae, 2)
    torch.testing.assert_close(again.decode(params, torch.ones(2, 1, L)), vae.decode(params, torch.ones(2, 1, L)))
    with pytest.raises(RuntimeError, match="not kept where a bank is sent to another process"):
        again.init(torch.Generator())


def test_what_a_file_does_not_hold_is_the_same_each_time():
    class Shuffled(Encoder):
        def __init__(self, shape, latent_dim):
            super().__init__(shape, latent_dim)
            self.register_buffer("order", torch.randperm(16))

        def forward(self, images):
            return self.out(self.body(images)[:, self.order]).chunk(2, dim=1)

    def shuffled(shape, latent_dim):
        return Shuffled(shape, latent_dim), linear(shape, latent_dim)[1]

    a, b, x = NetworkVAE(SHAPE, L, shuffled), NetworkVAE(SHAPE, L, shuffled), torch.rand(1, 4, *SHAPE)
    params = weights_of(a, 1)
    assert torch.equal(a.encode(params, x)[0], b.encode(params, x)[0])


def test_statistics_of_a_step_that_overflowed_are_left_out():
    vae = NetworkVAE(SHAPE, L, with_batch_norm)
    params, x = weights_of(vae, 2), torch.rand(2, 6, *SHAPE)
    x[1] = torch.nan
    before = copy.deepcopy(statistics(params))
    vae.loss(params, x, torch.randn(2, 6, L))
    for name, tensor in statistics(params).items():
        assert torch.equal(tensor[1], before[name][1])
        assert not torch.equal(tensor[0], before[name][0])


def test_a_module_may_work_in_place():
    class InPlace(Encoder):
        def forward(self, images):
            return super().forward(images.sub_(0.5))

    vae = NetworkVAE(SHAPE, L, lambda shape, latent_dim: (InPlace(shape, latent_dim), linear(shape, latent_dim)[1]))
    x = torch.rand(1, 4, *SHAPE)
    kept = x.clone()
    vae.loss(weights_of(vae, 1), x, torch.randn(1, 4, L))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(80, momentum=None), nn.BatchNorm1d(80, track_running_stats=False)])
def test_norms_that_know_a_batch_alone_are_refused(norm):
    with pytest.raises(ValueError, match="BatchNorm needs a momentum and track_running_stats=True"):
        NetworkVAE(SHAPE, L, lambda shape, latent_dim: (Encoder(shape, latent_dim, norm), linear(shape, latent_dim)[1]))


def test_lazy_modules_are_given_their_shapes():
    def lazy(shape, latent_dim):
        encoder, decoder = linear(shape, latent_dim)
        encoder.body[1] = nn.LazyLinear(16)
        return encoder, decoder

    assert NetworkVAE(SHAPE, L, lazy).shapes["encoder.body.1.weight"] == (16, 80)


class OneResult(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :L]


@pytest.mark.parametrize(
    ("networks", "error", "message"),
    [
        ("resnet18", TypeError, "networks must be a function of"),
        (lambda shape, latent_dim: nn.Flatten(), TypeError, "must give an encoder and a decoder, two torch modules"),
        (lambda shape, latent_dim: (OneResult(), nn.Flatten()), ValueError, "must give a mean and a log-variance"),
        (
            lambda shape, latent_dim: (Encoder(shape, 5), nn.Flatten()),
            ValueError,
            r"mean must be \[2, 3\].*got \[2, 5\]",
        ),
        (lambda shape, latent_dim: (Encoder(shape, 3), nn.Flatten()), ValueError, r"images must be \[2, 1, 8, 10\]"),
        (lambda shape, latent_dim: (nn.Linear(7, 3), nn.Flatten()), ValueError, "the encoder must take float32"),
    ],
)
def test_what_are_no_networks_is_said(networks, error, message):
    with pytest.raises(error, match=message):
        NetworkVAE(SHAPE, L, networks)


def test_a_parameter_of_both_networks_is_refused():
    def tied(shape, latent_dim):
        encoder, decoder = linear(shape, latent_dim)
        decoder[0].bias = encoder.body[1].bias = nn.Parameter(torch.zeros(80))
        encoder.body[1].weight, encoder.out = nn.Parameter(torch.zeros(80, 80)), nn.Linear(80, 2 * latent_dim)
        return encoder, decoder

    with pytest.raises(ValueError, match="must not share a parameter"):
        NetworkVAE(SHAPE, L, tied)
