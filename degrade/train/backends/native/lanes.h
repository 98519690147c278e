// The vectors of this processor and the operands of a multiply-add, in float32 or (with -DBF16) in bfloat16.
//
// `real`   a stored activation: a float, or the upper half of a float
// `lanes`  LANES float32 numbers in a register
// `unit`   the operand of a multiply-add along the sum: one float, or two neighbouring bfloat16
// `units`  LANES units in a register
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define PAIRED 1  // two vectors of outputs at a time: 16 sums of 32 registers
#elif defined(__AVX__)
#define LANES 8
#define PAIRED 0  // 8 sums of 16 registers
#else
#define LANES 4
#define PAIRED 1
#endif

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef lanes loose __attribute__((aligned(4), may_alias));  // at any address
typedef int32_t flags __attribute__((vector_size(4 * LANES)));  // -1 where a comparison holds, 0 where not

#ifdef BF16
#include <immintrin.h>
#define UNIT 2
typedef uint16_t real;
typedef uint32_t unit;
typedef __m512i units;

static inline lanes load(const real *p) {
    return (lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
}
static inline void store(real *p, lanes v) { _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(v)); }
static inline units load_units(const unit *p) { return _mm512_loadu_si512(p); }
static inline lanes multiply_add(lanes sum, unit x, units w) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32((int)x), (__m512bh)w);
}
static inline real real_of(float v) {  // to the nearest, ties to even, as the vector instruction does
    uint32_t bits;
    memcpy(&bits, &v, 4);
    return (real)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
static inline unit unit_of(float first, float second) {
    return (unit)real_of(first) | (unit)real_of(second) << 16;
}
#else
#define UNIT 1
typedef float real;
typedef float unit;
typedef lanes units;

static inline lanes load(const real *p) { return *(const loose *)p; }
static inline void store(real *p, lanes v) { *(loose *)p = v; }
static inline units load_units(const unit *p) { return *(const loose *)p; }
static inline lanes multiply_add(lanes sum, unit x, units w) { return sum + x * w; }
static inline real real_of(float v) { return v; }
#endif

static inline lanes floats(const float *p) { return *(const loose *)p; }
static inline void keep(float *p, lanes v) { *(loose *)p = v; }
static inline lanes where(flags held, lanes v) { return (lanes)((flags)v & held); }  // 0 elsewhere
