"""A wrapped dataset in the libraries that people train with; docs/compatibility.md is made of what is recorded here."""

from __future__ import annotations

import copy
import functools
import importlib.metadata
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections import Counter
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import pil_to_tensor

from tests import compatibility
from tests.conftest import CONFIG, Shapes
from tests.recording import record
from tests.test_examples import EXAMPLES, TINY_PRESET
from vae_augment import VAEAugmentedDataset, augment, fit

pytestmark = pytest.mark.slow
ON_FILES = ", on files that augment wrote"
MIXED = {"p_generate": 0.3, "p_jitter": 0.3}
SEEDED = {**MIXED, "seed": 1}
FORK_AND_SPAWN = pytest.mark.parametrize("start_method", ["fork", "spawn"], indirect=True)
WORKERS = {None: 0, "fork": 2, "spawn": 1}  # a spawned one takes seconds to start
DEFAULT_METHOD = multiprocessing.get_all_start_methods()[0]


def library(name, what, record_property, start_methods=()):
    """The library, once what is to be run with it is recorded; the test is skipped where it is not installed."""
    record(record_property, library=name, what=what, start_methods=start_methods)
    return imported(name)


def imported(name):
    """As pytest.importorskip, but an error inside a library that is there fails the test."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the import
        return importlib.import_module(name)


@pytest.fixture
def start_method(request):
    """How workers start, set as a script does it, for libraries whose loaders do not take it; None: no workers."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param or before, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


def contents(pairs):
    """Every image, bit for bit, and its label, in no order."""
    return Counter((np.asarray(image).tobytes(), np.asarray(label).item()) for image, label in pairs)


def in_batches(batches):
    return contents(pair for images, labels in batches for pair in zip(images, labels, strict=True))


def in_dataset(dataset, epoch=0):
    """The contents of a seeded dataset, some of its base's items and some made."""
    dataset = copy.copy(dataset)
    dataset.set_epoch(epoch)
    dataset.return_source = True
    items = [dataset[i] for i in range(len(dataset))]
    assert {source for *_, source in items} == {0, 1, 2}
    return contents(item[:2] for item in items)


def kinds(batches):
    return [[(part.dtype, part.shape) for part in batch] for batch in batches]


# ---- the examples, as a user runs them ----


