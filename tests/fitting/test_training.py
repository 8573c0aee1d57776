import io
from contextlib import nullcontext

import pytest
import torch
from tqdm import tqdm

from vae_augment.fitting import callbacks, training
from vae_augment.fitting.callbacks import Callback, KeepState, Progress
from vae_augment.fitting.checkpoint import Checkpoint
from vae_augment.fitting.divergence import MOST_SKIPPED
from vae_augment.fitting.learning_curve import blank
from vae_augment.fitting.training import Job, train
from vae_augment.images.moves import AFFINE
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.devices import flush_denormals
from vae_augment.model.vae import pick, stack

VAE_8 = ConvVAE((1, 8, 8), 3, width=8)
CPU = torch.device("cpu")
K = 2


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def started(classes=K):
    return stack([VAE_8.init(gen(k)) for k in range(classes)])


def jobs(classes=range(K), count=6, moves=AFFINE.draw):
    return [
        Job(torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=gen(50 + k)), gen(k), moves)
        for k in classes
    ]


def run(params, todo, steps=6, **options):
    return train(VAE_8, params, todo, steps=steps, device=CPU, **{"batch_size": 8, "learning_rate": 1e-3, **options})


def assert_equal(params, expected):
    assert all(torch.equal(params[name], expected[name]) for name in expected)


def poison(monkeypatch, steps):
    """From now on the loss of class 0, and so its gradient, is not a number at the given steps."""
    plain, calls = ConvVAE.loss, iter(range(10_000))

    def loss(self, params, images, noise):
        parts = plain(self, params, images, noise)
        if next(calls) not in steps:
            return parts
        factor = torch.ones(len(images))
        factor[0] = float("nan")
        return parts._replace(reconstruction=parts.reconstruction * factor)

    monkeypatch.setattr(ConvVAE, "loss", loss)


def test_classes_trained_together_equal_classes_trained_apart():
    together, *_ = run(started(), jobs())
    z = torch.randn(1, 4, 3, generator=gen(7))
    for k in range(K):
        apart, *_ = run(pick(started(), [k]), jobs([k]))
        torch.testing.assert_close(VAE_8.decode(pick(together, [k]), z), VAE_8.decode(apart, z), rtol=0, atol=1e-4)
        for name in apart:
            torch.testing.assert_close(together[name][k], apart[name][0], rtol=0, atol=1e-3)


def test_training_lowers_the_loss():
    images = torch.stack([job.images for job in jobs(count=8)]).float() / 255
    noise = torch.randn(K, 8, 3, generator=gen(7))
    trained, notes, _ = run(started(), jobs(count=8, moves=None), steps=60, learning_rate=5e-3)
    assert (VAE_8.loss(trained, images, noise).total < VAE_8.loss(started(), images, noise).total - 5).all()
    assert notes == ["", ""]


def seen_in_training(monkeypatch, moves, batch_size=8):
    """The first class's first batch, float [B, 1, 8, 8]."""
    plain, seen = ConvVAE.loss, []

    def loss(self, params, images, noise):
        seen.append(images[0])
        return plain(self, params, images, noise)

    monkeypatch.setattr(ConvVAE, "loss", loss)
    run(started(), jobs(moves=moves), steps=1, batch_size=batch_size)
    return seen[0]


def test_the_last_quarter_of_a_batch_stays_and_the_rest_moves(monkeypatch):
    batch = seen_in_training(monkeypatch, lambda images, generator: torch.full_like(images, 0.123))
    originals = jobs()[0].images.float() / 255
    assert [bool((image == 0.123).all()) for image in batch] == [True] * 6 + [False] * 2
    assert all(any(torch.equal(image, original) for original in originals) for image in batch[6:])


def test_without_moves_all_images_stay(monkeypatch):
    originals = jobs()[0].images.float() / 255
    batch = seen_in_training(monkeypatch, None)
    assert all(any(torch.equal(image, original) for original in originals) for image in batch)


def test_moves_draw_from_the_jobs_own_generator(monkeypatch):
    given = []

    def moves(images, generator):
        given.append((len(images), generator))
        return images

    todo = jobs([0], moves=moves)
    run(started(1), todo, steps=2)
    assert given == [(6, todo[0].generator)] * 2


