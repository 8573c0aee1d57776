from dataclasses import replace

import pytest

from vae_augment.bank.policy import Policy
from vae_augment.fitting.move_selection import KEPT, SCREENED, choose_moves

DEFAULT = Policy(0.0, 0.85, scale=0.4, keep_detail=True, moves="elastic", origin="default")
FAMILIES = ("gentle", "affine", "elastic", "several", "combined")
LOSSES = {"none": 0.0, "gentle": -0.1, "affine": -0.2, "elastic": -0.3, "combined": -0.25}


class Told:
    """A trial whose log-losses are told, with one standard error between any two."""

    folds = range(5)

    def __init__(self, losses, error=0.1, chance=(0.9, 0.01), short=False):
        self.losses, self.error, self.chance, self.short = losses, error, chance, short
        self.judged = {}

    def judge(self, policies, folds):
        for name, policy in policies.items():
            assert policy.moves == name
            assert (policy.p_generate, policy.p_jitter) == (0.0, 0.0 if name == "none" else DEFAULT.p_jitter)
            self.judged[name] = max(len(folds), self.judged.get(name, 0))

    def over(self, name, other):
        return self.losses.get(name, 1.0) - self.losses.get(other, 1.0), self.error

    def best(self, names):
        return min(names, key=lambda name: self.losses.get(name, 1.0))

    def over_chance(self, names):
        return self.chance


def chosen(losses, *, default=DEFAULT, **options):
    trial = Told(losses, **options)
    return choose_moves(trial, default, FAMILIES), trial


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "elastic"),
        ({"gentle": 0.0, "affine": 0.0, "combined": -0.05, "elastic": 0.05}, "elastic"),  # not worse than none by one
        ({"gentle": 0.0, "affine": 0.0, "combined": -0.05, "elastic": 0.11}, "combined"),
        ({"elastic": 0.2}, "combined"),
        ({"combined": -0.46}, "combined"),  # another kind's, better by one and a half
        ({"combined": -0.46, "several": -0.5}, "several"),
        ({"several": -0.44}, "elastic"),
        ({"affine": -0.5, "gentle": -0.48, "combined": -0.46}, "combined"),  # the third on two folds
        ({"affine": -0.59}, "elastic"),  # not better by three standard errors
        ({"affine": -0.61}, "affine"),
        ({"elastic-mirrored": -0.35}, "elastic"),
        ({"elastic-mirrored": -0.5}, "elastic-mirrored"),
        ({"elastic-mirrored": -0.5, "elastic-flipped": -0.7}, "elastic-flipped"),
        ({"elastic-mirrored": -0.75, "elastic-flipped": -0.5}, "elastic-flipped"),  # both axes where both help
        ({"elastic-mirrored": -0.85, "elastic-flipped": -0.5}, "elastic-mirrored"),
    ],
)
def test_the_default_stands_unless_another_is_better_by_three_standard_errors_or_none_is_as_good(changes, wanted):
    policy, _ = chosen({**LOSSES, **changes})
    assert policy == replace(DEFAULT, moves=wanted, origin=policy.origin)
    assert policy.origin.startswith(f"{wanted} moves: log-loss of held-out images over none: ")
    assert f"{wanted} {({**LOSSES, **changes})[wanted]:+.3f} (se 0.100)" in policy.origin


def test_where_no_moves_help_the_images_are_served_as_they_are():
    policy, _ = chosen(dict.fromkeys(LOSSES, 0.11) | {"none": 0.0})
    assert policy.off
    assert policy.moves == "none"
    assert policy.origin.startswith(
        "no moves, since none lower the log-loss enough: log-loss of held-out images over none: "
    )


@pytest.mark.parametrize(
    ("loss", "short", "wanted"), [(0.29, True, "elastic"), (0.31, True, "none"), (0.29, False, "none")]
)
def test_folds_that_are_too_short_must_show_more_before_the_images_are_served_as_they_are(loss, short, wanted):
    policy, _ = chosen(dict.fromkeys(LOSSES, loss) | {"none": 0.0}, short=short)
    assert policy.moves == wanted


def test_where_nothing_is_learned_there_is_no_claim():
    policy, trial = chosen(LOSSES, chance=(0.01, 0.1))
    assert policy.off
    assert policy.origin == "do not augment: held-out images are told apart no better than by chance"
    assert not any("mirrored" in name for name in trial.judged)


@pytest.mark.parametrize(("gain", "wanted"), [(0.25, "none"), (0.35, "gentle")])
def test_a_default_without_moves_stands_and_jitters_unless_moves_are_better_by_three_standard_errors(gain, wanted):
    default = replace(DEFAULT, p_generate=0.05, keep_detail=False, moves="none")
    policy, _ = chosen({"none": 0.0, "gentle": -gain}, default=default)
    if wanted == "none":
        assert policy == replace(default, origin=policy.origin)
    else:
        assert policy == replace(DEFAULT, moves="gentle", origin=policy.origin)


def test_too_few_images_to_show_anything_leave_the_default_as_it_is():
    policy, _ = chosen({**LOSSES, "combined": -0.9}, chance=(0.1, 0.08))
    assert policy == replace(DEFAULT, origin="untried: so few images do not show what moves do to them")


def test_flips_alone_may_be_chosen_where_no_other_moves_help():
    policy, _ = chosen(dict.fromkeys(LOSSES, 0.2) | {"none": 0.0, "flipped": -0.3})
    assert (policy.moves, policy.p_jitter) == ("flipped", DEFAULT.p_jitter)


def test_only_the_best_the_default_its_rival_and_none_see_every_fold():
    _, trial = chosen({**LOSSES, "elastic": 0.5})
    assert trial.judged == {
        **dict.fromkeys(("none", "affine", "combined", "elastic"), 5),
        **dict.fromkeys(("gentle", "several", "combined-mirrored", "combined-flipped"), SCREENED),
    }
    _, trial = chosen(LOSSES)
    whole = {name for name, folds in trial.judged.items() if folds == 5}
    assert whole == {"none", "elastic", "combined"}
    assert len(whole) == KEPT + 1
