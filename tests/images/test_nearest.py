import math

import pytest
import torch

from vae_augment.images import nearest as module
from vae_augment.images.nearest import nearest, nearest_others


@pytest.fixture
def images():
    return torch.randint(0, 256, (40, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def brute_force(x, y):
    a, b = x.double() / 255, y.double() / 255
    return (a[:, None] - b[None]).square().flatten(2).mean(2).sqrt()


def test_the_nearest_are_those_that_brute_force_finds(images):
    x, y = images[:7], images[7:]
    wanted = brute_force(x, y).sort(1)
    found = nearest(x, y, count=4)
    assert torch.equal(found.items, wanted.indices[:, :4])
    torch.testing.assert_close(found.distances, wanted.values[:, :4].float())


def test_images_are_searched_in_parts_with_the_same_result(images, lowered):
    whole = nearest(images[:7], images[7:], count=4)
    lowered(module, "CHUNK", 5 * 90)
    parts = nearest(images[:7], images[7:], count=4)
    assert torch.equal(parts.items, whole.items)
    torch.testing.assert_close(parts.distances, whole.distances)


def test_only_some_are_searched_and_their_positions_are_those_in_all(images):
    among = torch.tensor([30, 12, 20])
    found = nearest(images[:2], images, among=among, count=9)
    assert found.items.shape == (2, 3)
    assert set(found.items[0].tolist()) == {12, 20, 30}


def test_a_copy_is_at_distance_0(images):
    found = nearest(images[5:6], images)
    assert (found.items.item(), found.distances.item()) == (5, 0)


def test_codes_are_compared_as_they_are():
    codes = torch.tensor([[0.0, 0.0], [3.0, 4.0], [30.0, 40.0]])
    found = nearest(codes[:1], codes[1:], count=2)
    torch.testing.assert_close(found.distances, torch.tensor([[5.0, 50.0]]) / math.sqrt(2))


def test_the_nearest_other_one_is_never_the_same_one(images):
    wanted = brute_force(images, images).fill_diagonal_(math.inf).amin(1).float()
    torch.testing.assert_close(nearest_others(images, torch.arange(40)), wanted)
    twice = torch.cat([images, images[3:4]])
    assert nearest_others(twice, torch.tensor([3, 40])).tolist() == [0, 0]
    assert nearest_others(images[:1], torch.tensor([0])).tolist() == [math.inf]


def test_nothing_to_search_finds_nothing(images):
    assert nearest(images[:2], images[:0]).items.shape == (2, 0)
