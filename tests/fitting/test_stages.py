"""What a fit trains on, and how it comes to its policy."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import FitConfig, VAEBank, fit
from vae_augment.bank.file import serialize
from vae_augment.bank.policy import Policy
from vae_augment.fitting import cross_validation, move_selection, stages
from vae_augment.fitting.quality import Quality
from vae_augment.images import moves as images_moves
from vae_augment.images.moves import FAMILIES, FEW_IMAGES, MOVES, default_invariances

TINY = replace(CONFIG, steps=4, latent_dim=2, batch_size=4)
ENOUGH = 32  # images a class, so that a quarter of them is worth holding out, and too few to try the VAE on


def quick(dataset, config=TINY, **options):
    return fit(dataset, config=config, progress=False, **options)


def noisy(image):
    return (image + 0.1 * torch.rand(image.shape)).clamp(0, 1)


def flipped(image):
    return image.flip(-1)


def test_classes_that_are_tuned_side_by_side_have_the_bits_of_those_tuned_in_turn(threads):
    config = replace(TINY, sharing="none")
    wanted = None
    for count in (1, 3):  # of threads; there are three classes
        threads(count)
        found = quick(Shapes(6), config)
        wanted = wanted or found
        assert found.content.weights.values.equal(wanted.content.weights.values)
        assert found.sha256 == wanted.sha256


def test_what_fails_beside_others_is_raised_and_ends_them(threads, monkeypatch):
    threads(2)
    train = stages.train

    def failing(vae, params, jobs, **options):
        if len(jobs[0].images) == 3:
            raise OSError("the disk is full")
        return train(vae, params, jobs, **options | {"steps": 10**6})

    monkeypatch.setattr(stages, "train", failing)
    with pytest.raises(OSError, match="the disk is full"):
        quick(
            torch.utils.data.Subset(Shapes(10), [*range(10), *range(10, 13), *range(20, 30)]),
            replace(TINY, sharing="none"),
        )


# ---- what the VAEs are trained on copies by ----


@pytest.fixture
def moves(monkeypatch):
    """Of each job that is trained: how many images it has, and its moves."""
    seen, train = [], stages.train

    def spy(vae, params, jobs, **options):
        seen.extend((len(job.images), job.moves) for job in jobs)
        return train(vae, params, jobs, **options)

    monkeypatch.setattr(stages, "train", spy)
    return seen


@pytest.mark.parametrize("name", ["none", "affine", "colour", "elastic", "elastic-colour"])
@pytest.mark.parametrize("sharing", ["warm-start", "none"])
def test_moves_are_those_named(moves, name, sharing):
    quick(Shapes(3), replace(TINY, invariances=name, sharing=sharing))
    assert len(moves) == (4 if sharing == "warm-start" else 3)
    assert {move for _, move in moves} == {None if MOVES[name] is None else MOVES[name].draw}


@pytest.mark.parametrize("few", [5, FEW_IMAGES])
def test_by_default_they_are_for_each_class_by_its_size(moves, lowered, few):
    if few < FEW_IMAGES:
        lowered(images_moves, "FEW_IMAGES", few)
    quick(torch.utils.data.Subset(Shapes(10), [*range(10), *range(10, 13), *range(20, 30)]))
    default = MOVES[default_invariances(0, 1)].draw
    assert [images for images, _ in moves] == [23, 10, 3, 10]
    assert [move for _, move in moves] == ([None, None, default, None] if few == 5 else [default] * 4)


def test_a_callers_transform_is_used_and_the_bank_is_a_function_of_the_seed():
    hashes = []
    for torch_seed, transform in ((1, noisy), (2, noisy), (1, flipped)):
        torch.manual_seed(torch_seed)
        before = torch.get_rng_state()
        hashes.append(quick(Shapes(3), replace(TINY, invariances=transform)).sha256)
        assert torch.equal(torch.get_rng_state(), before)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_bank_does_not_hold_a_callers_transform(tmp_path):
    bank = quick(Shapes(3), replace(TINY, invariances=noisy))
    bank.save(tmp_path / "bank.safetensors")
    loaded = VAEBank.load(tmp_path / "bank.safetensors")
    assert bank.config.invariances == "custom"
    assert loaded.config == bank.config
    for start in (bank, loaded):
        with pytest.raises(ValueError, match="invariances must be given again: a bank does not hold a transform"):
            quick(Shapes(3), bank.config, start=start, classes=["down"])
        refitted = quick(Shapes(3), replace(bank.config, invariances=noisy), start=start, classes=["down"])
        assert serialize(refitted.content) == serialize(bank.content)


def test_a_transform_that_gives_something_else_is_named():
    with pytest.raises(ValueError, match=r"invariances must keep float images of shape \[1, 12, 12\]"):
        quick(Shapes(3), replace(TINY, invariances=lambda image: image[:, 1:]))


# ---- how it comes to its policy ----


@pytest.fixture
def chosen(monkeypatch):
    """What each choice of a policy was given; it is `Policy(0.125, 0.25)`."""
    seen, choose = [], stages.choose

    def spy(bank, default, parts, **options):
        seen.append((bank, default, parts))
        return replace(default, p_generate=0.125, p_jitter=0.25, origin="chosen"), choose(
            bank, default, parts, **options
        )[1]

    monkeypatch.setattr(stages, "choose", spy)
    return seen


@pytest.mark.parametrize("sharing", ["warm-start", "none"])
def test_a_policy_is_chosen_with_a_bank_that_has_not_seen_what_is_held_out(chosen, sharing):
    bank = quick(Shapes(ENOUGH), replace(TINY, sharing=sharing))
    ((trial, default, parts),) = chosen
    assert [info.images for info in trial.class_infos] == [ENOUGH * 3 // 4] * 3
    assert (len(parts.train.images), len(parts.held_out.images)) == (ENOUGH * 9 // 4, ENOUGH * 3 // 4)
    assert trial.policy == default
    assert default.origin.startswith("default for drawings (grey images on an even ground), ")
    assert (bank.policy.p_generate, bank.policy.p_jitter, bank.policy.origin) == (0.125, 0.25, "chosen")
    assert [info.images for info in bank.class_infos] == [ENOUGH] * 3  # the bank itself has


def test_with_few_images_choosing_changes_nothing_but_the_policy_and_the_figures(chosen):
    told, silent = quick(Shapes(ENOUGH)), quick(Shapes(ENOUGH), replace(TINY, policy="none"))
    assert len(chosen) == 1
    assert silent.policy.off
    assert "quality" not in silent.data
    assert torch.equal(told.content.weights.values, silent.content.weights.values)


def test_with_images_enough_the_warm_start_is_the_trial_and_fine_tuning_sees_all(moves, chosen, monkeypatch):
    monkeypatch.setattr(stages, "FEW_HELD_OUT", ENOUGH * 3 // 4)
    bank = quick(Shapes(ENOUGH))
    warm, *tuned = [images for images, _ in moves]
    assert warm == ENOUGH * 9 // 4
    assert tuned == [ENOUGH * 3 // 4] * 3 + [ENOUGH] * 3  # of the trial, for no steps, and of the bank
    ((trial, _, _),) = chosen
    shared = bank.content.start.params
    for name, tensor in trial.content.weights.params().items():
        assert torch.equal(tensor, shared[name].expand_as(tensor))
    assert bank.policy.origin == "chosen"
    assert [info.images for info in bank.class_infos] == [ENOUGH] * 3


def test_with_few_images_the_warm_start_sees_all_and_the_trial_is_a_fit_apart(moves, chosen):
    quick(Shapes(ENOUGH))
    counts = [images for images, _ in moves]
    assert counts == [ENOUGH * 3, *[ENOUGH] * 3, ENOUGH * 9 // 4, *[ENOUGH * 3 // 4] * 3]
    assert len(chosen) == 1


def test_the_vae_is_tried_where_held_out_images_are_enough():
    assert quick(Shapes(ENOUGH)).policy.origin.endswith("; with the VAE, untried on as few as 24 held-out images")
    for images, held_out in ((68, 51), (136, 102)):  # by a fit apart, and by the warm start
        assert f"log-loss of {held_out} held-out images over moves alone: jitter" in quick(Shapes(images)).policy.origin


def test_quality_figures_are_kept_in_the_bank_and_its_file(tmp_path):
    bank = quick(Shapes(ENOUGH))
    quality = Quality.from_dict(bank.data["quality"])
    assert quality.held_out == ENOUGH * 3 // 4
    bank.save(tmp_path / "bank.safetensors")
    assert VAEBank.load(tmp_path / "bank.safetensors").data == bank.data
    assert quick(Shapes(ENOUGH)).sha256 == bank.sha256
    assert quick(Shapes(ENOUGH), seed=1).sha256 != bank.sha256


@pytest.mark.parametrize(
    "options", [{"dataset": Shapes(10)}, {"dataset": torch.utils.data.Subset(Shapes(100), range(100))}]
)
def test_few_images_or_one_class_have_the_default_unchecked(chosen, options):
    bank = quick(options["dataset"])
    assert chosen == []
    assert isinstance(bank.policy, Policy)
    assert "quality" not in bank.data
    assert bank.policy.origin.startswith("default for drawings (grey images on an even ground), ")


def test_grey_images_stored_in_colour_have_the_policy_of_grey_ones():
    grey = Shapes(ENOUGH)
    images = torch.from_numpy(grey.data)[:, None].expand(-1, 3, -1, -1)
    bank = quick(list(zip(images, grey.targets, strict=True)))
    assert bank.image_shape == (3, 12, 12)
    assert bank.policy.moves == quick(grey).policy.moves == "elastic"
    assert bank.policy.origin.startswith("default for drawings (grey images on an even ground), ")


def test_moves_are_tried_on_all_images_before_the_vae_and_once(monkeypatch, chosen):
    tried = []

    def try_moves(trial, default, families, on_try):
        tried.append((len(trial._labels), trial._seed, default.moves, families))
        return replace(default, moves="several-mirrored", origin="several-mirrored moves: told")

    monkeypatch.setattr(move_selection, "choose_moves", try_moves)
    monkeypatch.setattr(move_selection, "LEAST_TRYING", TINY.steps)
    monkeypatch.setattr(stages, "recognised", lambda policy, *_, **__: policy)
    quick(Shapes(ENOUGH))
    assert tried == [(3 * ENOUGH, 0, "elastic", FAMILIES["grey"])]
    ((trial, default, _),) = chosen
    assert default.moves == trial.policy.moves == "several-mirrored"
    origin = "default for drawings (grey images on an even ground), about 32 a class; several-mirrored moves: told"
    assert default.origin == origin


def test_moves_are_really_tried(monkeypatch):
    monkeypatch.setattr(move_selection, "LEAST_TRYING", TINY.steps)
    monkeypatch.setattr(cross_validation, "STEPS", 4)
    monkeypatch.setattr(cross_validation, "EPOCHS", 0)
    monkeypatch.setattr(cross_validation, "CLASS_STEPS", 0)
    networks, judge = set(), cross_validation.logits
    monkeypatch.setattr(cross_validation, "logits", lambda m, images: networks.add(type(m)) or judge(m, images))
    bank = quick(Shapes(8))
    assert networks == set(cross_validation.JUDGES)
    assert any(told in bank.policy.origin for told in ("log-loss of held-out images", "untried", "by chance"))
    assert bank.policy == quick(Shapes(8)).policy


def test_how_far_to_jitter_is_tried_for_some_of_the_classes_too(monkeypatch):
    monkeypatch.setattr(move_selection, "LEAST_TRYING", TINY.steps)
    for name, value in {"STEPS": 4, "EPOCHS": 0, "CLASS_STEPS": 0}.items():
        monkeypatch.setattr(cross_validation, name, value)
    assert quick(Shapes(8), classes=["down"]).classes == ("down",)


@pytest.mark.parametrize("per_class", [8, ENOUGH, 80])
def test_how_far_to_jitter_is_chosen_with_the_whole_bank_where_the_vae_is_not_tried(monkeypatch, per_class):
    asked = []

    def weaker(policy, content, data, *, steps, seed, device):
        asked.append((content.policy.origin, len(data.images), steps, seed))
        return replace(policy, scale=0.1)

    monkeypatch.setattr(stages, "recognised", weaker)
    bank = quick(Shapes(per_class))
    tried = per_class == 80  # so that 60 images are held out
    assert [found[1:] for found in asked] == ([] if tried else [(3 * per_class, TINY.steps, 0)])
    assert (bank.policy.scale == 0.1) == (not tried)
    quick(Shapes(8), replace(TINY, policy="drawings"))
    assert len(asked) == (not tried)


@pytest.mark.parametrize("name", ["drawings", "photographs", "textures", "gentle"])
def test_a_policy_that_is_named_is_not_tried(chosen, name):
    bank = quick(Shapes(ENOUGH), replace(TINY, policy=name))
    assert chosen == []
    assert bank.policy.origin == f"{name}, named by hand"
    assert FitConfig(**bank.config.to_dict()).policy == name


def test_a_fit_that_goes_on_keeps_the_policy_of_its_start(chosen):
    start = quick(Shapes(ENOUGH))
    assert len(chosen) == 1
    assert quick(Shapes(ENOUGH), replace(TINY, steps=4), start=start, classes=["down"]).policy == start.policy
    assert len(chosen) == 1


def test_labels_may_be_any_integers(chosen):
    class Nameless(Shapes):
        classes = class_to_idx = None

    odd = Nameless(ENOUGH)
    odd.targets = [(-5, 3, 70)[label] for label in odd.targets]
    bank = quick(odd)
    assert bank.class_to_idx == {"-5": -5, "3": 3, "70": 70}
    assert len(chosen) == 1
    assert "quality" in bank.data


def test_long_narrow_images_have_a_policy_too():
    images = torch.randint(256, (96, 1, 8, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    bank = quick([(image, label % 2) for label, image in enumerate(images)])
    assert (bank.image_shape, "quality" in bank.data) == ((1, 8, 48), True)
