"""Stand-ins take the place of a dataset's transforms, and tell how the dataset calls them.

The dataset is the caller's own: only copies of it are changed, and its code may raise anything.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import VisionDataset
from torchvision.datasets.vision import StandardTransform
from torchvision.transforms import Compose, ToTensor

from vae_augment.data.copies import copied
from vae_augment.data.items import IMAGE_KEYS, LABEL_KEYS, Sample, key_of, put_together, taken_apart
from vae_augment.processes import callers_defaults

logger = logging.getLogger(__name__)

TRANSFORM, TARGET_TRANSFORM, TRANSFORMS = NAMES = ("transform", "target_transform", "transforms")
# A transform gets, and gives back, an image, an image and its label, a whole item, or a dict of keywords.
OF_IMAGE, OF_PAIR, OF_ITEM, BY_KEYWORD = "image", "pair", "item", "keywords"

_heard: ContextVar[list[Call]] = ContextVar("calls of stand-ins while an item is read")


class Call(NamedTuple):
    """A call of a transform.

    Args:
        name: attribute of the dataset that holds the transform.
        transform: the caller's own.
        style: OF_IMAGE, OF_PAIR, OF_ITEM or BY_KEYWORD.
        args: positional arguments.
        keywords: arguments by keyword.
        result: object that the dataset got back.
    """

    name: str
    transform: Any
    style: str
    args: tuple[Any, ...]
    keywords: Mapping[str, Any] = {}
    result: Any = None

    @property
    def given(self) -> tuple[Any, ...]:
        """Image that the transform was given, and the label where it may change that too."""
        if self.style == OF_ITEM:
            return taken_apart(self.args[0], labelled=False)[:2]
        if self.style == OF_PAIR:
            return self.args
        return (self.args[0] if self.args else self.keywords[_image_key(self.keywords)],)

    @property
    def image(self) -> Any:
        """Image that the dataset got back."""
        if self.style == OF_ITEM:
            return taken_apart(self.result, labelled=False).image
        if self.style == BY_KEYWORD:
            return self.result[_image_key(self.keywords)]
        return self.result[0] if self.style == OF_PAIR else self.result

    def again(self, image: Any, target: Any, whole: Any) -> tuple[Any, Any, Any]:
        """Call the transform with another image and label. Returns its image and label, and the item `whole` for it."""
        if self.style == OF_PAIR:
            return (*self.transform(image, target), whole)
        if self.style == OF_ITEM:
            made = self.transform(put_together(self.args[0], image, target), *self.args[1:], **self.keywords)
            return (*taken_apart(made, labelled=False)[:2], made if whole is self.result else whole)
        if self.args:
            return self.transform(image, *self.args[1:], **self.keywords), target, whole
        key, label = _image_key(self.keywords), key_of(self.keywords, LABEL_KEYS)
        made = self.transform(**{**self.keywords, key: image, **({label: target} if label else {})})
        return made[key] if self.style == BY_KEYWORD else made, target, whole


class StandIn:
    """Takes a transform's place in a copy of a dataset, looks like it, and notes each call.

    Args:
        name: attribute of the dataset that holds the transform.
        transform: the caller's own, which is not called.
        style: how it is called; None: as the arguments tell.
        tries: return what a copy of the transform returns; else the arguments, unchanged.
    """

    def __init__(self, name: str, transform: Any, style: str | None = None, *, tries: bool = False) -> None:
        self._name, self._transform, self._style = name, transform, style
        self._tried = None
        if tries:
            self._tried = transform
            with suppress(Exception):  # of anybody's objects
                self._tried = copy.deepcopy(transform)  # the caller's may count its calls, or draw from a generator

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """Class of the transform, for which a dataset may ask."""
        return type(self._transform)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transform, name)

    def __bool__(self) -> bool:
        return bool(self._transform)

    def __len__(self) -> int:
        return len(self._transform)

    def __iter__(self) -> Any:
        return iter(self._transform)

    def __repr__(self) -> str:
        return repr(self._transform)

    def __eq__(self, other: object) -> bool:
        return bool(self._transform == (other._transform if type(other) is StandIn else other))

    def __hash__(self) -> int:
        return hash(self._transform)

    def __reduce__(self) -> tuple[Any, ...]:
        return StandIn, (self._name, self._transform, self._style)

    def __copy__(self) -> StandIn:
        return self

    def __deepcopy__(self, memo: Any) -> StandIn:
        return self

    def __call__(self, /, *args: Any, **keywords: Any) -> Any:
        if (
            len(args) == 1 and not keywords and self._tried is None and isinstance(args[0], Image.Image)
        ):  # the usual call
            heard = _heard.get(None)
            if heard is not None:
                heard.append(Call(self._name, self._transform, OF_IMAGE, args, {}, args[0]))
            return args[0]
        given = tuple(copy.copy(arg) if isinstance(arg, Mapping) else arg for arg in args)  # a dict may change later
        result = None
        if self._tried is not None:
            with suppress(Exception):  # of the caller's transform
                result = self._tried(*args, **keywords)
        style = self._style or (OF_IMAGE if self._name == TARGET_TRANSFORM else _style_of(given, keywords, result))
        if result is None:
            single = args[0] if args else keywords[_image_key(keywords)]
            result = {OF_PAIR: args, BY_KEYWORD: keywords}.get(style, single)
        with suppress(LookupError):  # nobody listens
            _heard.get().append(Call(self._name, self._transform, style, given, keywords, result))
        return result


def _style_of(args: Sequence[Any], keywords: Mapping[str, Any], result: Any) -> str:
    """Tell how a transform is called by the arguments, and by its result if there is one."""
    if not args:
        return BY_KEYWORD if result is None or isinstance(result, Mapping) else OF_IMAGE
    if isinstance(args[0], (Mapping, tuple)):
        return OF_ITEM
    pair = len(args) == 2 and not keywords
    return (
        OF_PAIR if pair and (result is None or (isinstance(result, (tuple, list)) and len(result) == 2)) else OF_IMAGE
    )


def _image_key(keywords: Mapping[str, Any]) -> str:
    return key_of(keywords, IMAGE_KEYS) or next(iter(keywords))


def read(dataset: Any, index: int) -> Sample:
    """Read an item of a dataset with stand-ins, with the image and the label that its transforms were given first."""
    calls: list[Call] = []
    token = _heard.set(calls)
    try:
        with callers_defaults():
            item = dataset[index]
    finally:
        _heard.reset(token)
    image, target, *_ = taken_apart(item, labelled=False)
    for call in reversed(calls):
        if call.name == TARGET_TRANSFORM:
            (target,) = call.given
        else:
            image, target = (*call.given, target)[:2]
    return Sample(image, target, item, tuple(calls))


def finished(sample: Sample, image: Any) -> Any:
    """Put another image into a raw item, through the transforms that the item's own image went through.

    An image that is a tensor goes on after ToTensor in place of a PIL image, see `after_to_tensor`.
    """
    target, whole = sample.target, sample.whole
    as_tensor = isinstance(image, Tensor) and isinstance(sample.image, Image.Image)
    for call in sample.calls:
        if call.name == TARGET_TRANSFORM:
            target, *_ = call.again(target, None, None)
        elif as_tensor:
            for step in after_to_tensor(sample) or ():
                image = step(image)
        else:
            image, target, whole = call.again(image, target, whole)
    return put_together(whole, image, target)


def after_to_tensor(sample: Sample) -> list[Any] | None:
    """Steps after torchvision's ToTensor if the item's transform begins with it; else None.

    A synthetic image, which is a tensor, can go on from there without becoming a PIL image first.
    """
    calls = sample.calls
    if len(calls) != 1 or calls[0].name == TARGET_TRANSFORM:
        calls = tuple(call for call in calls if call.name != TARGET_TRANSFORM)
    if len(calls) != 1 or calls[0].style != OF_IMAGE or not calls[0].args:
        return None
    transform = calls[0].transform
    steps = transform.transforms if type(transform) is Compose else [transform]  # a subclass may do more
    return steps[1:] if steps and type(steps[0]) is ToTensor else None


class NotSeparateError(Exception):
    """A copy of a dataset changes the dataset itself."""


def stood_in(
    dataset: Any, names: Sequence[str], *, styles: Mapping[str, str | None] | None = None, tries: bool = False
) -> Any:
    """Copy of a dataset with stand-ins for its transforms of these names. Raises NotSeparateError."""

    def stand_in(name: str, transform: Any) -> Any:
        return None if transform is None else StandIn(name, transform, (styles or {}).get(name), tries=tries)

    other = copied(dataset)
    for name in names:
        held = getattr(dataset, name)
        if type(held) is StandardTransform:  # torchvision's pair of the other two
            parts = stand_in(TRANSFORM, held.transform), stand_in(TARGET_TRANSFORM, held.target_transform)
            replace(other, name, StandardTransform(*parts), of=dataset)
        else:
            replace(other, name, stand_in(name, held), of=dataset)
    return other


def replace(dataset: Any, name: str, value: Any, *, of: Any = None) -> None:
    """Give a dataset another transform of one of `NAMES`.

    Raises:
        NotSeparateError: that changes the dataset `of` which it is a copy.
    """
    if dataset is of:
        raise NotSeparateError
    try:
        object.__setattr__(dataset, name, value)  # not its own code, which may hand it on to another object
        if of is None and isinstance(dataset, VisionDataset) and name != TRANSFORMS:  # torchvision keeps both in it
            dataset.transforms = StandardTransform(dataset.transform, dataset.target_transform)
    except (AttributeError, TypeError):  # a slot of that name is lacking
        raise NotSeparateError from None


def is_property(dataset: Any, name: str) -> bool:
    return isinstance(getattr(type(dataset), name, None), property)


def same_pixels(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first.nan_to_num(), second.nan_to_num())
    a, b = np.asarray(first), np.asarray(second)
    alike = isinstance(first, Image.Image) == isinstance(second, Image.Image)
    return alike and a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def is_albumentations(transform: Any) -> bool:
    return any(base.__module__.split(".")[0] == "albumentations" for base in type(transform).__mro__)
