"""Gradients of a loss with respect to parameters: of one batch, and of several classes out of one pass.

In the pass that classes share, all images go through the network together, forward and back to the inputs of every
layer. Only the gradients of the compared parameters, which matching needs class by class, are taken apart: for a layer
y = f(x; w) and the images k of a class, Σ_k (∂f(x_k; w)/∂w)ᵀ ∂L/∂y_k. The layers are found as they run: convolutions,
linear layers, and what norms multiply and add. The rest of the network may do as it likes, as long as it keeps the
images apart and uses no compared parameter; `obstacle` tries whether it does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from datacondense.networks.network import Parameters

Model: TypeAlias = Callable[[Parameters, Tensor], Tensor]

_TRIED = (2, 1, 3)  # images per class with which a network is tried
_TOLERANCE = {
    torch.float64: 1e-6,
    torch.float32: 0.05,
}  # of the norm, where float32 parameters may meet bfloat16 maps


class NotSharedError(Exception):
    """A compared parameter is used in a way that is not taken apart by class."""


def parameter_gradients(
    model: Model,
    parameters: Parameters,
    compared: Sequence[str],
    images: Tensor,
    labels: int | Tensor,
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Return the gradient of the mean cross-entropy of images `[N, C, H, W]` for each compared parameter.

    `labels` are their classes `[N]`, or one for all. With `create_graph` the gradients can be differentiated again.
    """
    leaves = {name: parameters[name].detach().requires_grad_() for name in compared}
    if not isinstance(labels, Tensor):
        labels = torch.full((len(images),), labels, device=images.device)
    loss = F.cross_entropy(model({**parameters, **leaves}, images), labels)
    return torch.autograd.grad(loss, list(leaves.values()), create_graph=create_graph)


