import math
from dataclasses import replace

import pytest
from torch.utils.data import Subset

from tests.conftest import Shapes
from vae_augment import VAEAugmentedDataset, VAEBank
from vae_augment.bank.policy import NAMED, Policy, default_policy, named_policy, silent_policy
from vae_augment.exceptions import LeakageWarning
from vae_augment.images.kinds import KINDS
from vae_augment.images.moves import MOVES

COUNTS = (1, 2, 10, 20, 21, 99, 100, 500, 999, 1_000, 5_000, 10**6)
every_kind = pytest.mark.parametrize(
    ("kind", "method"), [("drawings", "exemplar"), ("photographs", "gaussian"), ("textures", "exemplar")]
)


def even(count, *, kind="drawings", method="exemplar"):
    """The default where each of ten classes has so many images."""
    return default_policy([count] * 10, kind=kind, method=method)


# ---- the defaults ----


@every_kind
@pytest.mark.parametrize("count", COUNTS)
def test_a_default_can_be_served(count, kind, method):
    policy = even(count, kind=kind, method=method)
    shares = policy.p_generate, policy.p_jitter
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) <= 1
    assert policy.method == method
    assert policy.moves in MOVES
    assert 0 < policy.scale < math.inf
    assert policy.vae == (kind != "textures")


@every_kind
def test_fewer_images_are_never_augmented_less(kind, method):
    policies = [even(n, kind=kind, method=method) for n in COUNTS]
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
def test_many_images_of_very_unequal_classes_are_moved_as_people_move_them(counts, unequal, kind, method):
    policy = default_policy(counts, kind=kind, method=method)
    usual = even(counts[len(counts) // 2], kind=kind, method=method)
    if unequal:
        origin = f"default for {kind} ({KINDS[kind]}), {counts[0]} to {counts[-1]} a class, "
        origin += "which sampling_strategy='not majority' would even out"
        usual = replace(usual, moves="colour" if kind == "photographs" else "affine", origin=origin)
        assert policy == usual
    else:
        assert policy == replace(usual, origin=policy.origin)


def test_photographs_keep_their_detail_and_are_not_drawn_anew():
    for count in COUNTS:
        policy = even(count, kind="photographs")
        assert (policy.keep_detail, policy.smooth, policy.p_generate) == (True, True, 0.0)
        assert policy.p_jitter > 0


@pytest.mark.parametrize("count", COUNTS)
def test_jitter_goes_by_the_number_of_images_and_is_twice_as_far_where_it_is_smoothed(count):
    scales = {kind: even(count, kind=kind).scale for kind in KINDS}
    assert scales["drawings"] == scales["textures"] == (0.4 if count <= 1_000 else 0.8)
    assert scales["photographs"] == 0.8


def test_a_default_says_that_it_is_one_and_for_what():
    origin = "default for drawings (grey images on an even ground), about 50 a class"
    assert even(50, method="gaussian").origin == origin
    assert even(50, kind="photographs").origin.startswith("default for photographs (images in colour), ")


def test_textures_are_moved_and_not_jittered():
    for count in COUNTS:
        policy = even(count, kind="textures")
        assert (policy.served_scale, policy.p_generate, policy.keep_detail) == (0.0, 0.0, True)
        assert policy.off == (count >= 1_000)


@pytest.mark.parametrize("count", [10, 5_000])
@pytest.mark.parametrize("name", NAMED)
def test_a_policy_that_is_named_moves_however_many_images_there_are(name, count):
    policy = named_policy(name, [count] * 3, method="gaussian")
    assert policy.method == "gaussian"
    if name == "none":
        assert policy == silent_policy("gaussian")
    else:
        moves = {"drawings": "elastic", "photographs": "combined", "textures": "several", "gentle": "gentle"}
        assert (policy.moves, policy.origin) == (moves[name], f"{name}, named by hand")
        assert not policy.off
        assert policy.vae == (name in ("drawings", "photographs"))


# ---- what a policy is ----


@pytest.mark.parametrize(
    ("policy", "off"),
    [
        (Policy(0.0, 0.0), True),
        (Policy(0.0, 0.0, moves="elastic"), True),
        (Policy(0.0, 0.1), False),
        (Policy(0.0, 0.1, vae=False), True),
        (Policy(0.0, 0.1, vae=False, moves="combined"), False),
        (Policy(0.1, 0.0), False),
    ],
)
def test_a_policy_is_off_where_nothing_is_augmented(policy, off):
    assert policy.off == off


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(0.0, 0.0), "The wrapper serves the images as they are, unless it is told otherwise."),
        (
            Policy(0.05, 0.5, moves="elastic"),
            "Of a hundred items the wrapper serves 50 jittered and moved (elastic), 5 newly generated and moved "
            "(elastic); the others are the images themselves.",
        ),
        (Policy(0.0, 1.0, vae=False, moves="combined"), "Of a hundred items the wrapper serves 100 moved (combined)."),
    ],
)
def test_a_sentence_says_how_often_and_by_what(policy, said):
    assert policy.sentence == said


