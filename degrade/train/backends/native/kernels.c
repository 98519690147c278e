// One SGD step of a 6n+2 net as a list of phases. Each phase is a list of calls. Every chunk of images goes through the
// calls without waiting for other chunks, so that a call finds in the cache what the call before has written. Sums over
// the whole batch (the statistics of BN, the sums of gradients) are folded between phases, over chunks in their order:
// the result does not depend on the number of threads.
//
// Activations lie as [block][height][width][IMAGES][channels]. The IMAGES of a block go through a convolution together,
// and each weight is read once for all of them. Taps that would meet padding are not in the tables and cost nothing.
#include <time.h>

#include "kernels.h"
#include "pool.h"
#include "convolve.h"
#include "normalise.h"
#include "ends.h"

static void (*const KERNELS[])(const Step *, const Call *, int) = {
    take, convolve, correlate, moments, normalise, mask, centre, gather, scatter, average, unpool,
};
static void (*const FOLDS[])(const Step *, const Call *) = {fold_moments, fold_gradient, fold_weights, pack, classify};

typedef struct {
    const Step *step;
    const Phase *phase;
} Work;

static void chunk(const void *what, int job) {
    const Work *work = what;
    int first = job * CHUNK, last = first + CHUNK < work->step->blocks ? first + CHUNK : work->step->blocks;
    for (int block = first; block < last; block++)
        for (int i = 0; i < work->phase->calls_count; i++) {
            const Call *call = &work->phase->calls[i];
            KERNELS[call->kind](work->step, call, block);
        }
}

// Runs `count` phases on step->images images with so many threads.
void run(const Step *step, const Phase *phases, int count, int threads) {
    for (int i = 0; i < count; i++) {
        Work work = {step, &phases[i]};
        if (phases[i].calls_count) spread(chunk, &work, (step->blocks + CHUNK - 1) / CHUNK, threads);
        for (int fold = 0; fold < phases[i].folds_count; fold++)
            FOLDS[phases[i].folds[fold].kind](step, &phases[i].folds[fold]);
    }
}

// How the kernels were built: LANES, IMAGES, CHUNK; then the sizes of the structures that structs.py mirrors.
void layout(int numbers[13]) {
    const int all[13] = {
        LANES,        IMAGES,         CHUNK,        sizeof(Taps),    sizeof(Map),  sizeof(Kernel), sizeof(Norm),
        sizeof(Head), sizeof(Source), sizeof(Call), sizeof(Phase), sizeof(Descent), sizeof(Step),
    };
    memcpy(numbers, all, sizeof all);
}

unit numbers[LANES];  // not static, so that the compiler must expect other writers
#define EACH_ITS_OWN(i) lanes a##i = (lanes){} + i, b##i = (lanes){} - i - 1;
#define BOTH(i) a##i = multiply_add(a##i, x, u), b##i = multiply_add(b##i, x, u);
#define FOLD(i) sum += a##i + b##i;

// Multiply-adds that touch registers alone: no code that multiplies as much is faster.
static void multiply(const void *what, int job) {
    (void)job;
    const long rounds = *(const long *)what;
    EACH_8(EACH_ITS_OWN)
    for (long round = 0; round < rounds; round++) {
        __asm__ volatile("" ::: "memory");  // keeps every product inside the loop
        const unit x = numbers[0];
        const units u = load_units(numbers);
        EACH_8(BOTH)
    }
    lanes sum = {};
    EACH_8(FOLD)
    volatile float used = sum[0];
    (void)used;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// FLOP/s (two a multiply-add) of so many threads together: the best of rounds that take `seconds` in all.
double peak(int threads, double seconds) {
    const long rounds = 1 << 20;
    const double flops = 2.0 * 16 * LANES * UNIT * (double)rounds * threads, begin = now();
    double best = 0;
    do {
        const double start = now();
        spread(multiply, &rounds, threads, threads);
        const double rate = flops / (now() - start);
        if (rate > best) best = rate;
    } while (now() - begin < seconds);
    return best;
}
