// The structures of a step. All kernels here share them, and degrade/train/backends/native/structs.py mirrors them.
#pragma once
#include <stdint.h>

#include "lanes.h"

#define IMAGES 8  // images of a block
#define CHUNK 2   // blocks of one job; sums are folded over chunks

typedef struct {  // for one row or column of the destination: the rows or columns of the source that meet taps
    int count, at[3], tap[3];
} Taps;

typedef struct {  // activations or their gradients: [block][height][width][IMAGES][channels]
    real *data;
    int height, width, channels;  // channels include padding
} Map;

typedef struct {  // a convolution's weights
    float *weight, *momentum; // [tap][cin][cout], as they are trained
    float *partial;           // [chunk][tap][cin][cout], shared by all layers
    unit *forward, *backward; // [tap][cin / UNIT][cout], [tap][cout / UNIT][cin]
    int taps, cin, cout;      // taps: 9 or 1; channels include padding
} Kernel;

typedef struct {  // batch normalisation of `channels` channels, padding included
    float *gamma, *beta;
    float *vgamma, *vbeta;     // momentum
    float *mean, *variance;    // running
    float *scale, *shift;      // [group][channels] of this step: y * scale + shift
    float *centre, *inverse;   // [group][channels] mean and 1 / deviation of the batch
    float *first, *second;     // [group][channels] means of g and of g * normalised y
    float *gradient;           // [2][channels] by gamma, by beta
    double *sums;              // [chunk][2][channels]
    int channels;
} Norm;

typedef struct {  // the last layer: logits = weight pooled + bias
    float *weight, *bias, *momentum, *bias_momentum;
    float *gradient;           // [classes][channels], and [classes] padded
    float *pooled;             // [image][channels]; on the way back, its gradient
    float *logits;             // [classes] of one image
    int classes, channels;
} Head;

typedef struct {  // the pictures of a batch
    const uint8_t *pixels;     // [image][channel][height][width]
    const int64_t *labels;     // [image]
    const int64_t *index;      // the images of the batch; NULL: images from `start` on
    long start;
    const int64_t *down, *right, *flip;  // the shift and flip of each image's crop; NULL: none
    const float *levels;       // [256] a byte as a fraction of full scale
    const float *mean;         // [channel][height][width]
    const float *deviation;    // [channel]; NULL: 1
    int channels, height, width, pad;
} Source;

typedef struct {
    int kind;
    int backward, accumulate;  // convolve: with the weights of the way back; adds to the destination
    int plain;                 // normalise: without ReLU
    int stride, offset, kept;  // gather, scatter: a padding shortcut keeps `kept` channels, from `offset` on
    Map a, b, c;  // read, written, read as well
    const Kernel *kernel;
    const Norm *norm;
    const Taps *rows, *columns;
    const Head *head;
} Call;

typedef struct {
    const Call *calls, *folds;
    int calls_count, folds_count;
} Phase;

typedef struct {  // SGD; caffe and nesterov as in RecipeSpec
    float lr, momentum, decay, other_decay;  // other_decay: for parameters other than kernels
    int caffe, nesterov;
    double *squares;           // () of all gradients of a step, summed
} Descent;

typedef struct {
    int images, blocks;        // of the batch; the last block may be partly empty
    int groups, chunks_of_group;  // BN takes statistics over each group; groups 0: running ones, none are taken
    float momentum;            // of BN's running averages
    const Source *source;
    const Descent *descent;    // for the way back; NULL: forward only
    double *tally;             // [2] loss and mistakes are added here
} Step;

static inline long size_of(const Map *map) { return (long)map->height * map->width * IMAGES * map->channels; }
static inline real *block_of(const Map *map, int block) { return map->data + block * size_of(map); }

static inline int valid(const Step *step, int block) {  // images of a block
    int left = step->images - block * IMAGES;
    return left < IMAGES ? left : IMAGES;
}

static inline int group_of(const Step *step, int block) {
    if (!step->groups) return 0;
    int group = block / CHUNK / step->chunks_of_group;
    return group < step->groups ? group : step->groups - 1;  // the rest joins the last group
}

// Updates n parameters p with momentum v; n is a multiple of LANES. degrade.train.backends.eager has the formulas.
static inline void descend(const Descent *by, float *p, float *v, const float *gradient, float decay, long n) {
    lanes squares = {};
    for (long i = 0; i < n; i += LANES) {
        const lanes from = floats(gradient + i), old = floats(p + i), g = from + decay * old;
        const lanes step = by->caffe ? by->lr * g : g, moved = by->momentum * floats(v + i) + step;
        const lanes down = by->nesterov ? step + by->momentum * moved : moved;
        keep(v + i, moved);
        keep(p + i, old - (by->caffe ? down : by->lr * down));
        squares += from * from;
    }
    for (int i = 0; i < LANES; i++) *by->squares += squares[i];
}

static inline long image_of(const Source *source, long place) {
    return source->index ? source->index[place] : source->start + place;
}