def test_no_steps_give_the_weights_back():
    trained, notes, _ = run(started(), jobs(), steps=0)
    assert_equal(trained, started())
    assert notes == ["", ""]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_few_steps_are_taken(steps):
    with tqdm(file=io.StringIO()) as bar:
        trained, notes, _ = run(started(), jobs(), steps=steps, callbacks=[Progress(bar, 3)])
        assert bar.n == 3 * steps
    assert notes == ["", ""]
    assert not torch.equal(trained["decoder.in.weight"], started()["decoder.in.weight"])


def test_the_callers_weights_are_not_changed():
    params = started()
    trained, *_ = run(params, jobs())
    assert_equal(params, started())
    assert not any(tensor.requires_grad for tensor in [*params.values(), *trained.values()])


def test_the_same_randomness_gives_the_same_weights():
    assert_equal(run(started(), jobs())[0], run(started(), jobs())[0])


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    run(started(), jobs())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("first", [0, 5, 28])
def test_a_class_that_fails_for_good_is_noted_and_the_other_trains_as_ever(monkeypatch, first):
    steps = 40
    healthy, *_ = run(started(), jobs(), steps=steps)
    before, *_ = run(started(), jobs(), steps=first) if first else (started(),)
    poison(monkeypatch, range(first, steps))
    trained, notes, _ = run(started(), jobs(), steps=steps)
    assert notes[1] == ""
    where = f"loss not finite at step {first + MOST_SKIPPED} (reconstruction nan, KL "
    assert notes[0].startswith(where)
    assert notes[0].endswith(f"), nor in the {MOST_SKIPPED} steps before")
    assert_equal(pick(trained, [1]), pick(healthy, [1]))
    assert all(torch.isfinite(tensor).all() for tensor in trained.values())
    if not first:
        assert_equal(pick(trained, [0]), pick(before, [0]))


@pytest.mark.parametrize("bad", [[7], [0], [7, 8], [3, 29], range(20, 20 + MOST_SKIPPED)])
def test_steps_of_a_loss_that_is_bad_for_a_moment_are_left_out(monkeypatch, bad):
    poison(monkeypatch, bad)
    trained, notes, _ = run(started(), jobs(), steps=35)
    assert notes == ["", ""]
    assert all(torch.isfinite(tensor).all() for tensor in trained.values())
    assert not torch.equal(trained["decoder.in.weight"][0], started()["decoder.in.weight"][0])


def test_a_step_that_is_left_out_changes_no_weight(monkeypatch):
    poison(monkeypatch, range(6, 7))
    seen = []

    class Weights(Callback):
        def on_step(self, training):
            seen.append(training.weights["decoder.in.weight"].detach().clone())

    run(started(), jobs(), steps=8, callbacks=[Weights()])
    assert torch.equal(seen[6][0], seen[5][0])
    assert not torch.equal(seen[6][1], seen[5][1])
    assert not torch.equal(seen[7][0], seen[6][0])


def test_a_gradient_that_is_not_finite_spoils_no_weight(monkeypatch):
    class Spoil(Callback):
        def on_start(self, training):
            weight = training.weights["decoder.in.weight"]
            weight.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([0]), float("inf")))

    trained, notes, _ = run(started(), jobs(), steps=4, callbacks=[Spoil()])
    assert_equal(pick(trained, [0]), pick(started(), [0]))
    assert notes[0].startswith("no loss was finite up to step 3 ")
    assert notes[1] == ""


def test_weights_that_are_not_finite_to_begin_with_are_noted():
    params = started()
    params["decoder.in.weight"][0, 0, 0] = float("inf")
    _, notes, _ = run(params, jobs())
    assert notes[0].startswith("no loss was finite")
    assert notes[1] == ""


@pytest.mark.parametrize("moves", [AFFINE.draw, None])
def test_a_class_of_one_image_trains(moves):
    trained, notes, _ = run(started(1), jobs([0], count=1, moves=moves))
    assert notes == [""]
    assert not torch.equal(trained["decoder.in.weight"], started(1)["decoder.in.weight"])


def test_a_batch_may_hold_one_image():
    trained, notes, _ = run(started(), jobs(), batch_size=1)
    assert notes == ["", ""]
    assert all(torch.isfinite(tensor).all() for tensor in trained.values())


VAE_32 = ConvVAE((3, 32, 32), 4, width=8)


def photographs(count=6):
    images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=gen(9))
    return [Job(images, gen(0), AFFINE.draw)]


