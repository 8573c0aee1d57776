"""Banks made to do harm: each is refused in a way that helps, or is a bank that works."""

import json
import os
import shlex
import struct
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save

from tests.commands import run
from tests.growth import TENFOLD, growth
from tests.hostile_files import LAW, loaded_or_refused
from vae_augment import VAEBank
from vae_augment.bank.jitter import jitter
from vae_augment.bank.tensor_file import METADATA_KEY
from vae_augment.files import untrusted_json
from vae_augment.files.untrusted_json import MAX_BYTES, MAX_TEXT, MAX_VALUES

HUGE = 10**400
REPLACED = ("class.weights", "class.steps", "base.weights", "latent.mean", "latent.cov", "latent.exemplars")


@pytest.fixture(scope="module")
def valid(bank_path):
    """The tensors, the metadata and the bytes of a bank."""
    with safe_open(bank_path, framework="pt") as file:
        metadata = file.metadata()[METADATA_KEY]
    return load_file(bank_path), metadata, bank_path.read_bytes()


@pytest.fixture
def write(valid, tmp_path):
    """Write a bank with some metadata, text or value, and some tensors replaced."""

    def written(metadata=None, **tensors):
        text = valid[1] if metadata is None else metadata if isinstance(metadata, str) else json.dumps(metadata)
        path = tmp_path / "hostile.safetensors"
        path.write_bytes(save({**valid[0], **tensors}, {METADATA_KEY: text}))
        return path

    return written


def changed(valid, *keys_and_value):
    """The metadata with one entry replaced."""
    metadata = json.loads(valid[1])
    *keys, last, value = keys_and_value
    place = metadata
    for key in keys:
        place = place[key]
    place[last] = value
    return metadata


