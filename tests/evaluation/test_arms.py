from dataclasses import replace
from itertools import islice, pairwise

import pytest
import torch

from tests.conftest import CONFIG
from vae_augment import VAEAugmentedDataset, VAEBank, fit
from vae_augment.evaluation.arms import (
    AUTOMATIC,
    CLASSICAL,
    MIXED,
    RECIPES,
    SOURCES,
    TEXTBOOK_SHARE,
    InMemory,
    batches,
    check_channels,
    default_classical,
    parse,
)
from vae_augment.fitting.classifier import BATCH
from vae_augment.seeding import derive

ARMS = [
    *("none", *RECIPES, "ours+trivialaugment", "moves+augmix"),
    *(a for s in SOURCES[1:] for a in (s, f"{s}+classical")),
]
every_arm = pytest.mark.parametrize("arm", ARMS)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def made(counts, seed=0):
    """Noise images whose first pixel is their place in the dataset, and labels."""
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    images = torch.randint(256, (len(labels), 1, 12, 12), dtype=torch.uint8, generator=gen(seed))
    images[:, 0, 0, 0] = torch.arange(len(labels)) % 256
    return InMemory(images, labels)


EVEN, UNEVEN, FEW = made([70, 70]), made([90, 9, 30]), made([3, 4])


@pytest.fixture(scope="module")
def fitted():
    """A bank of EVEN that augments half of its items without moving them."""
    bank = fit(EVEN, config=CONFIG, progress=False)
    return bank.with_policy(p_generate=0.25, p_jitter=0.25, moves="none", keep_detail=False)


def taken(arm, data=EVEN, bank=None, *, count=5, seed=3, strategy=None, classical=None):
    given = classical or default_classical(1)
    return list(islice(batches(arm, data, bank, classical=given, sampling_strategy=strategy, seed=seed), count))


def same(a, b):
    return all(torch.equal(x, y) and torch.equal(p, q) for (x, p), (y, q) in zip(a, b, strict=True))


def places(images):
    return (images[:, 0, 0, 0] * 255).round().long()


# ---- names ----


@pytest.mark.parametrize(
    ("arm", "wanted"),
    [
        ("none", ("none", "")),
        ("classical", ("none", "classical")),
        ("augmix", ("none", "augmix")),
        ("ours", ("ours", "")),
        ("textbook+classical", ("textbook", "classical")),
        ("ours+trivialaugment", ("ours", "trivialaugment")),
    ],
)
def test_an_arm_is_a_source_and_perhaps_a_recipe(arm, wanted):
    assert parse(arm) == wanted


@pytest.mark.parametrize(
    "arm", ["", "our", "none+classical", "classical+classical", "ours+", "ours+ours", "ours+classical+classical", "+"]
)
def test_an_unknown_arm_is_named_with_those_there_are(arm):
    message = (
        r"an arm must be one of 'none', 'ours', .*, 'cutmix', 'textbook', 'classical', .*, 'augmix', or one of 'ours', "
        rf".*, 'textbook' \+ one of 'classical', .* \(such as 'ours\+classical'\), got '{arm.replace('+', '[+]')}'\."
    )
    with pytest.raises(ValueError, match=message):
        parse(arm)


# ---- what all arms have in common ----


@every_arm
def test_batches_are_float_images_and_labels_of_the_usual_size_and_a_function_of_the_seed_alone(fitted, arm):
    given, before = (EVEN.images.clone(), EVEN.targets.clone()), torch.get_rng_state()
    first = taken(arm, bank=fitted)
    for images, labels in first:
        assert (images.shape, images.dtype) == ((BATCH, 1, 12, 12), torch.float32)
        assert 0 <= images.min() <= images.max() <= 1
        mixed = ((BATCH, 2), torch.float32) if arm.partition("+")[0] in MIXED else ((BATCH,), torch.int64)
        assert (labels.shape, labels.dtype) == mixed
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert same(taken(arm, bank=fitted), first)
    assert not torch.equal(taken(arm, bank=fitted, seed=4)[0][0], first[0][0])
    assert torch.equal(EVEN.images, given[0])
    assert torch.equal(EVEN.targets, given[1])


