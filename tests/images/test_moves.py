import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from tests.conftest import MOVES_TRIED
from vae_augment.images.moves import (
    AFFINE,
    COLOUR,
    ELASTIC,
    FEW_IMAGES,
    MOVES,
    MOVING,
    Moves,
    classical_moves,
    colour_channels,
    default_invariances,
)
from vae_augment.images.tensors import to_uint8
from vae_augment.images.tones import smoothed

FAMILIES = {name: MOVES[name] for name in MOVES_TRIED if name != "none"}
every_family = pytest.mark.parametrize("moves", FAMILIES.values(), ids=FAMILIES)
MOVE_ALL = {n: m for n, m in FAMILIES.items() if not m.changes and n != "mirrored"}  # and not some images alone
every_family_that_moves_all = pytest.mark.parametrize("moves", MOVE_ALL.values(), ids=MOVE_ALL)
SHAPES = [(1, 12, 12), (3, 10, 30), (1, 8, 8), (2, 9, 8), (4, 40, 17)]


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=gen(seed))


def at(moves, **wanted):
    """Uniform numbers [1, width] of a move whose named draws, from -1 to 1, are these, and the others 0."""
    uniform = torch.full((1, moves.width), 0.5)
    for name, draw in wanted.items():
        uniform[0, moves.places[name]] = (draw + 1) / 2
    return uniform


def bar(size, *, upright=False):
    """A white bar, 16 pixels long and 4 wide, in the middle of a black image [1, 1, H, W]."""
    height, width = (16, 4) if upright else (4, 16)
    image = torch.zeros(1, 1, *size)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    image[:, :, top : top + height, left : left + width] = 1
    return image


def moments(image):
    """Ink, its mean place (y, x) in pixels, and its second moments (yy, xx, xy) around that, of [1, 1, H, W]."""
    ink = image[0, 0].double()
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in ink.shape), indexing="ij")
    mean_y, mean_x = ((ink * axis).sum() / ink.sum() for axis in (y, x))
    dy, dx = y - mean_y, x - mean_x
    seconds = [(ink * product).sum() / ink.sum() for product in (dy * dy, dx * dx, dx * dy)]
    return ink.sum().item(), (mean_y.item(), mean_x.item()), tuple(moment.item() for moment in seconds)


def angle(image):
    """Degrees from the horizontal of the axis along which ink spreads most."""
    yy, xx, xy = moments(image)[2]
    return math.degrees(0.5 * math.atan2(2 * xy, xx - yy))


# ---- what stays ----


@every_family
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("outside", ["border", "zeros"])
def test_moved_images_keep_shape_dtype_and_range(moves, shape, outside):
    images = torch.cat([rand(16, *shape), torch.zeros(1, *shape), torch.ones(1, *shape)])
    before = images.clone()
    moved = moves.draw(images, gen(1), outside=outside)
    assert (moved.shape, moved.dtype) == (images.shape, torch.float32)
    assert 0 <= moved.min() <= moved.max() <= 1 + 1e-6
    assert torch.equal(images, before)
    assert moves.draw(images[:0], gen()).shape == images[:0].shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("moves", [Moves(), Moves(points=2), Moves(elastic=1e-12), Moves(brightness=1e-12)])
def test_amounts_of_0_give_the_image_back_to_rounding(moves, shape):
    images = rand(5, *shape)
    torch.testing.assert_close(moves.draw(images, gen(1)), images, rtol=0, atol=1e-5)


@every_family
def test_the_draw_in_the_middle_gives_the_image_back_to_rounding(moves):
    images = rand(1, 3, 12, 20)
    torch.testing.assert_close(moves.apply(images, at(moves)), images, rtol=0, atol=1e-5)


@every_family
@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 28, 28), (3, 9, 17)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_an_image_is_moved_alike_whatever_batch_it_is_in(moves, shape, memory):
    images, uniform = rand(15, *shape).contiguous(memory_format=memory), rand(15, moves.width, seed=1)
    together = moves.apply(images, uniform)
    for size in (1, 2, 7):
        apart = [moves.apply(*part) for part in zip(images.split(size), uniform.split(size), strict=True)]
        assert torch.equal(torch.cat(apart), together)


