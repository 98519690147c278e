// The first and the last layer of a batch, the shortcut of option A, and the layout of weights for a step.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

// b = the pictures: cropped, mirrored, scaled; 0 where a crop goes beyond the picture, and in padding channels.
static void take(const Step *step, const Call *call, int block) {
    const Source *source = step->source;
    const Map *b = &call->b;
    const int height = source->height, width = source->width, area = height * width, images = valid(step, block);
    real *to = block_of(b, block);
    for (int n = 0; n < images; n++) {
        const long image = (long)block * IMAGES + n;
        const uint8_t *from = source->pixels + image_of(source, image) * source->channels * area;
        const int down = source->down ? (int)source->down[image] - source->pad : 0;
        const int right = source->right ? (int)source->right[image] - source->pad : 0;
        const int flip = source->flip && source->flip[image];
        for (int row = 0; row < height; row++)
            for (int column = 0; column < width; column++) {
                const int y = row + down, x = (flip ? width - 1 - column : column) + right;
                const int inside = y >= 0 && y < height && x >= 0 && x < width;
                real *pixel = to + (((long)row * width + column) * IMAGES + n) * b->channels;
                for (int c = 0; c < source->channels; c++) {
                    const int at = c * area + y * width + x;
                    float v = inside ? source->levels[from[at]] - source->mean[at] : 0;
                    if (inside && source->deviation) v /= source->deviation[c];
                    pixel[c] = real_of(v);
                }
            }
    }
}

// The shortcut of option A: b = every stride-th position of a, its channels moved up by `offset`, zeros beside them.
static void gather(const Step *step, const Call *call, int block) {
    (void)step;
    const Map *a = &call->a, *b = &call->b;
    real *to = block_of(b, block);
    memset(to, 0, size_of(b) * sizeof(real));
    for (int row = 0; row < b->height; row++)
        for (int column = 0; column < b->width; column++) {
            const long at = ((long)row * a->width + column) * call->stride;
            const real *from = block_of(a, block) + at * IMAGES * a->channels;
            for (int n = 0; n < IMAGES; n++, from += a->channels, to += b->channels)
                memcpy(to + call->offset, from, call->kept * sizeof(real));
        }
}

// The gradient by the input of `gather`, from the gradient by its output: a -> b.
static void scatter(const Step *step, const Call *call, int block) {
    (void)step;
    const Map *a = &call->a, *b = &call->b;
    const real *from = block_of(a, block);
    memset(block_of(b, block), 0, size_of(b) * sizeof(real));
    for (int row = 0; row < a->height; row++)
        for (int column = 0; column < a->width; column++) {
            const long at = ((long)row * b->width + column) * call->stride;
            real *to = block_of(b, block) + at * IMAGES * b->channels;
            for (int n = 0; n < IMAGES; n++, from += a->channels, to += b->channels)
                memcpy(to, from + call->offset, call->kept * sizeof(real));
        }
}

// pooled = the mean over positions of a.
static void average(const Step *step, const Call *call, int block) {
    const Map *a = &call->a;
    const int positions = a->height * a->width, images = valid(step, block);
    for (int n = 0; n < images; n++)
        for (int c = 0; c < a->channels; c += LANES) {
            const real *from = block_of(a, block) + n * a->channels + c;
            lanes sum = {};
            for (int i = 0; i < positions; i++) sum += load(from + (long)i * IMAGES * a->channels);
            keep(call->head->pooled + ((long)block * IMAGES + n) * a->channels + c, sum / (float)positions);
        }
}

// The gradient by the input of `average`, from the gradient by its output: pooled -> b.
static void unpool(const Step *step, const Call *call, int block) {
    const Map *b = &call->b;
    const int positions = b->height * b->width, images = valid(step, block);
    for (int n = 0; n < images; n++)
        for (int c = 0; c < b->channels; c += LANES) {
            const float *from = call->head->pooled + ((long)block * IMAGES + n) * b->channels + c;
            const lanes each = floats(from) / (float)positions;
            real *to = block_of(b, block) + n * b->channels + c;
            for (int i = 0; i < positions; i++) store(to + (long)i * IMAGES * b->channels, each);
        }
}

