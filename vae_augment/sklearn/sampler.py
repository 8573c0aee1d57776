"""VAESampler: images of small classes resampled as arrays, in a pipeline of imbalanced-learn or by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from torch.utils.data import Dataset

from vae_augment.bank import VAEBank
from vae_augment.config import FitConfig
from vae_augment.data.subsample import added_items
from vae_augment.fitting import fit
from vae_augment.wrapper import VAEAugmentedDataset
from vae_augment.wrapper.sampling_strategy import wanted_totals

Array = np.ndarray[Any, Any]
MADE_TOGETHER = 256  # images


class VAESampler(OneToOneFeatureMixin, BaseEstimator):  # type: ignore[misc]
    """Over-sample classes of images with jittered, moved and newly generated ones, as imbalanced-learn's SMOTE does.

    One VAE per class is fitted on the images that are given, which takes a minute on a thousand small ones. New images
    are what `VAEAugmentedDataset(..., sampling_strategy=...)` adds.

    Example:
        >>> from imblearn.pipeline import make_pipeline
        >>> from sklearn.svm import SVC
        >>> model = make_pipeline(VAESampler(image_shape=(28, 28), random_state=0), SVC())
        >>> model.fit(X, y)  # X [N, 784]

    Args:
        sampling_strategy: as in imbalanced-learn: "auto" or "not majority", "minority", "not minority", "all", a list
            of classes, a ratio for two classes, a dict of class to its total number of images, or a function of y that
            returns one.
        random_state: an int, a NumPy RandomState, or None: of the fit and of the draws.
        image_shape: (H, W) or (H, W, C) of the images in flat X [N, D]; None: X is [N, H, W] or [N, H, W, C].
        config: of the fit; None: `FitConfig()`, which chooses for itself.

    Attributes:
        classes_: the sorted classes of y.
        bank_: the `VAEBank` that new images were made with; None where no class needs any.
        sampling_strategy_: the number of new images of each class that gets any.
        n_features_in_: D, and feature_names_in_, the names of a data frame's columns; where X is flat.
    """

    def __init__(
        self,
        sampling_strategy: str | float | Sequence[Any] | Mapping[Any, int] | Callable[[Array], Any] = "auto",
        random_state: int | np.random.RandomState | None = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        config: FitConfig | None = None,
    ) -> None:
        self.sampling_strategy = sampling_strategy
        self.random_state = random_state
        self.image_shape = image_shape
        self.config = config

    def fit(self, X: Any, y: Any) -> VAESampler:
        """Fit a bank on the images and return the sampler. `fit_resample` does it too."""
        self.fit_resample(X, y)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """X and y with new images and their classes behind them, of the same types and dtypes.

        Args:
            X: images, uint8 or other real numbers [N, H, W], [N, H, W, C], or [N, D] of `image_shape`; lists and data
                frames too.
            y: their classes [N], numbers or names; or one column each, [N, K], of which one is 1.

        Raises:
            ValueError: arrays of other shapes or lengths, values that are not finite, one class alone, or an unknown
                sampling_strategy.
            TypeError: a sparse matrix, or values that are no real numbers.
        """
        labels = _classes_of(y)
        images = self._images_of(X, len(labels))
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must have two classes or more, got {self.classes_.tolist()}.")
        seed = int(check_random_state(self.random_state).randint(2**31))
        dataset = _Images(images, codes, [str(value) for value in self.classes_.tolist()])
        self.bank_: VAEBank | None = None
        totals = wanted_totals(self._strategy(labels), torch.from_numpy(codes), dict(enumerate(dataset.classes)))
        missing = {code: total - int((codes == code).sum()) for code, total in totals.items()}
        self.sampling_strategy_ = {self.classes_.tolist()[code]: count for code, count in missing.items() if count > 0}
        new, added = images[:0], codes[:0]
        if len(added_items(totals, torch.from_numpy(codes))):
            self.bank_ = fit(dataset, config=self.config or FitConfig(), seed=seed, progress=False)
            wrapper = VAEAugmentedDataset(dataset, self.bank_, sampling_strategy=totals, seed=seed)
            places = [*range(len(images), len(wrapper))]
            parts = (places[first : first + MADE_TOGETHER] for first in range(0, len(places), MADE_TOGETHER))
            items = [item for part in parts for item in wrapper.__getitems__(part)]
            new, added = np.stack([image for image, _ in items]), np.array([code for _, code in items])
        more = np.concatenate([images, new]).reshape(len(images) + len(new), *np.shape(X)[1:])
        classes = np.concatenate([labels, self.classes_[added]])
        if type_of_target(y) == "multilabel-indicator":  # a column for each class
            classes = (classes[:, None] == np.arange(np.shape(y)[1])).astype(np.asarray(y).dtype)
        return _like(more, X), _like(classes, y)

    def _images_of(self, X: Any, count: int) -> Array:
        """Images [N, H, W] or [N, H, W, C], of which there are to be so many."""
        if hasattr(X, "toarray"):
            raise TypeError("X must be a dense array of images, got a sparse matrix.")
        images = np.asarray(X)
        for name in {"n_features_in_", "feature_names_in_"} & set(vars(self)):  # of an earlier X
            delattr(self, name)
        if images.ndim == 2:
            self.n_features_in_ = images.shape[1]
            if hasattr(X, "columns") and all(isinstance(name, str) for name in X.columns):
                self.feature_names_in_ = np.array(X.columns, dtype=object)
        if self.image_shape is not None and images.ndim == 2:
            if math.prod(self.image_shape) != images.shape[1]:
                raise ValueError(
                    f"image_shape {self.image_shape} has {math.prod(self.image_shape)} values, X has {images.shape[1]}."
                )
            images = images.reshape(len(images), *self.image_shape)
        if images.ndim not in (3, 4) or not len(images):
            raise ValueError(
                f"X must be images [N, H, W] or [N, H, W, C], or [N, D] with image_shape=(H, W), got "
                f"{list(images.shape)}."
            )
        if count != len(images):
            raise ValueError(f"y must hold a class for each of {len(images)} images, got {count}.")
        return images

    def _strategy(self, labels: Array) -> Any:
        """The sampling strategy in terms of positions in `classes_`."""
        strategy, code_of = self.sampling_strategy, {value: code for code, value in enumerate(self.classes_.tolist())}
        if callable(strategy):
            strategy = strategy(labels)
        if isinstance(strategy, Mapping):
            return {_code(value, code_of): total for value, total in strategy.items()}
        if isinstance(strategy, (Sequence, Set, np.ndarray)) and not isinstance(strategy, str):
            return [_code(value, code_of) for value in strategy]
        return strategy


class _Images(Dataset[tuple[Array, int]]):
    """Arrays as a torchvision-style dataset."""

    def __init__(self, images: Array, codes: Array, classes: list[str]) -> None:
        self.data, self.targets, self.classes = images, codes.tolist(), classes

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        return self.data[index], self.targets[index]


def _code(value: Any, code_of: Mapping[Any, int]) -> int:
    if value not in code_of:
        raise ValueError(f"sampling_strategy names class {value!r}, which y lacks; it has {list(code_of)}.")
    return code_of[value]


def _classes_of(y: Any) -> Array:
    """A class for each image, [N], of a list, a column or a column for each class."""
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
        found: Array = labels.argmax(1)
        return found
    if labels.ndim != 1:
        raise ValueError("y must hold one class for each image. Multilabel and multioutput targets are not supported.")
    if len(labels):
        check_classification_targets(labels)
    return labels


def _like(values: Array, given: Any) -> Any:
    """An array as the list, data frame or series that was given, if it was one."""
    if isinstance(given, list):
        return list(values) if len(given) and isinstance(given[0], np.ndarray) else values.tolist()
    if isinstance(given, np.ndarray) and given.ndim == 2 and values.ndim == 1:  # a column
        return values
    if hasattr(given, "columns"):
        return type(given)(values, columns=given.columns).astype(given.dtypes.to_dict())
    return type(given)(values, name=given.name).astype(given.dtype) if hasattr(given, "iloc") else values