@every_family_that_moves_all
def test_moves_are_a_function_of_the_generator_and_differ_within_a_batch(moves):
    images, before = rand(1, 1, 12, 12).expand(8, 1, 12, 12), torch.get_rng_state()
    first, again, other = (moves.draw(images, gen(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert len({image.numpy().tobytes() for image in [*first, *other]}) == 16


@every_family
def test_the_width_is_the_number_of_draws_that_count(moves):
    moves = replace(moves, changes=0)
    images, uniform = rand(1, 3, 12, 12), torch.full((1, moves.width), 0.5)
    if moves.erasing:  # a rectangle of no size is nowhere
        uniform[0, moves.places["erasing"]] = 0.2
    uses = {"right": "shift", "down": "shift", "erased_x": "erasing", "erased_y": "erasing"}
    uses |= dict.fromkeys(("first", "second", "third", "fourth"), "changes")
    names = {place: uses.get(name, name) for name, place in moves.places.items()}
    for place in range(moves.width):
        changed = uniform.clone()
        changed[0, place] = 0.1
        matters = place not in names or getattr(moves, names[place]) > 0
        assert torch.equal(moves.apply(images, changed), moves.apply(images, uniform)) == (not matters)


# ---- how far ----


@pytest.mark.parametrize("size", [(40, 40), (40, 80), (80, 40)])
@pytest.mark.parametrize("draw", [-1, -0.5, 0.5, 1])
def test_a_rotation_is_of_so_many_degrees_and_neither_stretches_nor_shifts(size, draw):
    moves = Moves(rotation=15)
    image = bar(size)
    moved = moves.apply(image, at(moves, rotation=draw))
    assert abs(angle(moved)) == pytest.approx(15 * abs(draw), abs=0.5)
    (ink, centre, spread), (ink_before, centre_before, before) = moments(moved), moments(image)
    assert ink == pytest.approx(ink_before, rel=0.02)
    assert centre == pytest.approx(centre_before, abs=0.05)
    assert sum(spread[:2]) == pytest.approx(sum(before[:2]), rel=0.05)  # yy + xx, which rotations keep
    opposite = moves.apply(image, at(moves, rotation=-draw))
    assert angle(opposite) == pytest.approx(-angle(moved), abs=0.1)


@pytest.mark.parametrize("size", [(40, 40), (40, 80)])
@pytest.mark.parametrize("draw", [-1, 0.5, 1])
def test_a_shift_is_a_share_of_the_sides(size, draw):
    moves = Moves(shift=0.1)
    before = moments(bar(size))[1]
    down = moments(moves.apply(bar(size), at(moves, down=draw)))[1]
    right = moments(moves.apply(bar(size), at(moves, right=draw)))[1]
    assert (abs(down[0] - before[0]), down[1]) == (
        pytest.approx(0.1 * abs(draw) * size[0], abs=0.05),
        pytest.approx(before[1]),
    )
    assert (right[0], abs(right[1] - before[1])) == (
        pytest.approx(before[0]),
        pytest.approx(0.1 * abs(draw) * size[1], abs=0.05),
    )


@pytest.mark.parametrize("size", [(40, 40), (40, 80)])
@pytest.mark.parametrize(("draw", "least", "most"), [(-1, 1.07, 1.13), (1, 0.87, 0.93)])
def test_a_scaling_is_of_both_sides_alike(size, draw, least, most):
    moves = Moves(scaling=0.1)
    moved, before = (moments(x) for x in (moves.apply(bar(size), at(moves, scaling=draw)), bar(size)))
    assert least < math.sqrt(moved[0] / before[0]) < most
    assert least < math.sqrt(moved[2][1] / before[2][1]) < most
    assert moved[1] == pytest.approx(before[1], abs=0.05)


@pytest.mark.parametrize("size", [(40, 40), (40, 80), (80, 40)])
@pytest.mark.parametrize("draw", [-1, 1])
def test_a_shear_slants_what_is_upright_by_so_many_degrees_and_keeps_what_lies(size, draw):
    moves = Moves(shear=20)
    slanted = moves.apply(bar(size, upright=True), at(moves, shear=draw))
    yy, _, xy = moments(slanted)[2]
    assert abs(math.degrees(math.atan(xy / yy))) == pytest.approx(20, abs=1)
    lying = moves.apply(bar(size), at(moves, shear=draw))
    assert moments(lying)[2][0] == pytest.approx(moments(bar(size))[2][0], abs=0.1)
    assert moments(slanted)[0] == pytest.approx(64, rel=0.02)  # shears keep areas


def test_an_elastic_move_whose_points_go_the_same_way_is_a_shift():
    moves = Moves(elastic=0.1, points=3)
    uniform = at(moves)
    uniform[0, 7 : 7 + 9] = 1.0  # to the side, none up or down
    before, after = moments(bar((40, 40)))[1], moments(moves.apply(bar((40, 40)), uniform))[1]
    assert (after[0], abs(after[1] - before[1])) == (pytest.approx(before[0]), pytest.approx(4, abs=0.05))


def test_an_elastic_move_bends_within_an_image():
    moves = Moves(elastic=0.1, points=3)
    uniform = at(moves)
    uniform[0, 7:10] = 1.0  # the upper row of points alone
    stripe = torch.zeros(1, 1, 40, 40)
    stripe[..., 18:22] = 1
    columns = [(row * torch.arange(40)).sum() / row.sum() for row in moves.apply(stripe, uniform)[0, 0]]
    assert abs(columns[0] - columns[-1]).item() == pytest.approx(4, abs=0.5)
    assert all(abs(a - b) < 0.5 for a, b in pairwise(columns))  # smoothly


@pytest.mark.parametrize("draw", [-1, 0.5, 1])
def test_brightness_scales_all_values_and_contrast_their_differences_from_the_mean(draw):
    moves = Moves(brightness=0.2, contrast=0.3)
    image = torch.cat([torch.full((1, 3, 8, 4), 0.4), torch.full((1, 3, 8, 4), 0.6)], dim=3)
    brighter = moves.apply(image, at(moves, brightness=draw))
    torch.testing.assert_close(brighter, image * (1 + 0.2 * draw))
    sharper = moves.apply(image, at(moves, contrast=draw))
    torch.testing.assert_close(sharper, 0.5 + (image - 0.5) * (1 + 0.3 * draw))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_moved_but_neither_brighter_nor_of_more_contrast(channels):
    images, uniform = rand(6, channels, 12, 12), rand(6, COLOUR.width, seed=1)
    moved = COLOUR.apply(images, uniform)
    assert torch.equal(moved[:, -1:], AFFINE.apply(images[:, -1:], uniform))
    assert torch.equal(moved[:, :-1], COLOUR.apply(images[:, :-1], uniform))


@every_family_that_moves_all
@pytest.mark.parametrize("size", [(24, 24), (24, 40)])
def test_the_same_numbers_move_a_larger_image_the_same_way(moves, size):
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, 2 * n) for n in size), indexing="ij")
    large = (0.5 + 0.4 * torch.sin(4 * x + 2 * y) * torch.cos(3 * y)).expand(6, 1, -1, -1)
    small, uniform = F.avg_pool2d(large, 2), rand(6, moves.width, seed=1)
    shrunk = F.avg_pool2d(moves.apply(large, uniform), 2)
    moved = moves.apply(small, uniform)
    inside = (..., slice(4, -4), slice(4, -4))  # what comes in at the edges is a matter of pixels
    assert (moved - small)[inside].abs().mean() > 0.05
    assert (moved - shrunk)[inside].abs().mean() < 0.01