def refused_or_works(path):
    """The law. Returns whether the bank was refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, out, err = run(f"info {shlex.quote(str(path))}")
        bank = loaded_or_refused(VAEBank.load, path)
        if bank is None:
            assert code == 2
            assert len(err.splitlines()) == 1
            return True
        assert code == 0, err
        assert all(c.isprintable() or c == "\n" for c in out)
        labels = torch.tensor([info.label for info in bank.class_infos])
        draws = torch.Generator().manual_seed(0)
        made = bank.sample(labels, generator=draws)
        assert made.shape == (len(labels), *bank.image_shape)
        bank.jitter(made, labels, generator=draws)
        rows, noise = torch.arange(len(labels)), torch.randn(len(labels), bank.latent_dim, generator=draws)
        chosen = torch.rand(len(labels), generator=draws)
        assert torch.isfinite(bank.decode(bank.draw(rows, noise, chosen), labels)).all()
        assert torch.isfinite(jitter(bank, made.float() / 255, rows, noise)).all()
    return False


# ---- what is no file of a bank's ----


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="file is not a bank, or is cut off"):
        VAEBank.load(tmp_path / "file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"no bank at .*pipe: it is not a regular file\. Name the"):
        VAEBank.load(tmp_path / "pipe")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no devices")
def test_a_device_is_refused():
    with pytest.raises(ValueError, match="no bank at /dev/zero: it is not a regular file"):
        VAEBank.load("/dev/zero")


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 2**60, 2**64 - 1])
def test_a_header_over_the_bound_is_refused_by_its_length(tmp_path, length):
    with (tmp_path / "file").open("wb") as file:
        file.write(struct.pack("<Q", length) + b"{}")
        file.truncate(2 * MAX_BYTES)  # there, for the first of them, but sparse
    with pytest.raises(ValueError, match=rf"header must have at most 67,108,864 bytes, got {length:,}"):
        VAEBank.load(tmp_path / "file")


def test_more_values_than_the_bound_are_refused_before_they_are_parsed(write, monkeypatch):
    text = '{"format":"vae-augment-bank","x":[' + "[]," * (MAX_VALUES // 2) + "[]]}"
    with pytest.raises(ValueError, match="metadata must have at most 2,097,152 values, got more"):
        VAEBank.load(write(text))
    monkeypatch.setattr(untrusted_json, "_once", lambda pairs: pytest.fail("it was parsed"))
    with pytest.raises(ValueError, match="metadata must have at most 2,097,152 values, got more"):
        untrusted_json.parse(text)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda text: text.replace('"latent.cov":', '"latent.mean":', 1),
            r"\(each key must be there once, got 'latent",
        ),
        (
            lambda text: text.replace("{", '{"__metadata__":{},', 1),
            r"\(each key must be there once, got '__metadata__'",
        ),
        (
            lambda text: text.replace('"dtype":', '"dtype":"F32","dtype":', 1),
            "key must be there once, got 'dtype' twice",
        ),
        (lambda text: '{"a":' + "[" * 10**5 + "]" * 10**5 + "," + text[1:], r"\(maximum recursion depth exceeded"),
        (
            lambda text: '{"a":[' + "0," * 2 * MAX_VALUES + "0]," + text[1:],
            r"\(it must have at most 4,194,304 values, got",
        ),
        (lambda text: text[:-1], r"\("),
        (lambda text: "\ud800" + text, "can't decode byte 0xed"),
    ],
    ids=["a tensor twice", "metadata twice", "a type twice", "deep", "many values", "cut off", "no text"],
)
def test_a_header_that_may_be_read_in_two_ways_is_refused(valid, tmp_path, edit, message):
    whole, path = valid[2], tmp_path / "hostile.safetensors"
    end = 8 + int.from_bytes(whole[:8], "little")
    header = edit(whole[8:end].decode().rstrip()).encode(errors="surrogatepass")
    path.write_bytes(struct.pack("<Q", len(header)) + header + whole[end:])
    with pytest.raises(
        ValueError, match=rf"hostile\.safetensors is not a bank, or .*: its header is damaged .*{message}"
    ):
        VAEBank.load(path)
    assert refused_or_works(path)


# ---- what metadata cannot say ----

CASES = [
    (("classes", 0, "images", "many"), "images of class 'across' must be a whole number, got 'many'"),
    (("classes", 0, "images", -1), "images of class 'across' must be at least 0 and of 64 bits, got -1"),
    (("classes", 0, "kl", None), "kl of class 'across' must be a number, got None"),
    (("classes", 0, "kl", float("nan")), r"classes\[0\].kl must be a finite number, got nan"),
    (("classes", 0, "rmse", float("-inf")), r"classes\[0\].rmse must be a finite number, got -inf"),
    (("classes", 0, "note", ["x"]), r"note of class 'across' must be a text, got \['x'\]"),
    (("classes", 0, "label", 2**70), "with label 1180591620717411303424"),
    (("classes", 0, "label", True), "label of class 'across' must be a whole number, got True"),
    (("classes", 0, "label", HUGE), r"classes\[0\].label is out of range: a whole number of 1329 bits"),
    (("classes", 0, "status", []), r"status of class 'across' must be a text, got \[\]"),
    (("classes", 0, "name", "\ud800"), r"classes\[0\].name must be Unicode, got a lone surrogate"),
    (("classes", 0, "name", "x" * 2**21), r"classes\[0\].name must have at most 65,536 characters, got 2,097,152"),
    (("classes", 0, "\ud800", 1), "a key of classes.0. must be Unicode"),
    (("classes", 10**9), "classes of the bank must be a list, got 1000000000"),
    (("classes", [{}] * 100_001), "classes must be a list of 1 to 100,000, got 100001 classes"),
    (("config", "steps", HUGE), r"config.steps is out of range"),
    (("config", "learning_rate", True), "learning_rate of config must be a number, got True"),
    (("config", "preset", {}), r"preset of config must be a text, got {}"),
    (("config", ["steps"]), r"config of the bank must be an object, got \['steps'\]"),
    (("config", "depth", 3), "config has an unknown entry 'depth'"),
    (("policy", "scale", HUGE), "policy.scale is out of range"),
    (("policy", "scale", 1e300), "scale must be a finite number of at least 0, and at most 1000, got 1e"),
    (("policy", "origin", {}), r"origin of the policy must be a text, got {}"),
    (("policy", "method", []), r"method of the policy must be a text, got \[\]"),
    (("value_range", [0, HUGE]), r"value_range\[1\] is out of range"),
    (("value_range", "01"), "value_range of the bank must be a list or null, got '01'"),
    (("value_range", [0, 1, 2]), "value_range must be null or two rising numbers"),
    (("start_steps", HUGE), "start_steps is out of range"),
    (("data", "name", ["x"]), r"data\.name must be a text or null, got \['x'\]"),
    (("data", "images", "60000"), r"data\.images must be a whole number or null, got '60000'"),
    (("data", "seed", 0.5), r"data\.seed must be a whole number or null"),
    (("data", "fingerprint", 3), r"data\.fingerprint must be a text or null"),
    (("data", "quality", [1]), r"data\.quality must be figures"),
    (("data", "quality", {"rmse": "low"}), r"data\.quality must be figures"),
    (("data", [["name", "x"]]), "data of the bank must be an object"),
    (("extra", 1), "the bank has an unknown entry 'extra'"),
]


@pytest.mark.parametrize(("edit", "message"), CASES)
def test_what_metadata_cannot_say_is_refused_by_name(valid, write, edit, message):
    path = write(changed(valid, *edit))
    named = f"hostile.safetensors has damaged metadata: .*{message}.*Copy the file again, or fit the bank again"
    with pytest.raises(ValueError, match=named):
        VAEBank.load(path)
    assert refused_or_works(path)


@pytest.mark.parametrize("version", ["3", True, 3.0, [3], 2**70])
def test_a_version_that_is_not_the_number_is_refused(valid, write, version):
    with pytest.raises(ValueError, match=r"has bank format .*, this vae-augment reads 3\. Upgrade"):
        VAEBank.load(write(changed(valid, "version", version)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"latent_dim":4,"width"', '"latent_dim":4,"latent_dim":4,"width"', "key must be there once, got 'latent_dim'"),
        ('"label":0', '"label":7,"label":0', "key must be there once, got 'label' twice"),
        ('"kl":', '"kl":1e999,"odd":', r"classes\[\d\].kl must be a finite number, got inf"),
        ('"scale":', '"scale":NaN,"odd":', "policy.scale must be a finite number, got nan"),
        ('"images":', '"images":-Infinity,"odd":', "images must be a finite number, got -inf"),
    ],
)
def test_what_is_no_plain_json_is_refused(valid, write, old, new, message):
    assert old in valid[1]
    with pytest.raises(ValueError, match=f"has damaged metadata: .*{message}"):
        VAEBank.load(write(valid[1].replace(old, new, 1)))


def test_many_keys_with_the_last_one_twice_take_time_by_their_number(write):
    def refused(count):
        keys = ",".join(f'"{i}":0' for i in range(count))
        with pytest.raises(ValueError, match="got '7' twice"):
            VAEBank.load(write('{"format":"vae-augment-bank",' + keys + ',"7":0}'))

    assert growth(refused, 20_000) < TENFOLD


def test_as_many_classes_as_there_may_be_are_checked_in_time_by_their_number(valid, write):
    one = json.loads(valid[1])["classes"][0]

    def refused(count):
        classes = [{**one, "name": str(i % (count - 1)), "label": i} for i in range(count)]
        with pytest.raises(ValueError, match="each class needs a name of its own, got '0' more than once"):
            VAEBank.load(write(changed(valid, "classes", classes)))

    assert growth(refused, 10_000) < TENFOLD


@pytest.mark.parametrize("name", ["", " ", "\x1b[2J", "\u202eexe", "a\nb", "x" * MAX_TEXT, "猫", "0\0"])
def test_a_class_may_have_an_odd_name(valid, write, name):
    assert not refused_or_works(write(changed(valid, "classes", 0, "name", name)))


def test_quality_figures_of_another_version_are_said_not_to_be_known(valid, write):
    path = write(changed(valid, "data", "quality", {"rmse": 0.5, "\x1b[2J": 1}))
    assert not refused_or_works(path)
    assert r"quality   not known: quality has an unknown entry '\x1b[2J'" in run(f"info {path}")[1]


# ---- tensors ----


@pytest.mark.parametrize("name", REPLACED)
def test_the_largest_numbers_end_well(valid, write, name):
    tensor = valid[0][name]
    if tensor.dtype == torch.int8:
        huge = {name: torch.full_like(tensor, 127), "class.steps": torch.full_like(valid[0]["class.steps"], 3e38)}
    elif name == "latent.cov":
        huge = {name: 3e38 * torch.eye(tensor.shape[1]).expand_as(tensor).contiguous()}
    else:
        huge = {name: torch.full_like(tensor, torch.finfo(tensor.dtype).max)}
    refused = refused_or_works(write(**huge))
    assert refused or name in ("base.weights", "latent.cov", "latent.exemplars")  # a norm brings these back to size


def test_weights_that_overflow_by_a_product_of_finite_numbers_say_so(valid, write):
    steps = torch.full_like(valid[0]["class.steps"], 1e38)
    with pytest.raises(ValueError, match=r"hostile.safetensors is damaged: .* so large that images overflow\. Copy"):
        VAEBank.load(write(**{"class.steps": steps}))


def test_a_policy_that_draws_from_exemplars_that_are_not_there_is_refused(valid, write):
    counts = torch.zeros_like(valid[0]["latent.counts"])
    with pytest.raises(ValueError, match="is damaged: method='exemplar' needs a bank fitted with exemplars"):
        VAEBank.load(write(changed(valid, "policy", "method", "exemplar"), **{"latent.counts": counts}))


# ---- laws ----

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "\x1b[2J", "", "prior", "gaussian", "exemplar", "none", "elastic"])
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner))


def places(value, where=()):
    """The path of each entry of a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*where, key)
        yield from places(inner, (*where, key))


