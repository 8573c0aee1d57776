from dataclasses import replace

import pytest
import torch

from vae_augment.bank import VAEBank
from vae_augment.bank.file import serialize
from vae_augment.bank.jitter import smoothed
from vae_augment.images.tensors import to_uint8
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.devices import BLOCKS
from vae_augment.model.latent import LatentStats
from vae_augment.model.samplers import SAMPLERS

B = 5
LABELS = torch.tensor([2, 0, 1, 0, 2])


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def images_of(size=(12, 12), seed=0, count=B):
    return torch.randint(256, (count, 1, *size), dtype=torch.uint8, generator=gen(seed))


def within_a_level(a, b):
    """Equal but for rounding: products of other batch sizes differ in their last bit."""
    return int((a.int() - b.int()).abs().max()) <= 1


def assert_same_classes(bank, of, names):
    """The named classes hold the same bits in both banks."""
    for name in names:
        row, other = bank.classes.index(name), of.classes.index(name)
        assert bank.class_infos[row] == of.class_infos[other]
        ours, theirs = bank.content.weights.params([row]), of.content.weights.params([other])
        assert all(torch.equal(ours[n], tensor) for n, tensor in theirs.items())
        for part in ("mean", "cov", "exemplars", "counts"):
            assert torch.equal(getattr(bank.content.stats, part)[row], getattr(of.content.stats, part)[other])


# Every method as a function of (bank, images, labels, generator), its dtype, and whether it makes images.
METHODS = {
    "encode": lambda bank, x, y, g: bank.encode(x, y)[0],
    "encode's logvar": lambda bank, x, y, g: bank.encode(x, y)[1],
    "decode": lambda bank, x, y, g: bank.decode(torch.randn(len(y), bank.latent_dim, generator=gen(4)), y),
    "reconstruct": lambda bank, x, y, g: bank.reconstruct(x, y),
    "sample": lambda bank, x, y, g: bank.sample(y, generator=g),
    "jitter": lambda bank, x, y, g: bank.jitter(x, y, generator=g),
    "jitter keeping detail": lambda bank, x, y, g: bank.jitter(x, y, keep_detail=True, generator=g),
    "interpolate": lambda bank, x, y, g: bank.interpolate(x, x.flip(-1), y, t=0.3),
}
DETERMINISTIC = ["encode", "encode's logvar", "reconstruct", "interpolate"]
BYTES = ["sample", "jitter", "jitter keeping detail", "interpolate"]
OF_IMAGES = [name for name in METHODS if name not in ("decode", "sample")]


# ---- what it holds ----


def test_it_describes_itself(bank):
    assert bank.classes == ("across", "down", "slanted")
    assert bank.class_to_idx == {"across": 0, "down": 1, "slanted": 2}
    assert bank.image_shape == (1, 12, 12)
    assert bank.latent_dim == bank.config.latent_dim == 4
    assert repr(bank) == "VAEBank(3 classes, images 1x12x12, latent_dim=4, data='Shapes')"


# ---- its methods ----


@pytest.mark.parametrize("method", METHODS)
def test_shape_dtype_and_range(bank, method):
    out = METHODS[method](bank, images_of(), LABELS, gen())
    is_code = method.startswith("encode")
    assert out.shape == ((B, 4) if is_code else (B, 1, 12, 12))
    assert out.dtype == (torch.uint8 if method in BYTES else torch.float32)
    assert torch.isfinite(out.float()).all()
    assert is_code or method in BYTES or 0 <= out.min() <= out.max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_batch_gives_an_empty_batch(bank, method):
    out = METHODS[method](bank, images_of(count=0), LABELS[:0], gen())
    assert len(out) == 0


@pytest.mark.parametrize("method", DETERMINISTIC)
def test_a_batch_of_mixed_labels_equals_its_items_one_by_one_in_order(bank, method):
    images = images_of()
    together = METHODS[method](bank, images, LABELS, None)
    alone = torch.cat([METHODS[method](bank, images[i : i + 1], LABELS[i : i + 1], None) for i in range(B)])
    if method in BYTES:
        assert within_a_level(together, alone)
    else:
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_decoding_mixed_labels_equals_decoding_one_by_one(bank):
    z = torch.randn(B, 4, generator=gen())
    alone = torch.cat([bank.decode(z[i : i + 1], LABELS[i : i + 1]) for i in range(B)])
    torch.testing.assert_close(bank.decode(z, LABELS), alone, rtol=1e-4, atol=1e-5)


