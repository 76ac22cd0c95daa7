/* Instance normalisation, ReLU and 2x2 average pooling in one pass over memory, and the gradient of the three.

   Images are [N, H, W, C] (torch's channels_last) in bfloat16 or float32, C a multiple of BLOCK; sums are float32.
   Written with the vector types of GCC and Clang: fast on any processor that they know, and no intrinsics.
   A thread handles whole images, one block of channels at a time, so nothing depends on the number of threads.

   Per channel: y = (x - mean) / sqrt(variance + eps) * weight + bias;  out = mean of max(y, 0) over each 2x2 window.
   As in torch, a last odd row or column counts for mean and variance but lies in no window. */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16, BLOCK = 2 * LANES };
typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
#define INLINE static inline __attribute__((always_inline))

/* BLOCK channels. From float32, a holds the first half and b the second; from bfloat16, which is the upper half of a
   float32, a holds the even channels and b the odd ones, so that two operations unpack 32 numbers. */
typedef struct { floats a, b; } block;

static const block ZERO = {{0}, {0}};

INLINE block add(block u, block v) { return (block){u.a + v.a, u.b + v.b}; }
INLINE block subtract(block u, block v) { return (block){u.a - v.a, u.b - v.b}; }
INLINE block multiply(block u, block v) { return (block){u.a * v.a, u.b * v.b}; }
INLINE block scaled(block u, float factor) { return (block){u.a * factor, u.b * factor}; }
INLINE block affine(block u, block scale, block shift) { return add(multiply(u, scale), shift); }
INLINE floats keep(words mask, floats v) { return (floats)(mask & (words)v); }
INLINE block where_positive(block test, block v) {
    return (block){keep((words)(test.a > 0), v.a), keep((words)(test.b > 0), v.b)};
}
INLINE block inverse_root(block v) {
    for (int lane = 0; lane < LANES; lane++) {
        v.a[lane] = 1 / sqrtf(v.a[lane]);
        v.b[lane] = 1 / sqrtf(v.b[lane]);
    }
    return v;
}

/* `half` (bfloat16?) is a constant wherever these are called: the compiler makes each function twice. */
INLINE char *at(const void *images, long index, int half) { return (char *)images + index * (half ? 2 : 4); }

INLINE block load(const void *images, long index, int half) {
    words first, second;
    memcpy(&first, at(images, index, half), sizeof first);
    if (half) return (block){(floats)(first << 16), (floats)(first & 0xffff0000u)};
    memcpy(&second, at(images, index + LANES, half), sizeof second);
    return (block){(floats)first, (floats)second};
}

INLINE void store(void *images, long index, block v, int half) {
    words first = (words)v.a, second = (words)v.b;
    if (half) /* to the nearest, ties away from zero */
        first = ((first + 0x8000u) >> 16) | ((second + 0x8000u) & 0xffff0000u);
    memcpy(at(images, index, half), &first, sizeof first);
    if (!half) memcpy(at(images, index + LANES, half), &second, sizeof second);
}

/* Numbers of channels, not of pixels, lie in memory in their natural order and in float32. */
INLINE block load_channels(const float *from, int half) {
    block v;
    for (int lane = 0; lane < LANES; lane++) {
        v.a[lane] = from[half ? 2 * lane : lane];
        v.b[lane] = from[half ? 2 * lane + 1 : lane + LANES];
    }
    return v;
}

INLINE void store_channels(float *to, block v, int half) {
    for (int lane = 0; lane < LANES; lane++) {
        to[half ? 2 * lane : lane] = v.a[lane];
        to[half ? 2 * lane + 1 : lane + LANES] = v.b[lane];
    }
}

typedef struct { long height, width, channels; } shape;

/* Where pixel `corner` (0 to 3) of the window in row y and column z begins. */
INLINE long in_window(shape s, long y, long z, int corner) {
    return ((2 * y + corner / 2) * s.width + 2 * z + corner % 2) * s.channels;
}

INLINE void forward(const void *x, const float *weight, const float *bias, void *out, float *mean, float *rstd,
                    shape s, float eps, int half) {
    long pixels = s.height * s.width, rows = s.height / 2, columns = s.width / 2;
    /* Sums of differences from the first pixel: one pass, and no cancellation where the mean is large. */
    block first = load(x, 0, half), sum = ZERO, squares = ZERO, sum_odd = ZERO, squares_odd = ZERO;
    for (long p = 0; p + 1 < pixels; p += 2) { /* two chains of additions, because one waits for itself */
        block u = subtract(load(x, p * s.channels, half), first);
        block v = subtract(load(x, (p + 1) * s.channels, half), first);
        sum = add(sum, u), squares = add(squares, multiply(u, u));
        sum_odd = add(sum_odd, v), squares_odd = add(squares_odd, multiply(v, v));
    }
    if (pixels % 2) {
        block u = subtract(load(x, (pixels - 1) * s.channels, half), first);
        sum = add(sum, u), squares = add(squares, multiply(u, u));
    }
    block offset = scaled(add(sum, sum_odd), 1.0f / pixels);
    block variance = subtract(scaled(add(squares, squares_odd), 1.0f / pixels), multiply(offset, offset));
    block m = add(first, offset), r = where_positive(variance, variance);
    r.a += eps, r.b += eps;
    r = inverse_root(r);
    store_channels(mean, m, half), store_channels(rstd, r, half);
    block scale = multiply(r, load_channels(weight, half));
    block shift = subtract(load_channels(bias, half), multiply(m, scale));
    for (long y = 0; y < rows; y++)
        for (long z = 0; z < columns; z++) {
            block total = ZERO;
            for (int corner = 0; corner < 4; corner++) {
                block v = affine(load(x, in_window(s, y, z, corner), half), scale, shift);
                total = add(total, where_positive(v, v));
            }
            store(out, (y * columns + z) * s.channels, scaled(total, 0.25f), half);
        }
}

