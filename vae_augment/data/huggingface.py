"""Hugging Face `datasets`: their transform takes batches and is set aside by `with_format`.

The library is never imported: its datasets are recognised by their class.
"""

from __future__ import annotations

from typing import Any

from vae_augment.data.items import IMAGE_KEYS, LABEL_KEYS, Sample, key_of
from vae_augment.data.labels import as_array
from vae_augment.data.raw_dataset import RawDataset
from vae_augment.data.transform_calls import SetAside


def is_huggingface(dataset: Any) -> bool:
    return type(dataset).__module__.split(".")[0] == "datasets" and hasattr(dataset, "with_format")


class HuggingFaceDataset(RawDataset):
    """A `datasets.Dataset` with an image column and a label column.

    A function given by `set_transform` or `with_transform` is set aside. Other formats, such as "torch", are kept: they
    change an image always in the same way.
    """

    def __init__(self, dataset: Any) -> None:
        shown = dataset.format
        self._of_batches = shown["format_kwargs"].get("transform") if shown["type"] == "custom" else None
        self._columns, self._with_others = shown["columns"], shown["output_all_columns"]
        self.dataset = dataset
        self._plain = dataset.with_format(None) if self._of_batches else dataset
        self._after, self._aside, self._alike, self.stable = {}, SetAside(self._plain), None, True

    def copied(self) -> HuggingFaceDataset:
        return self

    def finish(self, index: int, sample: Sample, image: Any) -> Any:
        item = {**sample.whole, key_of(sample.whole, IMAGE_KEYS): image}
        if self._of_batches is None:
            return item
        batch = self._of_batches({name: [item[name]] for name in self._columns})
        others = {name: value for name, value in item.items() if name not in self._columns and self._with_others}
        return {name: column[0] for name, column in batch.items()} | others

    def set_transform(self, name: str, value: Any) -> None:
        raise AttributeError(f"give a Hugging Face dataset its {name} by set_transform before it is wrapped.")

    def labels(self) -> Any:
        labels = as_array(self._plain.with_format("numpy")[self._label_key][:])
        if self.classes is None or labels.dtype.kind in "iu" or labels.ndim > 1:
            return labels
        return [-1 if label is None or label != label else int(label) for label in labels.tolist()]  # null: no label

    @property
    def _label_key(self) -> str:
        return str(key_of(self._plain.features, LABEL_KEYS))

    @property
    def classes(self) -> Any:
        return getattr(self._plain.features[self._label_key], "names", None)
