"""Predictions averaged over moved copies, and adjusted for how often classes were seen."""

import pytest
import torch
from torch import nn

from tests.conftest import CONFIG, Shapes
from vae_augment import evaluate
from vae_augment.evaluation.prediction import Counted, Prediction

EVENLY = torch.full((3,), 10.0)


class Fixed(nn.Module):
    """The same logits for every image."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images):
        return self.logits.expand(len(images), -1)


class OfEdge(nn.Module):
    """Class 1 where the image's corner is lit."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images):
        lit = images[:, 0, 0, 0] * self.weight
        return torch.stack([torch.full_like(lit, 0.5), lit, torch.full_like(lit, -9)], 1) * 4


def test_rare_classes_gain_by_the_log_of_how_often_they_were_seen():
    images, model = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), Fixed(1.0, 0.0, -3.0)
    assert Prediction()(model, images, EVENLY, 0).tolist() == [0] * 4
    assert Prediction(adjusted=True)(model, images, EVENLY, 0).tolist() == [0] * 4
    assert Prediction(adjusted=True)(model, images, torch.tensor([99.0, 9.0, 9.0]), 0).tolist() == [1] * 4
    assert Prediction(adjusted=True)(model, images, torch.tensor([99.0, 99.0, 0.0]), 0).tolist() == [2] * 4


def test_copies_are_moved_and_drawn_by_seed():
    images = torch.zeros(200, 1, 16, 16, dtype=torch.uint8)
    images[:, :, 0, 0] = 255
    assert Prediction()(OfEdge(), images, EVENLY, 0).tolist() == [1] * 200
    averaged = [Prediction(copies=4)(OfEdge(), images, EVENLY, seed) for seed in (0, 0, 1)]
    assert 0 < (averaged[0] == 0).sum() < 200
    assert torch.equal(averaged[0], averaged[1])
    assert not torch.equal(averaged[0], averaged[2])


def test_labels_are_counted_whole_or_mixed():
    images = torch.zeros(2, 1, 8, 8)
    counted = Counted(iter([(images, torch.tensor([0, 2])), (images, torch.tensor([[0.5, 0.5, 0.0]] * 2))]), 3)
    assert len(list(counted)) == 2
    assert counted.seen.tolist() == [2.0, 1.0, 1.0]


def test_an_evaluation_takes_both_for_all_arms():
    options = {"seeds": 1, "steps": 4, "arms": ["none", "mixup"], "config": CONFIG, "progress": False}
    found = evaluate(Shapes(8), test_time_augmentation=2, logit_adjustment=True, **options)
    assert found.setup["test_time_augmentation"] == 2
    assert found.setup["logit_adjustment"] is True
    with pytest.raises(ValueError, match="test_time_augmentation must be a whole number of at least 0"):
        evaluate(Shapes(8), test_time_augmentation=-1, **options)
    with pytest.raises(TypeError, match="logit_adjustment must be True or False"):
        evaluate(Shapes(8), logit_adjustment=1, **options)
