// Batch normalisation with ReLU and the addition of a shortcut, forward and back, and the folds between phases.
#pragma once
#include <math.h>
#include <string.h>

#include "kernels.h"

#define EPSILON 1e-5f

// The sums of y and y^2 over the images of a block, by channel: rows in float32, then float64.
static void moments(const Step *step, const Call *call, int block) {
    if (!step->groups) return;
    const Map *a = &call->a;
    const int channels = a->channels, images = valid(step, block);
    double *sums = call->norm->sums + (long)block / CHUNK * 2 * channels;
    if (block % CHUNK == 0) memset(sums, 0, 2 * channels * sizeof(double));
    for (int row = 0; row < a->height; row++)
        for (int c = 0; c < channels; c += LANES) {
            const real *y = block_of(a, block) + (long)row * a->width * IMAGES * channels + c;
            lanes sum = {}, squares = {}, sum2 = {}, squares2 = {};  // two of each: additions wait for one another
            for (int column = 0; column < a->width; column++, y += IMAGES * channels) {
                int n = 0;
                for (; n + 2 <= images; n += 2) {
                    const lanes v = load(y + n * channels), w = load(y + (n + 1) * channels);
                    sum += v, squares += v * v, sum2 += w, squares2 += w * w;
                }
                if (n < images) {
                    const lanes v = load(y + n * channels);
                    sum += v, squares += v * v;
                }
            }
            sum += sum2, squares += squares2;
            for (int i = 0; i < LANES; i++) sums[c + i] += sum[i], sums[channels + c + i] += squares[i];
        }
}

// b = relu(a * scale + shift + c). c may be missing, and so may the ReLU (with `plain`).
static void normalise(const Step *step, const Call *call, int block) {
    const Map *a = &call->a;
    const int channels = a->channels, images = valid(step, block);
    const real *y = block_of(a, block), *other = call->c.data ? block_of(&call->c, block) : NULL;
    real *out = block_of(&call->b, block);
    const float *scale = call->norm->scale + group_of(step, block) * channels;
    const float *shift = call->norm->shift + group_of(step, block) * channels;
    for (long position = 0; position < (long)a->height * a->width; position++)
        for (int n = 0; n < images; n++) {
            const long at = (position * IMAGES + n) * channels;
            for (int c = 0; c < channels; c += LANES) {
                lanes v = load(y + at + c) * floats(scale + c) + floats(shift + c);
                if (other) v += load(other + at + c);
                store(out + at + c, call->plain ? v : where(~(v < 0), v));  // NaN stays
            }
        }
}

// Turns a, the gradient by relu(z), into g, the gradient by z; b is the ReLU's output (missing: no ReLU). Adds up g and
// g * normalised y over the images of a block. c is y.
static void mask(const Step *step, const Call *call, int block) {
    const Map *a = &call->a;
    const int channels = a->channels, images = valid(step, block);
    const float *centre = call->norm->centre + group_of(step, block) * channels;
    const float *inverse = call->norm->inverse + group_of(step, block) * channels;
    double *sums = call->norm->sums + (long)block / CHUNK * 2 * channels;
    if (block % CHUNK == 0) memset(sums, 0, 2 * channels * sizeof(double));
    for (int row = 0; row < a->height; row++)
        for (int c = 0; c < channels; c += LANES) {
            const long start = (long)row * a->width * IMAGES * channels + c;
            real *gradient = block_of(a, block) + start;
            const real *y = block_of(&call->c, block) + start;
            const real *out = call->b.data ? block_of(&call->b, block) + start : NULL;
            const lanes middle = floats(centre + c);
            lanes first = {}, second = {};
            for (int column = 0; column < a->width; column++)
                for (int n = 0; n < images; n++) {
                    const long at = ((long)column * IMAGES + n) * channels;
                    lanes g = load(gradient + at);
                    if (out) {
                        g = where(load(out + at) > 0, g);
                        store(gradient + at, g);
                    }
                    first += g, second += g * (load(y + at) - middle);
                }
            second *= floats(inverse + c);
            for (int i = 0; i < LANES; i++) sums[c + i] += first[i], sums[channels + c + i] += second[i];
        }
}

