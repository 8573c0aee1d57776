"""Labels for unlabelled images: only where classifiers are sure, and of images that are like those of a class."""

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEBank, evaluate, fit
from vae_augment.bank.file import serialize
from vae_augment.bank.metadata import LearnedFrom
from vae_augment.bank.policy import GENERATED, Policy, default_policy, generating
from vae_augment.data.loading import load_images
from vae_augment.data.source import Source
from vae_augment.evaluation import running
from vae_augment.exceptions import DataWarning
from vae_augment.fitting import pseudo_labels as pseudo
from vae_augment.fitting.cross_validation import CrossValidation
from vae_augment.wrapper.dataset import VAEAugmentedDataset

CPU, REAL = torch.device("cpu"), Policy(0.0, 0.0)
PER_CLASS = 30


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(pseudo, "STEPS", 40)
    monkeypatch.setattr(pseudo, "ROUNDS", 1)


def shapes(per_class, seed):
    return load_images(Source(Shapes(per_class, seed=seed)), (1, 12, 12))


def images_of(per_class=PER_CLASS, seed=1):
    return torch.utils.data.TensorDataset(shapes(per_class, seed).images)


def labelled_by(data, images):
    return pseudo.pseudo_labels(CrossValidation(data, seed=0, device=CPU), REAL, images)


@pytest.mark.parametrize("rounds", [1, 2])
def test_labels_are_found_for_images_like_the_labelled_ones(monkeypatch, rounds):
    monkeypatch.setattr(pseudo, "ROUNDS", rounds)
    unlabelled = shapes(PER_CLASS, seed=1)
    found = labelled_by(shapes(10, seed=0), unlabelled.images)
    known = found.classes != pseudo.UNKNOWN
    assert found.right > 0.9
    assert known.sum() > PER_CLASS
    assert (found.classes == unlabelled.labels)[known].float().mean() > 0.95
    assert (found.sure[known] >= pseudo.SURE).all()


@pytest.mark.parametrize("rounds", [1, 2])
def test_images_of_no_class_are_not_labelled(monkeypatch, rounds):
    monkeypatch.setattr(pseudo, "ROUNDS", rounds)
    own = shapes(PER_CLASS, seed=1).images
    foreign = torch.randint(256, own.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = labelled_by(shapes(10, seed=0), torch.cat([own, foreign])).classes != pseudo.UNKNOWN
    assert found[: len(own)].sum() > PER_CLASS
    assert not found[len(own) :].any()


def test_images_far_from_all_classes_teach_the_second_round_another_class(monkeypatch):
    taught = []

    def spy(trial, wanted, more=None, **options):
        taught.append(more)
        return train(trial, wanted, more, **options)

    train = CrossValidation.train
    monkeypatch.setattr(pseudo, "ROUNDS", 2)
    monkeypatch.setattr(CrossValidation, "train", spy)
    own = shapes(PER_CLASS, seed=1).images
    foreign = own // 2 + own.roll(PER_CLASS, 0) // 2  # between classes
    far = torch.arange(2 * len(own)) >= len(own)
    monkeypatch.setattr(pseudo, "_far", lambda *_: far.clone())
    found = labelled_by(shapes(10, seed=0), torch.cat([own, foreign]))
    images, labels = taught[-1]
    assert labels.unique().tolist() == [0, 1, 2, 3]
    assert {image.numpy().tobytes() for image in images[labels == 3]} <= {image.numpy().tobytes() for image in foreign}
    assert (found.classes[far] == pseudo.UNKNOWN).float().mean() > 0.95
    assert found.classes[~far].max() == 2


def test_no_label_is_believed_where_labelled_images_are_told_apart_by_chance():
    data = shapes(10, seed=0)
    data.labels[:] = data.labels[torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(1))]
    found = labelled_by(data, shapes(PER_CLASS, seed=1).images)
    assert found.right < 0.6
    assert (found.classes == pseudo.UNKNOWN).all()


def test_large_classes_are_evened_to_the_median_by_the_least_sure():
    classes = torch.tensor([0, 0, 0, 0, 1, 2, 2, -1])
    sure = torch.tensor([0.91, 0.99, 0.95, 0.99, 0.9, 0.92, 0.93, 0.5])
    assert pseudo._evened(classes, sure).tolist() == [-1, 0, -1, 0, 1, 2, 2, -1]
    assert pseudo._evened(torch.full((3,), -1), torch.zeros(3)).tolist() == [-1] * 3


