import math
from dataclasses import replace

import pytest

from vae_augment.bank.policy import Policy, default_policy, silent_policy
from vae_augment.images.moves import MOVES

COUNTS = (1, 2, 10, 20, 21, 99, 100, 500, 999, 1_000, 5_000, 10**6)
KINDS = [(1, "gaussian"), (2, "exemplar"), (3, "exemplar"), (4, "gaussian")]
every_kind = pytest.mark.parametrize(("channels", "method"), KINDS)


def even(count, *, channels=1, method="exemplar"):
    """The default where each of ten classes has so many images."""
    return default_policy([count] * 10, channels=channels, method=method)


# ---- the defaults ----


@every_kind
@pytest.mark.parametrize("count", COUNTS)
def test_a_default_can_be_served(count, channels, method):
    policy = even(count, channels=channels, method=method)
    shares = policy.p_generate, policy.p_jitter
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) <= 1
    assert policy.method == method
    assert policy.moves in MOVES
    assert 0 < policy.scale < math.inf


@every_kind
def test_fewer_images_are_never_augmented_less(channels, method):
    policies = [even(n, channels=channels, method=method) for n in COUNTS]
    synthetic = [policy.p_generate + policy.p_jitter for policy in policies]
    assert synthetic == sorted(synthetic, reverse=True)
    assert synthetic[0] > synthetic[-1] > 0


@pytest.mark.parametrize(
    ("counts", "unequal"),
    [
        ((40, 101, 400), True),
        ((40, 101, 399), False),
        ((10, 100, 1_000), False),  # a typical class has so few images that bends gain more than they cost
        ((10, 102, 102, 1_000), True),
        ((200, 200, 1_999), False),
    ],
)
@every_kind
def test_many_images_of_very_unequal_classes_are_moved_as_people_move_them(counts, unequal, channels, method):
    policy = default_policy(counts, channels=channels, method=method)
    usual = even(counts[len(counts) // 2], channels=channels, method=method)
    if unequal:
        origin = f"default for {'colour' if channels >= 3 else 'grey'} images, {counts[0]} to {counts[-1]} a class, "
        origin += "which sampling_strategy='not majority' would even out"
        usual = replace(usual, moves="colour" if channels >= 3 else "affine", origin=origin)
        assert policy == usual
    else:
        assert policy == replace(usual, origin=policy.origin)


def test_colour_images_keep_their_detail_and_are_not_drawn_anew():
    for count in COUNTS:
        policy = even(count, channels=3)
        assert (policy.keep_detail, policy.p_generate) == (True, 0.0)
        assert policy.p_jitter > 0


def test_a_default_says_that_it_is_one_and_for_what():
    assert even(50, method="gaussian").origin == "default for grey images, about 50 a class"
    assert default_policy([3, 7, 900], channels=3, method="gaussian").origin.startswith("default for colour images")


# ---- what a policy is ----


@pytest.mark.parametrize(
    ("policy", "off"),
    [
        (Policy(0.0, 0.0), True),
        (Policy(0.0, 0.0, moves="elastic"), True),
        (Policy(0.0, 0.1), False),
        (Policy(0.1, 0.0), False),
    ],
)
def test_a_policy_is_off_where_nothing_is_augmented(policy, off):
    assert policy.off == off


def test_a_silent_policy_augments_nothing():
    policy = silent_policy("gaussian")
    assert (policy.p_generate, policy.p_jitter, policy.moves) == (0.0, 0.0, "none")
    assert policy.off


@pytest.mark.parametrize("moves", MOVES)
def test_the_mover_is_the_one_named(moves):
    assert Policy(0.1, 0.1, moves=moves).mover is MOVES[moves]


@pytest.mark.parametrize(
    "policy",
    [Policy(0.1, 0.2), silent_policy("prior"), even(50), default_policy(COUNTS, channels=3, method="exemplar")],
)
def test_a_policy_survives_its_dict(policy):
    assert Policy.from_dict(policy.to_dict()) == policy


def test_empty_tiers_which_earlier_versions_wrote_are_passed_over():
    assert Policy.from_dict({**Policy(0.1, 0.2).to_dict(), "tiers": []}) == Policy(0.1, 0.2)
    with pytest.raises(ValueError, match="the policy has an unknown entry 'tiers'"):
        Policy.from_dict({**Policy(0.1, 0.2).to_dict(), "tiers": [[20, 0.3, 0.6]]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p_generate": 1.5}, r"p_generate and p_jitter must be in \[0, 1\] together"),
        ({"p_generate": 0.6, "p_jitter": 0.6}, r"p_generate and p_jitter must be in \[0, 1\] together"),
        ({"p_jitter": float("nan")}, r"p_generate and p_jitter must be in \[0, 1\] together"),
        ({"p_jitter": "often"}, "p_jitter of the policy must be a number, got 'often'"),
        ({"scale": -1.0}, "scale must be a finite number of at least 0"),
        ({"method": "gan"}, "method must be one of .*, got 'gan'"),
        ({"keep_detail": 1}, "keep_detail of the policy must be true or false, got 1"),
        ({"moves": "custom"}, "moves must be one of 'none', 'affine', .*, got 'custom'"),
        ({"moves": None}, "moves of the policy must be a text, got None"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Policy(**{"p_generate": 0.1, "p_jitter": 0.1, **changes})