def test_black_comes_in_at_the_edges_where_asked():
    moves = Moves(shift=0.25)
    white = torch.ones(1, 1, 12, 12)
    assert torch.equal(moves.apply(white, at(moves, right=1)), white)
    assert moves.apply(white, at(moves, right=1), outside="zeros").mean() == pytest.approx(0.75, abs=0.01)


# ---- which ----


def test_moves_are_named_and_none_is_no_move():
    assert MOVES["none"] is None
    assert {MOVES[name] for name in ("affine", "colour", "elastic")} == {AFFINE, COLOUR, ELASTIC}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_vaes_of_few_images_are_trained_on_moved_ones_and_grey_ones_are_not_bent(channels):
    assert default_invariances(FEW_IMAGES, channels) == default_invariances(1e9, channels) == "none"
    learnt = MOVES[default_invariances(FEW_IMAGES - 1, channels)]
    assert bool(learnt.brightness) == bool(learnt.elastic) == (channels >= 3)


@pytest.mark.parametrize(("channels", "told"), [(1, 1), (2, 2), (3, 1), (4, 1)])
def test_grey_images_stored_in_colour_are_grey(channels, told):
    grey = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8, generator=gen()).expand(-1, channels, -1, -1).clone()
    assert colour_channels(grey) == told
    assert colour_channels(grey[:0]) == channels
    if channels >= 3:
        compressed = (grey.int() + torch.randint(0, 2, grey.shape, generator=gen())).clamp(0, 255).to(torch.uint8)
        assert colour_channels(compressed) == 1
        grey[::5, 0] = 255 - grey[::5, 0]  # every fifth in colour
        assert colour_channels(grey) == channels