@pytest.fixture(scope="module")
def examples_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize(
    ("name", "example", "options"),
    [
        ("torch", "plain_pytorch.py", []),
        ("timm", "with_timm.py", []),
        ("timm", "with_timm.py", ["--no-prefetcher"]),
        ("lightning", "with_lightning.py", []),
        ("accelerate", "with_accelerate.py", []),
        ("transformers", "with_transformers.py", []),
    ],
)
def test_example_trains(name, example, options, examples_cache, tmp_path, record_property):
    library(name, f"examples/{example}", record_property, start_methods=(DEFAULT_METHOD,))
    command = [sys.executable, "-c", TINY_PRESET, str(EXAMPLES / example), "--steps", "3", *options]
    paths = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "VAE_AUGMENT_CACHE": str(examples_cache), "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "after 3 steps: " in done.stdout
    assert "loss" in done.stdout
    assert "test accuracy" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "example", "on", "options", "message"),
    [
        ("fastai", "with_fastai.py", "", ["--epochs", "1"], "after 1 epochs: test accuracy"),
        ("grain", "with_grain.py", "", ["--epochs", "1"], "after 1 epochs: test accuracy"),
        ("keras", "with_keras.py", ON_FILES, ["--epochs", "1"], "after 1 epochs: test accuracy"),
        ("webdataset", "with_webdataset.py", ON_FILES, ["--steps", "3"], "after 3 steps: loss"),
    ],
)
def test_example_of_another_loop_trains(name, example, on, options, message, examples_cache, tmp_path, record_property):
    record(record_property, library=name, what=f"examples/{example}{on}")
    if importlib.util.find_spec(name) is None:  # and not imported, since Keras looks for a backend then
        pytest.skip(f"{name} is not installed")
    command = [sys.executable, "-c", TINY_PRESET, str(EXAMPLES / example), *options]
    env = {**os.environ, "VAE_AUGMENT_CACHE": str(examples_cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=110)
    assert done.returncode == 0, done.stderr
    assert message in done.stdout
    assert not list(tmp_path.iterdir())


# ---- timm ----


def timm_loader(timm, dataset, num_workers=0, **options):
    pixels = {"input_size": (1, 16, 16), "mean": (0.5,), "std": (0.5,), "crop_pct": 1.0}
    options |= {"num_workers": num_workers, "persistent_workers": num_workers > 0, "device": torch.device("cpu")}
    return timm.data.create_loader(dataset, batch_size=8, **pixels, **options)


@pytest.mark.parametrize(
    ("start_method", "prefetcher"), [("fork", True), ("fork", False), ("spawn", True)], indirect=["start_method"]
)
def test_timms_transform_is_applied_to_real_and_synthetic_alike(bank, prefetcher, start_method, record_property):
    what = "create_loader, with and without use_prefetcher; its transform on all images alike"
    timm = library("timm", what, record_property, start_methods=(start_method,))
    base = Shapes()
    ds = VAEAugmentedDataset(Shapes(), bank, **SEEDED)
    raw = list(VAEAugmentedDataset(Shapes(), bank, **SEEDED, return_source=True))
    theirs = list(timm_loader(timm, base, use_prefetcher=prefetcher))
    ours = list(timm_loader(timm, ds, use_prefetcher=prefetcher, num_workers=WORKERS[start_method]))
    assert kinds(ours) == kinds(theirs)
    assert torch.cat([labels for _, labels in ours]).tolist() == base.targets
    images, untouched = (torch.cat([batch for batch, _ in batches]) for batches in (ours, theirs))
    for image, real, (before, _, source) in zip(images, untouched, raw, strict=True):
        wanted = torch.as_tensor(ds.transform(before))
        assert torch.equal(image, (wanted.float() - 127.5) / 127.5 if prefetcher else wanted)
        assert torch.equal(image, real) == (source == 0)
    assert {source for *_, source in raw} == {0, 1, 2}


@pytest.mark.parametrize("mixup", [False, True])
def test_timm_trains_with_its_own_augmentations(bank, mixup, record_property):
    timm = library("timm", "create_loader(is_training=True), alone and with FastCollateMixup", record_property)
    mixed = {"collate_fn": timm.data.FastCollateMixup(mixup_alpha=0.5, num_classes=3)} if mixup else {}
    loaders = [
        timm_loader(timm, dataset, is_training=True, **mixed)
        for dataset in (Shapes(), VAEAugmentedDataset(Shapes(), bank, **MIXED, sampling_strategy={0: 20}))
    ]
    theirs, ours = map(list, loaders)
    assert len(ours) == 5  # 40 items, 10 of them added
    assert kinds(ours)[0] == kinds(theirs)[0]
    assert sum(len(labels) for _, labels in ours) == 40


# ---- Hugging Face ----


def test_a_folder_of_copies_is_a_dataset_of_hugging_face(bank, tmp_path, record_property):
    datasets = library("datasets", 'load_dataset("imagefolder") of what augment wrote', record_property)
    augment(Shapes(), bank, tmp_path / "more", copies=2, real=True)
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "more"), split="train", cache_dir=cache)
    assert (len(found), found.features["label"].names) == (90, list(Shapes.classes))
    pairs = zip(found["image"], found["label"], strict=True)
    wrapper = VAEAugmentedDataset(Shapes(), bank, seed=0)
    wanted = Counter()
    for epoch in range(2):
        wrapper.set_epoch(epoch)
        wanted += contents(list(wrapper))
    assert contents(pairs) == wanted + contents(list(Shapes()))


# ---- Lightning ----


def lightning_trains(lightning, dataset, epochs, workers=2, callbacks=()):
    """The batches of each epoch."""

    class Recorder(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(144, 3)
            self.seen = [[] for _ in range(epochs)]

        def training_step(self, batch, index):
            images, labels = batch
            self.seen[self.current_epoch].append(batch)
            return torch.nn.functional.cross_entropy(self.layer(images.flatten(1).float()), labels)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, callbacks=list(callbacks), log_every_n_steps=1, **quiet
    )
    model = Recorder()
    trainer.fit(model, DataLoader(dataset, 8, shuffle=True, num_workers=workers, persistent_workers=True))
    return model.seen


