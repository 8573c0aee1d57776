"""The bank of a dataset: the one given, from a file, from the per-user cache, or fitted now."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from vae_augment.bank import VAEBank
from vae_augment.config import FitConfig
from vae_augment.exceptions import CacheWarning, warn
from vae_augment.files import cache_folder
from vae_augment.fitting import RECIPE, fit
from vae_augment.seeding import derive
from vae_augment.source import Source


def find_bank(bank: VAEBank | str | Path | None, base_ds: Dataset[Any], source: Source) -> VAEBank:
    """The bank on the CPU: given, loaded, or fitted into the cache."""
    if bank is None:
        bank = _cached_bank(base_ds, source)
    elif not isinstance(bank, VAEBank):
        bank = VAEBank.load(bank)
    return bank if bank.device.type == "cpu" else bank.to("cpu")


def _cached_bank(base_ds: Dataset[Any], source: Source) -> VAEBank:
    config = FitConfig()
    key = f"{derive(0, RECIPE, source.fingerprint(), repr(config.to_dict())):016x}"
    path = cache_folder() / "banks" / f"{key}.safetensors"
    if path.exists():
        try:
            return VAEBank.load(path)
        except ValueError as error:
            warn(f"fitting again: {error}", CacheWarning)
    print(f"vae-augment: fitting a bank on {len(source)} images, once; it is kept in {path}", file=sys.stderr)
    bank = fit(base_ds, config=config)
    if any(info.status == "failed" for info in bank.class_infos):
        return bank  # so that the next run tries again
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        bank.save(path)
    except OSError as error:
        warn(
            f"the bank could not be kept in {path} and will be fitted again: {error}. Set $VAE_AUGMENT_CACHE.",
            CacheWarning,
        )
    return bank
