import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEBank, fit
from vae_augment.bank.file import read, serialize
from vae_augment.bank.packed_weights import Stored
from vae_augment.bank.tensor_file import METADATA_KEY
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.latent import LatentStats


@pytest.fixture
def damaged(bank_path, tmp_path):
    """Write the bank with its tensors and metadata edited."""

    def write(edit):
        tensors = load_file(bank_path)
        with safe_open(bank_path, framework="pt") as file:
            metadata = json.loads(file.metadata()[METADATA_KEY])
        edit(tensors, metadata)
        path = tmp_path / "damaged.safetensors"
        save_file(tensors, path, {METADATA_KEY: json.dumps(metadata)})
        return path

    return write


def set_tensor(name, change):
    return lambda tensors, metadata: tensors.update({name: change(tensors[name])})


def set_metadata(*keys_and_value):
    *keys, last, value = keys_and_value

    def edit(tensors, metadata):
        for key in keys:
            metadata = metadata[key]
        metadata[last] = value

    return edit


def poisoned(tensor):
    tensor = tensor.clone()
    tensor.view(-1)[-1] = float("nan")
    return tensor


# ---- saving and loading ----


def test_loading_and_saving_gives_equal_bytes(bank, bank_path):
    assert serialize(read(bank_path)) == serialize(bank.content) == bank_path.read_bytes()


def test_the_same_fit_twice_gives_equal_bytes(bank, bank_path):
    assert fit(Shapes(), config=CONFIG, progress=False).sha256 == bank.sha256


def test_another_seed_or_data_gives_other_bytes(bank):
    assert fit(Shapes(), config=CONFIG, progress=False, seed=1).sha256 != bank.sha256
    assert fit(Shapes(seed=1), config=CONFIG, progress=False).sha256 != bank.sha256


def test_a_loaded_bank_does_what_the_saved_one_does(bank, bank_path):
    loaded = VAEBank.load(bank_path)
    labels = torch.tensor([2, 0, 1])
    draws = [b.sample(labels, generator=torch.Generator().manual_seed(0)) for b in (bank, loaded)]
    assert torch.equal(*draws)
    assert loaded.class_infos == bank.class_infos
    assert (loaded.config, loaded.policy, loaded.data) == (bank.config, bank.policy, bank.data)


@pytest.mark.parametrize("classes", [["down"], [2, "across"], ["across", "down", "slanted"], [1, 1]])
def test_loading_some_classes_equals_loading_all_and_picking_them(bank_path, classes):
    assert serialize(read(bank_path, classes)) == serialize(VAEBank.load(bank_path).subset(classes).content)


def test_a_file_of_some_classes_can_be_read_again(bank, tmp_path):
    bank.subset(["down"]).save(tmp_path / "down.safetensors")
    assert VAEBank.load(tmp_path / "down.safetensors").class_to_idx == {"down": 1}


@pytest.mark.parametrize(("sharing", "components"), [("warm-start", 0), ("warm-start", 3), ("none", 0)])
@pytest.mark.parametrize("exemplars", [0, 4])
def test_every_kind_of_bank_survives_its_file(tmp_path, sharing, components, exemplars):
    config = replace(CONFIG, sharing=sharing, components=components, exemplars=exemplars)
    made = fit(Shapes(4), config=config, progress=False)
    made.save(tmp_path / "bank")
    assert serialize(read(tmp_path / "bank")) == serialize(made.content)


def test_class_names_survive_verbatim(bank, tmp_path):
    names = ["猫/😀", "a\nb", 'quote"d']
    infos = tuple(replace(info, name=name) for info, name in zip(bank.class_infos, names, strict=True))
    VAEBank(replace(bank.content, class_infos=infos)).save(tmp_path / "bank")
    assert list(VAEBank.load(tmp_path / "bank").classes) == names


def test_saving_replaces_the_file_and_leaves_no_other(bank, tmp_path):
    for _ in range(2):
        bank.save(tmp_path / "bank")
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_a_bank_that_is_not_finite_is_not_saved(bank, tmp_path):
    content = bank.content
    params = content.weights.params()
    params["decoder.in.bias"] = poisoned(params["decoder.in.bias"])
    for name, start in (("class.steps", content.start.params), ("class.weights", None)):
        weights = Stored.pack(bank.vae, params, start)
        with pytest.raises(ValueError, match=rf"tensor '{name}' .* not finite"):
            VAEBank(replace(content, weights=weights, start=None)).save(tmp_path / "bank")
    assert not list(tmp_path.iterdir())


def test_the_file_holds_no_path_time_or_duration(bank_path):
    with safe_open(bank_path, framework="pt") as file:
        assert list(file.metadata()) == [METADATA_KEY]
        metadata = json.loads(file.metadata()[METADATA_KEY])
    assert sorted(metadata["data"]) == ["fingerprint", "images", "name", "seed", "source"]


