import pytest

from vae_augment.policy import Policy, default_policy, silent_policy


def test_fewer_images_are_augmented_more():
    shares = [default_policy(n, natural=False, method="exemplar") for n in (1, 20, 21, 100, 1_000, 1e6)]
    synthetic = [p.p_generate + p.p_jitter for p in shares]
    assert synthetic == sorted(synthetic, reverse=True)
    assert 0 < synthetic[-1] < synthetic[0] <= 1


def test_colour_images_keep_their_detail_and_are_not_drawn_anew():
    policy = default_policy(50, natural=True, method="exemplar")
    assert (policy.keep_detail, policy.p_generate) == (True, 0.0)
    assert policy.p_jitter > 0


def test_a_default_says_that_it_is_one():
    assert "not tuned on this data" in default_policy(50, natural=False, method="gaussian").origin


def test_a_silent_policy_augments_nothing():
    assert (silent_policy("gaussian").p_generate, silent_policy("gaussian").p_jitter) == (0.0, 0.0)


def test_a_policy_survives_its_dict():
    policy = default_policy(50, natural=True, method="exemplar")
    assert Policy.from_dict(policy.to_dict()) == policy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p_generate": 1.5}, r"p_generate and p_jitter must be in \[0, 1\] together"),
        ({"p_generate": 0.6, "p_jitter": 0.6}, r"p_generate and p_jitter must be in \[0, 1\] together"),
        ({"p_jitter": float("nan")}, r"p_generate and p_jitter must be in \[0, 1\] together"),
        ({"p_jitter": "often"}, "p_generate, p_jitter and scale must be numbers"),
        ({"scale": -1.0}, "scale must be a finite number of at least 0"),
        ({"method": "gan"}, "method 'gan' is not known"),
        ({"keep_detail": 1}, "keep_detail 1 .* is not known"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Policy(**{"p_generate": 0.1, "p_jitter": 0.1, **changes})