@pytest.mark.parametrize(("channels", "colour"), [(1, False), (2, False), (3, True), (4, True)])
def test_the_usual_augmentation_changes_colours_where_there_are_some(channels, colour):
    moves = classical_moves(channels)
    assert (moves.brightness > 0, moves.contrast > 0) == (colour, colour)
    assert (moves.rotation, moves.shift, moves.scaling, moves.shear, moves.elastic) == (15.0, 0.1, 0.1, 0.0, 0.0)


@pytest.mark.parametrize("name", ["gentle", "affine", "colour", "elastic", "elastic-colour"])
@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 20, 33)])
def test_pixels_come_from_where_an_affine_grid_and_cubic_bends_say(name, shape):
    moves, (channels, height, width) = MOVES[name], shape
    images, uniform = torch.rand(2, *shape, generator=gen()), torch.rand(2, moves.width, generator=gen(1))
    draws = uniform * 2 - 1
    angle, slant = draws[:, 0] * math.radians(moves.rotation), (draws[:, 1] * math.radians(moves.shear)).tan()
    scale, shift = 1 + draws[:, 2] * moves.scaling, draws[:, 3:5] * 2 * moves.shift
    cos, sin, aspect = angle.cos() * scale, angle.sin() * scale, height / width
    x = torch.stack([cos, (cos * slant - sin) * aspect, shift[:, 0]], dim=1)
    y = torch.stack([sin / aspect, sin * slant + cos, shift[:, 1]], dim=1)
    wanted = F.affine_grid(torch.stack([x, y], dim=1), [2, channels, height, width], align_corners=False)
    if moves.elastic:
        coarse = draws[:, 7:].reshape(2, 2, moves.points, moves.points) * 2 * moves.elastic
        fine = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
        wanted = wanted + fine.permute(0, 2, 3, 1)
    found = replace(moves, brightness=0.0, contrast=0.0).apply(images, uniform)
    torch.testing.assert_close(
        found, F.grid_sample(images, wanted, padding_mode="border", align_corners=False), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_difference_is_moved_with_its_image(name):
    moves, random = MOVES[name], gen()
    images = 0.4 + 0.2 * torch.rand(3, 3, 16, 16, generator=random)  # so that nothing is clipped
    difference = 0.1 * torch.rand(3, 3, 16, 16, generator=random) - 0.05
    difference -= difference.mean((1, 2, 3), keepdim=True)  # contrast is about the image's own mean
    uniform = torch.rand(3, moves.width, generator=random)
    together = moves.apply(images, uniform, difference=difference)
    torch.testing.assert_close(together, moves.apply(images + difference, uniform), rtol=0, atol=1e-5)


def test_a_difference_of_another_size_covers_the_same_image():
    images, uniform = torch.full((1, 1, 32, 32), 0.5), torch.full((1, MOVES["affine"].width), 0.5)  # moves nothing
    difference = torch.zeros(1, 1, 8, 8)
    difference[..., :4] = 0.25
    made = MOVES["affine"].apply(images, uniform, difference=difference)
    assert made[..., :14].allclose(torch.tensor(0.75))
    assert made[..., 18:].allclose(torch.tensor(0.5))


# ---- values, flips and rectangles ----


def levels(*shape, seed=0):
    """Images of whole levels, of which some do not reach black or white."""
    return (rand(*shape, seed=seed) * 180 + 40).round() / 255


@pytest.mark.parametrize("shape", [(1, 9, 14), (3, 20, 12)])
@pytest.mark.parametrize(
    ("moves", "draw", "wanted"),
    [
        (Moves(solarize=0.6), 1, lambda x: v2.functional.solarize(x, 0.4)),
        (Moves(posterize=1), 0.5, lambda x: v2.functional.posterize(to_uint8(x), 5) / 255),
        (Moves(posterize=1), -1, lambda x: v2.functional.posterize(to_uint8(x), 2) / 255),
        (Moves(autocontrast=1), 1, v2.functional.autocontrast),
        (Moves(saturation=0.8), -0.5, lambda x: x.lerp(x.mean(1, keepdim=True), 0.4)),
    ],
    ids=["solarize", "posterize to 5 bits", "posterize to 2", "autocontrast", "saturation"],
)
def test_values_change_as_torchvision_changes_them(shape, moves, draw, wanted):
    images = levels(4, *shape)
    (name,) = [name for name in ("solarize", "posterize", "autocontrast", "saturation") if getattr(moves, name)]
    moved = moves.apply(images, at(moves, **{name: draw}).expand(4, -1))
    torch.testing.assert_close(moved, wanted(images), rtol=0, atol=1e-5)


def test_equalized_values_are_equally_frequent_and_keep_their_order():
    images = levels(2, 3, 40, 40) ** 3
    moved = Moves(equalize=1).apply(images, at(Moves(equalize=1), equalize=1).expand(2, -1))
    for before, after in zip(images.flatten(0, 1).flatten(1), moved.flatten(0, 1).flatten(1), strict=True):
        assert bool((after[before.argsort()].diff() >= -1e-6).all())
        torch.testing.assert_close(after.sort().values, torch.linspace(0, 1, 1600), rtol=0, atol=0.1)


def test_sharper_images_differ_more_from_their_surroundings_and_smoother_ones_less():
    moves, image = Moves(sharpness=0.9), levels(1, 1, 16, 16)
    spread = [moves.apply(image, at(moves, sharpness=draw)).std().item() for draw in (-1, 0, 1)]
    assert spread[0] < 0.7 * spread[1]
    assert spread[2] > 1.1 * spread[1]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 7), (3, 28, 20), (3, 64, 64)])