@pytest.mark.parametrize("arm", ["classical", "ours", "ours+classical", "textbook", "textbook+classical"])
def test_all_arms_see_the_same_items_in_the_same_order(fitted, arm):
    for (_, labels), (_, wanted) in zip(taken(arm, bank=fitted), taken("none"), strict=True):
        assert torch.equal(labels, wanted)


def test_every_epoch_has_an_order_of_its_own_and_no_item_twice():
    seen = [places(images) for images, _ in taken("none", count=6)]  # 140 items are two batches of 64, 12 left out
    epochs = [torch.cat(pair) for pair in (seen[:2], seen[2:4], seen[4:])]
    assert all(len(set(epoch.tolist())) == 2 * BATCH for epoch in epochs)
    assert not any(torch.equal(a, b) for a, b in pairwise(epochs))
    for images, labels in taken("none"):
        assert torch.equal(labels, EVEN.targets[places(images)])


def test_fewer_images_than_a_batch_are_one_batch_of_images_as_they_are():
    for images, labels in taken("none", FEW):
        assert sorted(places(images).tolist()) == list(range(7))
        assert torch.equal(labels, FEW.targets[places(images)])
        assert torch.equal(images, FEW.images[places(images)].float() / 255)


# ---- classical ----


def test_classical_moves_are_the_same_whatever_the_source(fitted):
    def record(into):
        def classical(images, random):
            into.append(torch.rand(3, generator=random))
            return images

        return classical

    seen = {arm: [] for arm in ("classical", "ours+classical", "mixup+classical", "oversampling+classical")}
    for arm, into in seen.items():
        taken(arm, bank=fitted, classical=record(into))
    assert all(torch.equal(torch.stack(into), torch.stack(seen[CLASSICAL])) for into in seen.values())


def test_a_real_item_is_moved_alike_in_both_classical_arms(fitted):
    plain, mixed = taken("ours", bank=fitted), taken("none")
    moved, wanted = taken("ours+classical", bank=fitted), taken("classical")
    for (a, _), (b, _), (c, _), (d, _) in zip(plain, mixed, moved, wanted, strict=True):
        real = (a == b).flatten(1).all(1)
        assert 10 < real.sum() < 54
        assert torch.equal(c[real], d[real])
        assert not (c == b).flatten(1).all(1).any()


def test_the_callers_recipe_is_used():
    for images, _ in taken("classical", classical=lambda images, random: 1 - images):
        assert torch.equal(images, 1 - EVEN.images[255 - places(images)].float() / 255)


# ---- ours ----


def test_ours_is_what_the_wrapper_serves_epoch_by_epoch(fitted):
    data = VAEAugmentedDataset(EVEN, fitted, seed=derive(3, "ours"), return_source=True)
    seen = zip(taken("ours", bank=fitted, count=6), taken("none", count=6), strict=True)
    for batch, ((images, labels), (real, _)) in enumerate(seen):
        data.set_epoch(batch // 2)
        items = [data[place] for place in places(real).tolist()]
        assert {item[2] for item in items} == {0, 1, 2}
        assert torch.equal(images, torch.stack([item[0] for item in items]).float() / 255)
        assert labels.tolist() == [item[1] for item in items]


def test_ours_draws_anew_in_each_epoch(fitted):
    always = fitted.with_policy(p_generate=1.0, p_jitter=0.0)
    seen = [image.numpy().tobytes() for images, _ in taken("ours", bank=always, count=6) for image in images]
    assert len(set(seen)) == len(seen)


@pytest.mark.filterwarnings("ignore:serving the images as they are")
def test_ours_with_shares_of_zero_is_none(fitted):
    assert same(taken("ours", bank=fitted.with_policy(p_generate=0.0, p_jitter=0.0)), taken("none"))


def test_ours_balances_by_the_wrappers_strategy():
    bank = fit(UNEVEN, config=CONFIG, progress=False)
    labels = torch.cat([labels for _, labels in taken("ours", UNEVEN, bank, count=40, strategy="not majority")])
    assert (labels.bincount(minlength=3).double() / len(labels)).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)


