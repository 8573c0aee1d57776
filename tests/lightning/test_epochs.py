from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch.utils.data import ConcatDataset, DataLoader, Subset

from tests.conftest import Shapes
from vae_augment import VAEAugmentedDataset

pytest.importorskip("lightning", exc_type=ImportError)


@pytest.mark.parametrize(
    "held",
    [
        lambda ds: DataLoader(ds),
        lambda ds: DataLoader(Subset(ds, range(5))),
        lambda ds: [DataLoader(Shapes()), DataLoader(ConcatDataset([Shapes(), ds]))],
        lambda ds: {"a": DataLoader(ds)},
        lambda ds: SimpleNamespace(flattened=[DataLoader(ds)]),
    ],
)
def test_wrapped_datasets_are_told_the_epoch_wherever_they_are(bank, held):
    from vae_augment.lightning import SetEpoch

    seeded = VAEAugmentedDataset(Shapes(), bank, seed=1, p_generate=1.0)
    wanted = VAEAugmentedDataset(Shapes(), bank, seed=1, p_generate=1.0)
    wanted.set_epoch(4)
    SetEpoch().on_train_epoch_start(SimpleNamespace(train_dataloader=held(seeded), current_epoch=4), None)
    assert seeded[0][0].tobytes() == wanted[0][0].tobytes()


def test_other_data_is_left_alone():
    from vae_augment.lightning import SetEpoch

    SetEpoch().on_train_epoch_start(SimpleNamespace(train_dataloader=[DataLoader(Shapes()), 3], current_epoch=4), None)