def test_a_class_larger_than_a_block_is_decoded_whole(bank, monkeypatch):
    z = torch.randn(7, 4, generator=gen())
    whole = bank.decode(z, torch.zeros(7, dtype=torch.long))
    monkeypatch.setitem(BLOCKS, "cpu", 3)
    torch.testing.assert_close(bank.decode(z, torch.zeros(7, dtype=torch.long)), whole, rtol=1e-4, atol=1e-5)


def test_bytes_are_the_nearest_levels_of_what_is_decoded(bank):
    z, rows = torch.randn(B, 4, generator=gen()), LABELS
    assert torch.equal(bank.models.decode(z, rows, as_bytes=True), to_uint8(bank.models.decode(z, rows)))


def test_as_served_items_do_not_depend_on_the_batch(bank):
    x, rows = images_of().float() / 255, LABELS
    z = bank.models.encode(x, rows, block=4)[0]
    decoded = bank.models.decode_each(z, rows)
    for i in range(B):
        one = bank.models.encode(x[i : i + 1], rows[i : i + 1], block=4)[0]
        assert torch.equal(one, z[i : i + 1])
        assert torch.equal(bank.models.decode_each(one, rows[i : i + 1]), decoded[i : i + 1])


@pytest.mark.parametrize("method", ["encode", "reconstruct", "jitter", "interpolate"])
def test_bytes_and_floats_of_the_same_images_give_the_same(bank, method):
    images = images_of()
    by_kind = [METHODS[method](bank, x, LABELS, gen()) for x in (images, images.float() / 255, images.double() / 255)]
    torch.testing.assert_close(by_kind[1], by_kind[0])
    torch.testing.assert_close(by_kind[2], by_kind[0])


def test_reconstruction_is_the_decoded_mean(bank):
    images = images_of()
    assert torch.equal(bank.reconstruct(images, LABELS), bank.decode(bank.encode(images, LABELS)[0], LABELS))


@pytest.mark.parametrize("method", ["encode", "reconstruct"])
def test_larger_images_are_resized_to_the_banks(bank, method):
    small = images_of()
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    out = METHODS[method](bank, large, LABELS, None)
    assert out.shape == METHODS[method](bank, small, LABELS, None).shape


@pytest.mark.parametrize("method", METHODS)
def test_results_can_be_used_in_training(bank, method):
    weight = torch.ones((), requires_grad=True)
    out = METHODS[method](bank, images_of(), LABELS, gen())
    assert not out.is_inference()
    assert not out.requires_grad
    (out.float() * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("method", OF_IMAGES)
def test_the_callers_tensors_are_not_changed(bank, method):
    images, labels = images_of(), LABELS.clone()
    METHODS[method](bank, images, labels, gen())
    assert torch.equal(images, images_of())
    assert torch.equal(labels, LABELS)


# ---- wrong arguments ----


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 7, 0, 9]), r"labels must be among the bank's \[0, 1, 2\], got 7"),
        (torch.tensor([0, 1, -1, 0, 0]), r"labels must be among the bank's \[0, 1, 2\], got -1"),
        (LABELS.float(), r"labels must be int64 \[B\], got torch.float32 \[5\]"),
        (LABELS[:, None], r"labels must be int64 \[B\], got torch.int64 \[5, 1\]"),
    ],
)
def test_wrong_labels_are_named(bank, method, labels, message):
    with pytest.raises(ValueError, match=message):
        METHODS[method](bank, images_of(), labels, gen())


@pytest.mark.parametrize("method", OF_IMAGES)
def test_there_must_be_one_label_an_image(bank, method):
    with pytest.raises(ValueError, match="labels must have one entry per image, got 3 for 5"):
        METHODS[method](bank, images_of(), LABELS[:3], gen())


