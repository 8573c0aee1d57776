import copy
import json
import os
import pickle
import random
import re
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.conftest import Shapes
from tests.recording import record
from vae_augment.transforms import albumentations as adapter
from vae_augment.transforms.albumentations import VAEJitter
from vae_augment.transforms.requirement import problem_with_albumentations

# isort: split
import albumentations as A  # behind the adapter, which keeps it from asking the network


class AugmentedShapes(Dataset):
    """One image eight times, through a pipeline."""

    def __init__(self, transform):
        self.transform = transform
        self.image = Shapes().data[0]

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.transform(image=self.image, label=0)["image"]


@pytest.fixture
def image():
    return Shapes().data[12].copy()  # of label 1


def noise_image(*shape, dtype=np.uint8):
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    return values if dtype == np.float32 else (values * 255).astype(dtype)


def loaded(transform, workers=2, **options):
    """Bytes of the images of one pass of a loader."""
    loader = DataLoader(AugmentedShapes(transform), batch_size=None, num_workers=workers, **options)
    return [image.numpy().tobytes() for image in loader]


def drawn(transform, seed, **data):
    """What a pipeline without a seed of its own makes under torch's."""
    torch.manual_seed(seed)
    return transform(**data)


def run(code, **env):
    env = {**os.environ, **env}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)


# ---- laws ----


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 1), (12, 12, 3), (12, 12, 4), (7, 9, 3), (20, 12, 3), (30, 30)])
def test_an_image_keeps_shape_dtype_and_range_and_is_not_changed_in_place(bank, shape, dtype):
    image = noise_image(*shape, dtype=dtype)
    before = image.copy()
    out = A.Compose([VAEJitter(bank, p=1)])(image=image, label=3 - 1)
    assert out["label"] == 2
    made = out["image"]
    assert (made.shape, made.dtype) == (shape, dtype)
    assert made.min() >= 0
    assert made.max() <= (255 if dtype == np.uint8 else 1)
    assert not np.array_equal(made, image)
    assert np.array_equal(image, before)
    if shape[-1] == 4:
        assert np.array_equal(made[..., 3], image[..., 3])


