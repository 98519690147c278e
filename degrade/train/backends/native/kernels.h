// What a step is made of: shared by all kernels here, and mirrored by degrade/train/backends/native/tape.py.
#include "lanes.h"
#include "pool.h"

#define IMAGES 8  // of a block
#define CHUNK 2   // blocks that one job takes; sums are folded over chunks

typedef struct {  // for one row or column of the destination: which of the source meet which taps of the kernel
    int count, at[3], tap[3];
} Taps;

typedef struct {  // activations or their gradients: [block][height][width][IMAGES][channels]
    real *data;
    int height, width, channels;  // channels with those that only pad
} Map;

typedef struct {  // a convolution's weights
    const float *weight;      // [tap][cin][cout], as they are trained
    float *gradient;          // the same
    float *partial;           // [chunk][tap][cin][cout], shared by all layers
    unit *forward, *backward; // [tap][cin / UNIT][cout], [tap][cout / UNIT][cin]
    int taps, cin, cout;      // taps: 9 or 1; channels with those that only pad
} Kernel;

typedef struct {  // batch normalisation of `channels` channels, those that only pad included
    const float *gamma, *beta;
    float *dgamma, *dbeta;
    float *mean, *variance;    // running
    float *scale, *shift;      // [group][channels] of what is done now: y * scale + shift
    float *centre, *inverse;   // [group][channels] mean and 1 / deviation of the batch
    float *first, *second;     // [group][channels] means of g and of g * normalised y
    double *sums;              // [chunk][2][channels]
    int channels;
} Norm;

typedef struct {  // where a batch comes from
    const uint8_t *pixels;     // [image][channel][height][width]
    const int64_t *index;      // which images; NULL: from `start` on
    long start;
    const int64_t *down, *right, *flip;  // of each image, by how much its crop is moved; NULL: not at all
    const float *levels;       // [256] a byte as a fraction of full scale
    const float *mean;         // [channel][height][width]
    const float *deviation;    // [channel]; NULL: 1
    int channels, height, width, pad;
} Source;

typedef struct {
    int kind;
    int backward, accumulate;  // convolve: with the weights of the way back; adding to what is there
    int plain;                 // normalise: without ReLU
    int stride, offset, kept;  // gather, scatter: of a padding shortcut, `kept` channels from `offset` on
    Map a, b, c;  // what is read, what is written, what is read beside it
    const Kernel *kernel;
    const Norm *norm;
    const Taps *rows, *columns;
    float *pooled;  // [image][channels]
} Call;

typedef struct {
    const Call *calls, *folds;
    int calls_count, folds_count;
} Phase;

typedef struct {
    int images, blocks;        // of the batch; the last block may be part empty
    int groups, chunks_of_group;  // over which BN takes its statistics, each in turn; 0: running ones, nothing is noted
    float momentum;            // of the running averages
    const Source *source;
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
    return group < step->groups ? group : step->groups - 1;  // what is left over joins the last
}