# ---- files that are no bank ----


def test_a_missing_file_says_what_makes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no bank at .*nothing\.safetensors.*vae-augment fit"):
        VAEBank.load(tmp_path / "nothing.safetensors")


def test_a_folder_is_no_bank(tmp_path):
    with pytest.raises(ValueError, match=r"no bank at .*: it is a folder\. Name the \.safetensors file"):
        VAEBank.load(tmp_path)


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {METADATA_KEY: "{}"}])
def test_another_safetensors_file_is_no_bank(tmp_path, metadata):
    (tmp_path / "file").write_bytes(save({"weight": torch.zeros(3)}, metadata))
    with pytest.raises(ValueError, match=r"file is a safetensors file but not a bank: `vae-augment fit` makes banks"):
        VAEBank.load(tmp_path / "file")


@pytest.mark.parametrize(
    "text",
    ["", "not json", "[]", "3", "null", '"text"', "[" * 200_000, '{"a":' * 100_000, "9" * 5000, '{"format":"x"}'],
)
def test_metadata_that_cannot_be_read_is_no_bank(tmp_path, text):
    (tmp_path / "file").write_bytes(save({"weight": torch.zeros(3)}, {METADATA_KEY: text}))
    with pytest.raises(ValueError, match="but not a bank"):
        VAEBank.load(tmp_path / "file")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1, 7, 8, 9, 5000])
def test_random_bytes_are_no_bank(tmp_path, seed, size):
    (tmp_path / "file").write_bytes(np.random.default_rng(seed).bytes(size))
    with pytest.raises(ValueError, match="file is not a bank, or is cut off"):
        VAEBank.load(tmp_path / "file")


@pytest.mark.parametrize("share", [0, 1e-5, 0.02, 0.1, 0.5, 0.9, 0.9999])
def test_a_file_cut_off_is_refused(tmp_path, bank_path, share):
    content = bank_path.read_bytes()
    (tmp_path / "file").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="file is not a bank, or is cut off"):
        VAEBank.load(tmp_path / "file")


def test_a_file_with_bytes_behind_is_refused(tmp_path, bank_path):
    (tmp_path / "file").write_bytes(bank_path.read_bytes() + b"more")
    with pytest.raises(ValueError, match="file is not a bank, or is cut off"):
        VAEBank.load(tmp_path / "file")


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}},
        {"x": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 0]}},
        {"x": {"dtype": "F32", "shape": [2**63, 2], "data_offsets": [0, 0]}},
    ],
)
def test_a_header_that_declares_more_than_the_file_holds_is_refused(tmp_path, header):
    text = json.dumps(header).encode()
    (tmp_path / "file").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ValueError, match="file is not a bank, or is cut off"):
        VAEBank.load(tmp_path / "file")


@pytest.mark.parametrize("length", [2**40, 2**63, 2**64 - 1])
def test_a_header_that_declares_a_huge_length_is_refused(tmp_path, length):
    (tmp_path / "file").write_bytes(struct.pack("<Q", length) + b"{}" + b" " * 100)
    with pytest.raises(ValueError, match="file is not a bank, or is cut off"):
        VAEBank.load(tmp_path / "file")


@pytest.mark.parametrize("version", [4, 99, "3", None])
def test_another_version_says_to_upgrade(damaged, version):
    path = damaged(set_metadata("version", version))
    with pytest.raises(ValueError, match=rf"bank format {version!r}, this vae-augment reads 3\. Upgrade vae-augment"):
        VAEBank.load(path)


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_version_says_to_fit_again(damaged, version):
    path = damaged(set_metadata("version", version))
    with pytest.raises(ValueError, match=rf"bank format {version}, this vae-augment reads 3\. Fit the bank again"):
        VAEBank.load(path)


# ---- damaged tensors ----


@pytest.mark.parametrize("name", ["class.weights", "class.base", "latent.cov", "start.pooled", "base.weights"])
def test_a_missing_tensor_is_named(damaged, name):
    with pytest.raises(ValueError, match=rf"damaged\.safetensors is damaged: it lacks tensor '{name}'"):
        VAEBank.load(damaged(lambda tensors, metadata: tensors.pop(name)))


