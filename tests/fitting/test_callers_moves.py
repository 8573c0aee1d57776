"""A transform of the caller's in place of the moves there are."""

import pytest
import torch
from torchvision.transforms import Compose, RandomErasing, RandomHorizontalFlip

from tests.images.test_moves import gen, rand
from vae_augment.images.callers_moves import one_by_one


def noisy(image):
    return image + torch.rand(1)


def test_a_callers_transform_draws_anew_for_each_image_by_the_generator_alone():
    images = torch.zeros(4, 1, 8, 8)
    torch.manual_seed(1)
    first = one_by_one(noisy)(images, gen(1))
    torch.manual_seed(2)
    again, other = (one_by_one(noisy)(images, gen(seed)) for seed in (1, 2))
    assert torch.equal(first, again)
    assert len({value.item() for value in [*first[:, 0, 0, 0], *other[:, 0, 0, 0]]}) == 8
    generator = gen(1)
    assert not torch.equal(one_by_one(noisy)(images, generator), one_by_one(noisy)(images, generator))


def test_a_callers_transform_leaves_the_global_generator_as_it_was():
    before = torch.get_rng_state()
    one_by_one(noisy)(torch.zeros(4, 1, 8, 8), gen())
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(RuntimeError, match="out of film"):
        one_by_one(fail)(torch.zeros(4, 1, 8, 8), gen())
    assert torch.equal(torch.get_rng_state(), before)


def fail(image):
    torch.rand(3)
    raise RuntimeError("out of film")


def test_torchvisions_transforms_serve():
    moved = one_by_one(Compose([RandomHorizontalFlip(), RandomErasing(p=0.5)]))(rand(16, 3, 12, 12), gen())
    assert (moved.shape, moved.dtype) == ((16, 3, 12, 12), torch.float32)
    assert (moved != rand(16, 3, 12, 12)).flatten(1).any(1).sum() > 4


@pytest.mark.parametrize("value", [-3.0, 5.0])
def test_values_out_of_range_are_clipped(value):
    moved = one_by_one(lambda image: image + value)(rand(2, 1, 8, 8), gen())
    assert torch.equal(moved, torch.full((2, 1, 8, 8), float(value > 0)))


@pytest.mark.parametrize(
    ("transform", "came"),
    [
        (lambda image: image[:, 1:], r"torch\.float32 \[3, 7, 8\]"),
        (lambda image: image[:, : 8 - int(3 * torch.rand(1))], r"torch\.float32 \[3, [67], 8\]"),
        (lambda image: image[:1], r"torch\.float32 \[1, 8, 8\]"),
        (lambda image: (image * 255).to(torch.uint8), r"torch\.uint8 \[3, 8, 8\]"),
        (lambda image: image.numpy(), "ndarray"),
        (lambda image: None, "NoneType"),
    ],
)
def test_a_transform_that_gives_something_else_is_refused(transform, came):
    with pytest.raises(ValueError, match=rf"invariances must keep float images of shape \[3, 8, 8\], got {came}\."):
        one_by_one(transform)(rand(20, 3, 8, 8), gen())


def test_other_precisions_become_single():
    assert one_by_one(lambda image: image.double())(rand(2, 1, 8, 8), gen()).dtype == torch.float32
