/* Selective scan, forward and backward, for any CPU with a GNU-compatible C compiler.
 *
 *     x_t = softplus(delta_t + bias)         h_t = exp(x_t A) h_{t-1} + x_t u_t B_t
 *     y_t = sum over n of C_t h_t + D u_t
 *
 * One vector holds one time step of LANES channels, so the recurrence needs no scan across lanes and
 * rounds as the loop over time does. Rows are transposed between memory and that form LANES by LANES.
 * The forward pass keeps the state every `chunk` steps; the backward pass recomputes a chunk at a
 * time from it, on the stack.
 *
 * Layouts, all contiguous: u, delta, y (batch, dim, length); A (dim, states); B, C (batch, groups,
 * states, length); D, bias (dim) or null; kept (batch, chunks, states, dim).
 * Built once with float and, with -DSCAN_DOUBLE, once with double.
 */
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

#define CHUNK 64
#define AHEAD 64
#define LARGE (8 << 20)
#define MAX_STATES 64
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

/* LANES steps of the block's rows, one vector per step; what lies outside of the arrays is 0. The
 * rows are more streams than the hardware follows, so those `ahead` steps away are asked for. */
INLINE void load_steps(vec *v, const real *p, int64_t length, int rows, int steps, int ahead) {
  if (rows == LANES && steps == LANES) {
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
      v[i] = load(p + i * length);
      __builtin_prefetch(p + i * length + ahead);
    }
  } else {
    memset(v, 0, LANES * sizeof(vec));
    for (int i = 0; i < rows; i++) memcpy(&v[i], p + i * length, steps * sizeof(real));
  }
  transpose(v);
}

INLINE void store_steps(real *p, vec *v, int64_t length, int rows, int steps, int large) {
  transpose(v);
  if (rows < LANES || steps < LANES) {
    for (int i = 0; i < rows; i++) memcpy(p + i * length, &v[i], steps * sizeof(real));
  } else if (large) {
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) store_past_caches(p + i * length, v[i]);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) store(p + i * length, v[i]);
  }
}

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

typedef struct {
  const real *u, *delta, *A, *B, *C, *D, *bias;
  int64_t batch, dim, groups, states, length, chunks;
  int softplus, large;
} scan;

/* The steps of one tile; inlined twice, so that `steps` is a constant for whole tiles. */
INLINE void forward_tile(const scan *s, vec *u, vec *x, vec *h, const vec *A, vec D, vec bias,
                         const real *B, const real *C, vec *y, int steps) {
  vec xu[LANES];
  for (int t = 0; t < steps; t++) {
    x[t] += bias;
    if (s->softplus) x[t] = softplus(x[t], decay(x[t]));
    xu[t] = x[t] * u[t];
    y[t] = D * u[t];
  }
  for (int n = 0; n < s->states; n++, B += s->length, C += s->length) {
    vec state = h[n], rate = A[n];
    for (int t = 0; t < steps; t++) {
      state = exponential(x[t] * rate) * state + xu[t] * B[t];
      y[t] += state * C[t];
    }
    h[n] = state;
  }
}

static void forward_block(const scan *s, int64_t item, int64_t first, int rows, real *y, real *kept) {
  const int64_t L = s->length, N = s->states;
  const int64_t group = first / (s->dim / s->groups), at = (item * s->dim + first) * L;
  const real *B = s->B + (item * s->groups + group) * N * L;
  const real *C = s->C + (item * s->groups + group) * N * L;
  const vec D = load_part(s->D ? s->D + first : 0, 1, rows);
  const vec bias = load_part(s->bias ? s->bias + first : 0, 1, rows);
  vec A[MAX_STATES], h[MAX_STATES], u[LANES], x[LANES], out[LANES];
  for (int n = 0; n < N; n++) {
    A[n] = load_part(s->A + first * N + n, (int)N, rows);
    h[n] = (vec){0};
  }
  for (int64_t t = 0; t < L; t += LANES) {
    if (kept && t % CHUNK == 0)
      for (int n = 0; n < N; n++)
        store_part(kept + ((item * s->chunks + t / CHUNK) * N + n) * s->dim + first, 1, h[n], rows);
    const int steps = min_int(LANES, L - t);
    load_steps(u, s->u + at + t, L, rows, steps, AHEAD);
    load_steps(x, s->delta + at + t, L, rows, steps, AHEAD);
    if (steps == LANES) forward_tile(s, u, x, h, A, D, bias, B + t, C + t, out, LANES);
    else forward_tile(s, u, x, h, A, D, bias, B + t, C + t, out, steps);
    store_steps(y + at + t, out, L, rows, steps, s->large);
  }
}

