import pytest
import torch

from vae_augment.learning_curve import POINTS, LearningCurve, blank, ends

FINITE = torch.tensor([True, True])


def recorded(steps, losses, finite=lambda step: FINITE):
    """The curves of two classes whose losses are `losses(step)` and its negative, and the points told."""
    curve, told = LearningCurve(2, steps, torch.device("cpu")), []
    for step in range(steps):
        values = torch.tensor([losses(step), -losses(step)])
        point = curve.add(step, values, values.abs() * 10, finite(step))
        if point is not None:
            told.append((step + 1, point))
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