@pytest.mark.parametrize("name", ["class.extra", "pickle", "start.zzz"])
def test_an_unknown_tensor_is_named(damaged, name):
    with pytest.raises(ValueError, match=rf"damaged\.safetensors is damaged: it has an unknown tensor '{name}'"):
        VAEBank.load(damaged(lambda tensors, metadata: tensors.update({name: torch.zeros(1)})))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("class.base", lambda t: t[:2].clone(), r"I64 \[3\], got I64 \[2\]"),
        ("class.base", lambda t: t[:, None].contiguous(), r"I64 \[3\], got I64 \[3, 1\]"),
        ("class.weights", lambda t: t.half(), r"I8 \[3, \d+\], got F16 \[3, \d+\]"),
        ("class.steps", lambda t: t[:, 1:].contiguous(), r"F32 \[3, 17\], got F32 \[3, 16\]"),
        ("base.weights", lambda t: t.float(), r"F16 \[1, \d+\], got F32 \[1, \d+\]"),
        ("latent.cov", lambda t: t[:, :2].contiguous(), r"F32 \[3, 4, 4\], got F32 \[3, 2, 4\]"),
        ("latent.exemplars", lambda t: t[:, :5].contiguous(), r"F16 \[3, 10, 4\], got F16 \[3, 5, 4\]"),
        ("latent.counts", lambda t: t.int(), r"I64 \[3\], got I32 \[3\]"),
        ("start.pooled", lambda t: t[:2].clone(), r"F32 \[4, 4\], got F32 \[2, 4\]"),
    ],
)
def test_a_tensor_of_another_shape_or_type_is_named(damaged, name, change, message):
    with pytest.raises(ValueError, match=rf"is damaged: tensor '{name}' must be {message}"):
        VAEBank.load(damaged(set_tensor(name, change)))


@pytest.mark.parametrize("name", ["class.steps", "base.weights", "latent.mean", "latent.exemplars", "start.pooled"])
@pytest.mark.parametrize("classes", [None, ["slanted"]])
def test_a_number_that_is_not_finite_is_refused(damaged, name, classes):
    with pytest.raises(ValueError, match=rf"tensor '{name}' .* not finite"):
        VAEBank.load(damaged(set_tensor(name, poisoned)), classes)


@pytest.mark.parametrize("count", [-1, 11, 2**62])
def test_a_count_of_exemplars_out_of_range_is_refused(damaged, count):
    with pytest.raises(ValueError, match=r"is damaged: latent.counts is out of range"):
        VAEBank.load(damaged(set_tensor("latent.counts", lambda t: torch.tensor([10, count, 10]))))


@pytest.mark.parametrize("base", [-1, 1, 2**62])
def test_a_start_that_is_not_there_is_refused(damaged, base):
    with pytest.raises(ValueError, match=r"is damaged: class.base is out of range"):
        VAEBank.load(damaged(set_tensor("class.base", lambda t: torch.tensor([0, base, 0]))))


def test_a_covariance_that_nothing_can_be_drawn_from_is_refused(damaged):
    with pytest.raises(ValueError, match=r"latent\.cov"):
        VAEBank.load(damaged(set_tensor("latent.cov", lambda t: -t - 1)))


