import pytest
import torch

from vae_augment.exporting.quantized import LEVELS, quantized, restored


def codes(images=200, dims=5, classes=3):
    draws = torch.Generator().manual_seed(0)
    rows = torch.randint(0, classes, (images,), generator=draws)
    return torch.randn(images, dims, generator=draws) * torch.logspace(-3, 2, dims) + rows[:, None], rows


def test_single_precision_is_kept_as_it_is():
    z, rows = codes()
    assert torch.equal(restored(quantized(z, rows, 3, "float32"), rows), z)


def test_half_precision_is_off_by_half_a_unit_in_its_last_place():
    z, rows = codes()
    back = restored(quantized(z, rows, 3, "float16"), rows)
    assert ((back - z).abs() <= z.abs() * 2**-11 + 2**-25).all()


def test_a_byte_is_off_by_half_a_step_of_its_class_and_dimension():
    z, rows = codes()
    kept = quantized(z, rows, 3, "int8")
    assert (kept.values.dtype, kept.step.shape, kept.offset.dtype) == (torch.int8, (3, 5), torch.float32)
    for row in range(3):
        own = z[rows == row]
        assert torch.allclose(kept.step[row], (own.amax(0) - own.amin(0)) / (2 * LEVELS))
        assert (kept.values[rows == row].amax(0), kept.values[rows == row].amin(0)) == (
            pytest.approx(torch.full((5,), LEVELS)),
            pytest.approx(torch.full((5,), -LEVELS)),
        )
    assert ((restored(kept, rows) - z).abs() <= 0.5001 * kept.step[rows] + 1e-6).all()


def test_one_class_of_odd_codes_costs_the_others_nothing():
    z, rows = codes()
    before = restored(quantized(z, rows, 3, "int8"), rows)
    z[rows == 1] *= 1e6
    after = restored(quantized(z, rows, 3, "int8"), rows)
    assert torch.equal(before[rows != 1], after[rows != 1])


def test_dimensions_that_do_not_vary_and_classes_without_images():
    rows = torch.tensor([0, 0, 2])
    z = torch.tensor([[1.5, -3e30], [1.5, 3e30], [7.0, 0.0]])
    kept = quantized(z, rows, 4, "int8")
    back = restored(kept, rows)
    assert torch.equal(back[:, 0], z[:, 0])
    assert torch.allclose(back[:, 1], z[:, 1])
    assert torch.equal(kept.step[[1, 3]], torch.zeros(2, 2))
    assert torch.equal(kept.offset[[1, 3]], torch.zeros(2, 2))


def test_what_is_too_large_for_half_precision_is_refused():
    with pytest.raises(ValueError, match="float16 holds numbers up to 65504, got a code of 70000"):
        quantized(torch.tensor([[7e4]]), torch.tensor([0]), 1, "float16")


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'float16', 'int8', got 'int4'"):
        quantized(torch.zeros(1, 1), torch.tensor([0]), 1, "int4")
