"""How many steps the stages of a fit take, and how many images a step: functions of counts alone."""

from __future__ import annotations

from vae_augment.config import SMALL_DATASET
from vae_augment.fitting.cross_validation import CLASS_STEPS, LONGEST
from vae_augment.model.vae import VAE

WARM_FACTOR = 2  # batch and peak rate of the warm start over those of fine-tuning
SMALL_SIDE = 32  # pixels
SMALL_BATCH = 16  # images a step in tuning, at least
TUNED_CLASSES = 12  # more classes are tuned for fewer steps each, so that together they take as long as 12
LEAST_TUNED = 10  # steps
STEP_COST = 64  # overhead of a step on a CPU, in images
JUDGE_SHARE, LEAST_JUDGE_STEPS = 0.3, 350  # of a fit's steps, for each classifier that a trial bank is judged by


def warm_batch(batch_size: int, images: int, vae: VAE) -> int:
    """Images a step in the warm start, by their number and size.

    Larger batches are not worth their time on few photographs, each of which costs more than a digit; where components
    are there from the start, a quarter does nearly as well.
    """
    if images >= SMALL_DATASET or max(vae.image_shape[1:]) <= SMALL_SIDE:
        return batch_size * WARM_FACTOR
    return max(1, batch_size // 4) if vae.components else batch_size


def tuning_batch(batch_size: int, images: int, classes: int) -> int:
    """Images a step in which a class is tuned, of so many images of all classes."""
    return min(batch_size, max(SMALL_BATCH, images // classes))


def tuning_steps(steps: int, batch_size: int, own_batch: int, classes: int) -> int:
    """Steps that each class is tuned for, in batches of `own_batch`; `steps` if the classes are few."""
    share = TUNED_CLASSES * (STEP_COST + batch_size) / (classes * (STEP_COST + own_batch))
    return min(steps, max(LEAST_TUNED, round(steps * share)))


def judge_steps(steps: int, classes: int) -> int:
    """Steps of each classifier that judges the policy of a fit of so many steps."""
    least = max(LEAST_JUDGE_STEPS, min(CLASS_STEPS * classes, LONGEST))
    return max(round(steps * JUDGE_SHARE), min(steps, least))