// Lays out weights as `convolve` reads them. In float32 the way forward reads the trained weights themselves.
static void pack(const Step *step, const Call *call) {
    (void)step;
    const Kernel *kernel = call->kernel;
    const int cin = kernel->cin, cout = kernel->cout;
    for (int tap = 0; tap < kernel->taps; tap++) {
        const float *w = kernel->weight + (long)tap * cin * cout;
        unit *back = kernel->backward + (long)tap * cin * (cout / UNIT);
#ifdef BF16
        unit *forward = kernel->forward + (long)tap * (cin / UNIT) * cout;
        for (int ci = 0; ci < cin; ci += UNIT)
            for (int co = 0; co < cout; co++)
                forward[ci / UNIT * cout + co] = unit_of(w[ci * cout + co], w[(ci + 1) * cout + co]);
        for (int co = 0; co < cout; co += UNIT)
            for (int ci = 0; ci < cin; ci++)
                back[co / UNIT * cin + ci] = unit_of(w[ci * cout + co], w[ci * cout + co + 1]);
#else
        for (int co = 0; co < cout; co++)
            for (int ci = 0; ci < cin; ci++) back[co * cin + ci] = w[ci * cout + co];
#endif
    }
}

// Sums the gradients of `correlate` over chunks, in order, and updates the weights while the sum is in the cache.
static void fold_weights(const Step *step, const Call *call) {
    const Kernel *kernel = call->kernel;
    const long size = (long)kernel->taps * kernel->cin * kernel->cout;
    const int chunks = (step->blocks + CHUNK - 1) / CHUNK;
    float *gradient = kernel->partial;
    for (int chunk = 1; chunk < chunks; chunk++)
        for (long i = 0; i < size; i++) gradient[i] += gradient[chunk * size + i];
    descend(step->descent, kernel->weight, kernel->momentum, gradient, step->descent->decay, size);
    pack(step, call);
}

// Adds one image's cross-entropy and mistake to the tally; the logits become their softmax.
static void softmax(const Head *head, int label, double *tally) {
    float *p = head->logits, sum = 0;
    int best = 0;
    for (int k = 1; k < head->classes; k++)
        if (p[k] > p[best]) best = k;
    const float most = p[best], own = p[label];
    for (int k = 0; k < head->classes; k++) sum += p[k] = expf(p[k] - most);
    for (int k = 0; k < head->classes; k++) p[k] /= sum;
    tally[0] += most + logf(sum) - own;
    tally[1] += best != label;
}

// The last layer: loss and mistakes of the batch. With a way back `pooled` becomes its gradient; weights are updated.
// The gradient by the logits is (softmax - onehot) / images.
static void classify(const Step *step, const Call *call) {
    const Head *head = call->head;
    const int classes = head->classes, channels = head->channels;
    float *by_weight = head->gradient, *by_bias = head->gradient + (long)classes * channels;
    const long biases = (classes + LANES - 1) / LANES * LANES;
    memset(by_weight, 0, sizeof(float) * ((size_t)classes * channels + biases));
    for (int n = 0; n < step->images; n++) {
        const long label = step->source->labels[image_of(step->source, n)];
        float *x = head->pooled + (long)n * channels;
        for (int k = 0; k < classes; k++) {
            lanes sum = {};
            const float *w = head->weight + (long)k * channels;
            for (int c = 0; c < channels; c += LANES) sum += floats(x + c) * floats(w + c);
            head->logits[k] = head->bias[k];
            for (int i = 0; i < LANES; i++) head->logits[k] += sum[i];
        }
        softmax(head, (int)label, step->tally);
        if (!step->descent) continue;
        head->logits[label] -= 1;
        for (int k = 0; k < classes; k++) by_bias[k] += head->logits[k] /= (float)step->images;
        for (int c = 0; c < channels; c += LANES) {
            const lanes in = floats(x + c);
            lanes back = {};
            for (int k = 0; k < classes; k++) {
                float *w = head->weight + (long)k * channels + c, *g = by_weight + (long)k * channels + c;
                back += head->logits[k] * floats(w);
                keep(g, floats(g) + head->logits[k] * in);
            }
            keep(x + c, back);
        }
    }
    if (!step->descent) return;
    const float decay = step->descent->other_decay;
    descend(step->descent, head->weight, head->momentum, by_weight, decay, (long)classes * channels);
    descend(step->descent, head->bias, head->bias_momentum, by_bias, decay, biases);
}
