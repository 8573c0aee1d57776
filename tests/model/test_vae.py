import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from vae_augment.config import NORM_GROUPS
from vae_augment.model.conv_vae import OVERLAP, ConvVAE
from vae_augment.model.vae import LOG_SIGMA_RANGE, LOGVAR_RANGE, kl_per_dim, pick, stack

SHAPES = [(1, 28, 28), (3, 64, 64), (1, 8, 8), (3, 128, 128), (1, 256, 256), (2, 17, 100)]
COMPONENTS = [0, 1, 5]
K, B, L = 2, 3, 5


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def made(shape, classes=K, components=0):
    vae = ConvVAE(shape, L, width=8, components=components)
    params = stack([vae.init(gen(k)) for k in range(classes)])
    for name in vae.fixed:
        params[name] += 0.1 * torch.randn(params[name].shape, generator=gen(len(name)))
    images = torch.rand(classes, B, *shape, generator=gen(9))
    noise = torch.randn(classes, B, L, generator=gen(10))
    return vae, params, images, noise


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_ranges(shape, components):
    vae, params, images, noise = made(shape, components=components)
    mean, logvar = vae.encode(params, images)
    decoded = vae.decode(params, noise)
    loss = vae.loss(params, images, noise)
    assert mean.shape == logvar.shape == (K, B, L)
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert loss.reconstruction.shape == loss.kl.shape == loss.total.shape == (K,)
    assert torch.isfinite(loss.total).all()
    assert (loss.kl >= 0).all()


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_have_the_declared_shapes(shape, components):
    vae, params, _, _ = made(shape, components=components)
    assert list(vae.shapes)[len(vae.shapes) - len(vae.fixed) :] == list(vae.fixed)
    assert {name: tensor.shape for name, tensor in params.items()} == {n: (K, *s) for n, s in vae.shapes.items()}


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_classes_together_equal_classes_apart(shape, components):
    vae, params, images, noise = made(shape, components=components)
    together = [*vae.encode(params, images), vae.decode(params, noise), *vae.loss(params, images, noise)]
    for k in range(K):
        own, rows = pick(params, slice(k, k + 1)), slice(k, k + 1)
        apart = [
            *vae.encode(own, images[rows]),
            vae.decode(own, noise[rows]),
            *vae.loss(own, images[rows], noise[rows]),
        ]
        for a, b in zip(together, apart, strict=True):
            torch.testing.assert_close(a[rows], b, rtol=1e-4, atol=1e-5)


def textbook_decode(vae, params, z):
    """The decoder of one class written with torch's own layers: [B, C, H, W] of z [B, L]."""
    p = {name: tensor[0] for name, tensor in params.items()}
    h = F.silu(z @ p["decoder.in.weight"] + p["decoder.in.bias"]).unflatten(1, (-1, *vae.grid))
    for i in reversed(range(vae.stages)):
        h = F.pixel_shuffle(F.conv2d(h, p[f"decoder.{i}.weight"], p[f"decoder.{i}.bias"]), 2)
        h = F.silu(F.group_norm(h, NORM_GROUPS, p[f"decoder.{i}.norm.weight"], p[f"decoder.{i}.norm.bias"]))
    patches = torch.einsum("cp,bchw->bphw", p["decoder.patch.weight"], h).flatten(2)
    size, side = (h.shape[2] * vae.patch, h.shape[3] * vae.patch), vae.patch + 2 * OVERLAP
    h = F.fold(patches, size, side, padding=OVERLAP, stride=vae.patch) + p["decoder.patch.bias"][:, None, None]
    left, _, top, _ = vae.padding
    h = h[:, :, top : top + vae.image_shape[1], left : left + vae.image_shape[2]]
    if vae.components:
        coarse = z[:, : vae.components] @ p["decoder.components.weight"] + p["decoder.components.bias"]
        coarse = coarse.unflatten(1, (vae.image_shape[0], *vae.reduced))
        h = h + F.interpolate(coarse, vae.image_shape[1:], mode="bicubic", align_corners=False)
    return h.sigmoid()


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_decoding_is_made_of_the_usual_layers(shape, components):
    vae, params, images, noise = made(shape, components=components)
    for tensor in params.values():  # norms and biases that do something
        tensor += 0.3 * torch.randn(tensor.shape, generator=gen(3))
    ours = {name: tensor.clone().requires_grad_() for name, tensor in params.items()}
    decoded = vae.decode(ours, noise)
    (decoded - images).square().sum().backward()
    for k in range(K):
        theirs = {name: tensor.clone().requires_grad_() for name, tensor in pick(params, [k]).items()}
        wanted = textbook_decode(vae, theirs, noise[k])
        assert torch.allclose(decoded[k], wanted, atol=1e-6)
        (wanted - images[k]).square().sum().backward()
        for name, tensor in theirs.items():
            if tensor.grad is not None:
                scale = tensor.grad.abs().max()
                assert torch.allclose(ours[name].grad[k] / scale, tensor.grad[0] / scale, atol=1e-4), name