@pytest.mark.parametrize("shape", [(12, 12), (7, 9, 3), (30, 30, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_scale_0_with_detail_gives_the_image_back(bank, shape, dtype):
    image = noise_image(*shape, dtype=dtype)
    transform = VAEJitter(bank.with_policy(keep_detail=True), scale_range=(0, 0), p=1)
    assert np.array_equal(transform(image=image, label=0)["image"], image)


def test_a_larger_image_keeps_its_detail_whatever_the_policy(bank):
    image = noise_image(30, 12, 1)
    transform = VAEJitter(bank.with_policy(keep_detail=False), scale_range=(0, 0), p=1)
    assert np.array_equal(transform(image=image, label=0)["image"], image)


def test_p_0_is_the_same_object_and_p_is_a_share(bank, image):
    assert VAEJitter(bank, p=0)(image=image, label=1)["image"] is image
    transform = VAEJitter(bank, p=0.3)
    same = sum(transform(image=image, label=1)["image"] is image for _ in range(300))
    assert 165 <= same <= 255  # 210, within 5.6 standard deviations


def test_the_label_is_the_callers_object(bank, image):
    for label in (1, np.int64(1), torch.tensor(1), np.array(1)):
        assert A.Compose([VAEJitter(bank, p=1)])(image=image, label=label)["label"] is label


def test_other_targets_are_left_alone_and_further_images_move_along(bank, image):
    mask = np.ones((12, 12), np.uint8)
    transform = A.Compose([VAEJitter(bank, p=1)], additional_targets={"image2": "image"})
    out = transform(image=image, image2=image.copy(), mask=mask, label=1)
    assert out["mask"] is mask
    assert not np.array_equal(out["image"], image)
    assert np.array_equal(out["image"], out["image2"])


def test_label_key_names_the_label_even_in_strict_mode(bank, image):
    transform = A.Compose([VAEJitter(bank, label_key="target", p=1)], strict=True)
    assert not np.array_equal(transform(image=image, target=1)["image"], image)


def test_scales_are_drawn_from_the_range(bank):
    transform = VAEJitter(bank, scale_range=(0.5, 2), p=1)
    scales = [transform.get_params()["scale"] for _ in range(200)]
    assert 0.5 <= min(scales) < 0.7
    assert 1.8 < max(scales) <= 2
    assert VAEJitter(bank).get_params()["scale"] == bank.policy.scale


# ---- batches ----


@pytest.mark.parametrize("shape", [(6, 12, 12), (6, 12, 12, 3), (6, 20, 20, 1)])
def test_a_batch_is_jittered_image_by_image(bank, shape):
    images, labels = np.repeat(noise_image(1, *shape[1:]), 6, axis=0), np.arange(6) % 3
    out = A.Compose([VAEJitter(bank, scale_range=(2, 2), p=1)])(images=images, label=labels)
    assert out["label"] is labels
    assert (out["images"].shape, out["images"].dtype) == (shape, np.uint8)
    assert len({image.tobytes() for image in (*out["images"], images[0])}) == 7


def test_one_label_is_enough_for_a_batch_of_one_class(bank):
    transform, images = VAEJitter(bank, p=1), noise_image(5, 12, 12)
    one, each = (drawn(transform, 0, images=images, label=label)["images"] for label in (1, [1] * 5))
    assert np.array_equal(one, each)


def test_a_list_of_images_comes_back_as_one(bank):
    out = A.Compose([VAEJitter(bank, p=1)])(images=[noise_image(12, 12)] * 3, label=[0, 1, 2])
    assert isinstance(out["images"], list)


# ---- what is refused ----


def test_a_missing_label_is_refused_whatever_p_says(bank, image):
    with pytest.raises(ValueError, match=r"needs the label of the image: pass label=\.\.\., .* Got \['image'\]"):
        A.Compose([VAEJitter(bank, p=0.01)])(image=image)
    with pytest.raises(ValueError, match=r"pass target=\.\.\."):
        VAEJitter(bank, label_key="target")(image=image, label=1)


def test_labels_that_do_not_fit_are_refused(bank, image):
    transform = VAEJitter(bank, p=1)
    with pytest.raises(ValueError, match=r"label 7 is not in the bank, which has labels \[0, 1, 2\]"):
        VAEJitter(bank, p=0.01)(image=image, label=7)
    with pytest.raises(ValueError, match="labels must be integers, one per image, got 'down'"):
        transform(image=image, label="down")
    with pytest.raises(ValueError, match=r"labels must be integers, one per image, got torch\.float64 \[3\]"):
        transform(image=image, label=np.zeros(3))
    with pytest.raises(ValueError, match="label must be one label or one per image, got 3 for 1"):
        transform(image=image, label=[0, 1, 2])
    with pytest.raises(ValueError, match="label must be one label or one per image, got 2 for 3"):
        transform(images=noise_image(3, 12, 12), label=[0, 1])


def test_images_it_cannot_read_are_refused(bank, image):
    normalised = A.Compose([A.Normalize(mean=0.5, std=0.5), VAEJitter(bank, p=1)])
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got values from -1 .* before Normalize"):
        normalised(image=image, label=1)
    with pytest.raises(TypeError, match=r"images must be uint8 or float in .*, got torch\.int32"):
        VAEJitter(bank, p=1)(image=image.astype(np.int32), label=1)
    with pytest.raises(TypeError, match=r"needs numpy images; put it before ToTensorV2\. Got Tensor"):
        VAEJitter(bank, p=1)(image=torch.zeros(1, 12, 12), label=1)
    with pytest.raises(ValueError, match="VAEJitter works on image and images, not on volumes"):
        VAEJitter(bank)(volume=noise_image(3, 12, 12), label=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, r"p must be in \[0, 1\], got 1.5\."),
        ({"scale_range": (2, 1)}, r"scale_range must be finite with 0 <= low <= high, got \(2, 1\)"),
        ({"scale_range": (-1, 1)}, r"scale_range must be finite with 0 <= low <= high, got \(-1, 1\)"),
        ({"scale_range": (0, float("inf"))}, "scale_range must be finite"),
        ({"scale_range": 0.5}, r"scale_range must be \(low, high\) or None, got 0.5"),
        ({"scale_range": (1, 2, 3)}, r"scale_range must be \(low, high\) or None, got \(1, 2, 3\)"),
    ],
)
def test_options_are_checked(bank, options, message):
    with pytest.raises(ValueError, match=message):
        VAEJitter(bank, **options)


def test_a_bank_must_be_one(tmp_path):
    with pytest.raises(TypeError, match="bank must be a VAEBank or the path of one, got int"):
        VAEJitter(3)
    with pytest.raises(FileNotFoundError, match="no bank at"):
        VAEJitter(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"bank as a dict must have the one key 'safetensors', got \['pickle'\]"):
        VAEJitter({"pickle": ""})
    with pytest.raises(ValueError, match="bank as a dict does not hold a bank"):
        VAEJitter({"safetensors": "bm8="})
    with pytest.raises(ValueError, match="bank as a dict does not hold a bank"):
        VAEJitter({"safetensors": "?"})


# ---- randomness ----


def test_manual_seed_reproduces_where_compose_has_no_seed(bank, image):
    def twelve(seed):
        torch.manual_seed(seed)
        transform = A.Compose([VAEJitter(bank, scale_range=(0.5, 1))])
        return [transform(image=image, label=1)["image"].tobytes() for _ in range(12)]

    assert twelve(1) == twelve(1)
    assert twelve(1) != twelve(2)
    assert len(set(twelve(1))) > 2


def test_a_seed_of_compose_is_followed_and_torchs_is_left_alone(bank, image):
    def twelve(seed):
        transform = A.Compose([A.OneOf([VAEJitter(bank)], p=1)], seed=seed)
        return [transform(image=image, label=1)["image"].tobytes() for _ in range(12)]

    before = torch.get_rng_state()
    assert twelve(1) == twelve(1)
    assert twelve(1) != twelve(2)
    assert torch.equal(before, torch.get_rng_state())


def test_generators_handed_in_are_used(bank, image):
    transform = VAEJitter(bank, p=1)
    outs = []
    for _ in range(2):
        transform.set_random_state(np.random.default_rng(0), random.Random(0))
        outs.append(transform(image=image, label=1)["image"])
    assert np.array_equal(*outs)


def test_workers_and_epochs_differ_and_manual_seed_reproduces(bank, record_property):
    record(
        record_property,
        library="albumentations",
        what="VAEJitter in Compose without a seed: fresh in each worker and epoch",
        start_methods=("fork",),
    )
    transform = A.Compose([VAEJitter(bank, scale_range=(3, 3), p=1)])
    torch.manual_seed(0)
    first, second = loaded(transform), loaded(transform)
    torch.manual_seed(0)
    assert len({*first, *second}) == 16  # all of the same image
    assert loaded(transform) == first


def test_whether_it_jitters_is_drawn_anew_in_each_worker_and_epoch(bank):
    transform = A.Compose([VAEJitter(bank, scale_range=(3, 3), p=0.5)])
    torch.manual_seed(0)
    real = AugmentedShapes(None).image.tobytes()
    decisions = [tuple(made == real for made in loaded(transform)) for _ in range(3)]
    assert len(set(decisions)) == 3
    assert any(d[::2] != d[1::2] for d in decisions)  # the items of worker 0 and those of worker 1


def test_a_seeded_compose_reproduces_with_workers_that_differ(bank):
    transform = A.Compose([VAEJitter(bank, scale_range=(3, 3), p=1)], seed=4)
    images = loaded(transform)
    assert len(set(images)) == 8
    assert loaded(transform) == images


def test_a_spawned_worker_does_as_a_forked_one(bank, record_property):
    record(record_property, library="albumentations", what="VAEJitter in a worker", start_methods=("fork", "spawn"))
    transform = A.Compose([VAEJitter(bank, p=1)])
    torch.manual_seed(0)
    forked = loaded(transform, workers=1)
    torch.manual_seed(0)
    assert loaded(transform, workers=1, multiprocessing_context="spawn") == forked


def test_copies_and_pickles_give_the_same(bank, image):
    for seed in (None, 3):
        transform = A.Compose([VAEJitter(bank, p=0.9)], seed=seed)
        others = [copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))]
        expected = drawn(transform, 5, image=image, label=1)["image"]
        for other in others:
            assert np.array_equal(drawn(other, 5, image=image, label=1)["image"], expected)


