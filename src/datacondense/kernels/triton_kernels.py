"""Group normalisation, activation and 2x2 pooling in one pass over memory on a GPU, and the gradient of the three.

Written in Triton, which comes with torch for CUDA; nothing loads this file elsewhere. Images are [N, H, W, C] (torch's
channels_last) in bfloat16 or float32; whatever is computed from them is float32.

A program handles some channels of one image: BLOCK of them, or one group. It walks over the 2x2 windows of the map as
four tiles [TILE, BLOCK], one per corner, so that pooling needs no exchange between threads. A map that the tiles cover
at once is read once and stays in registers; a larger one is read twice, the second time mostly from cache.
Sides may be odd: the last windows then lack corners, count for the statistics, and have no pooled value, as in torch.

Everywhere: MAP is (height, width, channels), `windows` and `channel` number the rows and columns of a tile, and a place
is which pixel of a map each row belongs to, and whether there is such a pixel.
"""

import triton
import triton.language as tl


@triton.jit
def _corner(windows, CORNER: tl.constexpr, MAP: tl.constexpr):
    """Return the place of a corner (0 to 3) of each window."""
    row = windows // ((MAP[1] + 1) // 2) * 2 + CORNER // 2
    column = windows % ((MAP[1] + 1) // 2) * 2 + CORNER % 2
    return row * MAP[1] + column, (row < MAP[0]) & (column < MAP[1])


@triton.jit
def _pooled(windows, MAP: tl.constexpr):
    """Return the place of each window in the pooled map."""
    row = windows // ((MAP[1] + 1) // 2)
    column = windows % ((MAP[1] + 1) // 2)
    return row * (MAP[1] // 2) + column, (row < MAP[0] // 2) & (column < MAP[1] // 2)


@triton.jit
def _load(pointer, place, channel, MAP: tl.constexpr):
    """Load a tile as float32, with zeros where there is nothing."""
    mask = place[1][:, None] & (channel < MAP[2])[None, :]
    return tl.load(pointer + place[0][:, None] * MAP[2] + channel[None, :], mask, other=0.0).to(tl.float32)


@triton.jit
def _store(pointer, place, channel, value, MAP: tl.constexpr):
    mask = place[1][:, None] & (channel < MAP[2])[None, :]
    tl.store(pointer + place[0][:, None] * MAP[2] + channel[None, :], value, mask)


@triton.jit
def _load_corners(pointer, windows, channel, MAP: tl.constexpr):
    a = _load(pointer, _corner(windows, 0, MAP), channel, MAP)
    b = _load(pointer, _corner(windows, 1, MAP), channel, MAP)
    c = _load(pointer, _corner(windows, 2, MAP), channel, MAP)
    d = _load(pointer, _corner(windows, 3, MAP), channel, MAP)
    return a, b, c, d


@triton.jit
def _store_corners(pointer, windows, channel, tiles, MAP: tl.constexpr):
    _store(pointer, _corner(windows, 0, MAP), channel, tiles[0], MAP)
    _store(pointer, _corner(windows, 1, MAP), channel, tiles[1], MAP)
    _store(pointer, _corner(windows, 2, MAP), channel, tiles[2], MAP)
    _store(pointer, _corner(windows, 3, MAP), channel, tiles[3], MAP)


@triton.jit
def _affine(tiles, mean, scale, shift):
    a, b = (tiles[0] - mean) * scale + shift, (tiles[1] - mean) * scale + shift
    c, d = (tiles[2] - mean) * scale + shift, (tiles[3] - mean) * scale + shift
    return a, b, c, d


@triton.jit
def _squares(tile, mean, place):
    """Sum the squared differences from the mean over the pixels that there are."""
    difference = tl.where(place[1][:, None], tile - mean[None, :], 0.0)
    return tl.sum(difference * difference, 0)


@triton.jit
def _moments(tiles, windows, MAP: tl.constexpr):
    """Return the number of pixels of four tiles, their mean and their summed squared differences from it."""
    a, b = _corner(windows, 0, MAP), _corner(windows, 1, MAP)
    c, d = _corner(windows, 2, MAP), _corner(windows, 3, MAP)
    count = tl.sum((a[1].to(tl.float32) + b[1]) + (c[1].to(tl.float32) + d[1]), 0)
    total = tl.sum((tiles[0] + tiles[1]) + (tiles[2] + tiles[3]), 0)
    mean = tl.div_rn(total, tl.zeros_like(total) + count)  # `/` may err by two units in the last place
    upper = _squares(tiles[0], mean, a) + _squares(tiles[1], mean, b)
    return count, mean, upper + (_squares(tiles[2], mean, c) + _squares(tiles[3], mean, d))


@triton.jit
def _over_group(value, channel, MAP: tl.constexpr):
    """Sum over the channels of a group, for each of them."""
    return tl.zeros_like(value) + tl.sum(tl.where(channel < MAP[2], value, 0.0), 0)


@triton.jit
def _activate(y, ACTIVATION: tl.constexpr):
    if ACTIVATION == "relu":
        value = tl.where(y < 0, 0.0, y)  # keeps a NaN
    elif ACTIVATION == "leaky":
        value = tl.where(y > 0, y, 0.01 * y)
    elif ACTIVATION == "swish":
        value = y * tl.sigmoid(y)
    else:
        value = tl.sigmoid(y)
    return value


@triton.jit
def _slope(y, ACTIVATION: tl.constexpr):
    """Return the derivative of the activation."""
    if ACTIVATION == "relu":
        slope = tl.where(y > 0, 1.0, 0.0)
    elif ACTIVATION == "leaky":
        slope = tl.where(y > 0, 1.0, 0.01)
    elif ACTIVATION == "swish":
        slope = tl.sigmoid(y) * (1 + y * (1 - tl.sigmoid(y)))
    else:
        slope = tl.sigmoid(y) * (1 - tl.sigmoid(y))
    return slope


@triton.jit
def _write_output(
    out, windows, channel, y, MAP: tl.constexpr, ACTIVATION: tl.constexpr, POOLING: tl.constexpr
):
    """Activate and pool four normalised tiles."""
    a, b = _activate(y[0], ACTIVATION), _activate(y[1], ACTIVATION)
    c, d = _activate(y[2], ACTIVATION), _activate(y[3], ACTIVATION)
    if POOLING == "none":
        _store_corners(out, windows, channel, (a, b, c, d), MAP)
    elif POOLING == "average":
        _store(out, _pooled(windows, MAP), channel, ((a + b) + (c + d)) * 0.25, MAP)
    else:  # takes no care of a NaN, which its mean has spread to all of a channel
        _store(out, _pooled(windows, MAP), channel, tl.maximum(tl.maximum(a, b), tl.maximum(c, d)), MAP)


@triton.jit
def _unpool_maximum(gradient, y, ACTIVATION: tl.constexpr):
    """Return the four gradients: all of it for the first of the largest, in row-major order."""
    best, first = _activate(y[0], ACTIVATION), tl.zeros_like(gradient)
    value = _activate(y[1], ACTIVATION)
    first, best = tl.where(value > best, 1.0, first), tl.maximum(value, best)
    value = _activate(y[2], ACTIVATION)
    first, best = tl.where(value > best, 2.0, first), tl.maximum(value, best)
    first = tl.where(_activate(y[3], ACTIVATION) > best, 3.0, first)
    a, b = tl.where(first == 0, gradient, 0.0), tl.where(first == 1, gradient, 0.0)
    c, d = tl.where(first == 2, gradient, 0.0), tl.where(first == 3, gradient, 0.0)
    return a, b, c, d


@triton.jit
def _read_gradient(
    gradient, images, windows, channel, mean, rstd, scale, shift,
    MAP: tl.constexpr, ACTIVATION: tl.constexpr, POOLING: tl.constexpr,
):  # fmt: skip
    """Return four tiles of g = dL/dy, back through pooling and activation, and of xhat; y = xhat * scale + shift."""
    xhat = _affine(_load_corners(images, windows, channel, MAP), mean, rstd, 0.0)
    y = _affine(xhat, 0.0, scale, shift)
    if POOLING == "none":
        a, b, c, d = _load_corners(gradient, windows, channel, MAP)
    else:
        a = _load(gradient, _pooled(windows, MAP), channel, MAP)
        if POOLING == "average":
            a = a * 0.25
            b, c, d = a, a, a
        else:
            a, b, c, d = _unpool_maximum(a, y, ACTIVATION)
    a, b = a * _slope(y[0], ACTIVATION), b * _slope(y[1], ACTIVATION)
    c, d = c * _slope(y[2], ACTIVATION), d * _slope(y[3], ACTIVATION)
    return (a, b, c, d), xhat


@triton.jit
def _sums(g, xhat):
    """Sum g and g * xhat over the pixels."""
    total = tl.sum((g[0] + g[1]) + (g[2] + g[3]), 0)
    return total, tl.sum((g[0] * xhat[0] + g[1] * xhat[1]) + (g[2] * xhat[2] + g[3] * xhat[3]), 0)


@triton.jit
def _write_gradient(pointer, windows, channel, g, xhat, scale, level, slope, MAP: tl.constexpr):
    """Write the gradient of the images."""
    a, b = g[0] * scale - (xhat[0] * slope + level), g[1] * scale - (xhat[1] * slope + level)
    c, d = g[2] * scale - (xhat[2] * slope + level), g[3] * scale - (xhat[3] * slope + level)
    _store_corners(pointer, windows, channel, (a, b, c, d), MAP)


@triton.jit
def _own_channels(MAP: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr):
    """Return this program's image, and its channels; one that is not its own is MAP[2] or more."""
    blocks: tl.constexpr = (MAP[2] + STEP - 1) // STEP
    lane = tl.arange(0, BLOCK)
    channel = tl.program_id(0) % blocks * STEP + lane
    if STEP < BLOCK:
        channel = tl.where(lane < STEP, channel, MAP[2])
    return (tl.program_id(0) // blocks).to(tl.int64), channel  # an offset of images may exceed 32 bits


@triton.jit(do_not_specialize=["number"])
def forward_kernel(
    images, weight, bias, out, statistics, number, eps,
    MAP: tl.constexpr, OUT: tl.constexpr, GROUP: tl.constexpr, ACTIVATION: tl.constexpr, POOLING: tl.constexpr,
    STEP: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Compute the output, and `[2, N, C]` mean and 1/deviation of each channel's group of GROUP channels.

    OUT is the number of values in an image of the output.
    """
    last: tl.constexpr = ((MAP[0] + 1) // 2) * ((MAP[1] + 1) // 2)
    pixels: tl.constexpr = MAP[0] * MAP[1]
    image, channel = _own_channels(MAP, STEP, BLOCK)
    images += image * (pixels * MAP[2])
    out += image * OUT
    windows = tl.arange(0, TILE)
    if last <= TILE:
        x = _load_corners(images, windows, channel, MAP)
        _, mean, squares = _moments(x, windows, MAP)
    else:
        count = 0.0
        mean, squares = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
        for start in range(0, last, TILE):
            x = _load_corners(images, start + windows, channel, MAP)
            more, own_mean, own_squares = _moments(x, start + windows, MAP)
            difference = own_mean - mean
            mean += difference * (more / (count + more))
            squares += own_squares + difference * difference * (count * more / (count + more))
            count += more
    if GROUP > 1:
        own_mean = mean
        mean = _over_group(own_mean, channel, MAP) / GROUP
        squares += (own_mean - mean) * (own_mean - mean) * pixels
        squares = _over_group(squares, channel, MAP) / GROUP
    rstd = 1 / tl.sqrt(squares / pixels + eps)
    own = channel < MAP[2]
    tl.store(statistics + image * MAP[2] + channel, mean, own)
    tl.store(statistics + (number + image) * MAP[2] + channel, rstd, own)
    scale = (rstd * tl.load(weight + channel, own, other=0.0))[None, :]
    shift, mean = tl.load(bias + channel, own, other=0.0)[None, :], mean[None, :]
    if last <= TILE:
        _write_output(out, windows, channel, _affine(x, mean, scale, shift), MAP, ACTIVATION, POOLING)
    else:
        for start in range(0, last, TILE):
            x = _load_corners(images, start + windows, channel, MAP)
            _write_output(
                out, start + windows, channel, _affine(x, mean, scale, shift), MAP, ACTIVATION, POOLING
            )


@triton.jit(do_not_specialize=["number"])
def backward_kernel(
    gradient, images, weight, bias, statistics, image_gradient, parameter_gradients, number,
    MAP: tl.constexpr, OUT: tl.constexpr, GROUP: tl.constexpr, ACTIVATION: tl.constexpr, POOLING: tl.constexpr,
    STEP: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of the images, and `[2, N, C]` of weight and bias, image by image.

    With y = weight * xhat + bias, g = dL/dy and h = weight * g: dL/dx = rstd * (h - mean(h) - xhat * mean(h * xhat)).
    """
    last: tl.constexpr = ((MAP[0] + 1) // 2) * ((MAP[1] + 1) // 2)
    pixels: tl.constexpr = MAP[0] * MAP[1]
    image, channel = _own_channels(MAP, STEP, BLOCK)
    images += image * (pixels * MAP[2])
    image_gradient += image * (pixels * MAP[2])
    gradient += image * OUT
    own, windows = channel < MAP[2], tl.arange(0, TILE)
    mean = tl.load(statistics + image * MAP[2] + channel, own, other=0.0)[None, :]
    rstd = tl.load(statistics + (number + image) * MAP[2] + channel, own, other=0.0)[None, :]
    w = tl.load(weight + channel, own, other=0.0)
    shift = tl.load(bias + channel, own, other=0.0)[None, :]
    if last <= TILE:
        g, xhat = _read_gradient(
            gradient, images, windows, channel, mean, rstd, w[None, :], shift, MAP, ACTIVATION, POOLING
        )
        total, dot = _sums(g, xhat)
    else:
        total, dot = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
        for start in range(0, last, TILE):
            at = start + windows
            g, xhat = _read_gradient(
                gradient, images, at, channel, mean, rstd, w[None, :], shift, MAP, ACTIVATION, POOLING
            )
            own_total, own_dot = _sums(g, xhat)
            total += own_total
            dot += own_dot
    tl.store(parameter_gradients + image * MAP[2] + channel, dot, own)
    tl.store(parameter_gradients + (number + image) * MAP[2] + channel, total, own)
    total, dot = w * total, w * dot
    if GROUP > 1:
        total, dot = _over_group(total, channel, MAP), _over_group(dot, channel, MAP)
    level, slope = rstd * (total / (pixels * GROUP))[None, :], rstd * (dot / (pixels * GROUP))[None, :]
    scale = rstd * w[None, :]
    if last <= TILE:
        _write_gradient(image_gradient, windows, channel, g, xhat, scale, level, slope, MAP)
    else:
        for start in range(0, last, TILE):
            at = start + windows
            g, xhat = _read_gradient(
                gradient, images, at, channel, mean, rstd, w[None, :], shift, MAP, ACTIVATION, POOLING
            )
            _write_gradient(image_gradient, at, channel, g, xhat, scale, level, slope, MAP)