@FORK_AND_SPAWN
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_lightning_trains_on_a_seeded_dataset_in_persistent_workers(bank, start_method, record_property):
    what = "Trainer.fit, persistent workers; vae_augment.lightning.SetEpoch"
    lightning = library("lightning", what, record_property, start_methods=(start_method,))
    from vae_augment.lightning import SetEpoch

    ds = VAEAugmentedDataset(Shapes(transform=pil_to_tensor), bank, **SEEDED)
    base = next(iter(DataLoader(Shapes(transform=pil_to_tensor), 8)))
    seen = lightning_trains(lightning, ds, epochs=3, workers=WORKERS[start_method], callbacks=[SetEpoch()])
    assert kinds([seen[0][0]]) == kinds([base])
    assert [in_batches(batches) for batches in seen] == [in_dataset(ds, epoch) for epoch in range(3)]


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_lightning_never_needs_set_epoch(bank, record_property):
    what = "Trainer.fit without set_epoch: seeded as in epoch 0, unseeded drawn anew each epoch"
    lightning = library("lightning", what, record_property, start_methods=(DEFAULT_METHOD,))
    ds = VAEAugmentedDataset(Shapes(transform=pil_to_tensor), bank, **SEEDED)
    assert [in_batches(batches) for batches in lightning_trains(lightning, ds, epochs=2)] == [in_dataset(ds)] * 2
    fresh = VAEAugmentedDataset(Shapes(transform=pil_to_tensor), bank, p_generate=1.0)
    first, second = map(in_batches, lightning_trains(lightning, fresh, epochs=2))
    assert len(first) == len(second) == 30
    assert not first & second


# ---- Accelerate ----


@pytest.fixture
def fresh_accelerate():
    """Accelerate keeps what it found about the machine for the whole process."""
    yield
    if "accelerate" in sys.modules:
        sys.modules["accelerate"].state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_accelerate")
@pytest.mark.parametrize(
    ("start_method", "seedable"), [("fork", False), ("fork", True), ("spawn", False)], indirect=["start_method"]
)
def test_accelerate_calls_set_epoch(bank, seedable, start_method, record_property):
    what = "Accelerator.prepare, which calls set_epoch, with and without its seedable sampler"
    accelerate = library("accelerate", what, record_property, start_methods=(start_method,))
    ds = VAEAugmentedDataset(Shapes(transform=pil_to_tensor), bank, **SEEDED)
    config = accelerate.DataLoaderConfiguration(use_seedable_sampler=seedable)
    accelerator = accelerate.Accelerator(cpu=True, dataloader_config=config)
    base, loader = (
        accelerator.prepare(DataLoader(dataset, 8, shuffle=True, num_workers=workers, persistent_workers=workers > 0))
        for dataset, workers in ((Shapes(transform=pil_to_tensor), 0), (ds, WORKERS[start_method]))
    )
    epochs = [list(loader) for _ in range(3)]
    assert kinds(epochs[0]) == kinds(base)
    assert [in_batches(batches) for batches in epochs] == [in_dataset(ds, epoch) for epoch in range(3)]
    assert in_batches(epochs[0]) != in_batches(epochs[1])


@pytest.mark.usefixtures("fresh_accelerate")
def test_accelerates_processes_share_one_seeded_dataset(bank, record_property):
    what = "prepare_data_loader for two processes: together they see each item once"
    accelerate = library("accelerate", what, record_property)
    ds = VAEAugmentedDataset(Shapes(transform=pil_to_tensor), bank, **SEEDED)
    ranks = []
    for rank in range(2):
        loader = DataLoader(ds, 5, shuffle=True, generator=torch.Generator().manual_seed(0))
        prepare = accelerate.data_loader.prepare_data_loader
        ranks.append(prepare(loader, num_processes=2, process_index=rank, put_on_device=False))
    for epoch in range(2):
        first, second = (in_batches(rank) for rank in ranks)
        assert first.total() == second.total() == 15
        assert first + second == in_dataset(ds, epoch)


# ---- transformers ----


def collate(items):
    images, labels = zip(*items, strict=True)
    return {"pixel_values": torch.stack(images).float() / 255, "labels": torch.tensor(labels)}


def collate_dicts(items):
    return collate([(item["pixel_values"], item["label"]) for item in items])