// b = the gradient by y, from g = a: scale * (g - mean(g) - normalised y * mean(g * normalised y)). c is y.
static void centre(const Step *step, const Call *call, int block) {
    const Map *a = &call->a;
    const int channels = a->channels, images = valid(step, block), group = group_of(step, block) * channels;
    const Norm *norm = call->norm;
    const real *g = block_of(a, block), *y = block_of(&call->c, block);
    real *out = block_of(&call->b, block);
    for (int c = 0; c < channels; c += LANES) {
        const lanes scale = floats(norm->scale + group + c), inverse = floats(norm->inverse + group + c);
        const lanes slope = -floats(norm->second + group + c) * inverse;
        const lanes rest = -floats(norm->first + group + c) - slope * floats(norm->centre + group + c);
        for (long position = 0; position < (long)a->height * a->width; position++)
            for (int n = 0; n < IMAGES; n++) {
                const long at = (position * IMAGES + n) * channels + c;
                const int there = n < images;  // a missing image has no gradient, whatever a diverged step left there
                store(out + at, there ? (load(g + at) + load(y + at) * slope + rest) * scale : (lanes){});
            }
    }
}

// The images of a group. The last group ends with the batch.
static long images_of(const Step *step, int group) {
    const long each = (long)step->chunks_of_group * CHUNK * IMAGES;
    return group < step->groups - 1 ? each : step->images - group * each;
}

// Sums over the chunks of a group, in order: (first, second) of one channel.
static void fold(const Step *step, const Norm *norm, int group, int channel, double *first, double *second) {
    const int chunks = (step->blocks + CHUNK - 1) / CHUNK, begin = group * step->chunks_of_group;
    const int end = group < step->groups - 1 ? begin + step->chunks_of_group : chunks;
    *first = *second = 0;
    for (int chunk = begin; chunk < end; chunk++) {
        *first += norm->sums[(long)(2 * chunk) * norm->channels + channel];
        *second += norm->sums[(long)(2 * chunk + 1) * norm->channels + channel];
    }
}

// Computes scale and shift for `normalise`. The running averages move once a group, by a sample's variance as in torch.
static void fold_moments(const Step *step, const Call *call) {
    const Norm *norm = call->norm;
    const int channels = norm->channels;
    for (int c = 0; !step->groups && c < channels; c++) {
        norm->scale[c] = norm->gamma[c] / sqrtf(norm->variance[c] + EPSILON);
        norm->shift[c] = norm->beta[c] - norm->mean[c] * norm->scale[c];
    }
    for (int group = 0; group < step->groups; group++)
        for (int c = 0; c < channels; c++) {
            const double n = (double)images_of(step, group) * call->a.height * call->a.width;
            const int at = group * channels + c;
            double mean, variance;
            fold(step, norm, group, c, &mean, &variance);
            mean /= n;
            variance = variance / n - mean * mean;
            if (variance < 0) variance = 0;
            norm->centre[at] = (float)mean;
            norm->inverse[at] = (float)(1 / sqrt(variance + EPSILON));
            norm->scale[at] = norm->gamma[c] * norm->inverse[at];
            norm->shift[at] = norm->beta[c] - norm->centre[at] * norm->scale[at];
            norm->mean[c] += step->momentum * (norm->centre[at] - norm->mean[c]);
            norm->variance[c] += step->momentum * ((float)(variance * n / (n - 1)) - norm->variance[c]);
        }
}

// Computes the means of `centre`, and updates gamma and beta, which `centre` does not need.
static void fold_gradient(const Step *step, const Call *call) {
    const Norm *norm = call->norm;
    const Descent *by = step->descent;
    const int channels = norm->channels;
    float *by_gamma = norm->gradient, *by_beta = norm->gradient + channels;
    memset(norm->gradient, 0, sizeof(float) * 2 * channels);
    for (int group = 0; group < step->groups; group++)
        for (int c = 0; c < channels; c++) {
            const double n = (double)images_of(step, group) * call->a.height * call->a.width;
            double first, second;
            fold(step, norm, group, c, &first, &second);
            by_gamma[c] += (float)second, by_beta[c] += (float)first;
            norm->first[group * channels + c] = (float)(first / n);
            norm->second[group * channels + c] = (float)(second / n);
        }
    descend(by, norm->gamma, norm->vgamma, by_gamma, by->other_decay, channels);
    descend(by, norm->beta, norm->vbeta, by_beta, by->other_decay, channels);
}
