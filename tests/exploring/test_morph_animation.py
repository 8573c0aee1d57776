import io

import numpy as np
import pytest
import torch
from PIL import Image

from vae_augment.exploring.morph_pictures import SIDE, animation
from vae_augment.images.tiles import enlarged


def moving(count=6, channels=1, side=12):
    """A bright bar that moves over a gradient."""
    frames = torch.linspace(0.1, 0.6, side).expand(count, channels, side, side).clone()
    frames[:, 0] = frames[:, 0].flip(-1)
    for place in range(count):
        frames[place, 0, place] = 1
    return frames


def played(content):
    """The frames of an animation as RGB arrays [T, H, W, 3], and how long each is shown, in ms."""
    image = Image.open(io.BytesIO(content))
    assert image.info["loop"] == 0  # for ever
    shown, durations = [], []
    for place in range(image.n_frames):
        image.seek(place)
        shown.append(np.asarray(image.convert("RGB")))
        durations.append(image.info["duration"])
    return np.stack(shown).astype(int), durations


def wanted(frames, side):
    return np.stack([np.asarray(enlarged(frame, side)) for frame in frames]).astype(int)


@pytest.mark.parametrize(("suffix", "channels"), [(".gif", 1), (".webp", 1), (".webp", 3)])
def test_grey_frames_are_shown_to_the_bit_and_by_webp_those_in_colour(suffix, channels):
    shown, durations = played(animation(moving(channels=channels), suffix, fps=10))
    assert np.array_equal(
        shown, wanted(moving(channels=channels), 132)
    )  # eleven times their size, the first that is large enough
    assert durations == [100] * 6


def test_a_gif_of_colours_has_the_same_few_in_all_frames_near_to_their_own():
    shown, _ = played(animation(moving(channels=3), ".gif"))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 256
    assert np.abs(shown - wanted(moving(channels=3), 132)).mean() < 3


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize(("count", "length"), [(2, 2), (3, 4), (6, 10)])
def test_ping_pong_comes_back_without_a_frame_twice(suffix, count, length):
    shown, _ = played(animation(moving(count), suffix, ping_pong=True))
    assert len(shown) == length
    for place in range(1, length):
        assert np.array_equal(shown[place], shown[length - place])


@pytest.mark.parametrize(("side", "found"), [(8, 128), (28, 140), (64, SIDE), (128, 128)])
def test_small_images_are_enlarged_by_a_whole_number(side, found):
    assert played(animation(moving(side=side), ".gif"))[0].shape[1:3] == (found, found)


@pytest.mark.parametrize("channels", [2, 4])
def test_images_with_alpha_are_animated(channels):
    assert played(animation(moving(channels=channels), ".webp"))[0].shape == (6, 132, 132, 3)


@pytest.mark.parametrize(
    ("suffix", "fps", "message"),
    [
        (".mp4", 12, r"must end in \.gif or \.webp, got '\.mp4'"),
        ("", 12, r"must end in \.gif or \.webp, got ''"),
        (".gif", 0, "fps must be from 1 to 50, got 0"),
        (".gif", 51, "fps must be from 1 to 50, got 51"),
        (".webp", float("nan"), "fps must be from 1 to 50, got nan"),
    ],
)
def test_what_cannot_be_animated(suffix, fps, message):
    with pytest.raises(ValueError, match=message):
        animation(moving(), suffix, fps=fps)