@LAW
@given(data=st.data())
def test_any_bytes_changed_end_well(valid, tmp_path, data):
    content = bytearray(valid[2])
    header = 8 + int.from_bytes(content[:8], "little")
    within = st.integers(0, header - 1) | st.integers(0, len(content) - 1)
    for place, byte in data.draw(st.lists(st.tuples(within, st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = byte
    path = tmp_path / "bytes.safetensors"
    path.write_bytes(content)
    refused_or_works(path)


@LAW
@given(data=st.data())
def test_any_metadata_ends_well(valid, write, data):
    metadata = json.loads(valid[1])
    for _ in range(data.draw(st.integers(1, 2))):
        where = data.draw(st.sampled_from(sorted(places(metadata), key=str)))
        place = metadata
        for key in where[:-1]:
            place = place[key]
        if data.draw(st.integers(0, 5)) == 0:
            del place[where[-1]]
        else:
            place[where[-1]] = data.draw(VALUES)
        if not metadata:
            break
    refused_or_works(write(metadata))


@LAW
@given(data=st.data())
def test_any_tensors_end_well(valid, write, data):
    tensors = {}
    for name in data.draw(st.lists(st.sampled_from(REPLACED), min_size=1, max_size=3, unique=True)):
        old = valid[0][name]
        draws = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
        if old.dtype == torch.int8:
            tensors[name] = torch.randint(-128, 128, old.shape, generator=draws, dtype=torch.int8)
            continue
        size = 10.0 ** data.draw(st.integers(-40, 38))
        new = torch.randn(old.shape, generator=draws) * size if data.draw(st.booleans()) else old.float() * size
        if name == "latent.cov" and data.draw(st.booleans()):
            new = new @ new.mT
        tensors[name] = new.clamp(-3e38, 3e38).to(old.dtype)
    refused_or_works(write(**tensors))
