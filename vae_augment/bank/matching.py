"""Match a dataset's classes with a bank's, and warn of a mismatch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae_augment.bank.bank import VAEBank
from vae_augment.bank.metadata import Membership
from vae_augment.data.items import evenly
from vae_augment.data.loading import common_shape, load_some
from vae_augment.data.source import Source, listed
from vae_augment.exceptions import DataWarning, LeakageWarning, check_type, warn
from vae_augment.files.folder_names import folder_names
from vae_augment.images.conversion import common_range
from vae_augment.images.kinds import PROBED, kind_of_images


def check_bank(name: str, bank: Any) -> None:
    """Raise TypeError unless an argument is a bank."""
    check_type(name, bank, VAEBank, "a VAEBank, as VAEBank.load(path) gives it")


def warn_of_other_data(bank: VAEBank, source: Source) -> None:
    """Warn if a bank was fitted on other data: on images that it has seen, results look better than they are."""
    fitted_on, shared = bank.data.get("fingerprint"), bank.data.get("membership")
    if shared is not None and Membership(**shared).hides:
        return  # it gives hardly anything away of the images that it has seen
    if fitted_on is not None and fitted_on != source.fingerprint():
        warn(
            f"the bank was fitted on other data ({bank.data.get('name')}, {bank.data.get('images')} images) than "
            f"base_ds ({len(source)}). Results on held-out images that it was fitted on look better than they are. "
            "Fit a bank on base_ds alone: VAEAugmentedDataset(base_ds) does.",
            LeakageWarning,
        )


def suited(bank: VAEBank, source: Source) -> VAEBank:
    """The bank with its policy for a dataset: another one where it has seen far more images (`VAEBank.policy_for`)."""
    labels, counts = (found.tolist() for found in source.labels.unique(return_counts=True))
    if source.lacking_in(bank.class_to_idx) or bank.policy_for(counts, classes=labels) == bank.policy:
        return bank
    kind = kind_of_images(load_some(source, evenly(len(source), PROBED), bank.image_shape))
    return VAEBank(replace(bank.content, policy=bank.policy_for(counts, classes=labels, kind=kind)))


def rows_of(bank: VAEBank, source: Source) -> Tensor:
    """The bank's class position of each item, int64 [N], by the label that `Source.number_as` gave its class."""
    if lacking := source.lacking_in(bank.class_to_idx):
        what, has = lacking
        raise ValueError(f"the bank has no class {what} of base_ds; it has {has}. Fit a bank on this dataset.")
    warn_of_other_names(bank, source, "base_ds")
    values, inverse = source.labels.unique(return_inverse=True)
    return torch.tensor([bank.row_of[label] for label in values.tolist()])[inverse]


def number_by_name(bank: VAEBank, source: Source) -> None:
    """Number a dataset's classes as a bank does, by name if the dataset has names.

    Labels are not enough: class folders are numbered in the order of their names, so that without the first folder all
    numbers differ. Only if no name is the bank's, but the labels are all of the bank's, do classes go by label, with a
    warning.

    Raises:
        ValueError: a class that the bank lacks.
    """
    known, names = bank.class_to_idx, set(source.classes.values())
    for naming in namings(bank) if source.has_names else ():
        if names <= set(naming):
            source.number_as(naming, by_name=True)
            return
    source.number_as(known)
    if lacking := source.lacking_in(known):
        raise ValueError(f"the bank has no class {lacking[0]}; it has {lacking[1]}.")
    others = sorted(names - set(known)) if source.has_names else []
    if others and (len(others) < len(names) or set(source.classes) != set(known.values())):
        raise ValueError(f"the bank has no class {others[0]!r}; it has {listed(known)}.")
    warn_of_other_names(bank, source, "the data")


def namings(bank: VAEBank) -> list[dict[str, int]]:
    """The bank's labels by class name, and by the name of the folder that `generate` writes for a class."""
    found = [bank.class_to_idx]
    with suppress(ValueError):  # names that cannot be folders
        found.append(dict(zip(folder_names(bank.classes), bank.class_to_idx.values(), strict=True)))
    return found


def names_in(bank: VAEBank, source: Source) -> list[str] | None:
    """The bank's class name of each item of a source that `number_by_name` numbered; None where names are others."""
    names = {info.label: info.name for info in bank.class_infos}
    if not source.has_names or any(names[label] != name for label, name in source.classes.items()):
        return None
    return [names[label] for label in source.labels.tolist()]


def warn_of_other_names(bank: VAEBank, source: Source, whose: str) -> None:
    """Warn if a label has another name in the bank; `whose` names the dataset in the message."""
    for info in bank.class_infos if source.has_names else ():
        name = source.classes.get(info.label, info.name)
        if name != info.name:
            warn(
                f"label {info.label} is {info.name!r} in the bank and {name!r} in {whose}; going by the label.",
                DataWarning,
            )
            break


def source_for(bank: VAEBank, dataset: Dataset[Any], *, resize: bool = False) -> Source:
    """A dataset as a source of raw images and labels, with the bank's class numbers and value range.

    Args:
        bank: its classes are matched by `number_by_name`.
        dataset: map-style, of (image, label) items.
        resize: take images of any size. By default only those that a fit with the bank's options would model at the
            bank's size.

    Raises:
        TypeError: the dataset is iterable, or its items are not (image, label).
        ValueError: a class that the bank lacks, or images of another number of channels or of another size.
    """
    source = Source(dataset)
    number_by_name(bank, source)
    channels, height, width = common_shape(source, bank.config)
    own = "x".join(map(str, bank.image_shape[1:]))
    if channels != bank.image_shape[0]:
        raise ValueError(f"images must have as many channels as the bank's, {bank.image_shape[0]}, got {channels}.")
    if (height, width) != bank.image_shape[1:] and not resize:
        raise ValueError(
            f"images must be of the bank's size, {own}, or of one that a fit takes to that, got some that are modelled "
            f"at {height}x{width}. Resize them, or have it done with --resize (resize=True)."
        )
    source.value_range = common_range(source.value_range, bank.value_range)
    return source