# ---- moves ----


def test_moves_are_the_policys_a_named_one_or_none(moving, image):
    made = {
        moves: drawn(A.Compose([VAEJitter(moving, (0, 0), p=1, moves=moves)]), 0, image=image, label=1)["image"]
        for moves in ("policy", "elastic", "affine", None)
    }
    assert np.array_equal(made["policy"], made["elastic"])
    assert not np.array_equal(made["policy"], made["affine"])
    assert np.array_equal(made[None], image)
    with pytest.raises(ValueError, match=r"moves must be None or one of 'policy', 'none', .* got 'wild'"):
        VAEJitter(moving, moves="wild")


@pytest.mark.parametrize("beside", [{"mask": np.zeros((12, 12), np.uint8)}, {"keypoints": np.zeros((1, 2))}])
def test_masks_and_key_points_are_refused_beside_an_image_that_is_moved(moving, image, beside):
    options = {"keypoint_params": A.KeypointParams("xy")} if "keypoints" in beside else {}
    with pytest.raises(ValueError, match=f"{next(iter(beside))} would stay where they are while the image is moved"):
        A.Compose([VAEJitter(moving, p=1), A.HorizontalFlip(p=0)], **options)(image=image, label=1, **beside)
    for moves in (None, "values"):
        pipeline = A.Compose([VAEJitter(moving, p=1, moves=moves), A.HorizontalFlip(p=0)], **options)
        pipeline(image=image, label=1, **beside)