# ---- damaged metadata ----


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_metadata("latent_dim", 512), "must be I8"),
        (set_metadata("exemplars", 60_000), r"'latent.exemplars' must be F16 \[3, 60000, 4\]"),
        (set_metadata("image_shape", [3, 128, 128]), "damaged: "),
        (set_metadata("latent_dim", 10**30), "latent_dim must be from 1 to 512, got 1000"),
        (set_metadata("width", 10**9), "width must be a multiple of 8, at most 512, got 1000000000"),
        (set_metadata("components", 2), "'base.weights' must be F16"),
        (set_metadata("components", 5), "components must be from 0 to 4 for these images, got 5"),
        (set_metadata("components", -1), "components must be from 0 to 4 for these images, got -1"),
        (set_metadata("components", True), "components of the bank must be a whole number, got True"),
        (set_metadata("exemplars", 10**12), "exemplars must be from 0 to 65,536, got 1000000000000"),
        (set_metadata("image_shape", [1, 10**6, 10**6]), "image_shape must be .* sides of 8 to 256, got"),
        (set_metadata("image_shape", [0, 12, 12]), "image_shape must be .*, got .0, 12, 12"),
        (set_metadata("image_shape", [17, 12, 12]), "image_shape must be of 1 to 16 channels, .*, got .17, 12, 12"),
        (set_metadata("image_shape", [1, 4, 4]), "image_shape must be"),
        (set_metadata("image_shape", [1, 12]), "image_shape must be of .* height and width, got"),
        (set_metadata("image_shape", [1, 12.0, 12]), "image_shape must be of .* height and width, got"),
        (set_metadata("image_shape", 12), "image_shape of the bank must be a list, got 12"),
        (set_metadata("latent_dim", None), "latent_dim of the bank must be a whole number, got None"),
        (set_metadata("exemplars", -1), "exemplars must be from 0 to 65,536, got -1"),
        (set_metadata("classes", []), "0 classes"),
        (set_metadata("classes", None), "damaged metadata"),
        (set_metadata("classes", ["across"]), "damaged metadata"),
        (set_metadata("classes", [{}] * 3), "damaged metadata"),
        (set_metadata("classes", [{}] * 200_000), "damaged metadata"),
        (set_metadata("classes", 0, "shell", "rm"), "damaged metadata: .*shell"),
        (set_metadata("classes", 0, "label", "0"), "label of class 'across' must be a whole number, got '0'"),
        (set_metadata("classes", 0, "name", 7), "name of class 7 must be a text, got 7"),
        (set_metadata("classes", 0, "status", "great"), "status 'great'"),
        (set_metadata("classes", 0, "name", "down"), "each class needs a name of its own, got 'down'"),
        (set_metadata("classes", 0, "label", 1), "each class needs a label of its own, got 1"),
        (set_metadata("config", "latent_dim", -3), "latent_dim must be a whole number"),
        (set_metadata("config", "module", "os.system"), "config has an unknown entry 'module'"),
        (set_metadata("config", None), "damaged metadata"),
        (set_metadata("policy", None), "damaged metadata"),
        (set_metadata("policy", "shell", 1), "damaged metadata: .*shell"),
        (set_metadata("policy", "p_generate", 1.5), "p_generate"),
        (set_metadata("policy", "p_jitter", "often"), "p_jitter"),
        (set_metadata("policy", "p_jitter", float("nan")), "p_jitter"),
        (set_metadata("policy", "scale", -1), "scale"),
        (set_metadata("policy", "method", "magic"), "method"),
        (set_metadata("policy", "moves", "magic"), "moves must be one of .*, got 'magic'"),
        (set_metadata("policy", "moves", []), "damaged metadata"),
        (set_metadata("policy", "tiers", [[20, 0.5, 0.6]]), "damaged metadata: .*tiers"),
        (set_metadata("data", None), "damaged metadata"),
        (set_metadata("start_steps", "many"), "start_steps of the bank must be a whole number or null, got 'many'"),
        (set_metadata("start_steps", -1), "start_steps must be null or at least 0, got -1"),
        (set_metadata("start_steps", None), "unknown tensor 'start"),
        (set_metadata("tuned", False), "unknown tensor 'class.base"),
        (set_metadata("tuned", 1), "tuned of the bank must be true or false, got 1"),
        (set_metadata("bases", 0), "tuned True with 0 bases"),
        (set_metadata("bases", 2), "'base.weights' must be F16"),
        (set_metadata("bases", 10**9), "with 1000000000 bases"),
        (set_metadata("bases", True), "bases of the bank must be a whole number, got True"),
    ],
)
def test_damaged_metadata_is_refused_with_the_reason(damaged, edit, message):
    path = damaged(edit)
    with pytest.raises(ValueError, match=message):
        VAEBank.load(path)


@pytest.mark.parametrize(
    "key",
    [
        "version",
        "image_shape",
        "latent_dim",
        "width",
        "exemplars",
        "tuned",
        "bases",
        "classes",
        "config",
        "policy",
        "data",
        "start_steps",
    ],
)
def test_a_missing_entry_of_the_metadata_is_named(damaged, key):
    path = damaged(lambda tensors, metadata: metadata.pop(key))
    with pytest.raises(ValueError, match=f"{key}|has bank format None"):
        VAEBank.load(path)


def test_a_width_that_the_model_cannot_have_is_refused(bank, tmp_path):
    vae = ConvVAE((1, 12, 12), 4, width=12)
    params = {name: torch.zeros(3, *shape) for name, shape in vae.shapes.items()}
    content = replace(bank.content, vae=vae, start=None, weights=Stored.pack(vae, params, None))
    (tmp_path / "file").write_bytes(serialize(content))
    with pytest.raises(ValueError, match=r"width .*12"):
        VAEBank.load(tmp_path / "file")


@pytest.mark.parametrize("wanted", ["round", 3, "0"])
def test_loading_a_class_that_is_not_there_lists_those_that_are(bank_path, wanted):
    with pytest.raises(ValueError, match=rf"bank has no class {wanted!r}; it has 'across' \(label 0\), 'down' "):
        VAEBank.load(bank_path, ["across", wanted])


def test_loading_no_classes_is_refused(bank_path):
    with pytest.raises(ValueError, match="classes must name at least one class"):
        VAEBank.load(bank_path, [])


# ---- what is held ----


def test_picking_keeps_every_bit(bank):
    picked = bank.content.pick([2, 0])
    assert [info.name for info in picked.class_infos] == ["slanted", "across"]
    assert torch.equal(picked.weights.values, bank.content.weights.values[[2, 0]])
    assert torch.equal(picked.weights.steps, bank.content.weights.steps[[2, 0]])
    assert isinstance(picked.stats, LatentStats)
    assert torch.equal(picked.stats.cov, bank.content.stats.cov[[2, 0]])