int scan_forward(const real *u, const real *delta, const real *A, const real *B, const real *C,
                 const real *D, const real *bias, int softplus_on, int64_t batch, int64_t dim,
                 int64_t groups, int64_t states, int64_t length, int threads, real *y, real *kept) {
  const scan s = {u, delta, A, B, C, D, bias, batch, dim, groups, states, length,
                  (length + CHUNK - 1) / CHUNK, softplus_on,
                  batch * dim * length * (int64_t)sizeof(real) > LARGE};
  if (states > MAX_STATES) return 1;
  const int64_t width = dim / groups, blocks = (width + LANES - 1) / LANES;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t task = 0; task < batch * groups * blocks; task++) {
    const int64_t item = task / (groups * blocks), block = task % blocks;
    const int64_t first = task / blocks % groups * width + block * LANES;
    forward_block(&s, item, first, min_int(LANES, width - block * LANES), y, kept);
    finish_stores();
  }
  return 0;
}

/* Where the gradients go; dB and dC are this task's own, the others' rows belong to one block. */
typedef struct {
  const real *dy, *kept;
  real *du, *ddelta, *dA, *dB, *dC, *dD, *dbias;
} slopes;

/* What one time step of a block needs on the way back: x is the step size after softplus and `slope`
 * its derivative, dx its gradient; gB is the sum over the states of dL/dh B. Kept together, since
 * separate arrays of a power of two bytes would share their low address bits. */
typedef struct {
  vec u, x, xu, dy, slope, dx, gB, a, h;
} step;

INLINE void prepare_tile(const scan *s, const slopes *d, step *steps, int64_t at, vec bias, int rows,
                         int count) {
  vec u[LANES], delta[LANES], dy[LANES];
  load_steps(u, s->u + at, s->length, rows, count, -AHEAD);
  load_steps(delta, s->delta + at, s->length, rows, count, -AHEAD);
  load_steps(dy, d->dy + at, s->length, rows, count, -AHEAD);
  for (int i = 0; i < rows && !(s->large && BYTES == 64); i++) {
    __builtin_prefetch(d->du + at + i * s->length, 1);
    __builtin_prefetch(d->ddelta + at + i * s->length, 1);
  }
  for (int i = 0; i < count; i++) {
    vec x = delta[i] + bias, slope = fill(1);
    if (s->softplus) {
      const vec raw = x, z = decay(raw);
      x = softplus(raw, z);
      slope = sigmoid(raw, z);
    }
    steps[i] = (step){.u = u[i], .x = x, .xu = x * u[i], .dy = dy[i], .slope = slope};
  }
}

INLINE void add_to(real *p, vec v, int count) {
  if (count == LANES) store(p, load(p) + v);
  else for (int i = 0; i < count; i++) p[i] += v[i];
}

INLINE void backward_tile(step *steps, vec A, const real *B, const real *C, bits valid, vec *carried,
                          vec *dA, real *dB, real *dC, int count) {
  vec forB[LANES], forC[LANES], later = *carried, sum = *dA;
  if (count < LANES) memset(forB, 0, sizeof forB), memset(forC, 0, sizeof forC);
  for (int i = count - 1; i >= 0; i--) {
    step *now = steps + i;
    const vec g = later + now->dy * C[i];
    later = g * now->a;
    forB[i] = (vec)((bits)(g * now->xu) & valid);
    forC[i] = (vec)((bits)(now->dy * now->h) & valid);
    const vec through = later * now[-1].h;
    now->gB += g * B[i];
    now->dx += through * A;
    sum += through * now->x;
  }
  add_to(dB, sum_of_each(forB), count);
  add_to(dC, sum_of_each(forC), count);
  *carried = later;
  *dA = sum;
}