def test_a_moving_pipeline_goes_through_json_and_replay(moving, image):
    transform = A.Compose([VAEJitter(moving, p=1, moves="affine")])
    other = A.from_dict(json.loads(json.dumps(A.to_dict(transform))))
    assert np.array_equal(*(drawn(each, 4, image=image, label=1)["image"] for each in (transform, other)))
    saved = A.ReplayCompose([VAEJitter(moving, p=1)])(image=image, label=1)
    assert np.array_equal(A.ReplayCompose.replay(saved["replay"], image=image, label=1)["image"], saved["image"])


# ---- as data ----


@pytest.mark.parametrize("how", ["bank", "path", "string"])
def test_a_pipeline_goes_through_json(bank, bank_path, image, how, record_property):
    record(
        record_property,
        library="albumentations",
        what="VAEJitter through to_dict, JSON and from_dict",
        start_methods=(),
    )
    given = {"bank": bank, "path": bank_path, "string": str(bank_path)}[how]
    transform = A.Compose([VAEJitter(given, scale_range=(0.5, 1.5), label_key="y", p=0.7), A.HorizontalFlip(p=0)])
    text = json.dumps(A.to_dict(transform))
    assert (str(bank_path) in text) == (how != "bank")
    other = A.from_dict(json.loads(text))
    assert repr(other[0]) == repr(transform[0])
    assert A.to_dict(other) == A.to_dict(transform)
    for seed in range(6):
        expected = drawn(transform, seed, image=image, y=1)["image"]
        assert np.array_equal(drawn(other, seed, image=image, y=1)["image"], expected)
    transform.set_random_seed(9)
    other.set_random_seed(9)
    assert np.array_equal(transform(image=image, y=1)["image"], other(image=image, y=1)["image"])


