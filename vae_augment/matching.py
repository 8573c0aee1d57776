"""A bank and the dataset that it is to augment, matched."""

from __future__ import annotations

import torch
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.exceptions import DataWarning, LeakageWarning, warn
from vae_augment.source import Source


def warn_of_other_data(bank: VAEBank, source: Source) -> None:
    """Results look better than they are if the bank has seen images that they are measured on."""
    fitted_on = bank.data.get("fingerprint")
    if fitted_on is not None and fitted_on != source.fingerprint():
        warn(
            f"the bank was fitted on other data ({bank.data.get('name')}, {bank.data.get('images')} images) than "
            f"base_ds ({len(source)}). Results on held-out images that it was fitted on look better than they are. "
            "Fit a bank on base_ds alone: VAEAugmentedDataset(base_ds) does.",
            LeakageWarning,
        )


def rows_of(bank: VAEBank, source: Source) -> Tensor:
    """The bank's class position of each base item [N]; bank and base are matched by integer label, or by name."""
    if lacking := source.lacking_in(bank.class_to_idx):
        what, has = lacking
        raise ValueError(f"the bank has no class {what} of base_ds; it has {has}. Fit a bank on this dataset.")
    for info in bank.class_infos if source.has_names else ():
        name = source.classes.get(info.label, info.name)
        if name != info.name:
            warn(
                f"label {info.label} is {info.name!r} in the bank and {name!r} in base_ds; going by the label.",
                DataWarning,
            )
            break
    values, inverse = source.labels.unique(return_inverse=True)
    return torch.tensor([bank.row_of[label] for label in values.tolist()])[inverse]