def test_surroundings_are_means_of_the_pixels_that_there_are(shape):
    images = rand(3, *shape)
    assert smoothed(images).equal(F.avg_pool2d(images, 3, 1, 1, count_include_pad=False))


@pytest.mark.parametrize("shape", [(1, 9, 14), (3, 20, 12)])
def test_half_of_the_images_are_mirrored(shape):
    images = rand(400, *shape)
    moved = Moves(mirror=True, upside_down=True).draw(images, gen(1))
    ways = {dims: (moved - images.flip(dims)).abs().amax((1, 2, 3)) < 1e-4 for dims in ((), (3,), (2,), (2, 3))}
    assert sum(same.sum().item() for same in ways.values()) == 400
    assert all(70 < same.sum().item() < 130 for same in ways.values())


def test_a_rectangle_of_the_mean_is_erased_and_nothing_else():
    moves, image = Moves(erasing=0.5), rand(1, 3, 40, 20)
    moved = moves.apply(image, at(moves, erasing=-1, erased_x=0.5, erased_y=0))
    changed = (moved - image).abs().amax((0, 1)) > 1e-4
    assert changed.sum().item() == changed.any(1).sum().item() * changed.any(0).sum().item()
    assert (changed.any(1).sum().item(), changed.any(0).sum().item()) == (20, 10)
    torch.testing.assert_close(moved[0, :, 20, 15], image.mean((0, 2, 3)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("changes", [1, 2, 4])
def test_of_a_family_of_changes_each_image_has_so_many_or_fewer(changes):
    moves = Moves(rotation=30, shift=0.2, brightness=0.5, solarize=1, elastic=0.1, mirror=True, changes=changes)
    uniform = rand(20_000, moves.width)
    kept = uniform.sub(0.5).mul(moves._chosen(uniform * 2 - 1)) != 0
    chances = [moves.places["mirror"], *range(moves.places["erased_x"], moves.places["mirror"])]
    kept[:, [*chances, moves.places["upside_down"]]] = False
    bent = kept[:, len(moves.places) :]
    assert torch.equal(bent.any(1), bent.all(1))
    found = kept[:, : len(moves.places)].sum(1) + bent.any(1)
    assert set(found.tolist()) == {*range(changes + 1)}
    share = (found == 0).float().mean().item()
    assert share == pytest.approx((1 / 7) ** changes, rel=0.6)  # of six amounts, a shift to the right and one down


def test_a_placed_family_moves_the_places_of_all_and_chooses_among_values():
    moves = Moves(rotation=30, shift=0.2, brightness=0.5, solarize=1, elastic=0.1, changes=1, placed=True)
    uniform = rand(600, moves.width)
    kept = moves._chosen(uniform * 2 - 1)
    placed = [moves.places[name] for name in MOVING] + [*range(len(moves.places), moves.width)]
    assert bool(kept[:, placed].all())
    values = kept[:, [moves.places[name] for name in ("brightness", "solarize")]]
    assert sorted(set(map(tuple, values.tolist()))) == [(False, False), (False, True), (True, False)]