def test_a_saved_pipeline_is_read_in_another_process(bank, image, tmp_path):
    transform = A.Compose([VAEJitter(bank, p=1)])
    A.save(transform, tmp_path / "pipeline.json")
    np.save(tmp_path / "image.npy", image)
    code = (
        "import numpy as np, torch\nimport vae_augment.transforms.albumentations\nimport albumentations as A\n"
        "torch.manual_seed(3)\n"
        f"transform, image = A.load({str(tmp_path / 'pipeline.json')!r}), np.load({str(tmp_path / 'image.npy')!r})\n"
        "print(transform(image=image, label=1)['image'].tobytes().hex())"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == drawn(transform, 3, image=image, label=1)["image"].tobytes().hex()


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_a_replay_gives_the_very_same_image(bank, bank_path, image, p, record_property):
    record(record_property, library="albumentations", what="VAEJitter in ReplayCompose", start_methods=())
    for given in (bank, bank_path):
        transform = A.ReplayCompose([VAEJitter(given, scale_range=(0.5, 3), p=p), A.HorizontalFlip(p=0.5)])
        for _ in range(4):
            saved = transform(image=image, label=1)
            through_json = json.loads(json.dumps(saved["replay"]))
            for replay in (saved["replay"], through_json):
                again = A.ReplayCompose.replay(replay, image=image, label=1)
                assert np.array_equal(again["image"], saved["image"])
                assert again["label"] == 1


def test_a_replay_goes_by_the_label_of_the_image_it_is_given(bank, image):
    saved = A.ReplayCompose([VAEJitter(bank, p=1)])(image=image, label=1)
    one, other = (A.ReplayCompose.replay(saved["replay"], image=image, label=label)["image"] for label in (1, 2))
    assert np.array_equal(one, saved["image"])
    assert not np.array_equal(one, other)


def test_the_bytes_of_a_bank_are_made_once_and_not_pickled(bank):
    transform = VAEJitter(bank)
    first = transform.get_transform_init_args()["bank"]
    assert transform.get_transform_init_args()["bank"] is first
    assert first["safetensors"].encode() not in pickle.dumps(transform)


def test_it_says_what_it_is(bank):
    text = repr(VAEJitter(bank, scale_range=(0, 1), p=0.25))
    assert text == f"VAEJitter({bank!r}, scale_range=(0.0, 1.0), label_key='label', p=0.25, moves='policy')"
    assert text in repr(A.Compose([VAEJitter(bank, scale_range=(0, 1), p=0.25)]))


# ---- which albumentations ----


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"albumentationsx": "2.0.8"}, "does not run with albumentationsx, which is installed: it is AGPL-licensed"),
        ({"albumentationsx": "2.1.0", "albumentations": None}, "pip uninstall albumentationsx albumentations; "),
        ({"albumentations": None}, "VAEJitter needs albumentations, which is not installed. "),
        ({"albumentations": "2.0.7"}, "VAEJitter needs albumentations>=2.0.8,<2.1, got 2.0.7. "),
        ({"albumentations": "2.1.0rc1"}, "VAEJitter needs albumentations>=2.0.8,<2.1, got 2.1.0rc1. "),
    ],
)
def test_another_albumentations_is_refused(versions, message, monkeypatch):
    def version(name):
        if versions.get(name) is None:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ImportError, match=re.escape(message)) as caught:
        adapter._require_albumentations()
    assert 'pip install "albumentations>=2.0.8,<2.1"' in str(caught.value)


@pytest.mark.parametrize("version", ["2.0.8", "2.0.8.post1", "2.0.12"])
def test_albumentations_2_0_is_taken(version):
    assert problem_with_albumentations({"albumentations": version}.get) is None


def test_a_fork_is_refused_before_any_of_it_runs(tmp_path):
    folder = tmp_path / "albumentationsx-2.0.9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: AlbumentationsX\nVersion: 2.0.9\n")
    code = (
        "import sys\n"
        "try:\n    import vae_augment.transforms.albumentations\n"
        "except ImportError as error:\n    print(error)\n"
        "print('albumentations' in sys.modules)"
    )
    paths = [str(tmp_path), os.getcwd(), os.environ.get("PYTHONPATH", "")]
    done = run(code, PYTHONPATH=os.pathsep.join(path for path in paths if path))
    text, imported = done.stdout.strip().splitlines()
    assert "does not run with albumentationsx" in text
    assert imported == "False"


def test_the_import_does_not_ask_the_network():
    done = run(
        "import os, urllib.request\n"
        "def refuse(*args, **kwargs): raise SystemExit('asked the network')\n"
        "urllib.request.OpenerDirector.open = refuse\n"
        "os.environ.pop('NO_ALBUMENTATIONS_UPDATE', None)\n"
        "import vae_augment.transforms.albumentations\n"
        "print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr


def test_the_package_leaves_albumentations_alone():
    code = "import sys, vae_augment, vae_augment.wrapper.dataset, vae_augment.transforms.torchvision\n"
    done = run(code + "print('albumentations' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr
