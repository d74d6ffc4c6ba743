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
#include "vectors.h"

#define AHEAD 64
#define LARGE (8 << 20)
#define MAX_STATES 64

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