@pytest.mark.parametrize("method", OF_IMAGES)
@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(B, 3, 12, 12), ValueError, r"images must be \[B, 1, H, W\], got \[5, 3, 12, 12\]"),
        (torch.zeros(B, 12, 12), ValueError, r"images must be \[B, 1, H, W\], got \[5, 12, 12\]"),
        (torch.zeros(B, 1, 12, 12).long(), TypeError, r"images must be uint8 or float .*, got torch.int64"),
        (torch.full((B, 1, 12, 12), 2.0), ValueError, r"float images must be in \[0, 1\], got values from 2 to 2"),
    ],
)
def test_wrong_images_are_named(bank, method, images, error, message):
    with pytest.raises(error, match=message):
        METHODS[method](bank, images, LABELS, gen())


@pytest.mark.parametrize("z", [torch.zeros(B, 3), torch.zeros(4)])
def test_latents_of_another_shape_are_refused(bank, z):
    with pytest.raises(ValueError, match=r"z must be \[B, 4\], got \["):
        bank.decode(z, LABELS)


@pytest.mark.parametrize("scale", [-1, float("nan"), float("inf")])
def test_a_bad_scale_is_named(bank, scale):
    with pytest.raises(ValueError, match=f"scale must be a finite number of at least 0, got {scale}"):
        bank.jitter(images_of(), LABELS, scale=scale)


def test_an_unknown_method_is_named(bank):
    with pytest.raises(ValueError, match=r"method must be one of 'exemplar', 'gaussian', 'prior', .*got 'gan'"):
        bank.sample(LABELS, method="gan")


def test_a_bad_temperature_is_named(bank):
    with pytest.raises(ValueError, match="temperature must be a finite number of at least 0, got -1"):
        bank.sample(LABELS, temperature=-1)


# ---- sampling ----


@pytest.mark.parametrize("method", SAMPLERS)
def test_a_sample_depends_on_its_generator_alone(bank, method):
    torch.manual_seed(1)
    first = bank.sample(LABELS, method=method, generator=gen(3))
    torch.manual_seed(2)
    assert torch.equal(bank.sample(LABELS, method=method, generator=gen(3)), first)
    assert not torch.equal(bank.sample(LABELS, method=method, generator=gen(4)), first)


@pytest.mark.parametrize("method", ["sample", "jitter"])
def test_without_a_generator_the_global_one_decides(bank, method):
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(METHODS[method](bank, images_of(), LABELS, None))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize("method", ["sample", "jitter"])
def test_an_item_does_not_depend_on_the_labels_of_others(bank, method):
    other = torch.tensor([2, 1, 1, 2, 2])
    first = METHODS[method](bank, images_of(), LABELS, gen())
    second = METHODS[method](bank, images_of(), other, gen())
    same = other == LABELS
    assert within_a_level(first[same], second[same])
    assert not within_a_level(first[~same], second[~same])


def test_items_of_a_class_differ(bank):
    drawn = bank.sample(torch.zeros(8, dtype=torch.long), method="prior", generator=gen())
    assert len(drawn.unique(dim=0)) > 1


def test_the_method_is_the_policys_by_default(bank):
    drawn = {m: bank.sample(LABELS, method=m, generator=gen()) for m in SAMPLERS}
    for method in SAMPLERS:
        assert torch.equal(bank.with_policy(method=method).sample(LABELS, generator=gen()), drawn[method])


# ---- jitter ----


@pytest.mark.parametrize("size", [(12, 12), (24, 30), (9, 8)])
def test_no_jitter_with_detail_kept_gives_the_very_images_back(bank, size):
    images = images_of(size)
    assert torch.equal(bank.jitter(images, LABELS, scale=0, keep_detail=True), images)


def test_no_jitter_without_detail_gives_the_reconstructions(bank):
    images = images_of()
    expected = to_uint8(bank.reconstruct(images, LABELS))
    assert torch.equal(bank.jitter(images, LABELS, scale=0, keep_detail=False), expected)


@pytest.mark.parametrize("keep_detail", [True, False])
@pytest.mark.parametrize("size", [(24, 30), (8, 9)])
def test_jitter_keeps_the_size_of_the_images(bank, keep_detail, size):
    out = bank.jitter(images_of(size), LABELS, scale=1.0, keep_detail=keep_detail, generator=gen())
    assert out.shape == (B, 1, *size)
    assert out.dtype == torch.uint8