def test_without_the_vae_the_moves_are_as_frequent():
    alone = Policy(0.1, 0.4, scale=0.8, moves="combined").without_vae()
    assert alone == Policy(0.0, 0.5, scale=0.8, keep_detail=True, moves="combined", vae=False)
    assert (alone.scale, alone.served_scale) == (0.8, 0.0)
    assert Policy(0.1, 0.4).without_vae().off


def test_a_silent_policy_augments_nothing():
    policy = silent_policy("gaussian")
    assert (policy.p_generate, policy.p_jitter, policy.moves) == (0.0, 0.0, "none")
    assert policy.off


@pytest.mark.parametrize("moves", MOVES)
def test_the_mover_is_the_one_named(moves):
    assert Policy(0.1, 0.1, moves=moves).mover is MOVES[moves]


@pytest.mark.parametrize(
    "policy",
    [Policy(0.1, 0.2), silent_policy("prior"), even(50), default_policy(COUNTS, kind="photographs", method="exemplar")],
)
def test_a_policy_survives_its_dict(policy):
    assert Policy.from_dict(policy.to_dict()) == policy


def test_a_dict_says_that_differences_are_smoothed_only_where_they_are():
    assert "smooth" not in even(50).to_dict()
    assert even(50, kind="photographs").to_dict()["smooth"] is True


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
        ({"moves": "custom"}, "moves must be one of 'none', 'gentle', .*, got 'custom'"),
        ({"moves": None}, "moves of the policy must be a text, got None"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Policy(**{"p_generate": 0.1, "p_jitter": 0.1, **changes})


# ---- beside somebody else's bank ----


def seen(bank, images, policy=None):
    """The bank as if it had seen so many images a class."""
    infos = tuple(replace(info, images=images) for info in bank.class_infos)
    content = replace(bank.content, class_infos=infos, config=replace(bank.config, policy="auto"))
    return VAEBank(replace(content, policy=policy or bank.policy))


@pytest.mark.parametrize("counts", [[10, 10, 10], [11, 10, 2], [49]])
def test_a_bank_that_has_seen_far_more_generates(bank, counts):
    policy = seen(bank, 500).policy_for(counts, kind="drawings")
    assert (policy.p_generate, policy.p_jitter, policy.moves, policy.vae) == (0.5, 0.425, "elastic", True)
    assert policy.origin.endswith(
        "newly generated images in 50 of 100, since the VAEs have seen about 500 images a class, far more than the "
        "dataset holds"
    )


@pytest.mark.parametrize(("images", "counts"), [(500, [101, 101]), (10, [10, 10]), (10, [3, 3]), (3, [0, 0, 1000])])
def test_beside_as_many_images_the_banks_own_policy_stands(bank, images, counts):
    policy = Policy(0.1, 0.2, moves="affine", origin="its own")
    assert seen(bank, images, policy).policy_for(counts) == policy


def test_the_kind_is_the_datasets_or_else_that_of_the_banks_policy(bank):
    textures = seen(bank, 500, default_policy([500], kind="textures", method="exemplar"))
    assert textures.policy_for([10]).p_generate == 0
    assert not textures.policy_for([10]).vae
    assert textures.policy_for([10], kind="photographs").p_generate == 0.25
    assert seen(bank, 500, Policy(0.0, 0.5)).policy_for([10]).moves == "elastic"


def test_moves_that_were_chosen_for_the_bank_stay_beside_fewer_images(bank):
    policy = Policy(0.0, 0.5, moves="several-mirrored", vae=False, origin="default for textures (...); told")
    found = seen(bank, 500, policy).policy_for([10])
    assert (found.p_jitter, found.moves, found.vae) == (0.85, "several-mirrored", False)
    assert found.origin.endswith("; several-mirrored moves, as the bank's")


@pytest.mark.parametrize(("scale", "served"), [(0.2, 0.2), (0.9, 0.8)])
def test_fewer_images_are_jittered_no_further_than_the_banks_own(bank, scale, served):
    policy = replace(default_policy([500], kind="photographs", method="exemplar"), scale=scale)
    assert seen(bank, 500, policy).policy_for([10]).scale == served


def test_classes_of_which_the_bank_has_seen_no_more_are_moved_as_few_are_and_not_generated(bank):
    few = replace(bank.class_infos[0], images=10)
    many = seen(bank, 500, Policy(0.0, 0.1, scale=0.8, origin="its own")).content
    extended = VAEBank(replace(many, class_infos=(few, *many.class_infos[1:])))
    assert extended.policy_for([10], classes=[few.name]).p_generate == 0
    assert extended.policy_for([10], classes=[few.label]).p_jitter == 0.85
    assert extended.policy_for([10], classes=[extended.classes[1]]).p_generate == 0.5
    assert extended.policy_for([400], classes=[extended.classes[1]]) == extended.policy
    with pytest.raises(ValueError, match="the bank has no class 'x'"):
        extended.policy_for([10], classes=["x"])


def test_the_moves_of_very_unequal_classes_stay_theirs(bank):
    found = seen(bank, 4000, Policy(0.0, 0.5, moves="elastic", origin="its own")).policy_for([15, 150, 180])
    assert found.moves == "affine"


def test_a_bank_whose_images_no_moves_helped_stays_off(bank):
    policy = Policy(0.0, 0.0, origin="no moves, since none lower the log-loss enough")
    assert seen(bank, 500, policy).policy_for([10]) == policy
    assert seen(bank, 5000, policy).policy_for([10]).moves == "elastic"


def test_a_few_classes_of_a_bank_are_served_by_the_wrapper_as_few(bank):
    few = replace(bank.class_infos[0], images=4)
    many = seen(bank, 500, Policy(0.0, 0.1, scale=0.8, origin="its own")).content
    extended = VAEBank(replace(many, class_infos=(few, *many.class_infos[1:])))
    shapes = Shapes(4, seed=5)
    with pytest.warns(LeakageWarning):
        theirs = VAEAugmentedDataset(Subset(shapes, [i for i in range(12) if shapes[i][1] == few.label]), extended)
    assert (theirs.p_generate, theirs.p_jitter) == (0.0, 0.85)


def test_a_policy_that_was_named_stands_beside_any_dataset(bank):
    named = seen(bank, 500)
    named = VAEBank(replace(named.content, config=replace(named.config, policy="none")))
    assert named.policy_for([10]) == named.policy


@pytest.mark.parametrize("counts", [[], [3, -1]])
def test_counts_are_of_a_class_or_more(bank, counts):
    with pytest.raises(ValueError, match="counts must be the numbers of images of one class or more"):
        seen(bank, 500).policy_for(counts)


def test_the_wrapper_asks_for_it_unless_it_is_told_how_often(bank):
    with pytest.warns(LeakageWarning):
        theirs = VAEAugmentedDataset(Shapes(3, seed=5), seen(bank, 500))
    assert theirs.p_generate == 0.5
    assert theirs.bank.policy.moves == "elastic"
    with pytest.warns(LeakageWarning):
        told = VAEAugmentedDataset(Shapes(3, seed=5), seen(bank, 500), p_jitter=0.2)
    assert told.bank.policy == bank.policy
    with pytest.warns(LeakageWarning):
        assert VAEAugmentedDataset(Shapes(300, seed=5), seen(bank, 500)).bank.policy == bank.policy
