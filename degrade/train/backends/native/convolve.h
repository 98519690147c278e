// Convolutions of 3x3 or 1x1 taps: forward; the gradient by the input (the same code with other tables and weights);
// the gradient by the weights.
#pragma once
#include <string.h>

#include "kernels.h"

#define EACH_4(_) _(0) _(1) _(2) _(3)
#define EACH_8(_) EACH_4(_) _(4) _(5) _(6) _(7)

#define BEGIN_1(i) lanes a##i = accumulate ? load(y + i * cout) : (lanes){};
#define BEGIN_2(i) BEGIN_1(i) lanes b##i = accumulate ? load(y + i * cout + LANES) : (lanes){};
#define ADD_1(i) a##i = multiply_add(a##i, x[i * cin], u);
#define ADD_2(i) ADD_1(i) b##i = multiply_add(b##i, x[i * cin], v);
#define END_1(i) store(y + i * cout, a##i);
#define END_2(i) END_1(i) store(y + i * cout + LANES, b##i);

// One position of IMAGES images, LANES outputs (or twice as many): the sums stay in registers over all taps and inputs.
#define POSITION(name, BEGIN, ADD, END, SECOND)                                                                       \
    static void name(const unit *in, const unit *weight, real *y, const Taps *row, const Taps *column, int width,      \
                     int cin, int cout, int side, int accumulate) {                                                    \
        EACH_8(BEGIN)                                                                                                  \
        for (int r = 0; r < row->count; r++)                                                                           \
            for (int k = 0; k < column->count; k++) {                                                                  \
                const unit *x = in + ((long)row->at[r] * width + column->at[k]) * IMAGES * cin;                        \
                const unit *w = weight + (long)(row->tap[r] * side + column->tap[k]) * cin * cout;                     \
                for (int c = 0; c < cin; c++, x++, w += cout) {                                                        \
                    units u = load_units(w);                                                                           \
                    SECOND                                                                                             \
                    EACH_8(ADD)                                                                                        \
                }                                                                                                      \
            }                                                                                                          \
        EACH_8(END)                                                                                                    \
    }
POSITION(one, BEGIN_1, ADD_1, END_1, )
POSITION(two, BEGIN_2, ADD_2, END_2, units v = load_units(w + LANES);)

// b = a * kernel (forward) or, with the weights `backward`, the gradient by the input from the gradient by the output.
// The tables decide. With `accumulate`, the result is added to b.
static void convolve(const Step *step, const Call *call, int block) {
    (void)step;
    const Map *a = &call->a, *b = &call->b;
    const unit *in = (const unit *)block_of(a, block);
    const unit *w = call->backward ? call->kernel->backward : call->kernel->forward;
    int cin = a->channels / UNIT, cout = b->channels, side = call->kernel->taps == 9 ? 3 : 1;
    for (int row = 0; row < b->height; row++)
        for (int column = 0; column < b->width; column++) {
            real *y = block_of(b, block) + ((long)row * b->width + column) * IMAGES * cout;
            const Taps *rows = call->rows + row, *columns = call->columns + column;
            int c = 0;
            for (; PAIRED && c + 2 * LANES <= cout; c += 2 * LANES)
                two(in, w + c, y + c, rows, columns, a->width, cin, cout, side, call->accumulate);
            for (; c < cout; c += LANES)
                one(in, w + c, y + c, rows, columns, a->width, cin, cout, side, call->accumulate);
        }
}

#define START(i) lanes a##i = floats(sum + i * cout);
#define START_2(i) START(i) lanes b##i = floats(sum + i * cout + LANES);
#define MEET(i) a##i = multiply_add(a##i, x[i], u);
#define MEET_2(i) MEET(i) b##i = multiply_add(b##i, x[i], v);
#define STOP(i) keep(sum + i * cout, a##i);
#define STOP_2(i) STOP(i) keep(sum + i * cout + LANES, b##i);

// sum[cin][cout] += a^T b at one tap (ky, kx), over output rows `first` to `last` of one block: 8 or 4 inputs by LANES
// outputs stay in registers. Here a unit is one image, or two, so `a` and `b` are [position][IMAGES / UNIT][channels].
#define PRODUCTS(name, EACH, START, MEET, STOP, SECOND)                                                                \
    static void name(const unit *a, const unit *b, float *sum, const Call *call, int first, int last, int ky,         \
                     int kx) {                                                                                        \
        const int width = call->a.width, wide = call->b.width, cin = call->a.channels, cout = call->b.channels;       \
        EACH(START)                                                                                                    \
        for (int r = first; r < last; r++) {                                                                           \
            const int row = met(call->rows + r, ky);                                                                   \
            for (int k = 0; k < wide && row >= 0; k++) {                                                               \
                const int column = met(call->columns + k, kx);                                                         \
                if (column < 0) continue;                                                                              \
                const unit *x = a + ((long)row * width + column) * (IMAGES / UNIT) * cin;                              \
                const unit *y = b + ((long)r * wide + k) * (IMAGES / UNIT) * cout;                                     \
                for (int n = 0; n < IMAGES / UNIT; n++, x += cin, y += cout) {                                         \
                    const units u = load_units(y);                                                                     \
                    SECOND                                                                                             \
                    EACH(MEET)                                                                                         \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        EACH(STOP)                                                                                                     \
    }

// The row (or column) of the input that meets this tap; -1: padding.
static inline int met(const Taps *taps, int tap) {
    const int i = tap - taps->tap[0];
    return i >= 0 && i < taps->count ? taps->at[i] : -1;
}

PRODUCTS(four_by_one, EACH_4, START, MEET, STOP, )
PRODUCTS(eight_by_one, EACH_8, START, MEET, STOP, )
PRODUCTS(eight_by_two, EACH_8, START_2, MEET_2, STOP_2, const units v = load_units(y + LANES);)

#ifdef BF16
static _Thread_local struct {
    unit *at;
    long size;
} scratch[2];

// The images of a block two by two: [position][image][channel] -> [position][pair][channel].
static const unit *side_by_side(const Map *map, int block, int which) {
    const real *from = block_of(map, block);
    const long size = size_of(map) / UNIT, channels = map->channels;
    if (scratch[which].size < size) {
        free(scratch[which].at);
        scratch[which].at = malloc(size * sizeof(unit));
        scratch[which].size = size;
        if (!scratch[which].at) abort();
    }
    unit *to = scratch[which].at;
    for (long pair = 0; pair < size / channels; pair++, from += 2 * channels, to += channels)
        for (long c = 0; c < channels; c++) to[c] = (unit)from[c] | (unit)from[channels + c] << 16;
    return scratch[which].at;
}
#else
static const unit *side_by_side(const Map *map, int block, int which) {
    (void)which;
    return block_of(map, block);
}
#endif

#define STRIP 4  // output rows whose products are summed before the next tap: their inputs stay in the cache

// The gradient by the weights, summed over a chunk: partial += a^T b; a is the input, b the gradient by the output.
static void correlate(const Step *step, const Call *call, int block) {
    (void)step;
    const Kernel *kernel = call->kernel;
    const int cin = kernel->cin, cout = kernel->cout, side = kernel->taps == 9 ? 3 : 1;
    const long size = (long)kernel->taps * cin * cout;
    float *partial = kernel->partial + block / CHUNK * size;
    if (block % CHUNK == 0) memset(partial, 0, size * sizeof(float));
    const unit *a = side_by_side(&call->a, block, 0), *b = side_by_side(&call->b, block, 1);
    for (int first = 0; first < call->b.height; first += STRIP) {
        const int last = first + STRIP < call->b.height ? first + STRIP : call->b.height;
        for (int tap = 0; tap < kernel->taps; tap++)
            for (int ci = 0; ci < cin; ci += cin % 8 ? 4 : 8) {
                float *sum = partial + ((long)tap * cin + ci) * cout;
                const int ky = tap / side, kx = tap % side;
                int co = 0;
                for (; PAIRED && cin % 8 == 0 && co + 2 * LANES <= cout; co += 2 * LANES)
                    eight_by_two(a + ci, b + co, sum + co, call, first, last, ky, kx);
                for (; co < cout; co += LANES)
                    (cin % 8 ? four_by_one : eight_by_one)(a + ci, b + co, sum + co, call, first, last, ky, kx);
            }
    }
}
