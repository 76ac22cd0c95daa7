"""A plain implementation as the baseline: the paper's loops as research scripts write them.

One class after the other in Python, NCHW, float32, eager layers, every parameter differentiated, the graphs of all
classes kept until one backward pass, images augmented one by one. It shares no code with the library.
"""

import torch
from numpy.random import Generator
from scipy.ndimage import rotate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

EPSILON = 1e-6
BATCH = 256


class ConvNet(nn.Sequential):
    """Three times [convolution, instance norm, ReLU, average pooling], then a linear layer."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, width: int = 128) -> None:
        first, side = (3, 32) if shape[1] == 28 else (1, shape[1])  # 28x28 becomes 32x32
        layers: list[nn.Module] = []
        for depth in range(3):
            layers.append(nn.Conv2d(width if depth else shape[0], width, 3, padding=1 if depth else first))
            layers += [nn.GroupNorm(width, width), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
            side //= 2
        super().__init__(*layers, nn.Flatten(), nn.Linear(width * side * side, num_classes))


def layer_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Sum 1 - cos over the output units of one layer; biases and norm parameters do not count."""
    if real.dim() == 1:
        return real.new_zeros(())
    real, synthetic = real.flatten(1), synthetic.flatten(1)
    norms: Tensor = real.norm(dim=1) * synthetic.norm(dim=1)
    return (1 - (real * synthetic).sum(1) / (norms + EPSILON)).sum()


def matching_step(
    network: nn.Module, real: list[Tensor], synthetic: Tensor, optimiser: Optimizer, real_batch: int = BATCH
) -> float:
    """Move the synthetic images `[K·S, C, H, W]` once; `real` holds the images of each class."""
    parameters = list(network.parameters())
    ipc = len(synthetic) // len(real)
    loss = synthetic.new_zeros(())
    for label, images in enumerate(real):
        batch = images[torch.randperm(len(images))[:real_batch]]
        targets = torch.full((len(batch),), label, device=batch.device)
        real_loss = F.cross_entropy(network(batch), targets)
        real_gradients = [g.detach().clone() for g in torch.autograd.grad(real_loss, parameters)]
        own = synthetic[label * ipc : (label + 1) * ipc]
        synthetic_loss = F.cross_entropy(network(own), targets.new_full((ipc,), label))
        gradients = torch.autograd.grad(synthetic_loss, parameters, create_graph=True)
        for one, other in zip(real_gradients, gradients, strict=True):
            loss = loss + layer_distance(one, other)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def train_epoch(
    network: nn.Module, images: Tensor, labels: Tensor, optimiser: Optimizer, rng: Generator | None = None
) -> float:
    """Train for one epoch, with augmentation if a generator is given."""
    total = 0.0
    for batch in torch.randperm(len(images)).split(BATCH):
        inputs = images[batch] if rng is None else augment(images[batch], rng)
        loss = F.cross_entropy(network(inputs), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(batch)
    return total / len(images)


def inner_training(network: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Train the network between two matching steps."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.5)
    for _ in range(epochs):
        train_epoch(network, images, labels, optimiser)


def test_accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Compute the share of correct predictions."""
    right = 0
    with torch.no_grad():
        for batch, correct in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            right += int((network(batch).argmax(1) == correct).sum())
    return right / len(images)


def augment(images: Tensor, rng: Generator) -> Tensor:
    """Apply a random operation to each image: crop, scale or rotate."""
    means = images.mean((0, 2, 3))
    return torch.stack([(cropped, scaled, rotated)[rng.integers(3)](image, means, rng) for image in images])


def cropped(image: Tensor, means: Tensor, rng: Generator, pad: int = 4) -> Tensor:
    """Cut a window of the image's size out of the image with a border."""
    channels, height, width = image.shape
    canvas = means.view(-1, 1, 1).expand(channels, height + 2 * pad, width + 2 * pad).clone()
    canvas[:, pad : pad + height, pad : pad + width] = image
    top, left = (int(rng.integers(2 * pad)) for _ in range(2))
    return canvas[:, top : top + height, left : left + width]


def scaled(image: Tensor, _: Tensor, rng: Generator) -> Tensor:
    """Resize by up to a fifth, then cut or fill up around the middle."""
    height, width = image.shape[1:]
    tall, wide = (int(side * rng.uniform(0.8, 1.2)) for side in (height, width))
    resized = F.interpolate(image[None], [tall, wide])[0]
    top, left = max(0, height - tall) // 2, max(0, width - wide) // 2
    resized = F.pad(resized, (left, max(0, width - wide - left), top, max(0, height - tall - top)))
    top, left = (resized.shape[1] - height) // 2, (resized.shape[2] - width) // 2
    return resized[:, top : top + height, left : left + width]


def rotated(image: Tensor, means: Tensor, rng: Generator) -> Tensor:
    """Turn by up to 45 degrees, by cubic splines."""
    angle, fill = int(rng.integers(-45, 45)), float(means.mean())
    turned = rotate(image.cpu().numpy(), angle, axes=(1, 2), reshape=False, cval=fill)
    return torch.from_numpy(turned).to(image.device)


def herding(features: Tensor, ipc: int) -> list[int]:
    """Select images of one class whose mean stays near the mean of all."""
    mean, total = features.mean(0), torch.zeros(features.shape[1])
    left, selected = list(range(len(features))), []
    for count in range(1, ipc + 1):
        distances = ((total + features[left]) / count - mean).norm(dim=1)
        best = left.pop(int(distances.argmin()))
        total = total + features[best]
        selected.append(best)
    return selected


def k_center(features: Tensor, ipc: int) -> list[int]:
    """Select the image of one class nearest to the mean, then always the one farthest from those selected."""
    between = torch.cdist(features, features)
    selected = [int((features - features.mean(0)).norm(dim=1).argmin())]
    while len(selected) < ipc:
        selected.append(int(between[:, selected].min(1).values.argmax()))
    return selected