def test_jitter_moves_further_with_scale(bank):
    images = images_of()
    still = bank.jitter(images, LABELS, scale=0, keep_detail=False).float()
    moves = [
        (bank.jitter(images, LABELS, scale=s, keep_detail=False, generator=gen()).float() - still).abs().mean()
        for s in (0.5, 2.0, 8.0)
    ]
    assert 0 < moves[0] < moves[1] < moves[2]


def test_scale_and_detail_are_the_policys_by_default(bank):
    images = images_of()
    tuned = bank.with_policy(scale=3.0, keep_detail=True)
    expected = bank.jitter(images, LABELS, scale=3.0, keep_detail=True, generator=gen())
    assert torch.equal(tuned.jitter(images, LABELS, generator=gen()), expected)
    assert not torch.equal(bank.jitter(images, LABELS, generator=gen()), expected)


def test_a_smoothed_difference_changes_an_image_slowly_from_place_to_place(bank):
    images = torch.full((B, 1, 48, 48), 128, dtype=torch.uint8)
    changes = {}
    for smooth in (False, True):
        made = bank.with_policy(smooth=smooth).jitter(images, LABELS, scale=4.0, keep_detail=True, generator=gen())
        changes[smooth] = made.float() - 128
    steep = {smooth: change.diff(dim=3).abs().mean() / change.abs().mean() for smooth, change in changes.items()}
    assert 0 < steep[True] < 0.6 * steep[False]


def test_a_smoothed_difference_of_a_code_that_did_not_move_gives_the_image_back(bank):
    images = images_of((24, 30))
    assert torch.equal(bank.with_policy(smooth=True).jitter(images, LABELS, scale=0, keep_detail=True), images)


def test_smoothing_is_of_means_and_leaves_what_is_even():
    even = torch.linspace(-1, 1, 6).view(2, 3, 1, 1).expand(2, 3, 64, 50)
    torch.testing.assert_close(smoothed(even), even[:, :, :16, :13])
    edge = (torch.arange(64) >= 32).float().expand(1, 1, 64, 64)
    assert smoothed(edge).diff(dim=3).max() <= 1 / 3 + 1e-6


# ---- interpolation ----


@pytest.mark.parametrize("t", [0, 1, torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])], ids=["0", "1", "one a pair"])
def test_interpolation_ends_at_the_reconstructions(bank, t):
    a, b = images_of(), images_of(seed=1)
    ends = torch.as_tensor(t).expand(B).view(B, 1, 1, 1)
    expected = torch.where(ends == 0, bank.reconstruct(a, LABELS), bank.reconstruct(b, LABELS))
    assert within_a_level(bank.interpolate(a, b, LABELS, t=t), to_uint8(expected))


def test_interpolation_goes_straight_through_latent_space(bank):
    a, b = images_of(), images_of(seed=1)
    middle = (bank.encode(a, LABELS)[0] + bank.encode(b, LABELS)[0]) / 2
    assert within_a_level(bank.interpolate(a, b, LABELS, t=0.5), to_uint8(bank.decode(middle, LABELS)))


@pytest.mark.parametrize("t", [torch.rand(3), torch.rand(2, 2)])
def test_a_t_for_another_number_of_pairs_is_refused(bank, t):
    with pytest.raises(ValueError, match=r"t must be .*\[B\]"):
        bank.interpolate(images_of(), images_of(), LABELS, t=t)


# ---- other banks ----


@pytest.mark.parametrize("classes", [["slanted", "across"], [2, 0], ["across", 2, "across"]])
def test_a_subset_keeps_labels_order_and_every_bit(bank, classes):
    some = bank.subset(classes)
    assert some.class_to_idx == {"across": 0, "slanted": 2}
    assert_same_classes(some, bank, ["across", "slanted"])
    images, labels = images_of(), torch.tensor([2, 0, 0, 0, 2])
    assert torch.equal(some.jitter(images, labels, generator=gen()), bank.jitter(images, labels, generator=gen()))
    with pytest.raises(ValueError, match=r"labels must be among the bank's \[0, 2\], got 1"):
        some.sample(torch.tensor([1]))


@pytest.mark.parametrize("classes", [["round"], [3], ["0"]])
def test_a_subset_of_unknown_classes_is_refused(bank, classes):
    with pytest.raises(ValueError, match=r"bank has no class ('round'|3|'0'); it has 'across' \(label 0\), "):
        bank.subset(classes)