@pytest.mark.parametrize(
    ("vae", "known", "expected"), [(VAE_32, True, True), (VAE_32, False, False), (VAE_8, True, False)]
)
def test_larger_images_are_trained_in_bfloat16_where_the_processor_computes_in_it(vae, known, expected, monkeypatch):
    plain, seen = ConvVAE.loss, []

    def loss(self, *arguments):
        seen.append(torch.is_autocast_enabled("cpu"))
        return plain(self, *arguments)

    monkeypatch.setattr(ConvVAE, "loss", loss)
    monkeypatch.setattr(training, "computes_bfloat16", lambda device: known)
    todo = photographs() if vae is VAE_32 else jobs([0])
    trained, notes, _ = train(
        vae, vae.init(gen()), todo, steps=3, batch_size=4, learning_rate=1e-3, device=torch.device("cpu")
    )
    assert seen == [expected] * 3
    assert notes == [""]
    assert {tensor.dtype for tensor in trained.values()} == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in trained.values())


@pytest.mark.parametrize("classes", [1, 2])
def test_gradients_in_bfloat16_point_the_way_of_float32s(classes):
    params = stack([VAE_32.init(gen(k)) for k in range(classes)])
    images = torch.rand(classes, 16, 3, 32, 32, generator=gen(1))
    noise = torch.randn(classes, 16, 4, generator=gen(2))
    gradients = []
    for in_bfloat16 in (False, True):
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in params.items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            loss = VAE_32.loss(leaves, images, noise).total
        assert loss.dtype == torch.float32
        loss.sum().backward()
        gradients.append({name: leaf.grad for name, leaf in leaves.items()})
    for name, exact in gradients[0].items():
        assert gradients[1][name].dtype == torch.float32
        assert torch.cosine_similarity(exact.flatten(), gradients[1][name].flatten(), dim=0) > 0.99, name


@pytest.mark.parametrize(
    ("device", "known", "expected"),
    [
        ("cpu", {"avx512_bf16": True, "amx_bf16": False}, True),
        ("cpu", {"avx512_bf16": False, "amx_bf16": True}, True),
        ("cpu", {"avx512_bf16": False, "amx_bf16": False}, False),
        ("cpu", {"architecture": "aarch64"}, False),
        ("cpu", None, False),
        ("cuda", {"avx512_bf16": True}, False),
    ],
)
def test_a_processor_computes_bfloat16_only_with_instructions_for_it(device, known, expected, monkeypatch):
    if known is None:  # PyTorch before 2.10
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert training.computes_bfloat16.__wrapped__(torch.device(device)) == expected


def is_flushing():
    return float(torch.tensor([1e-310], dtype=torch.float64).mul(1.0).mul(1e10)[0]) == 0.0


@pytest.mark.parametrize("was_on", [True, False])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt("stop")], ids=["done", "ctrl-c"])
def test_flushing_denormals_puts_the_setting_back(was_on, error):
    if not torch.set_flush_denormal(was_on):
        pytest.skip("this processor cannot flush denormals")
    ending = nullcontext() if error is None else pytest.raises(KeyboardInterrupt, match="stop")
    try:
        with ending, flush_denormals():
            assert is_flushing()
            if error:
                raise error
        assert is_flushing() == was_on
    finally:
        torch.set_flush_denormal(False)


# ---- learning curves ----


def test_the_curve_of_a_class_does_not_depend_on_the_others():
    together = run(started(), jobs(), steps=40).curves
    apart = torch.cat([run(pick(started(), [k]), jobs([k]), steps=40).curves for k in range(K)])
    torch.testing.assert_close(together.float(), apart.float(), rtol=2e-3, atol=2e-3)


def test_a_curve_falls_as_a_class_is_learned():
    reconstruction = run(started(), jobs(count=8, moves=None), steps=200, learning_rate=5e-3).curves[..., 0]
    assert (reconstruction[:, -1] < reconstruction[:, 0]).all()


def test_a_curve_goes_on_where_a_training_was_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "SECONDS", 0)
    whole = run(started(), jobs(), steps=80).curves

    class Ended(Exception): ...

    class End(Callback):
        def on_step(self, training):
            if training.step == 60:
                raise Ended

    taken = []

    class Taken(Callback):
        def on_step(self, training):
            taken.append(training.step)

    kept = KeepState(Checkpoint(tmp_path, "k"), "training")
    with pytest.raises(Ended):
        run(started(), jobs(), steps=80, callbacks=[kept, End()])
    again = run(started(), jobs(), steps=80, callbacks=[kept, Taken()])
    assert torch.equal(again.curves, whole)
    assert taken == list(range(50, 80))


def test_no_steps_no_curve():
    assert torch.equal(run(started(), jobs(), steps=0).curves, blank(K))
