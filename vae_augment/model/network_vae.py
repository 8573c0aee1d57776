"""A VAE of a class made of anybody's own encoder and decoder, plain torch modules.

Shapes: K classes, B batch, C H W image, L latent.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from vae_augment.model.vae import INITIAL_LOG_SIGMA, LOGVAR_RANGE, VAE, Params, reparameterised

# A function of (image_shape, latent_dim) that makes an encoder and a decoder.
Networks = Callable[[tuple[int, int, int], int], tuple[nn.Module, nn.Module]]
PARTS = ("encoder", "decoder")
TRIED = 2  # images that new networks are tried on


class _Mode(NamedTuple):
    """A way to compute: in training with dropout and the like; norms collect statistics unless classes are tuned."""

    training: bool
    collects: bool


USED, TRAINED, TUNED = _Mode(False, False), _Mode(True, True), _Mode(True, False)


class NetworkVAE(VAE):
    """The VAE of a class made of an encoder and a decoder that somebody else wrote.

    Modules hold no weights of a class: they are called with those that are given (`torch.func.functional_call`), of
    several classes at once where `torch.vmap` can do so with them.

    What no gradient changes is `fixed`: parameters that ask for none, and buffers, such as the statistics of
    BatchNorm. These are collected where a VAE is trained from random weights, and used as they are where classes are
    tuned from a shared start, of whose images there are more.

    Args:
        image_shape: (C, H, W).
        latent_dim: L.
        networks: a function of (image_shape, latent_dim) that gives an encoder, from float32 images [B, C, H, W] in
            [0, 1] to a mean and a log-variance, [B, L] each; and a decoder, from float32 latents [B, L] to images
            [B, C, H, W] in [0, 1]. It may draw from torch's global generator.

    Raises:
        TypeError: `networks` is no function, or gives no two modules.
        ValueError: the modules cannot be called like that, give other shapes, or share a parameter.
    """

    networks: Networks | None
    modules: nn.ModuleDict
    mode: _Mode = TRAINED  # of training

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, networks: Networks) -> None:
        super().__init__(image_shape, latent_dim)
        if not callable(networks):
            raise TypeError(f"networks must be a function of (image_shape, latent_dim), got {networks!r}.")
        with _seeded(0):  # a file does not hold whole numbers that are drawn: they are the same at each reading
            modules = self._made(networks)
        self.__dict__.update(networks=networks, modules=modules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkVAE) and self._described == other._described

    def __hash__(self) -> int:
        return hash(self._described)

    def __repr__(self) -> str:
        numbers = sum(map(math.prod, self.shapes.values()))
        return f"NetworkVAE({self.image_shape}, {self.latent_dim}, own networks of {numbers:,} numbers)"

    def __getstate__(self) -> dict[str, Any]:
        """All but the function, which is often a lambda, and copies of modules for threads."""
        return {name: value for name, value in self.__dict__.items() if name != "_copies"} | {"networks": None}

    @property
    def _described(self) -> tuple[Any, ...]:
        return self.image_shape, self.latent_dim, tuple(self.shapes.items()), str(self.modules)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        trained = {name: tuple(tensor.shape) for name, tensor in self._state(self.modules).items()}
        return {name: shape for name, shape in trained.items() if name not in self.fixed} | self.fixed

    @cached_property
    def fixed(self) -> dict[str, tuple[int, ...]]:
        state = self._state(self.modules)
        return {name: tuple(tensor.shape) for name, tensor in state.items() if not tensor.requires_grad}

    def tuned(self) -> NetworkVAE:
        other = copy.copy(self)
        other.__dict__["mode"] = TUNED  # the class is frozen
        return other

    def init(self, generator: torch.Generator) -> Params:
        """Weights of one class (K = 1), as `networks` gives them: random, or trained before."""
        if self.networks is None:
            raise RuntimeError("networks are not kept where a bank is sent to another process. Load the bank there.")
        seed = int(torch.randint(2**62, (), generator=generator))
        with _seeded(seed):
            state = self._state(self._made(self.networks))
        return {name: state[name].detach().clone()[None] for name in self.shapes}

    def encode(self, params: Params, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._encoded(params, images, USED)

    def decode(self, params: Params, z: Tensor) -> Tensor:
        images: Tensor = self._call("decoder", params, z, USED)
        return images.float().clamp(0, 1)

    def in_training(self, params: Params, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        collected = self.fixed if self.mode.collects else {}
        before = {name: params[name].clone() for name in collected}
        with _seeded(int(noise.double().sum().view(1).view(torch.int64)), images.device):  # for dropout and the like
            mean, logvar = self._encoded(params, images.clone(), self.mode)  # a module may work in place
            made: Tensor = self._call("decoder", params, reparameterised(mean, logvar, noise), self.mode)
        for name, last in before.items():  # statistics of a step that overflowed are those of the step before
            finite = params[name].isfinite().flatten(1).all(1)
            if not bool(finite.all()):
                params[name].data[~finite] = last[~finite]
        return mean, logvar, made.float()  # not clamped, so that values beyond black and white have a gradient

    def _encoded(self, params: Params, images: Tensor, mode: _Mode) -> tuple[Tensor, Tensor]:
        mean, logvar = self._call("encoder", params, images, mode)
        return mean.float(), logvar.float().clamp(*LOGVAR_RANGE)

    def _call(self, part: str, params: Mapping[str, Tensor], x: Tensor, mode: _Mode) -> Any:
        """The result of a module for inputs [K, B, ...] by weights of K classes, each output with a class axis."""
        one, own = _caller(self._module(part, mode, x.device)), _of_part(part, params)
        if len(x) > 1 and part in self._mapped:
            return torch.vmap(one, randomness="different")(own, x)
        # Statistics are written where a class's row of the weights is, which indexing does not copy.
        results = [one({name: t[row] for name, t in own.items()}, x[row]) for row in range(len(x))]
        if isinstance(results[0], Tensor):
            return torch.stack(results)
        return tuple(torch.stack(column) for column in zip(*results, strict=True))

    @cached_property
    def _mapped(self) -> frozenset[str]:
        """The parts that `torch.vmap` can call for several classes at once; others are called class by class."""
        inputs = {"encoder": self.image_shape, "decoder": (self.latent_dim,)}
        state = {name: torch.stack([t.detach()] * 2) for name, t in self._state(self.modules).items()}

        def maps(part: str) -> bool:
            try:
                for mode in (USED, TRAINED):
                    module = self._module(part, mode, torch.device("cpu"))
                    torch.vmap(_caller(module), randomness="different")(
                        _of_part(part, state), torch.zeros(2, TRIED, *inputs[part])
                    )
            except Exception:  # of whatever kind a module raises
                return False
            return True

        with torch.no_grad(), _seeded(0):
            return frozenset(part for part in PARTS if maps(part))

    @cached_property
    def _copies(self) -> threading.local:
        return threading.local()

    def _module(self, part: str, mode: _Mode, device: torch.device) -> nn.Module:
        """A copy of a module for this thread, since weights are put into it while it is called."""
        copies: dict[Any, nn.Module] = self._copies.__dict__
        if (part, mode, device) not in copies:
            module = copy.deepcopy(self.modules[part]).to(device).train(mode.training)
            for inner in module.modules():
                if not mode.collects and any(b.is_floating_point() for b in inner.buffers(recurse=False)):
                    inner.training = False
            copies[part, mode, device] = module
        return copies[part, mode, device]

    def _made(self, networks: Networks) -> nn.ModuleDict:
        """New modules, tried on black images."""
        made: Any = networks(self.image_shape, self.latent_dim)
        if not (isinstance(made, tuple | list) and len(made) == 2 and all(isinstance(m, nn.Module) for m in made)):
            raise TypeError(
                f"networks must give an encoder and a decoder, two torch modules, got {type(made).__name__}."
            )
        modules = nn.ModuleDict(dict(zip(PARTS, made, strict=True))).float().cpu().eval()
        for norm in modules.modules():
            if isinstance(norm, _BatchNorm) and (norm.momentum is None or not norm.track_running_stats):
                raise ValueError("BatchNorm needs a momentum and track_running_stats=True, for images one by one.")
        with torch.no_grad():
            codes = _tried("the encoder", modules["encoder"], torch.zeros(TRIED, *self.image_shape))
            if not (isinstance(codes, tuple | list) and len(codes) == 2):
                raise ValueError(f"the encoder must give a mean and a log-variance, got {type(codes).__name__}.")
            for name, code in zip(("mean", "log-variance"), codes, strict=True):
                _check_shape(f"the encoder's {name}", code, [TRIED, self.latent_dim])
            images = _tried("the decoder", modules["decoder"], torch.zeros(TRIED, self.latent_dim))
            _check_shape("the decoder's images", images, [TRIED, *self.image_shape])
        both = [{id(parameter) for parameter in modules[part].parameters()} for part in PARTS]
        if both[0] & both[1]:
            raise ValueError("the encoder and the decoder must not share a parameter.")
        return modules.train()

    @staticmethod
    def _state(modules: nn.ModuleDict) -> dict[str, Tensor]:
        """Parameters, buffers that are kept with them, and log_sigma."""
        kept, parameters = set(modules.state_dict()), dict(modules.named_parameters())
        buffers = {name: t for name, t in modules.named_buffers() if name in kept and t.is_floating_point()}
        sigma = torch.tensor(INITIAL_LOG_SIGMA, requires_grad=True)
        return {**parameters, "log_sigma": sigma, **buffers}


@contextmanager
def _seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators for a while, and put them back."""
    with torch.random.fork_rng(devices=[] if device is None or device.type == "cpu" else [device]):
        torch.default_generator.manual_seed(seed % 2**63)
        if device is not None and device.type != "cpu":
            torch.manual_seed(seed % 2**63)
        yield


def _caller(module: nn.Module) -> Callable[[dict[str, Tensor], Tensor], Any]:
    return lambda weights, x: functional_call(module, weights, (x,))


def _of_part(part: str, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in params.items() if name.startswith(f"{part}.")}


def _tried(name: str, module: nn.Module, x: Tensor) -> Any:
    try:
        return module(x)
    except Exception as error:
        raise ValueError(f"{name} must take float32 {list(x.shape)}, but failed: {error}") from error


def _check_shape(name: str, tensor: Any, shape: list[int]) -> None:
    got = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
    if got != shape:
        raise ValueError(f"{name} must be {shape} for {shape[0]} images, got {got}.")
