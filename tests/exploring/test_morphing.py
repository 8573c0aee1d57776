import pytest
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.exploring.morphing import PATHS, morph, morph_codes, shares_start
from vae_augment.images.tensors import to_uint8
from vae_augment.model.vae import stack


@pytest.fixture(scope="module")
def apart():
    """A bank whose classes have no start in common."""
    return fit(Shapes(), config=FitConfig(**{**CONFIG.to_dict(), "sharing": "none", "steps": 3}), progress=False)


@pytest.fixture(scope="module")
def two_starts(bank):
    other = fit(Shapes(seed=1), config=CONFIG, seed=1, progress=False)
    return VAEBank.merge(bank.subset([0, 1]), other.subset([2]))


def picture(shapes, item):
    return torch.from_numpy(shapes.data[item])[None]  # uint8 [1, 12, 12]


def again(bank, image, label):
    """What a bank makes of an image: uint8 [C, H, W]."""
    return to_uint8(bank.reconstruct(image[None], torch.tensor([label])))[0]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("labels", [(1, 1), (0, 2), (2, 1)])
@pytest.mark.parametrize("kind", ["bank", "apart", "two_starts"])
def test_the_first_and_the_last_frame_are_the_reconstructions(kind, labels, path, shapes, request):
    some = request.getfixturevalue(kind)
    a, b = picture(shapes, 10 * labels[0]), picture(shapes, 10 * labels[1] + 3)
    frames = morph(some, a, b, *labels, frames=5, path=path)
    assert (frames.dtype, tuple(frames.shape)) == (torch.uint8, (5, 1, 12, 12))
    assert torch.equal(frames[0], again(some, a, labels[0]))
    assert torch.equal(frames[-1], again(some, b, labels[1]))


def test_two_frames_are_the_ends_and_one_label_is_of_both(bank, shapes):
    a, b = picture(shapes, 0), picture(shapes, 1)
    assert torch.equal(morph(bank, a, b, 0, frames=2), torch.stack([again(bank, a, 0), again(bank, b, 0)]))


def test_within_a_class_a_straight_path_is_that_of_interpolate(bank, shapes):
    a, b = picture(shapes, 10), picture(shapes, 17)
    frames = morph(bank, a, b, 1, frames=9)
    wanted = bank.interpolate(
        a.expand(9, -1, -1, -1), b.expand(9, -1, -1, -1), torch.ones(9, dtype=torch.long), t=torch.linspace(0, 1, 9)
    )
    assert (frames.int() - wanted.int()).abs().max() <= 1


def test_halfway_across_classes_half_of_each_difference_is_added_to_the_start(bank, shapes):
    a, b = picture(shapes, 0), picture(shapes, 20)
    z = torch.cat([bank.encode(image[None], torch.tensor([label]))[0] for image, label in ((a, 0), (b, 2))])
    stored, start = bank.content.weights, bank.content.start.params
    own = stack([stored.params([0]), stored.params([2])])
    halfway = {name: start[name] + 0.5 * (own[name] - start[name]).sum(0, keepdim=True) for name in start}
    wanted = to_uint8(bank.vae.decode(halfway, z.mean(0)[None, None])[0, 0])
    assert (morph(bank, a, b, 0, 2, frames=3)[1].int() - wanted.int()).abs().max() <= 1


@pytest.mark.parametrize("path", PATHS)
def test_the_way_back_is_the_same(bank, shapes, path):
    a, b = picture(shapes, 3), picture(shapes, 25)
    there, back = morph(bank, a, b, 0, 2, path=path), morph(bank, b, a, 2, 0, path=path)
    assert (there.int() - back.flip(0).int()).abs().max() <= 1


@pytest.mark.parametrize("frames", [2, 16, 17, 40, 240])
def test_any_number_of_frames_goes_the_same_way(bank, frames):
    mean = bank.stats.mean
    made = morph_codes(bank, mean[0], mean[1], 0, 1, frames=frames)
    assert len(made) == frames
    change = (made[1:].float() - made[:-1].float()).square().mean((1, 2, 3)).sqrt()
    whole = (made[-1].float() - made[0].float()).square().mean().sqrt()
    assert change.max() <= 3 * whole / (frames - 1) + 1