def trainer_trains(transformers, dataset, folder, collator, epochs, workers=2):
    """The batches of each epoch."""
    seen = []

    class Recorder(transformers.Trainer):
        def compute_loss(self, model, inputs, **options):
            seen.append((inputs["pixel_values"], inputs["labels"]))
            return super().compute_loss(model, inputs, **options)

    small = {"embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic"}
    config = transformers.ResNetConfig(num_channels=1, num_labels=3, **small)
    arguments = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=10,
        dataloader_num_workers=workers,
        dataloader_persistent_workers=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        report_to="none",
    )
    model = transformers.ResNetForImageClassification(config)
    Recorder(model, arguments, data_collator=collator, train_dataset=dataset).train()
    return [seen[3 * epoch : 3 * epoch + 3] for epoch in range(epochs)]


@pytest.mark.usefixtures("fresh_accelerate")
@FORK_AND_SPAWN
def test_transformers_trains_on_pairs_with_a_collator(bank, start_method, tmp_path, record_property):
    what = "Trainer.train, persistent workers, a collator of pairs; it calls set_epoch"
    transformers = library("transformers", what, record_property, start_methods=(start_method,))
    ds = VAEAugmentedDataset(Shapes(transform=pil_to_tensor), bank, **SEEDED)
    seen = trainer_trains(transformers, ds, tmp_path, collate, epochs=2, workers=WORKERS[start_method])
    like = collate([Shapes(transform=pil_to_tensor)[i] for i in range(10)])
    assert kinds([seen[0][0]]) == kinds([like.values()])
    as_bytes = [[((images * 255).round().byte(), labels) for images, labels in epoch] for epoch in seen]
    assert [in_batches(epoch) for epoch in as_bytes] == [in_dataset(ds, epoch) for epoch in range(2)]


# ---- MedMNIST ----