def class_gradients(
    model: Model,
    parameters: Parameters,
    compared: Sequence[str],
    images: Tensor,
    labels: Tensor,
    sizes: Sequence[int],
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Return the gradients of the mean cross-entropy of each group of images by compared parameter, `[G, *shape]`.

    Args:
        model: Function from parameters and images to logits `[N, K]`.
        parameters: All parameters by name.
        compared: Names of those that are differentiated.
        images: Normalised images `[N, C, H, W]`, group after group.
        labels: The class of each group `[G]`.
        sizes: The number of images of each group, N together.
        create_graph: Whether the gradients are to be differentiated again, in the images.

    Returns:
        The gradients, without a graph unless it is asked for.

    Raises:
        NotSharedError: The model uses a compared parameter in another way than layers do.
    """
    own = {name: parameters[name].detach() for name in compared}
    leaves = {name: tensor.expand(len(sizes), *tensor.shape).requires_grad_() for name, tensor in own.items()}
    with _SharedPass({id(own[name]): leaf for name, leaf in leaves.items()}, sizes):
        logits = model({**parameters, **own}, images)
    targets = torch.cat([label.expand(size) for label, size in zip(labels, sizes, strict=True)])
    losses = F.cross_entropy(logits, targets, reduction="none")
    total = torch.stack([part.mean() for part in losses.split(list(sizes))]).sum()
    found = torch.autograd.grad(total, list(leaves.values()), create_graph=create_graph, allow_unused=True)
    unused = [name for name, gradient in zip(compared, found, strict=True) if gradient is None]
    if unused:
        raise NotSharedError(f"no layer is seen to use {unused[0]}")
    return found


def obstacle(
    model: Model, parameters: Parameters, compared: Sequence[str], image_shape: tuple[int, int, int]
) -> str | None:
    """Return why a model's gradients do not come apart by class; None where they do, as a small trial shows."""
    like = next(iter(parameters.values()))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(sum(_TRIED), *image_shape, generator=generator).to(like.device, like.dtype)
    labels = torch.zeros(len(_TRIED), dtype=torch.int64, device=like.device)
    try:
        together = class_gradients(model, parameters, compared, images, labels, _TRIED)
    except (NotSharedError, RuntimeError) as error:
        return str(error).partition("\n")[0]
    alone = [parameter_gradients(model, parameters, compared, part, 0) for part in images.split(_TRIED)]
    expected = [torch.stack(tensors) for tensors in zip(*alone, strict=True)]
    # What is only rounding, such as the slope of a bias that a norm takes off, need not agree.
    rounding = _TOLERANCE[torch.float64] * torch.cat([tensor.flatten() for tensor in expected]).norm()
    for name, found, wanted in zip(compared, together, expected, strict=True):
        if not (found - wanted).norm() <= _TOLERANCE[like.dtype] * wanted.norm() + rounding:
            return f"images of other classes change the gradient of {name}"
    return None


_Rule: TypeAlias = Callable[[dict[str, Any], Mapping[str, Tensor | None], Sequence[int]], Tensor]


class _SharedPass(TorchFunctionMode):
    """While it is on, layers take the parameters that it knows from one copy per group, `[G, *shape]`."""

    def __init__(self, leaves: Mapping[int, Tensor], sizes: Sequence[int]) -> None:
        super().__init__()
        self._leaves, self._sizes = dict(leaves), sizes
        self._kept: list[Tensor] = []  # so that no other tensor gets the identity of one that is known

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        known = [each for each in _flat((*args, *kwargs.values())) if id(each) in self._leaves]
        if not known:
            return func(*args, **kwargs)
        if func in _RULES:
            names, rule = _RULES[func]
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            own = {name: self._leaves.get(id(given.get(name))) for name in ("weight", "bias")}
            if len(known) > len([leaf for leaf in own.values() if leaf is not None]):
                raise NotSharedError(f"{func.__name__} takes a compared parameter as its input")
            return rule(given, own, self._sizes)
        result = func(*args, **kwargs)
        if func in _CASTS:
            self._leaves[id(result)] = func(self._leaves[id(known[0])], *args[1:], **kwargs)
            self._kept.append(result)
        elif isinstance(result, Tensor):
            raise NotSharedError(f"{func.__name__} takes a compared parameter")
        return result


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    """List values, and those in lists among them."""
    for value in values:
        yield from value if isinstance(value, list | tuple) else (value,)


def _convolution(given: dict[str, Any], own: Mapping[str, Tensor | None], sizes: Sequence[int]) -> Tensor:
    """Convolve `[N, C, H, W]`."""
    x, bias = given["input"], given.get("bias")
    options = [given.get(name, default) for name, default in _CONVOLUTION.items()]
    options[1] = _padding(options[1], options[2], given["weight"].shape[2:])
    if x.dim() != 4:
        raise NotSharedError("a convolution takes an image without a batch")
    shared = None if own["bias"] is not None else bias
    if own["weight"] is None:
        y = F.conv2d(x, given["weight"], shared, *options)
    else:
        x, weight, shared = _as_layers_cast(x, own["weight"], shared)
        y = _Convolution.apply(x, weight, shared, _sizes_of(x, sizes), *options)  # type: ignore[no-untyped-call]
    return y if own["bias"] is None else y + _per_image(own["bias"], y, sizes)[:, :, None, None]


def _linear(given: dict[str, Any], own: Mapping[str, Tensor | None], sizes: Sequence[int]) -> Tensor:
    """Multiply `[N, …, features]`."""
    x, bias = given["input"], given.get("bias")
    shared = None if own["bias"] is not None else bias
    if own["weight"] is None:
        y = F.linear(x, given["weight"], shared)
    else:
        x, weight, shared = _as_layers_cast(x, own["weight"], shared)
        y = _Linear.apply(x, weight, shared, _sizes_of(x, sizes))  # type: ignore[no-untyped-call]
    if own["bias"] is None:
        return y
    added = _per_image(own["bias"], y, sizes)
    return y + added.view(len(y), *[1] * (y.dim() - 2), -1)


def _affine(
    norm: Callable[..., Tensor], given: dict[str, Any], own: Mapping[str, Tensor | None], sizes: Sequence[int]
) -> Tensor:
    """Normalise, then multiply and add; by channel `[N, C, …]`, or over all of the last axes."""
    if given.get("training"):
        raise NotSharedError(f"{norm.__name__} takes statistics of the batch")
    y = norm(**{**given, "weight": None, "bias": None})
    for name, change in (("weight", torch.mul), ("bias", torch.add)):
        numbers = given.get(name)
        if numbers is None:
            continue
        leaf = own[name]
        numbers = numbers[None] if leaf is None else _per_image(leaf, y, sizes)
        # One axis is that of the channels; those of `layer_norm` are the last ones.
        after = y.dim() - 2 if "normalized_shape" not in given else 0
        between = y.dim() - numbers.dim() - after
        y = change(y, numbers.view(len(numbers), *[1] * between, *numbers.shape[1:], *[1] * after))
    return y


class _Convolution(torch.autograd.Function):
    """A convolution by the first of G equal kernels, whose gradient comes out for each group."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, leaf: Tensor, bias: Tensor | None, sizes: list[int], *options: Any
    ) -> Tensor:
        ctx.save_for_backward(x, leaf)
        ctx.sizes, ctx.options = sizes, options
        return F.conv2d(x, leaf[0], bias, *options)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, leaf = ctx.saved_tensors
        weight = leaf[0].detach()
        own = None
        if ctx.needs_input_grad[1]:
            own = _kernel_gradients(gradient, x, weight, ctx.sizes, ctx.options)
        below = _back(gradient, x, weight, ctx.options, 0) if ctx.needs_input_grad[0] else None
        return below, own, None, None, *[None] * len(_CONVOLUTION)


def _kernel_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, sizes: list[int], options: Sequence[Any]
) -> Tensor:
    """Return the gradient of a kernel for each group of images `[G, O, I, h, w]`."""
    if x.device.type != "cpu" or len(set(sizes)) > 1:
        parts = zip(gradient.split(sizes), x.split(sizes), strict=True)
        return torch.stack([_back(g, own, weight, options, 1) for g, own in parts])
    # Side by side as channels, which a grouped convolution keeps apart: fewer calls of more work for each.
    number, (*others, groups) = len(sizes), options
    g, own = (tensor.unflatten(0, (number, -1)).transpose(0, 1).flatten(1, 2) for tensor in (gradient, x))
    copies = weight.expand(number, *weight.shape).flatten(0, 1)
    kernels: Tensor = _back(g, own, copies, [*others, number * groups], 1).unflatten(0, (number, -1))
    return kernels


def _back(gradient: Tensor, x: Tensor, weight: Tensor, options: Sequence[Any], which: int) -> Tensor:
    """Return the gradient of a convolution in its input (0) or kernel (1)."""
    stride, padding, dilation, groups = options
    found = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        _pair(stride),
        _pair(padding),
        _pair(dilation),
        False,
        (0, 0),
        groups,
        [which == 0, which == 1, False],
    )
    result: Tensor = found[which]
    return result


class _Linear(torch.autograd.Function):
    """A linear layer by the first of G equal matrices, whose gradient comes out for each group."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, leaf: Tensor, bias: Tensor | None, sizes: list[int]) -> Tensor:
        ctx.save_for_backward(x, leaf)
        ctx.sizes = sizes
        return F.linear(x, leaf[0], bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, leaf = ctx.saved_tensors
        below = gradient @ leaf[0].detach() if ctx.needs_input_grad[0] else None
        rows = [tensor.flatten(1, -2) if tensor.dim() > 2 else tensor[:, None] for tensor in (gradient, x)]
        parts = zip(*(tensor.split(ctx.sizes) for tensor in rows), strict=True)
        own = torch.stack([g.flatten(0, 1).T @ part.flatten(0, 1) for g, part in parts])
        return below, own, None, None


def _as_layers_cast(*tensors: Tensor | None) -> list[Any]:
    """Cast what a layer takes as `torch.autocast` does where it is on, which does not reach a derivative of our own."""
    kind = next(tensor.device.type for tensor in tensors if tensor is not None)
    if not torch.is_autocast_enabled(kind):
        return list(tensors)
    half = torch.get_autocast_dtype(kind)
    return [
        tensor if tensor is None or tensor.dtype == torch.float64 else tensor.to(half) for tensor in tensors
    ]


def _sizes_of(x: Tensor, sizes: Sequence[int]) -> list[int]:
    """Return the rows of each group in a map, which may hold several for an image."""
    rows, rest = divmod(len(x), sum(sizes))
    if rest or not rows:
        raise NotSharedError(f"a layer sees {len(x)} rows of {sum(sizes)} images")
    return [rows * size for size in sizes]


def _per_image(leaf: Tensor, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Repeat the numbers of each group for its rows, `[N, *shape]`."""
    rows = _sizes_of(x, sizes)
    return torch.cat([own.expand(size, *own.shape) for own, size in zip(leaf, rows, strict=True)]).to(x.dtype)


def _padding(padding: Any, dilation: Any, kernel: Sequence[int]) -> Any:
    """Return padding as numbers where it has a name, as the derivative of a convolution takes it."""
    if not isinstance(padding, str):
        return padding
    around = [step * (side - 1) for step, side in zip(_pair(dilation), kernel, strict=True)]
    if padding == "same" and any(pixels % 2 for pixels in around):
        raise NotSharedError("a convolution is padded by an odd number of pixels")
    return [pixels // 2 for pixels in around] if padding == "same" else 0


def _pair(value: Any) -> list[int]:
    return list(value) if isinstance(value, Sequence) else [value, value]


_CONVOLUTION = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
_STATISTICS = ("input", "running_mean", "running_var", "weight", "bias")
_RULES: dict[Callable[..., Any], tuple[tuple[str, ...], _Rule]] = {
    F.conv2d: (("input", "weight", "bias", *_CONVOLUTION), _convolution),
    F.linear: (("input", "weight", "bias"), _linear),
    F.batch_norm: ((*_STATISTICS, "training", "momentum", "eps"), partial(_affine, F.batch_norm)),
    F.instance_norm: (
        (*_STATISTICS, "use_input_stats", "momentum", "eps"),
        partial(_affine, F.instance_norm),
    ),
    F.group_norm: (("input", "num_groups", "weight", "bias", "eps"), partial(_affine, F.group_norm)),
    F.layer_norm: (("input", "normalized_shape", "weight", "bias", "eps"), partial(_affine, F.layer_norm)),
}
_CASTS = {Tensor.to, Tensor.float, Tensor.double, Tensor.bfloat16, Tensor.half, F.pad}