# ---- in a fit ----


def quick(dataset=None, unlabelled=None, config=CONFIG, **options):
    return fit(dataset or Shapes(10), unlabelled=unlabelled, config=config, progress=False, **options)


def test_a_fit_says_what_it_adopted_and_generates(tmp_path):
    bank = quick(unlabelled=images_of())
    said = bank.data["unlabelled"]
    assert said["images"] == 3 * PER_CLASS - 1  # one is in the dataset too
    assert set(said["adopted"]) == set(Shapes.classes)
    assert 45 <= sum(said["adopted"].values()) <= 3 * PER_CLASS
    assert said["right"] > 0.9
    assert 0.9 <= said["sure"] <= 1
    assert [info.images for info in bank.class_infos] == [10, 10, 10]
    assert (bank.stats.counts == 10 + torch.tensor(list(said["adopted"].values()))).all()
    assert bank.policy.p_generate == GENERATED["drawings"]
    assert f"have seen {sum(said['adopted'].values())} unlabelled images too" in bank.policy.origin
    bank.save(tmp_path / "bank.safetensors")
    loaded = VAEBank.load(tmp_path / "bank.safetensors")
    assert loaded.data == bank.data
    assert torch.equal(loaded.content.unlabelled, bank.content.unlabelled)
    assert VAEBank.load(tmp_path / "bank.safetensors", classes=Shapes.classes[:1]).content.unlabelled is None
    assert bank.subset(Shapes.classes[:2]).content.unlabelled is None


def test_a_fit_is_a_function_of_the_unlabelled_images_too():
    first, again, other = (serialize(quick(unlabelled=images_of(seed=seed)).content) for seed in (1, 1, 2))
    assert first == again != other


def test_copies_of_the_labelled_images_alone_are_none(recwarn):
    with pytest.warns(DataWarning, match="unlabelled holds no image that the dataset does not hold too"):
        bank = quick(unlabelled=Shapes(10))
    assert "unlabelled" not in bank.data


def test_where_labels_cannot_be_trusted_the_start_alone_sees_the_images(monkeypatch):
    monkeypatch.setattr(pseudo, "LEAST_RIGHT", 1.1)
    bank = quick(unlabelled=images_of())
    assert set(bank.data["unlabelled"]["adopted"].values()) == {0}
    assert bank.policy.p_generate == quick().policy.p_generate
    assert (bank.stats.counts == 10).all()
    assert serialize(bank.content) != serialize(quick().content)


@pytest.mark.parametrize("policy", ["none", "drawings"])
def test_a_policy_named_by_hand_stays(policy):
    config = type(CONFIG)(**{**CONFIG.to_dict(), "policy": policy})
    bank = quick(unlabelled=images_of(), config=config)
    assert bank.policy.origin == quick(config=config).policy.origin
    assert sum(bank.data["unlabelled"]["adopted"].values()) > 0


def test_one_class_or_few_images_adopt_none_and_still_learn():
    one = torch.utils.data.Subset(Shapes(10), range(10))
    for dataset in (one, Shapes(1)):
        assert set(quick(dataset, unlabelled=images_of()).data["unlabelled"]["adopted"].values()) <= {0}


def test_an_interrupted_fit_takes_its_labels_from_the_checkpoint(tmp_path, monkeypatch):
    whole = quick(unlabelled=images_of())
    quick(unlabelled=images_of(), checkpoint=tmp_path)

    def fail(*_):
        raise AssertionError("labelled again")

    monkeypatch.setattr(pseudo, "pseudo_labels", fail)
    assert serialize(quick(unlabelled=images_of(), checkpoint=tmp_path).content) == serialize(whole.content)


def test_generated_items_of_such_a_bank_are_moved():
    policy = generating(default_policy([10, 10], kind="drawings", method="exemplar"), "drawings", "more")
    assert policy.moves == "elastic"
    assert policy.p_generate == 0.5
    assert policy.p_jitter == 0.425
    assert generating(policy, "textures", "more") == policy


