import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from vae_augment.images.moves import (
    AFFINE,
    COLOUR,
    ELASTIC,
    FEW_IMAGES,
    MOVES,
    Moves,
    classical_moves,
    colour_channels,
    default_invariances,
    default_moves,
)

FAMILIES = {name: moves for name, moves in MOVES.items() if moves is not None}
every_family = pytest.mark.parametrize("moves", FAMILIES.values(), ids=FAMILIES)
SHAPES = [(1, 12, 12), (3, 10, 30), (1, 8, 8), (2, 9, 8), (4, 40, 17)]


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=gen(seed))


def at(moves, **wanted):
    """Uniform numbers [1, width] of a move whose named draws, from -1 to 1, are these, and the others 0."""
    places = {"rotation": 0, "shear": 1, "scaling": 2, "right": 3, "down": 4, "brightness": 5, "contrast": 6}
    uniform = torch.full((1, moves.width), 0.5)
    for name, draw in wanted.items():
        uniform[0, places[name]] = (draw + 1) / 2
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


@every_family
def test_moves_are_a_function_of_the_generator_and_differ_within_a_batch(moves):
    images, before = rand(1, 1, 12, 12).expand(8, 1, 12, 12), torch.get_rng_state()
    first, again, other = (moves.draw(images, gen(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert len({image.numpy().tobytes() for image in [*first, *other]}) == 16


@every_family
def test_the_width_is_the_number_of_draws_that_count(moves):
    images, uniform = rand(1, 3, 12, 12), torch.full((1, moves.width), 0.5)
    used = ["rotation", "shear", "scaling", "shift", "shift", "brightness", "contrast"]
    for place in range(moves.width):
        changed = uniform.clone()
        changed[0, place] = 0.1
        matters = place >= len(used) or getattr(moves, used[place]) > 0
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


@every_family
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
def test_few_images_are_moved_and_many_are_not_and_drawings_are_not_bent(channels):
    assert default_moves(FEW_IMAGES, channels) == default_moves(1e9, channels) == "none"
    assert default_invariances(FEW_IMAGES, channels) == "none"
    moved, learnt = (MOVES[default(FEW_IMAGES - 1, channels)] for default in (default_moves, default_invariances))
    assert bool(moved.brightness) == bool(learnt.elastic) == (channels >= 3)


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


@pytest.mark.parametrize("name", [name for name in MOVES if name != "none"])
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


@pytest.mark.parametrize("name", [name for name in MOVES if name != "none"])
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