def test_codes_of_components_are_linear_in_reduced_images():
    vae, params, images, _ = made((3, 64, 48), components=4)
    plain = ConvVAE(vae.image_shape, L, width=8)
    codes = F.adaptive_avg_pool2d(images[1], (16, 12)).flatten(1) @ params["encoder.components.weight"][1]
    added = (vae.encode(params, images)[0] - plain.encode(params, images)[0])[1]
    torch.testing.assert_close(added[:, :4], codes + params["encoder.components.bias"][1], rtol=1e-4, atol=1e-5)
    assert not added[:, 4:].any()


@pytest.mark.parametrize(("shape", "components"), [((1, 12, 12), -1), ((1, 12, 12), L + 1)])
def test_other_numbers_of_components_are_refused(shape, components):
    with pytest.raises(ValueError, match=f"components must be from 0 to {L} for these images, got {components}"):
        ConvVAE(shape, L, components=components)


def test_a_class_has_no_gradient_from_another():
    vae, params, images, noise = made((1, 12, 12))
    leaves = {name: tensor.requires_grad_() for name, tensor in params.items()}
    vae.loss(leaves, images, noise).total[0].backward()
    assert all(tensor.grad[0].any() for tensor in leaves.values())
    assert not any(tensor.grad[1].any() for tensor in leaves.values())


def test_images_of_a_batch_do_not_mix():
    vae, params, images, _ = made((1, 12, 12))
    mean = vae.encode(params, images)[0]
    alone = vae.encode(params, images[:, 1:2])[0]
    torch.testing.assert_close(mean[:, 1:2], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("log_sigma", [-1.5, -0.3, -9.0, 2.0])
def test_the_loss_is_its_definition(log_sigma):
    vae, params, images, noise = made((2, 9, 12))
    params["log_sigma"].fill_(log_sigma)
    mean, logvar = vae.encode(params, images)
    q = Normal(mean, (0.5 * logvar).exp())
    z = q.loc + q.scale * noise
    sigma = params["log_sigma"].clamp(*LOG_SIGMA_RANGE).exp().view(K, 1, 1, 1, 1)
    log_prob = Normal(vae.decode(params, z), sigma).log_prob(images).flatten(2).sum(2).mean(1)
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum(2).mean(1)
    loss = vae.loss(params, images, noise)
    torch.testing.assert_close(loss.reconstruction, -log_prob, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(loss.kl, kl, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss.total, kl - log_prob, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("bias", "limit"), [(1e6, LOGVAR_RANGE[1]), (-1e6, LOGVAR_RANGE[0])])
def test_log_variances_are_clamped_and_the_loss_uses_the_clamped_ones(bias, limit):
    vae, params, images, noise = made((1, 8, 8))
    params["encoder.out.bias"][:, L:] = bias
    mean, logvar = vae.encode(params, images)
    assert (logvar == limit).all()
    torch.testing.assert_close(vae.loss(params, images, noise).kl, kl_per_dim(mean, logvar).sum(2).mean(1))


def test_the_kl_of_the_prior_itself_is_nothing():
    assert not kl_per_dim(torch.zeros(2, 3), torch.zeros(2, 3)).any()


def test_starting_weights_are_a_function_of_the_generator():
    vae = ConvVAE((1, 12, 12), L, width=8)
    first, again, other = vae.init(gen(0)), vae.init(gen(0)), vae.init(gen(1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["decoder.in.weight"], other["decoder.in.weight"])


def test_picking_undoes_stacking():
    vae = ConvVAE((1, 12, 12), L, width=8)
    one, two = vae.init(gen(0)), vae.init(gen(1))
    assert all(torch.equal(pick(stack([one, two]), [1])[name], two[name]) for name in two)


@pytest.mark.parametrize("shape", [(1, 7, 28), (1, 28, 7), (3, 257, 64), (3, 64, 257), (0, 28, 28)])
def test_other_image_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"image_shape must be \(C, H, W\) with sides of 8 to 256, got \("):
        ConvVAE(shape, L)