def test_a_wrapper_fits_with_them_once_and_needs_them_no_more(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_AUGMENT_CACHE", str(tmp_path))
    monkeypatch.setattr("vae_augment.wrapper.bank_cache.FitConfig", lambda: CONFIG)
    first = VAEAugmentedDataset(Shapes(10), unlabelled=images_of())
    monkeypatch.setattr("vae_augment.wrapper.bank_cache.fit", None)
    assert VAEAugmentedDataset(Shapes(10), unlabelled=images_of()).bank.sha256 == first.bank.sha256
    assert sum(first.bank.data["unlabelled"]["adopted"].values()) > 0


def test_an_evaluation_has_an_arm_of_the_images_themselves(monkeypatch):
    shown, train = [], running.train_classifier

    def spy(model, batches, **options):
        shown.append([next(batches) for _ in range(8)])
        return train(model, batches, **options)

    monkeypatch.setattr(running, "train_classifier", spy)
    options = {"seeds": 1, "steps": 2, "config": CONFIG, "progress": False}
    found = evaluate(Shapes(8), unlabelled=images_of(), arms=["moves", "pseudo", "pseudo+classical"], **options)
    assert [row["arm"] for row in found.rows] == ["moves", "pseudo", "pseudo+classical"]
    own, more = ({row.sum().item() for images, _ in batches for row in images} for batches in shown[:2])
    assert len(more) > len(own)
    with pytest.raises(ValueError, match="the arm 'pseudo' needs unlabelled images"):
        evaluate(Shapes(8), arms=["pseudo"], **options)


def test_an_evaluation_leaves_images_out_that_it_tests_on(monkeypatch):
    seen = []
    monkeypatch.setattr("vae_augment.evaluation.rounds.fit", lambda *_, **options: seen.append(options) or quick())
    evaluate(Shapes(8), unlabelled=Shapes(8), seeds=1, arms=["ours"], steps=2, config=CONFIG, progress=False)
    (options,) = seen
    assert len(options["unlabelled"]) == 24 - 6


def test_beside_a_start_images_are_read_on_its_scale():
    def floats(per_class, seed, scale):
        return [
            (2 * scale * image.float() / 255 - scale, label)
            for image, label in zip(*items(per_class, seed), strict=True)
        ]

    def items(per_class, seed):
        found = shapes(per_class, seed)
        return found.images, found.labels.tolist()

    start = quick(floats(10, 0, 3.0))
    seen = []
    read = pseudo.adopt

    def spy(data, unlabelled, *rest):
        seen.append((data.images, unlabelled))
        return read(data, unlabelled, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_augment.fitting.stages.adopt", spy)
        quick(floats(10, 1, 2.0), floats(10, 2, 2.0), start=start)
    ((labelled, unlabelled),) = seen
    assert int(labelled.max()) < 220
    assert abs(int(labelled.max()) - int(unlabelled.max())) < 20


def test_beside_a_start_a_bank_says_what_it_adopted_too():
    start = quick()
    bank = quick(Shapes(10, seed=1), images_of(), start=start, classes=Shapes.classes[:2])
    adopted = bank.data["unlabelled"]["adopted"]
    assert len(bank.content.unlabelled) == sum(adopted.values()) > 0
    served = VAEAugmentedDataset(Shapes(10, seed=1), bank, unlabelled=images_of(), p_unlabelled=0.5, return_source=True)
    assert 3 in {source for *_, source in served}


def test_a_classifier_that_went_astray_takes_no_fit_with_it(monkeypatch):
    trial = CrossValidation(shapes(10, seed=0), seed=0, device=CPU)
    train = trial.train

    def astray(policy, fold, *args, **options):
        model = train(policy, fold, *args, **options)
        if fold == 0:
            for weight in model.parameters():
                torch.nn.init.constant_(weight, float("nan"))
        return model

    monkeypatch.setattr(trial, "train", astray)
    assert len(pseudo.pseudo_labels(trial, REAL, shapes(PER_CLASS, seed=1).images).classes) == 3 * PER_CLASS


def test_a_few_large_classes_alone_are_not_enough():
    data = shapes(2, seed=0)
    for counts, enough in (([100, 0, 0], False), ([20, 20, 0], True)):
        summary = LearnedFrom(300, 1.0, 1.0, dict(zip(Shapes.classes, counts, strict=True)))
        assert pseudo.Adopted(data, data.labels, data.images, summary).enough == enough