static void backward_block(const scan *s, const slopes *d, int64_t item, int64_t first, int rows) {
  const int64_t L = s->length, N = s->states;
  const int64_t group = first / (s->dim / s->groups), at = (item * s->dim + first) * L;
  const real *B = s->B + (item * s->groups + group) * N * L;
  const real *C = s->C + (item * s->groups + group) * N * L;
  const vec D = load_part(s->D ? s->D + first : 0, 1, rows);
  const vec bias = load_part(s->bias ? s->bias + first : 0, 1, rows);
  vec A[MAX_STATES], dA[MAX_STATES], next[MAX_STATES], dD = {0}, dbias = {0};
  bits valid;
  for (int i = 0; i < LANES; i++) valid[i] = i < rows ? -1 : 0;
  for (int n = 0; n < N; n++) {
    A[n] = load_part(s->A + first * N + n, (int)N, rows);
    dA[n] = next[n] = (vec){0};
  }
  step with_start[CHUNK + 1], *const steps = with_start + 1;
  for (int64_t k = s->chunks - 1; k >= 0; k--) {
    const int64_t from = k * CHUNK;
    const int count = min_int(CHUNK, L - from);
    for (int t = 0; t < count; t += LANES) {
      const int some = min_int(LANES, count - t);
      if (some == LANES) prepare_tile(s, d, steps + t, at + from + t, bias, rows, LANES);
      else prepare_tile(s, d, steps + t, at + from + t, bias, rows, some);
    }
    for (int n = 0; n < N; n++) {
      const real *Bn = B + n * L + from, *Cn = C + n * L + from, *keptn;
      keptn = d->kept + ((item * s->chunks + k) * N + n) * s->dim + first;
      vec state = steps[-1].h = load_part(keptn, 1, rows);
      for (int t = 0; t < count; t++) {
        steps[t].a = exponential(steps[t].x * A[n]);
        steps[t].h = state = steps[t].a * state + steps[t].xu * Bn[t];
      }
      vec carried = next[n], sum = dA[n];
      real *dBn = d->dB + n * L + from, *dCn = d->dC + n * L + from;
      for (int tile = (count - 1) / LANES * LANES; tile >= 0; tile -= LANES) {
        const int some = min_int(LANES, count - tile);
        if (some == LANES)
          backward_tile(steps + tile, A[n], Bn + tile, Cn + tile, valid, &carried, &sum, dBn + tile, dCn + tile, LANES);
        else
          backward_tile(steps + tile, A[n], Bn + tile, Cn + tile, valid, &carried, &sum, dBn + tile, dCn + tile, some);
      }
      next[n] = carried;
      dA[n] = sum;
    }
    for (int t = 0; t < count; t += LANES) {
      const int some = min_int(LANES, count - t);
      vec du[LANES], ddelta[LANES];
      for (int i = 0; i < some; i++) {
        const step *now = steps + t + i;
        dD += now->dy * now->u;
        du[i] = D * now->dy + now->x * now->gB;
        ddelta[i] = (now->dx + now->u * now->gB) * now->slope;
        dbias += ddelta[i];
      }
      store_steps(d->du + at + from + t, du, L, rows, some, s->large);
      store_steps(d->ddelta + at + from + t, ddelta, L, rows, some, s->large);
    }
  }
  for (int n = 0; n < N; n++) store_part(d->dA + (item * s->dim + first) * N + n, (int)N, dA[n], rows);
  store_part(d->dD + item * s->dim + first, 1, dD, rows);
  store_part(d->dbias + item * s->dim + first, 1, dbias, rows);
}

/* dA, dD and dbias come per item; dB and dC per slice of a group's channels, (batch, groups, slices,
 * states, length). The caller adds them up, in an order that the number of threads doesn't change. */
int scan_backward(const real *u, const real *delta, const real *A, const real *B, const real *C,
                  const real *D, const real *bias, int softplus_on, int64_t batch, int64_t dim,
                  int64_t groups, int64_t states, int64_t length, int threads, int64_t slices,
                  const real *dy, const real *kept, real *du, real *ddelta, real *dA, real *dB,
                  real *dC, real *dD, real *dbias) {
  const scan s = {u, delta, A, B, C, D, bias, batch, dim, groups, states, length,
                  (length + CHUNK - 1) / CHUNK, softplus_on,
                  batch * dim * length * (int64_t)sizeof(real) > LARGE};
  if (states > MAX_STATES) return 1;
  const int64_t width = dim / groups, blocks = (width + LANES - 1) / LANES;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t task = 0; task < batch * groups * slices; task++) {
    const int64_t item = task / (groups * slices), group = task / slices % groups;
    const int64_t slice = task % slices, size = states * length;
    const slopes d = {dy, kept, du, ddelta, dA, dB + task * size, dC + task * size, dD, dbias};
    memset(d.dB, 0, size * sizeof(real));
    memset(d.dC, 0, size * sizeof(real));
    for (int64_t block = slice * blocks / slices; block < (slice + 1) * blocks / slices; block++)
      backward_block(&s, &d, item, group * width + block * LANES, min_int(LANES, width - block * LANES));
    finish_stores();
  }
  return 0;
}

/* exp, softplus and its slope as the kernels compute them, for tests of their precision. */
void scan_functions(const real *x, int64_t count, real *exp_x, real *softplus_x, real *sigmoid_x) {
  for (int64_t i = 0; i < count; i++) {
    const vec v = fill(x[i]), z = decay(v);
    exp_x[i] = exponential(v)[0];
    softplus_x[i] = softplus(v, z)[0];
    sigmoid_x[i] = sigmoid(v, z)[0];
  }
}

int scan_chunk(void) { return CHUNK; }