/* With d = dL/dy:  dL/dx = weight * rstd * (d - mean(d) - xhat * mean(d * xhat)), xhat = (x - mean) * rstd. */
INLINE void backward(const void *g, const void *x, const float *weight, const float *bias, const float *mean,
                     const float *rstd, void *gx, float *gweight, float *gbias, shape s, int half) {
    long rows = s.height / 2, columns = s.width / 2;
    block one = {ZERO.a + 1, ZERO.b + 1}, m = load_channels(mean, half), r = load_channels(rstd, half);
    block scale = multiply(r, load_channels(weight, half));
    block shift = subtract(load_channels(bias, half), multiply(m, scale));
    block sum = ZERO, dot = ZERO; /* of d, and of d * (x - mean) */
    for (long y = 0; y < rows; y++)
        for (long z = 0; z < columns; z++) {
            block d = load(g, (y * columns + z) * s.channels, half), number = ZERO, above = ZERO;
            for (int corner = 0; corner < 4; corner++) {
                block v = load(x, in_window(s, y, z, corner), half), activity = affine(v, scale, shift);
                number = add(number, where_positive(activity, one));
                above = add(above, where_positive(activity, subtract(v, m)));
            }
            sum = add(sum, multiply(d, number)), dot = add(dot, multiply(d, above));
        }
    sum = scaled(sum, 0.25f), dot = multiply(scaled(dot, 0.25f), r);
    store_channels(gbias, sum, half), store_channels(gweight, dot, half);
    /* What every pixel gets, whether or not it is active, as slope * x + level. */
    float share = -1.0f / (s.height * s.width);
    block slope = scaled(multiply(multiply(scale, dot), r), share);
    block level = subtract(scaled(multiply(scale, sum), share), multiply(m, slope));
    block quarter = scaled(scale, 0.25f);
    for (long y = 0; y < rows; y++)
        for (long z = 0; z < columns; z++) {
            block d = multiply(load(g, (y * columns + z) * s.channels, half), quarter);
            for (int corner = 0; corner < 4; corner++) {
                long p = in_window(s, y, z, corner);
                block v = load(x, p, half);
                block own = where_positive(affine(v, scale, shift), d);
                store(gx, p, add(own, affine(v, slope, level)), half);
            }
        }
    for (long y = 0; y < s.height; y++) /* pixels in no window */
        for (long z = y < 2 * rows ? 2 * columns : 0; z < s.width; z++) {
            long p = (y * s.width + z) * s.channels;
            store(gx, p, affine(load(x, p, half), slope, level), half);
        }
}

#define FOR_EACH_BLOCK                                                                             \
    _Pragma("omp parallel for schedule(static) num_threads(threads)")                              \
    for (long n = 0; n < images; n++)                                                              \
        for (long c = 0; c < channels; c += BLOCK)

/* Statistics mean, rstd, and the parameters' gradients are float32 [N, C]; the caller sums the last over images. */
void norm_relu_pool_forward(const void *x, const float *weight, const float *bias, void *out, float *mean, float *rstd,
                            long images, long height, long width, long channels, float eps, int half, int threads) {
    shape s = {height, width, channels};
    long inner = height * width * channels, outer = (height / 2) * (width / 2) * channels;
#define FORWARD(HALF)                                                                              \
    forward(at(x, n * inner + c, HALF), weight + c, bias + c, at(out, n * outer + c, HALF),        \
            mean + n * channels + c, rstd + n * channels + c, s, eps, HALF)
    if (half) {
        FOR_EACH_BLOCK FORWARD(1);
    } else {
        FOR_EACH_BLOCK FORWARD(0);
    }
}

void norm_relu_pool_backward(const void *g, const void *x, const float *weight, const float *bias, const float *mean,
                             const float *rstd, void *gx, float *gweight, float *gbias, long images, long height,
                             long width, long channels, int half, int threads) {
    shape s = {height, width, channels};
    long inner = height * width * channels, outer = (height / 2) * (width / 2) * channels;
#define BACKWARD(HALF)                                                                             \
    backward(at(g, n * outer + c, HALF), at(x, n * inner + c, HALF), weight + c, bias + c,         \
             mean + n * channels + c, rstd + n * channels + c, at(gx, n * inner + c, HALF),        \
             gweight + n * channels + c, gbias + n * channels + c, s, HALF)
    if (half) {
        FOR_EACH_BLOCK BACKWARD(1);
    } else {
        FOR_EACH_BLOCK BACKWARD(0);
    }
}