def test_quality_is_that_of_all_classes_and_leaves_with_them(bank):
    whole = bank.with_data(quality={"rmse": 0.1}, name="shapes")
    first, *others = whole.classes
    assert whole.subset(whole.classes).data == whole.data
    part, rest = whole.subset([first]), whole.subset(others)
    for data in (part.data, rest.data, VAEBank.merge(part, rest).data):
        assert "quality" not in data
        assert data["name"] == "shapes"


def test_a_subset_of_nothing_is_refused(bank):
    with pytest.raises(ValueError, match="classes must name at least one class"):
        bank.subset([])


@pytest.mark.parametrize("first", [["down"], ["across", "slanted"], ["slanted"]])
def test_merging_the_parts_of_a_bank_gives_its_bytes_back(bank, first):
    rest = [name for name in bank.classes if name not in first]
    merged = VAEBank.merge(bank.subset(first), bank.subset(rest))
    assert merged.classes == bank.classes
    assert serialize(merged.content) == serialize(bank.content)


def test_merging_banks_of_different_numbers_of_exemplars_keeps_both_sets(bank):
    content = bank.subset(["across"]).content
    stats = replace(content.stats, exemplars=content.stats.exemplars[:, :4], counts=torch.tensor([4]))
    few = VAEBank(replace(content, stats=stats))
    merged = VAEBank.merge(bank.subset(["down", "slanted"]), few)
    assert merged.content.stats.counts.tolist() == [4, 10, 10]
    assert torch.equal(merged.content.stats.exemplars[0, :4], few.content.stats.exemplars[0])
    assert_same_classes(merged, bank, ["down", "slanted"])


def test_banks_that_share_a_class_are_not_merged(bank):
    with pytest.raises(ValueError, match="each class needs a name of its own, got 'down' more than once"):
        VAEBank.merge(bank.subset(["across", "down"]), bank.subset(["down", "slanted"]))


def test_banks_that_share_a_label_are_not_merged(bank):
    content = bank.subset(["down"]).content
    renamed = VAEBank(replace(content, class_infos=(replace(content.class_infos[0], name="up"),)))
    with pytest.raises(ValueError, match="each class needs a label of its own, got 1 more than once"):
        VAEBank.merge(bank, renamed)


def test_banks_of_other_shapes_are_not_merged(bank):
    wider = VAEBank(replace(bank.subset(["down"]).content, vae=ConvVAE((1, 12, 12), 4, width=16)))
    with pytest.raises(ValueError, match="must have VAEs of the same shapes, got "):
        VAEBank.merge(bank.subset(["across"]), wider)


def test_moving_to_a_device_keeps_everything(bank):
    moved = bank.to("cpu")
    assert moved.device == torch.device("cpu")
    assert moved.sha256 == bank.sha256
    assert torch.equal(moved.sample(LABELS, generator=gen()), bank.sample(LABELS, generator=gen()))


def test_a_changed_policy_or_data_leaves_the_bank_it_came_from_alone(bank):
    before, policy = bank.sha256, bank.policy
    changed = bank.with_policy(p_jitter=0.25).with_data(name="bars")
    assert (changed.policy.p_jitter, changed.data["name"]) == (0.25, "bars")
    assert changed.policy.p_generate == bank.policy.p_generate
    assert serialize(bank.content) == serialize(bank.to("cpu").content)
    assert bank.sha256 == before != changed.sha256
    assert (bank.policy, bank.data["name"]) == (policy, "Shapes")
    assert policy.p_jitter != 0.25


def test_a_policy_has_no_other_fields(bank):
    with pytest.raises(TypeError, match="p_mixup"):
        bank.with_policy(p_mixup=0.5)


def test_a_merged_bank_draws_by_a_method_that_all_its_classes_serve(bank):
    low, high = bank.subset([0]), bank.subset([1, 2])
    stats = high.content.stats
    bare = LatentStats(stats.mean, stats.cov, stats.exemplars[:, :0], torch.zeros_like(stats.counts))
    merged = VAEBank.merge(low, VAEBank(replace(high.content, stats=bare)))
    assert merged.policy.method == "gaussian"
    assert merged.sample(torch.tensor([0, 1, 2])).shape == (3, *bank.image_shape)
