import copy
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from tests.conftest import CONFIG, Shapes
from tests.recording import record
from vae_augment import VAEAugmentedDataset, fit
from vae_augment.bank.draws import draw_batch
from vae_augment.transforms.torchvision import RandomVAEJitter


class ColourShapes(Shapes):
    def __getitem__(self, index):
        grey = Image.fromarray(self.data[index])
        return Image.merge("RGB", [grey, grey.rotate(90), grey.rotate(180)]), self.targets[index]


class JointShapes(Dataset):
    """Grey images through a joint transform, as torchvision's `transforms`."""

    def __init__(self, transforms, count=8):
        self.transforms = transforms
        self.image, self.label = Shapes()[0]
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.transforms(self.image, self.label)


@pytest.fixture(scope="module")
def colour_bank():
    return fit(ColourShapes(), config=CONFIG, progress=False).with_policy(moves="none")


@pytest.fixture
def image():
    return Shapes()[0][0]


def batch_of(count, channels=1, size=12, dtype=torch.uint8):
    """Images of noise, and labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, channels, size, size, generator=generator)
    labels = torch.arange(count) % 3
    return (v2.functional.to_dtype(images, dtype, scale=True), labels)


def grey_image(size=12):
    return Image.fromarray(batch_of(1, size=size)[0][0, 0].numpy())


def loaded(transform, workers=2, **options):
    """Images of one pass of a loader, one a batch."""
    to_tensor = v2.Compose([transform, v2.PILToTensor()])
    loader = DataLoader(JointShapes(to_tensor), batch_size=None, num_workers=workers, **options)
    return [image for image, _ in loader]


# ---- laws ----


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.float16])
def test_a_batch_keeps_shape_dtype_range_and_labels(bank, dtype):
    images, labels = batch_of(9, dtype=dtype)
    before, labels_before = images.clone(), labels.clone()
    out, out_labels = RandomVAEJitter(bank, p=1)(images, labels)
    assert out.shape == images.shape
    assert out.dtype == dtype
    assert out.min() >= 0
    assert out.max() <= (255 if dtype == torch.uint8 else 1)
    assert not torch.equal(out, images)
    assert torch.equal(images, before)
    assert out_labels is labels
    assert torch.equal(labels, labels_before)


def test_p_0_is_the_same_object_and_draws_nothing(bank):
    sample = batch_of(4)
    before = torch.get_rng_state()
    assert RandomVAEJitter(bank, p=0)(sample) is sample
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_that_is_not_chosen_is_the_same_object(bank, image):
    transform = RandomVAEJitter(bank, p=0.3)
    same = sum(transform(image, 0)[0] is image for _ in range(300))
    assert 165 <= same <= 255  # 210, within 5.6 standard deviations


def test_p_is_drawn_for_each_image_of_a_batch(bank):
    images, labels = batch_of(600)
    out, _ = RandomVAEJitter(bank, p=0.3)(images, labels)
    changed = (out != images).flatten(1).any(1).sum()
    assert 120 <= changed <= 240  # 180, within 5.3 standard deviations


@pytest.mark.parametrize("size", [8, 12, 20])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_scale_0_with_detail_gives_the_image_back(bank, size, channels, dtype):
    images, labels = batch_of(5, channels, size, dtype)
    out, _ = RandomVAEJitter(bank.with_policy(keep_detail=True), p=1, scale=0)(images, labels)
    assert torch.equal(out, images)


def test_a_larger_image_keeps_its_detail_whatever_the_policy(bank):
    images, labels = batch_of(5, size=30)
    out, _ = RandomVAEJitter(bank.with_policy(keep_detail=False), p=1, scale=0)(images, labels)
    assert torch.equal(out, images)
    moved, _ = RandomVAEJitter(bank, p=1, scale=2)(images, labels)
    assert not torch.equal(moved, images)


@pytest.mark.parametrize("size", [12, 30])
@pytest.mark.parametrize("keep_detail", [False, True])
def test_it_is_the_banks_own_jitter(bank, keep_detail, size):
    bank = bank.with_policy(keep_detail=keep_detail)
    images, labels = batch_of(6, size=size)
    torch.manual_seed(3)
    mine, _ = RandomVAEJitter(bank, p=1, scale=0.7)(images, labels)
    torch.manual_seed(3)
    torch.rand(6)  # which are jittered
    assert torch.equal(mine, bank.jitter(images, labels, scale=0.7))


def test_manual_seed_reproduces(bank):
    transform, sample = RandomVAEJitter(bank), batch_of(16)
    outs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        outs.append(transform(*sample)[0])
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("keep_detail", [False, True])
def test_alpha_is_kept(bank, colour_bank, channels, keep_detail):
    images, labels = batch_of(6, channels)
    for one in (bank, colour_bank):
        out, _ = RandomVAEJitter(one.with_policy(keep_detail=keep_detail), p=1)(images, labels)
        assert torch.equal(out[:, -1], images[:, -1])
        assert not torch.equal(out[:, :-1], images[:, :-1])


def test_grey_images_stay_grey_with_a_colour_bank(colour_bank):
    images, labels = batch_of(6, 3)
    grey = images[:, :1].expand(-1, 3, -1, -1).contiguous()
    one, _ = RandomVAEJitter(colour_bank, p=1)(images[:, :1], labels)
    assert one.shape == (6, 1, 12, 12)
    assert RandomVAEJitter(colour_bank, p=1)(grey, labels)[0].shape == (6, 3, 12, 12)


def test_images_of_a_failed_class_stay_as_they_are(bank):
    content = copy.copy(bank.content)
    first = copy.copy(content.class_infos[0])
    object.__setattr__(first, "status", "failed")
    object.__setattr__(content, "class_infos", (first, *content.class_infos[1:]))
    images, labels = batch_of(6)
    out, _ = RandomVAEJitter(type(bank)(content), p=1)(images, labels)
    assert [torch.equal(a, b) for a, b in zip(out, images, strict=True)] == [True, False, False] * 2


def test_autocast_around_it_changes_nothing(bank):
    transform, sample = RandomVAEJitter(bank, p=1), batch_of(6, dtype=torch.float32)
    torch.manual_seed(1)
    plain = transform(*sample)[0]
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(*sample)[0], plain)


# ---- kinds of images ----


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "1", "P", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("label", [1, np.int64(1), torch.tensor(1)])
def test_a_pil_image_keeps_mode_and_size(bank, mode, label):
    image = grey_image(12 if mode == "1" else 15)  # two levels do not show a small difference
    if mode in ("I;16", "F"):
        array = np.asarray(image)
        image = Image.fromarray(array.astype(np.uint16) * 200 if mode == "I;16" else array.astype(np.float32))
    else:
        image = image.convert(mode)
    bank = bank.with_policy(keep_detail=False) if mode == "1" else bank
    out, same = RandomVAEJitter(bank, p=1, scale=5)(image, label)
    assert same is label
    assert (out.mode, out.size) == (image.mode, image.size)
    assert out.tobytes() != image.tobytes()


def test_tv_tensors_stay_what_they_are_and_only_images_change(bank):
    image = tv_tensors.Image(batch_of(1)[0][0])
    sample = {
        "image": image,
        "mask": tv_tensors.Mask(torch.ones(12, 12, dtype=torch.uint8)),
        "boxes": tv_tensors.BoundingBoxes([[1, 1, 5, 5]], format="XYXY", canvas_size=(12, 12)),
        "weight": torch.rand(1, 12, 12),
        "label": 2,
    }
    out = RandomVAEJitter(bank, p=1)(sample)
    assert list(out) == list(sample)
    assert isinstance(out["image"], tv_tensors.Image)
    assert not torch.equal(out["image"], image)
    assert all(out[key] is sample[key] for key in sample if key != "image")


def test_only_the_first_pure_tensor_is_an_image(bank):
    (first, second), _ = batch_of(2)
    out = RandomVAEJitter(bank, p=1)(({"view": first, "extra": second}, 1))
    assert not torch.equal(out[0]["view"], first)
    assert out[0]["extra"] is second


def test_a_label_in_front_is_not_taken_for_the_image(bank):
    image = batch_of(1)[0][0]
    out = RandomVAEJitter(bank, p=1)({"label": torch.tensor(1), "image": image})
    assert not torch.equal(out["image"], image)
    assert out["label"] == 1


def test_several_images_of_a_sample_move_together(bank):
    image = tv_tensors.Image(batch_of(1)[0][0])
    out = RandomVAEJitter(bank, p=1)(image, 1, image.clone())
    assert torch.equal(out[0], out[2])


# ---- where labels are ----


@pytest.mark.parametrize(
    ("sample", "getter"),
    [
        (lambda x, y: (x, y), "default"),
        (lambda x, y: [x, y, "name"], "default"),
        (lambda x, y: {"image": x, "my_label": y}, "default"),
        (lambda x, y: {"image": x, "Labels": y, "label_old": 99}, "default"),
        (lambda x, y: (x, {"labels": y, "id": 7}), "default"),
        (lambda x, y: {"x": x, "cls": y}, lambda sample: sample["cls"]),
        (lambda x, y: (x, "name", [y]), lambda sample: sample[2][0]),
    ],
)
@pytest.mark.parametrize("batched", [False, True])
def test_labels_are_found(bank, sample, getter, batched):
    images, labels = batch_of(3)
    given = sample(images, labels) if batched else sample(images[0], int(labels[0]))
    out = RandomVAEJitter(bank, p=1, labels_getter=getter)(given)
    assert type(out) is type(given)
    assert str(out) != str(given)


def test_an_image_without_its_label_is_refused(bank, image):
    for alone in (image, batch_of(1)[0][0], (image,)):
        with pytest.raises(ValueError, match="needs the label beside the image: call it with both"):
            RandomVAEJitter(bank)(alone)


def test_an_unknown_label_is_named_with_those_the_bank_has(bank, image):
    with pytest.raises(ValueError, match=r"label 7 is not in the bank, which has labels \[0, 1, 2\]"):
        RandomVAEJitter(bank)(image, 7)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.eye(3), r"labels must be integers, one per image, got torch.float32 \[3, 3\]. Put the latent jitter"),
        (torch.tensor([0, 1]), "labels must have one entry per image, got 2 for 3"),
        (1, "labels must have one entry per image, got 1 for 3"),
    ],
)
def test_labels_that_do_not_fit_are_refused(bank, labels, message):
    with pytest.raises(ValueError, match=message):
        RandomVAEJitter(bank)(batch_of(3)[0], labels)


def test_a_getter_that_finds_no_number_is_refused(bank, image):
    with pytest.raises(ValueError, match="labels must be integers, one per image, got None"):
        RandomVAEJitter(bank, labels_getter=lambda _: None)(image, 1)
    with pytest.raises(ValueError, match="labels must be integers, one per image, got 'cat'"):
        RandomVAEJitter(bank, labels_getter=lambda sample: sample[1])(image, "cat")


# ---- what is refused ----


def test_images_it_cannot_read_are_refused(bank):
    images, labels = batch_of(3, dtype=torch.float32)
    transform = RandomVAEJitter(bank)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got values from -0.\d+ to .* before Normalize"):
        transform((images - 0.5) / 0.5, labels)
    with pytest.raises(ValueError, match="got values from nan to nan"):
        transform(torch.full_like(images, float("nan")), labels)
    with pytest.raises(TypeError, match=r"images must be uint8 or float in .*, got torch\.int64"):
        transform(images.long(), labels)
    with pytest.raises(ValueError, match=r"images must be \[C, H, W\] or \[B, C, H, W\], got \[12, 12\]"):
        transform(images[0, 0], 1)
    with pytest.raises(ValueError, match="images must have the bank's 1 channels, got 5"):
        RandomVAEJitter(bank, p=1)(torch.rand(5, 12, 12), 1)
    with pytest.raises(TypeError, match="no image was found in the sample"):
        transform(np.zeros((12, 12), np.uint8), 1)


def test_a_float_image_that_resizing_took_a_little_out_of_range_is_taken(bank):
    images, labels = batch_of(3, dtype=torch.float32)
    out, _ = RandomVAEJitter(bank, p=1)(images * 1.001, labels)
    assert out.max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, r"p must be in \[0, 1\], got 1.5\."),
        ({"p": float("nan")}, r"p must be in \[0, 1\], got nan\."),
        ({"scale": -1}, "scale must be a finite number of at least 0, got -1."),
        ({"scale": float("inf")}, "scale must be a finite number of at least 0, got inf."),
        ({"labels_getter": None}, 'labels_getter must be "default" or a callable, got None.'),
    ],
)
def test_options_are_checked(bank, options, message):
    with pytest.raises(ValueError, match=message):
        RandomVAEJitter(bank, **options)


def test_a_bank_must_be_one(tmp_path):
    with pytest.raises(TypeError, match="bank must be a VAEBank or the path of one, got int"):
        RandomVAEJitter(3)
    with pytest.raises(FileNotFoundError, match="no bank at"):
        RandomVAEJitter(tmp_path / "none.safetensors")


# ---- moves ----


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("detail", [True, False])
def test_an_image_is_the_wrappers_for_the_same_draws(moving, dtype, detail):
    bank, shapes = moving.with_policy(keep_detail=detail), Shapes()
    wrapper = VAEAugmentedDataset(shapes, bank, p_jitter=1.0, p_generate=0.0, seed=3)
    wanted = torch.stack([v2.functional.pil_to_tensor(image) for image, _ in wrapper])
    draws = draw_batch(bank, range(len(shapes)), torch.tensor([[0.0, 1.0, 0.0]]).expand(30, 3), seed=3)
    rows = torch.tensor(shapes.targets)
    params = {"rows": rows, "chosen": torch.ones(30, dtype=torch.bool), "noise": draws.noise, "uniform": draws.moves}
    images = v2.functional.to_dtype(torch.from_numpy(shapes.data)[:, None], dtype, scale=True)
    made = RandomVAEJitter(bank, p=1).transform(images, params)
    assert not torch.equal(made, images)
    made = v2.functional.to_dtype(made, torch.uint8, scale=True)
    assert (made.int() - wanted.int()).abs().max() <= 1  # torchvision rounds down where the wrapper rounds
    if dtype == torch.uint8:
        assert torch.equal(made, wanted)


def test_moves_are_the_policys_a_named_one_or_none(moving):
    sample = batch_of(64)
    made = {}
    for moves in ("policy", "elastic", "affine", None):
        torch.manual_seed(0)
        made[moves] = RandomVAEJitter(moving, p=1, scale=0.0, moves=moves)(*sample)[0]
    assert torch.equal(made["policy"], made["elastic"])
    assert not torch.equal(made["policy"], made["affine"])
    assert torch.equal(made[None], sample[0])
    with pytest.raises(ValueError, match=r"moves must be None or one of 'policy', 'none', .* got 'wild'"):
        RandomVAEJitter(moving, moves="wild")


@pytest.mark.parametrize(
    "beside",
    [
        tv_tensors.Mask(torch.zeros(1, 12, 12)),
        tv_tensors.BoundingBoxes(torch.zeros(1, 4), format="XYXY", canvas_size=(12, 12)),
    ],
)
def test_boxes_and_masks_are_refused_beside_an_image_that_is_moved(moving, image, beside):
    sample = {"image": image, "label": 0, "beside": beside}
    with pytest.raises(ValueError, match=f"{type(beside).__name__} would stay where they are while the image is moved"):
        RandomVAEJitter(moving, p=1)(sample)
    for moves in (None, "values"):
        assert RandomVAEJitter(moving, p=1, moves=moves)(sample)["beside"] is beside


def test_labels_are_found_as_mixup_finds_them(bank):
    images, labels = batch_of(4)
    jitter = RandomVAEJitter(bank, p=1)
    for sample in ({"x": images, "my_label": labels}, {"x": images, "a_label": 0, "Labels": labels}):
        assert not torch.equal(jitter(sample)["x"], images)
    assert not torch.equal(jitter(images, {"labels": labels})[0], images)
    with pytest.raises(ValueError, match="RandomVAEJitter found no labels"):
        jitter({"x": images, "y": labels})


# ---- as an object ----


def test_a_path_is_as_good_as_a_bank(bank, bank_path):
    sample = batch_of(8)
    outs = []
    for given in (bank, bank_path, str(bank_path)):
        torch.manual_seed(0)
        outs.append(RandomVAEJitter(given, p=1)(*sample)[0])
    assert torch.equal(outs[0], outs[1])
    assert torch.equal(outs[0], outs[2])


def test_copies_and_pickles_give_the_same_and_leave_other_devices_behind(bank):
    transform, sample = RandomVAEJitter(bank, p=1, scale=0.5), batch_of(8)
    transform._bank_on[torch.device("meta")] = "a bank on another device"
    torch.manual_seed(0)
    expected = transform(*sample)[0]
    for other in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        torch.manual_seed(0)
        assert torch.equal(other(*sample)[0], expected)
        assert other._bank_on == {}
    assert transform._bank_on


def test_it_says_what_it_is(bank):
    text = repr(RandomVAEJitter(bank, p=0.25))
    assert text == f"RandomVAEJitter(p=0.25, scale=None, moves='policy', bank={bank!r})"


# ---- in a training loop ----


def test_it_works_inside_compose_and_behind_a_loader(bank, record_property):
    record(
        record_property,
        library="torchvision",
        what="RandomVAEJitter in v2.Compose, and behind a DataLoader",
        start_methods=(),
    )
    chain = v2.Compose([v2.PILToTensor(), RandomVAEJitter(bank, p=1), v2.ToDtype(torch.float32, scale=True)])
    images, labels = next(iter(DataLoader(JointShapes(chain), batch_size=4)))
    assert images.dtype == torch.float32
    both = v2.Compose([RandomVAEJitter(bank, p=1), v2.MixUp(num_classes=3)])
    images, labels = both(images, labels)
    assert images.shape == (4, 1, 12, 12)
    assert labels.shape == (4, 3)


def test_it_works_as_a_collate_function(bank):
    def collate(items):
        return transform(default_collate(items))

    transform = RandomVAEJitter(bank, p=1)
    loader = DataLoader(Shapes(transform=v2.PILToTensor()), batch_size=6, collate_fn=collate)
    images, labels = next(iter(loader))
    assert images.shape == (6, 1, 12, 12)
    assert labels.tolist() == [0] * 6


def test_workers_and_epochs_differ_and_manual_seed_reproduces(bank, record_property):
    record(
        record_property,
        library="torchvision",
        what="RandomVAEJitter in workers: fresh in each and in each epoch",
        start_methods=("fork",),
    )
    transform = RandomVAEJitter(bank, p=1, scale=3)
    torch.manual_seed(0)
    first, second = loaded(transform), loaded(transform)
    torch.manual_seed(0)
    again = loaded(transform)
    images = [*first, *second]  # all of the same image
    assert len({image.numpy().tobytes() for image in images}) == len(images)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_spawned_worker_does_as_a_forked_one(bank, record_property):
    record(record_property, library="torchvision", what="RandomVAEJitter in a worker", start_methods=("fork", "spawn"))
    transform = RandomVAEJitter(bank, p=1)
    torch.manual_seed(0)
    forked = loaded(transform, workers=1)
    torch.manual_seed(0)
    spawned = loaded(transform, workers=1, multiprocessing_context="spawn")
    assert all(torch.equal(a, b) for a, b in zip(forked, spawned, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", [{}, {"moves": None, "keep_detail": True}])
@pytest.mark.parametrize("size", [(12, 12), (30, 20), (8, 30)])
def test_the_bank_follows_the_images_to_their_device(bank, size, options):
    transform, (images, labels) = RandomVAEJitter(bank, p=0.5, **options), batch_of(32)
    images = torch.nn.functional.interpolate(images, size=size)
    torch.manual_seed(0)
    expected = transform(images, labels)[0]
    torch.manual_seed(0)
    out, out_labels = transform(images.cuda(), labels.cuda())
    assert out.device.type == out_labels.device.type == "cuda"
    assert (out.cpu().int() - expected.int()).abs().max() <= 2
    moved = transform._bank_for(out.device)
    assert transform._bank_for(out.device) is moved
    assert pickle.loads(pickle.dumps(transform))._bank_on == {}


def test_a_policy_that_leaves_the_vae_out_moves_alone(moving):
    without = moving.with_policy(vae=False)
    sample, made = batch_of(8), []
    for options in ({"scale": 0.0}, {}, {"scale": 0.8}):
        torch.manual_seed(0)
        made.append(RandomVAEJitter(without, p=1, **options)(*sample)[0])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