@pytest.mark.parametrize("kind", ["apart", "two_starts"])
def test_classes_without_a_common_start_are_cross_faded(kind, shapes, request):
    some = request.getfixturevalue(kind)
    assert not shares_start(some, 0, 2)
    assert shares_start(some, 2, 2)
    assert shares_start(some, 0, 1) == (kind == "two_starts")
    a, b = picture(shapes, 0), picture(shapes, 20)
    middle = morph(some, a, b, 0, 2, frames=3)[1].float()
    assert (middle - (again(some, a, 0).float() + again(some, b, 2).float()) / 2).abs().max() <= 1.5


def test_a_part_of_a_bank_and_its_file_morph_as_the_whole(bank, bank_path, shapes):
    a, b = picture(shapes, 10), picture(shapes, 20)
    whole = morph(bank, a, b, 1, 2)
    assert torch.equal(whole, morph(bank.subset([1, 2]), a, b, 1, 2))
    assert torch.equal(whole, morph(VAEBank.load(bank_path), a, b, 1, 2))


def test_images_of_another_size_are_resized_and_floats_are_taken(bank, shapes):
    a, b = picture(shapes, 0), picture(shapes, 20)
    larger = [image.repeat_interleave(2, 1).repeat_interleave(2, 2) for image in (a, b)]
    assert morph(bank, *larger, 0, 2).shape == (16, 1, 12, 12)
    assert torch.equal(morph(bank, a / 255, b / 255, 0, 2), morph(bank, a, b, 0, 2))


# ---- paths ----

T = torch.linspace(0, 1, 7)[:, None]


def test_a_spherical_path_keeps_its_distance_to_the_centre_and_turns_evenly():
    means = torch.tensor([[1.0, -2.0, 0.5], [1.0, -2.0, 0.5]])
    z = means + torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    path = PATHS["spherical"](*z, means, T) - means[0]
    assert torch.allclose(path.norm(dim=1), torch.full((7,), 3.0))
    assert torch.allclose(torch.atan2(path[:, 1], path[:, 0]), T[:, 0] * torch.pi / 2, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "ends",
    [
        [[1.0, 2.0], [1.0, 2.0]],
        [[1.0, 2.0], [-1.0, -2.0]],
        [[0.0, 0.0], [0.0, 0.0]],  # both the centre
        [[0.0, 0.0], [3.0, 4.0]],
        [[1.0, 0.0], [-1.0, 1e-7]],
        [[1.0, 0.0], [1.0, 1e-7]],
    ],
)
def test_paths_between_any_codes_are_finite_and_end_at_them(ends, path):
    z, means = torch.tensor(ends), torch.zeros(2, 2)
    found = PATHS[path](*z, means, T)
    assert bool(torch.isfinite(found).all())
    assert torch.allclose(found[[0, -1]], z, atol=1e-5)
    assert found.abs().max() <= 5


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 1}, "frames must be a whole number from 2 to 240, got 1"),
        ({"frames": 241}, "frames must be a whole number from 2 to 240, got 241"),
        ({"frames": 2.5}, r"frames must be a whole number from 2 to 240, got 2\.5"),
        ({"path": "round"}, "path must be one of 'linear', 'spherical', got 'round'"),
        ({"label_a": 7}, r"labels must be among the bank's \[0, 1, 2\], got 7"),
        ({"label_b": 7}, r"labels must be among the bank's \[0, 1, 2\], got 7"),
        ({"image_a": torch.zeros(12, 12)}, r"image_a must be \[C, H, W\], got \[12, 12\]"),
        ({"image_b": torch.zeros(1, 1, 12, 12)}, r"image_b must be \[C, H, W\], got \[1, 1, 12, 12\]"),
        ({"image_b": torch.zeros(3, 12, 12)}, r"images must be \[B, 1, H, W\], got \[1, 3, 12, 12\]"),
    ],
)
def test_what_cannot_be_morphed(bank, change, message):
    image = torch.zeros(1, 12, 12)
    with pytest.raises(ValueError, match=message):
        morph(bank, **{"image_a": image, "image_b": image, "label_a": 0, "label_b": 1, **change})


def test_a_code_of_another_length(bank):
    with pytest.raises(ValueError, match=r"z must be \[B, 4\], got \[1, 3\]"):
        morph_codes(bank, torch.zeros(3), torch.zeros(4), 0, 1)