@pytest.fixture
def breast_folder(tmp_path):
    """BreastMNIST's file with pictures of our own: the class wants exactly as many as there are in the real one."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in {"train": 546, "val": 78, "test": 156}.items():
        labels = rng.integers(0, 2, (count, 1), dtype=np.uint8)
        images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        images[:, 10:18] += 150 * labels[:, :, None]
        images[:, :, 10:18] += 150 * (1 - labels[:, :, None])
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    return tmp_path


@pytest.mark.parametrize(("start_method", "as_rgb"), [("fork", False), ("spawn", True)], indirect=["start_method"])
def test_medmnist_labels_keep_their_shape(breast_folder, as_rgb, start_method, record_property):
    what = "BreastMNIST, labels of shape (1,), grey and as_rgb; fitted and loaded"
    medmnist = library("medmnist", what, record_property, start_methods=(start_method,))
    options = {"split": "train", "root": str(breast_folder), "as_rgb": as_rgb, "transform": pil_to_tensor}
    base = medmnist.BreastMNIST(**options)
    ds = VAEAugmentedDataset(base, fit(base, config=CONFIG, progress=False), **SEEDED)
    assert list(ds.targets) == base.labels[:, 0].tolist()
    assert (type(ds[0][1]), ds[0][1].dtype, ds[0][1].shape) == (np.ndarray, base[0][1].dtype, (1,))
    theirs, ours = (
        list(DataLoader(dataset, 91, num_workers=n)) for dataset, n in ((base, 0), (ds, WORKERS[start_method]))
    )
    assert kinds(ours) == kinds(theirs)
    assert kinds(ours)[0] == [(torch.uint8, (91, 3 if as_rgb else 1, 28, 28)), (torch.int64, (91, 1))]
    assert torch.equal(torch.cat([labels for _, labels in ours]), torch.cat([labels for _, labels in theirs]))
    assert in_batches(ours) == in_dataset(ds)


# ---- Hugging Face datasets ----


def in_place(batch):
    """For set_transform: a function of lists of columns."""
    return {"image": [pil_to_tensor(image) for image in batch["image"]], "label": batch["label"]}


def renamed(batch):
    return {"pixel_values": [pil_to_tensor(image) for image in batch["image"]], "label": batch["label"]}


def with_set_transform(dataset):
    dataset.set_transform(in_place)
    return dataset


def with_with_transform(dataset):
    return dataset.with_transform(renamed)


def as_list(items):
    return items


def shapes_of(datasets, transformed=lambda dataset: dataset, *, kind=None, labels=None):
    """Shapes as a `datasets.Dataset` of PIL images and class labels, or of plain values as labels."""
    shapes = Shapes()
    label = datasets.Value(kind) if kind else datasets.ClassLabel(names=list(Shapes.classes))
    features = datasets.Features({"image": datasets.Image(), "label": label, "id": datasets.Value("int64")})
    columns = {"image": [image for image, _ in shapes], "label": labels or shapes.targets, "id": list(range(100, 130))}
    return transformed(datasets.Dataset.from_dict(columns, features=features))


@functools.cache
def bank_of_dicts():
    return fit(shapes_of(imported("datasets")), config=CONFIG, progress=False)


def picture(item):
    """The image of a dict, by its bytes."""
    return np.asarray(item["pixel_values"] if "pixel_values" in item else item["image"]).tobytes()


def same_dicts(a, b):
    rest = [{key: value for key, value in item.items() if key not in ("image", "pixel_values")} for item in (a, b)]
    return list(a) == list(b) and picture(a) == picture(b) and rest[0] == rest[1]


FORMS = {
    "as it is": lambda dataset: dataset,
    "set_transform": with_set_transform,
    "with_transform": with_with_transform,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_dict_items_stay_dicts_with_the_same_keys(form, record_property):
    datasets = library("datasets", "dict items, alone and with set_transform and with_transform", record_property)
    base = shapes_of(datasets, form)
    ds = VAEAugmentedDataset(shapes_of(datasets, form), bank_of_dicts(), **SEEDED, return_source=True)
    assert ds.classes == list(Shapes.classes)
    assert list(ds.targets) == Shapes().targets
    sources = []
    for i in range(len(base)):
        item, like = ds[i], base[i]
        sources.append(item.pop("source"))
        assert same_dicts(item, like) == (sources[-1] == 0)
        assert list(item) == list(like)
        assert item["label"] == like["label"]
        assert item.get("id") == like.get("id")
        mine, theirs = (next(v for k, v in d.items() if k in ("image", "pixel_values")) for d in (item, like))
        if isinstance(theirs, Image.Image):
            assert (mine.mode, mine.size) == (theirs.mode, theirs.size)
        else:
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
    assert set(sources) == {0, 1, 2}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_at_p_zero_dicts_are_the_bases_own(form, record_property):
    datasets = library("datasets", "p_generate = p_jitter = 0 is the identity", record_property)
    base = shapes_of(datasets, form)
    ds = VAEAugmentedDataset(shapes_of(datasets, form), bank_of_dicts(), p_generate=0.0, p_jitter=0.0)
    assert all(same_dicts(ds[i], base[i]) for i in range(len(base)))
    assert all(map(same_dicts, ds.__getitems__([3, 29, 11]), base.__getitems__([3, 29, 11])))


@pytest.mark.parametrize("form", [with_set_transform, with_with_transform])
def test_synthetic_dicts_go_through_the_users_transform(form, record_property):
    datasets = library("datasets", "set_transform's function on all images alike", record_property)
    raw = VAEAugmentedDataset(shapes_of(datasets), bank_of_dicts(), **SEEDED)
    ds = VAEAugmentedDataset(shapes_of(datasets, form), bank_of_dicts(), **SEEDED)
    for i in range(len(ds)):
        function = in_place if form is with_set_transform else renamed
        wanted = {key: values[0] for key, values in function({"image": [raw[i]["image"]], "label": [i // 10]}).items()}
        assert same_dicts(ds[i], wanted)


@pytest.mark.parametrize(
    ("start_method", "form"),
    [(method, form) for method in (None, "fork") for form in FORMS] + [("spawn", "with_transform")],
    indirect=["start_method"],
)
def test_a_loader_of_dicts_gives_the_items_themselves(form, start_method, record_property):
    what = "DataLoader of dicts, without and with workers"
    datasets = library("datasets", what, record_property, (start_method,) if start_method else ())
    options = {} if form != "as it is" else {"collate_fn": as_list}  # as for the base: PIL images make no batch
    base, ds = shapes_of(datasets, FORMS[form]), shapes_of(datasets, FORMS[form])
    ds = VAEAugmentedDataset(ds, bank_of_dicts(), **SEEDED)
    theirs = list(DataLoader(base, 10, **options))
    ours = list(DataLoader(ds, 10, num_workers=WORKERS[start_method], **options))
    if form != "as it is":
        assert [list(batch) for batch in ours] == [list(batch) for batch in theirs]
        assert kinds(batch.values() for batch in ours) == kinds(batch.values() for batch in theirs)
        ours = [[{key: values[i] for key, values in batch.items()} for i in range(10)] for batch in ours]
    items = [item for batch in ours for item in batch]
    assert all(same_dicts(item, ds[i]) for i, item in enumerate(items))
    assert not all(same_dicts(item, base[i]) for i, item in enumerate(items))


def test_a_bank_fitted_on_dicts_has_the_class_labels_names(record_property):
    datasets = library("datasets", "fit, and a bank of ClassLabel's names", record_property)
    for bank in bank_of_dicts(), fit(shapes_of(datasets, with_with_transform), config=CONFIG, progress=False):
        assert bank.classes == Shapes.classes
        assert bank.image_shape == (1, 12, 12)


@pytest.mark.parametrize(
    ("kind", "names"),
    [("string", ["cat", "ant", "bee"]), ("bool", [True, False, True]), ("float32", [4.0, 2.0, 7.0])],
)
def test_columns_of_plain_values_are_labels(kind, names):
    labels = [names[target] for target in Shapes().targets]
    base = shapes_of(imported("datasets"), kind=kind, labels=labels)
    bank = fit(base, config=CONFIG, progress=False)
    wanted = sorted(set(names))
    assert bank.classes == tuple(f"{name:g}" if kind == "float32" else str(name) for name in wanted)
    ds = VAEAugmentedDataset(base, bank, **SEEDED)
    assert [item["label"] for item in ds] == labels
    assert not all(same_dicts(item, own) for item, own in zip(ds, base, strict=True))
    transformed = VAEAugmentedDataset(base.with_transform(in_place), bank, **SEEDED)
    assert [label for batch in DataLoader(transformed, 10, num_workers=2) for label in batch["label"]] == labels


@pytest.mark.parametrize("kind", ["string", "int64", "bool"])
def test_a_column_that_lacks_labels_is_refused(kind):
    value = {"string": "cat", "int64": 3, "bool": True}[kind]
    base = shapes_of(imported("datasets"), kind=kind, labels=[value] * 28 + [None] * 2)
    with pytest.raises(ValueError, match="labels must be one per item, got none for 2 of 30 items: item 28, item 29"):
        VAEAugmentedDataset(base)
    assert fit(base.select(range(28)), config=CONFIG, progress=False).classes == (str(value),)


@pytest.mark.usefixtures("fresh_accelerate")
def test_transformers_trains_on_a_wrapped_dict_dataset(tmp_path, record_property):
    what = "Trainer.train on datasets.Dataset.with_transform, persistent workers"
    transformers = library("transformers", what, record_property, start_methods=(DEFAULT_METHOD,))
    datasets = imported("datasets")
    ds = VAEAugmentedDataset(shapes_of(datasets, with_with_transform), bank_of_dicts(), **SEEDED)
    seen = trainer_trains(transformers, ds, tmp_path, collate_dicts, epochs=2)
    for epoch in range(2):
        ds.set_epoch(epoch)
        wanted = collate_dicts([ds[i] for i in range(len(ds))])
        assert in_batches(seen[epoch]) == in_batches([wanted.values()])


# ---- the page of verdicts ----

CASE = '<testcase name="{name}"><properties><property name="compatibility" value={value}/></properties>{end}</testcase>'


def test_the_page_has_a_verdict_for_what_was_recorded(tmp_path, capsys):
    ends = {"pytest": "", "no-such-library": "<skipped/>", "torch DataLoader": "<failure/>"}
    cases = ["<testcase name='records nothing'/>"]
    for name, end in [*ends.items(), ("torch DataLoader", "")]:
        recorded = []
        record(lambda *entry, to=recorded: to.append(entry), library=name, what="all", start_methods=("fork",))
        cases.append(CASE.format(name=f"test of {name}", value=quoteattr(recorded[0][1]), end=end))
    report, page = tmp_path / "report.xml", tmp_path / "page.md"
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    assert compatibility.main(str(report), str(page)) == 1
    assert "1 failed tests\n  test of torch DataLoader" in capsys.readouterr().out
    lines = [line.split(" | ") for line in page.read_text().splitlines() if " | all | " in line]
    assert [(line[0].strip("| "), line[1], line[3], line[-1].strip("| ")) for line in lines] == [
        ("no-such-library", "-", "fork", "not installed"),
        ("pytest", pytest.__version__, "fork", "works"),
        ("torch DataLoader", importlib.metadata.version("torch"), "fork", "fails"),
    ]
