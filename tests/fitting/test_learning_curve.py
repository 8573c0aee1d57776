from dataclasses import replace

import pytest
import torch

from tests.conftest import CONFIG, Shapes
from vae_augment import VAEBank, fit
from vae_augment.bank.content import POINTS
from vae_augment.fitting.learning_curve import LearningCurve, blank, ends

FINITE = torch.tensor([True, True])


def recorded(steps, losses, finite=lambda step: FINITE):
    """The curves of two classes whose losses are `losses(step)` and its negative, and the points told."""
    curve, told = LearningCurve(2, steps, torch.device("cpu")), []
    for step in range(steps):
        values = torch.tensor([losses(step), -losses(step)])
        curve.add(step, values, values.abs() * 10, finite(step))
        if curve.completed is not None:
            told.append((step + 1, curve.completed))
    return curve.values(), told


@pytest.mark.parametrize("steps", [1, 5, POINTS - 1, POINTS, POINTS + 1, 100, 1000])
def test_each_point_is_the_mean_of_its_steps(steps):
    curves, told = recorded(steps, lambda step: step / 8)
    assert curves.shape == (2, POINTS, 2)
    assert curves.dtype == torch.float16
    owned = [[step for step in range(steps) if step * POINTS // steps == point] for point in range(POINTS)]
    for point, own in enumerate(owned):
        mean = sum(own) / len(own) / 8 if own else float(curves[0, max(point - 1, 0), 0])
        torch.testing.assert_close(curves[:, point, 0].float(), torch.tensor([mean, -mean]), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(curves[:, point, 1].float(), torch.tensor([mean, mean]) * 10, rtol=1e-3, atol=1e-2)
    assert [taken for taken, _ in told] == [own[-1] + 1 for own in owned if own]
    for taken, losses in told:
        point = (taken - 1) * POINTS // steps
        torch.testing.assert_close(losses.half(), curves[:, point])
        assert ends(point, steps) == taken


def test_a_class_whose_loss_is_not_finite_misses_that_step_alone():
    broken = lambda step: torch.tensor([True, step % 2 == 0])  # noqa: E731
    curves, _ = recorded(2 * POINTS, float, broken)
    assert curves[0, :, 0].tolist() == [2 * point + 0.5 for point in range(POINTS)]
    assert curves[1, :, 0].tolist() == [-2.0 * point for point in range(POINTS)]


def test_nan_leaves_no_trace():
    curve = LearningCurve(1, 2, torch.device("cpu"))
    curve.add(0, torch.tensor([float("nan")]), torch.tensor([float("inf")]), torch.tensor([False]))
    curve.add(1, torch.tensor([2.0]), torch.tensor([3.0]), torch.tensor([True]))
    assert curve.values()[0].tolist() == [[2.0, 3.0]] * POINTS  # the point after it


def test_a_class_without_a_step_is_all_zeros():
    curve = LearningCurve(1, 10, torch.device("cpu"))
    curve.add(0, torch.tensor([float("nan")]), torch.tensor([1.0]), torch.tensor([False]))
    assert torch.equal(curve.values(), blank(1))


def test_large_losses_are_bounded():
    curve = LearningCurve(1, 1, torch.device("cpu"))
    curve.add(0, torch.tensor([1e9]), torch.tensor([1e30]), torch.tensor([True]))
    assert torch.isfinite(curve.values()).all()


# ---- in a bank ----


def test_a_bank_keeps_a_curve_of_each_training(bank, tmp_path):
    curves, start = bank.content.curves, bank.content.start.curve
    assert curves.shape == (3, POINTS, 2)
    assert start.shape == (POINTS, 2)
    assert bool(curves.any((1, 2)).all())
    bank.save(tmp_path / "bank.safetensors")
    again = VAEBank.load(tmp_path / "bank.safetensors").content
    assert torch.equal(again.curves, curves)
    assert torch.equal(again.start.curve, start)


def test_curves_go_with_their_classes(bank):
    curves = bank.content.curves
    assert torch.equal(bank.subset([2, 0]).content.curves, curves[[0, 2]])
    merged = VAEBank.merge(bank.subset([2]), bank.subset([0, 1]))
    assert torch.equal(merged.content.curves, curves)


def test_a_fit_that_goes_on_from_a_start_keeps_the_others_curves(bank):
    again = fit(Shapes(seed=1), config=CONFIG, classes=["down"], start=bank, progress=False).content
    assert torch.equal(again.curves[[0, 2]], bank.content.curves[[0, 2]])
    assert not torch.equal(again.curves[1], bank.content.curves[1])
    assert torch.equal(again.start.curve, bank.content.start.curve)


def test_without_a_warm_start_all_steps_are_in_a_classes_own_curve():
    content = fit(Shapes(), config=replace(CONFIG, sharing="none"), progress=False).content
    assert content.start is None
    assert bool(content.curves.any((1, 2)).all())
