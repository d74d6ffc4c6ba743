/* Vectors of LANES numbers and functions of them, for any CPU with a GNU-compatible C compiler. */
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

#ifdef SCAN_DOUBLE
typedef double real;
typedef int64_t whole;
#define LANES (BYTES / 8)
#else
typedef float real;
typedef int32_t whole;
#define LANES (BYTES / 4)
#endif

/* Steps between the states that a forward pass keeps. */
#define CHUNK 64
#define INLINE static inline __attribute__((always_inline))

typedef real vec __attribute__((vector_size(BYTES)));
typedef whole bits __attribute__((vector_size(BYTES)));
typedef real row_vec __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

INLINE vec load(const real *p) { return *(const row_vec *)p; }
INLINE void store(real *p, vec v) { *(row_vec *)p = v; }

/* To memory at once, where a vector is a whole cache line: results that no cache would hold until
 * they are read don't fetch the lines that they overwrite. */
INLINE void store_past_caches(real *p, vec v) {
#if defined(__AVX512F__)
  if ((uintptr_t)p % BYTES == 0) _mm512_stream_si512((__m512i *)p, (__m512i)v);
  else store(p, v);
#else
  store(p, v);
#endif
}

INLINE void finish_stores(void) {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

INLINE vec fill(real x) { return x - (vec){0}; }
INLINE vec choose(bits mask, vec yes, vec no) { return (vec)((mask & (bits)yes) | (~mask & (bits)no)); }

/* `x` where it is above `low`, and where it is not a number. */
INLINE vec at_least(vec x, real low) {
#if defined(__AVX512F__) && defined(SCAN_DOUBLE)
  return (vec)_mm512_max_pd((__m512d)fill(low), (__m512d)x);
#elif defined(__AVX512F__)
  return (vec)_mm512_max_ps((__m512)fill(low), (__m512)x);
#else
  return choose(x < fill(low), fill(low), x);
#endif
}

INLINE vec at_most(vec x, real high) {
#if defined(__AVX512F__) && defined(SCAN_DOUBLE)
  return (vec)_mm512_min_pd((__m512d)fill(high), (__m512d)x);
#elif defined(__AVX512F__)
  return (vec)_mm512_min_ps((__m512)fill(high), (__m512)x);
#else
  return choose(x > fill(high), fill(high), x);
#endif
}

/* The first halves of two vectors, alternating, and the second halves. */
#if LANES == 16
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif LANES == 4
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#else
#define LOW 0, 2
#define HIGH 1, 3
#endif
#if defined(__clang__)
#define INTERLEAVE(a, b, order) __builtin_shufflevector(a, b, order)
#else
#define INTERLEAVE(a, b, order) __builtin_shuffle(a, b, (bits){order})
#endif

/* Perfect shuffles: after as many as LANES has bits, rows are columns. */
INLINE void transpose(vec *v) {
#pragma GCC unroll 4
  for (int round = 1; round < LANES; round *= 2) {
    vec w[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < LANES / 2; i++) {
      w[2 * i] = INTERLEAVE(v[i], v[i + LANES / 2], LOW);
      w[2 * i + 1] = INTERLEAVE(v[i], v[i + LANES / 2], HIGH);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) v[i] = w[i];
  }
}

/* Lane t of the result is the sum over the lanes of vector t; `v` is used up. */
INLINE vec sum_of_each(vec *v) {
#pragma GCC unroll 4
  for (int half = LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; i++)
      v[i] = INTERLEAVE(v[i], v[i + half], LOW) + INTERLEAVE(v[i], v[i + half], HIGH);
  return v[0];
}

/* Polynomials are interpolations at Chebyshev points, to the precision of the type. */
INLINE vec polynomial(vec x, const real *c, int degree) {
  vec sum = fill(c[degree]);
#pragma GCC unroll 32
  for (int i = degree - 1; i >= 0; i--) sum = sum * x + c[i];
  return sum;
}

/* 2^n e^r with x = n log 2 + r; twice e^r and half the power, since 2^128 is no float. Infinity
 * above the largest number, 0 below the smallest normal one, and no number stays none. */
#ifdef SCAN_DOUBLE
#define EXP_LOW -708.7
#define EXP_HIGH 710.0
#define ROUNDER 6755399441055744.0
#define LOG2_HIGH 0x1.62e42fee00000p-1
#define LOG2_LOW 0x1.a39ef35793c76p-33
#define MANTISSA 52
#define BIAS 1023
static const real EXP[] = {2.0, 2.0, 1.0, 0.33333333333333404, 0.08333333333333338,
    0.016666666666619055, 0.002777777777774378, 0.000396825398184342, 4.9603174700221594e-05,
    5.511444991678525e-06, 5.511450380834983e-07, 5.022973905731553e-08, 4.18431599299006e-09};
static const real LOG1P[] = {0.99999999999999999972, -0.4999999999999997, 0.33333333333328050135,
    -0.24999999999627155465, 0.19999999985984313122, -0.16666666341888501962, 0.14285709220646080498,
    -0.12499943655343672962, 0.11110645369441435017, -0.099970522876659670247, 0.090762965347778981428,
    -0.082755864841595007344, 0.075077924019560324673, -0.066604705280138877299, 0.056236352954791616002,
    -0.043640878141211178415, 0.029937210738509811914, -0.017430328291517152319, 0.0082475452879131848849,
    -0.0030127251909949727855, 0.00079111209433420253159, -0.00013220752171300756084, 0.000010523135481271699889};
#else
#define EXP_LOW -87.6f
#define EXP_HIGH 89.0f
#define ROUNDER 12582912.0f
#define LOG2_HIGH 0x1.62e400p-1f
#define LOG2_LOW 0x1.7f7d1cp-20f
#define MANTISSA 23
#define BIAS 127
static const real EXP[] = {2.0f, 2.00000007544f, 1.000000009424f, 0.333328310294f, 0.0833327057936f,
    0.0167502527963f, 0.0027882216868f};
static const real LOG1P[] = {0.999999994656f, -0.499998926481f, 0.333297104989f, -0.249516162629f,
    0.196632742572f, -0.152696670744f, 0.105436237954f, -0.0563736128301f, 0.019542527261f, -0.00317605701843f};
#endif
#define DEGREE(c) ((int)(sizeof(c) / sizeof(c[0])) - 1)

INLINE vec exp_below(vec x) { /* for x <= EXP_HIGH */
  x = at_least(x, EXP_LOW);
  vec shifted = x * (real)1.4426950408889634074 + ROUNDER;
  vec n = shifted - ROUNDER;
  vec r = (x - n * LOG2_HIGH) - n * LOG2_LOW;
  bits power = ((bits)shifted - (bits)fill(ROUNDER) + (BIAS - 1)) << MANTISSA;
  return polynomial(r, EXP, DEGREE(EXP)) * (vec)power;
}

INLINE vec exponential(vec x) { return exp_below(at_most(x, EXP_HIGH)); }

/* e^-|x|, from which softplus and its slope both follow. */
INLINE vec decay(vec x) { return exp_below((vec)((bits)x | (bits)fill((real)-0.0))); }

INLINE vec softplus(vec x, vec z) { return at_least(x, 0) + z * polynomial(z, LOG1P, DEGREE(LOG1P)); }

INLINE vec sigmoid(vec x, vec z) { return choose(x < fill(0), z, fill(1)) / (z + 1); }

/* The first `rows` of LANES numbers that lie `stride` apart, zeros after them and without `p`. */
INLINE vec load_part(const real *p, int stride, int rows) {
  vec v = {0};
  if (p && stride == 1 && rows == LANES) return load(p);
  if (p) for (int i = 0; i < rows; i++) v[i] = p[i * stride];
  return v;
}

INLINE void store_part(real *p, int stride, vec v, int rows) {
  if (stride == 1 && rows == LANES) store(p, v);
  else for (int i = 0; i < rows; i++) p[i * stride] = v[i];
}

INLINE int min_int(int64_t a, int64_t b) { return (int)(a < b ? a : b); }