def test_moves_are_ours_without_the_vae(fitted):
    bank = fitted.with_policy(p_generate=0.2, p_jitter=0.3, scale=0.8, moves="elastic")
    alone = bank.with_policy(p_generate=0.0, p_jitter=0.5, vae=False, keep_detail=True)
    assert same(taken("moves", bank=bank), taken("ours", bank=alone))
    assert not same(taken("moves", bank=bank), taken("ours", bank=bank))


# ---- the others ----


@pytest.mark.parametrize("recipe", AUTOMATIC)
def test_an_automatic_recipe_changes_each_image_by_draws_of_its_own(recipe):
    data = InMemory(EVEN.images[:1].expand(64, -1, -1, -1), EVEN.targets[:64])
    ((images, labels),) = taken(recipe, data, count=1)
    assert len({image.numpy().tobytes() for image in images}) > 20
    assert torch.equal(labels, taken("none", data, count=1)[0][1])


@pytest.mark.parametrize("channels", [2, 4])
def test_an_automatic_recipe_refuses_what_torchvision_does(channels):
    with pytest.raises(ValueError, match=r"arm 'ours\+augmix' takes images of 1 or 3 channels, .* got "):
        check_channels("ours+augmix", channels)
    check_channels("ours+classical", channels)
    check_channels("augmix", 3)


def test_cutmix_probabilities_are_the_shares_of_pixels():
    for (images, labels), (real, classes) in zip(taken("cutmix", count=8), taken("none", count=8), strict=True):
        torch.testing.assert_close(labels.sum(1), torch.ones(BATCH))
        kept = (images == real).flatten(2).float().mean((1, 2))  # of pixels; some of another are the same by chance
        own = labels[torch.arange(BATCH), classes]
        assert bool((own >= kept - 0.02).all())


def test_oversampling_balances():
    seen = taken("oversampling", UNEVEN, count=60)
    labels = torch.cat([labels for _, labels in seen])
    error = 4 * (2 / 9 / len(labels)) ** 0.5
    assert (labels.bincount(minlength=3).double() / len(labels)).tolist() == pytest.approx([1 / 3] * 3, abs=error)
    for images, batch in seen:
        assert torch.equal(images, UNEVEN.images[places(images)].float() / 255)
        assert torch.equal(batch, UNEVEN.targets[places(images)])


def test_mixup_probabilities_sum_to_1_and_are_of_the_two_images():
    data, shares = made([80, 60, 4]), []
    for (images, labels), (real, classes) in zip(
        taken("mixup", data, count=8), taken("none", data, count=8), strict=True
    ):
        assert labels.shape == (BATCH, 3)
        assert 0 <= labels.min() <= labels.max() <= 1
        torch.testing.assert_close(labels.sum(1), torch.ones(BATCH))
        other = ~torch.isclose(labels[torch.arange(BATCH), classes], torch.ones(()))
        share = labels[torch.arange(BATCH), classes][other]
        assert torch.isclose(share, share[:1]).all()  # one weight a batch
        rest = (images[other] - share[0] * real[other]) / (1 - share[0])
        nearest = torch.cdist(rest.flatten(1), real.flatten(1)).min(1)
        assert nearest.values.max() < 0.02 / min(share[0], 1 - share[0])
        partner = labels[other].clone()
        partner[torch.arange(len(partner)), classes[other]] = 0
        assert torch.equal(partner.argmax(1), classes[nearest.indices])
        shares.append(share[0].item())
    assert len({round(share, 6) for share in shares}) == len(shares)


def test_half_of_a_textbook_batch_is_drawn_from_the_prior(fitted):
    made, real = taken("textbook", bank=fitted, count=20), taken("none", count=20)
    drawn = sum(int((a != b).flatten(1).any(1).sum()) for (a, _), (b, _) in zip(made, real, strict=True))
    assert drawn / (20 * BATCH) == pytest.approx(TEXTBOOK_SHARE, abs=4 * 0.5 / (20 * BATCH) ** 0.5)
    stats = fitted.content.stats
    elsewhere = VAEBank(
        replace(fitted.content, stats=replace(stats, mean=stats.mean + 9, exemplars=stats.exemplars + 9))
    )
    assert same(taken("textbook", bank=elsewhere, count=20), made)  # to the prior all classes' codes are alike
