"""Find the bank for a dataset: given, in a file, in the per-user cache, or fitted now."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch.utils.data import Dataset

from vae_augment.bank import VAEBank
from vae_augment.config import FitConfig
from vae_augment.data.source import Source
from vae_augment.data.unlabelled import Unlabelled
from vae_augment.exceptions import CacheWarning, warn
from vae_augment.files.writing import cache_folder, sweep
from vae_augment.fitting import fit, fit_key
from vae_augment.fitting.checkpoint import discard

logger = logging.getLogger(__name__)


def find_bank(
    bank: VAEBank | str | Path | None,
    base_ds: Dataset[Any],
    source: Source,
    labels: Any,
    unlabelled: Unlabelled | None,
) -> VAEBank:
    """The bank on the CPU: as given, loaded, or from the cache, into which it is fitted if need be."""
    if bank is None:
        bank = _cached_bank(base_ds, source, labels, unlabelled)
    elif not isinstance(bank, VAEBank):
        bank = VAEBank.load(bank)
    return bank if bank.device.type == "cpu" else bank.to("cpu")


def _cached_bank(base_ds: Dataset[Any], source: Source, labels: Any, unlabelled: Unlabelled | None) -> VAEBank:
    config = FitConfig()
    path = cache_folder() / "banks" / f"{fit_key(source, config, unlabelled=unlabelled)}.safetensors"
    with suppress(ValueError, OSError):
        return VAEBank.load(path)
    with _alone(path):
        try:
            return VAEBank.load(path)  # if another process fitted it meanwhile
        except OSError as error:  # there is none, or it is not readable: then saving the new one fails, with a warning
            logger.info("no bank in the cache: %s", error)
        except ValueError as error:
            warn(f"fitting again: {error}", CacheWarning)
        more = None if unlabelled is None else unlabelled.dataset
        return _fitted(base_ds, labels, more, len(source), config, path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait for another process that fits the same bank. Where the file system has no locks, both fit it."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print("vae-augment: another process is fitting the same bank; waiting for it", file=sys.stderr)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        logger.info("no lock on %s: %s", path, error)
    try:
        yield
    finally:
        lock.release()


def _fitted(
    base_ds: Dataset[Any], labels: Any, unlabelled: Dataset[Any] | None, images: int, config: FitConfig, path: Path
) -> VAEBank:
    print(f"vae-augment: fitting a bank on {images} images, once; it is kept in {path}", file=sys.stderr)
    sweep(path.parent)
    unfinished = path.with_suffix(".unfinished")
    bank = fit(base_ds, labels=labels, unlabelled=unlabelled, config=config, checkpoint=unfinished)
    try:
        if not any(info.status == "failed" for info in bank.class_infos):  # else the next run fits it again
            path.parent.mkdir(parents=True, exist_ok=True)
            bank.save(path)
        discard(unfinished)
    except OSError as error:
        warn(
            f"the bank could not be kept in {path} and will be fitted again: {error}. Set $VAE_AUGMENT_CACHE.",
            CacheWarning,
        )
    return bank
