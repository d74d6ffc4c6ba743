/* Selective scan of maps along four directions, added up, with one state per channel.
 *
 *     x_t = softplus(delta_t + bias)         h_t = exp(x_t A) h_{t-1} + x_t B_t u_t
 *     y_p = sum over the directions of C_t h_t + D u_t, t being when the direction comes to p
 *
 * Directions: row after row, column after column, and both of these from the end. Everything is read
 * and written where it lies in the map, so that no sequence is ever made. One vector holds one position
 * of LANES channels, which lie next to each other. A task takes the LANES channels of one map through
 * all directions: its part of u and y is then still in a cache. The forward pass keeps the state every
 * CHUNK steps; the backward pass recomputes a chunk at a time from it, on the stack.
 *
 * Layouts, all contiguous: u, y (batch, positions, dim); delta (4, batch, positions, dim); A, D, bias
 * (4, dim); B, C (batch, positions, 4); columns (positions): where the second direction is at each
 * step; kept (batch, 4, chunks, dim).
 * Built once with float and, with -DSCAN_DOUBLE, once with double.
 */
#include "vectors.h"

#define DIRECTIONS 4
/* Steps between a position and the one that is asked for: columns are no stream that hardware sees. */
#define AHEAD 16
/* Bytes of results that no cache of a core holds until they are read. */
#define LARGE (1 << 20)

typedef struct {
  const real *u, *delta, *A, *B, *C, *D, *bias;
  const int32_t *columns;
  int64_t batch, length, dim, chunks;
  int large;
} maps;

INLINE maps maps_of(const real *u, const real *delta, const real *A, const real *B, const real *C,
                    const real *D, const real *bias, const int32_t *columns, int64_t batch, int64_t length,
                    int64_t dim) {
  const int64_t bytes = DIRECTIONS * batch * length * dim * (int64_t)sizeof(real);
  return (maps){u, delta, A, B, C, D, bias, columns, batch, length, dim, (length + CHUNK - 1) / CHUNK, bytes > LARGE};
}

/* Where a direction is at step t. */
INLINE int64_t position(const maps *m, int k, int64_t t) {
  const int64_t at = k < 2 ? t : m->length - 1 - t;
  return k % 2 ? m->columns[at] : at;
}

INLINE int64_t ahead(const maps *m, int k, int64_t t) {
  return position(m, k, t + AHEAD < m->length ? t + AHEAD : m->length - 1);
}

INLINE int64_t behind(const maps *m, int k, int64_t t) { return position(m, k, t > AHEAD ? t - AHEAD : 0); }

INLINE void forward_block(const maps *m, int64_t item, int64_t first, int rows, real *y, real *kept) {
  const int64_t L = m->length, dim = m->dim;
  const real *u = m->u + item * L * dim + first;
  y += item * L * dim + first;
  for (int k = 0; k < DIRECTIONS; k++) {
    const real *delta = m->delta + (k * m->batch + item) * L * dim + first;
    const real *B = m->B + item * L * DIRECTIONS + k, *C = m->C + item * L * DIRECTIONS + k;
    const vec A = load_part(m->A + k * dim + first, 1, rows), D = load_part(m->D + k * dim + first, 1, rows);
    const vec bias = load_part(m->bias + k * dim + first, 1, rows);
    vec h = {0};
    for (int64_t t = 0; t < L; t++) {
      if (t % CHUNK == 0)
        store_part(kept + ((item * DIRECTIONS + k) * m->chunks + t / CHUNK) * dim + first, 1, h, rows);
      const int64_t p = position(m, k, t);
      __builtin_prefetch(delta + ahead(m, k, t) * dim);
      const vec now = load_part(u + p * dim, 1, rows), raw = load_part(delta + p * dim, 1, rows) + bias;
      const vec x = softplus(raw, decay(raw));
      h = exponential(x * A) * h + x * now * B[p * DIRECTIONS];
      vec out = h * C[p * DIRECTIONS] + D * now;
      if (k) out += load_part(y + p * dim, 1, rows);
      store_part(y + p * dim, 1, out, rows);
    }
  }
}

int maps_forward(const real *u, const real *delta, const real *A, const real *B, const real *C,
                     const real *D, const real *bias, const int32_t *columns, int64_t batch,
                     int64_t length, int64_t dim, int threads, real *y, real *kept) {
  const maps m = maps_of(u, delta, A, B, C, D, bias, columns, batch, length, dim);
  const int64_t blocks = (dim + LANES - 1) / LANES;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t task = 0; task < batch * blocks; task++) {
    const int64_t item = task / blocks, first = task % blocks * LANES;
    const int rows = min_int(LANES, dim - first);
    if (rows == LANES) forward_block(&m, item, first, LANES, y, kept);
    else forward_block(&m, item, first, rows, y, kept);
  }
  return 0;
}

/* Where the gradients go; dB and dC are this task's own, (directions, positions). */
typedef struct {
  const real *dy, *kept;
  real *du, *ddelta, *dA, *dB, *dC, *dD, *dbias;
} slopes;

/* What one step needs on the way back: x is the step size after softplus and `slope` its derivative. */
typedef struct {
  vec u, x, slope, a, h;
} step;

/* Lanes of no channel may hold what is no number, where C does. */
INLINE void clear_rest(vec *v, int rows) {
  for (int i = 0; i < LANES; i++)
    for (int lane = rows; lane < LANES; lane++) v[i][lane] = 0;
}

INLINE void backward_chunk(const maps *m, const slopes *d, step *steps, int k, int64_t item, int64_t from,
                           int count, int64_t first, int rows, vec A, vec D, vec bias, vec *carried,
                           vec *dA, vec *dD, vec *dbias) {
  const int64_t L = m->length, dim = m->dim, map = item * L * dim + first;
  const real *u = m->u + map, *dy = d->dy + map;
  const real *delta = m->delta + (k * m->batch + item) * L * dim + first;
  const real *B = m->B + item * L * DIRECTIONS + k, *C = m->C + item * L * DIRECTIONS + k;
  real *du = d->du + map, *ddelta = d->ddelta + (k * m->batch + item) * L * dim + first;
  vec state = steps[-1].h;
  for (int i = 0; i < count; i++) {
    const int64_t p = position(m, k, from + i);
    __builtin_prefetch(delta + behind(m, k, from + i) * dim);
    const vec now = load_part(u + p * dim, 1, rows), raw = load_part(delta + p * dim, 1, rows) + bias;
    const vec z = decay(raw), x = softplus(raw, z), a = exponential(x * A);
    state = a * state + x * now * B[p * DIRECTIONS];
    steps[i] = (step){now, x, sigmoid(raw, z), a, state};
  }
  vec later = *carried;
  for (int tile = (count - 1) / LANES * LANES; tile >= 0; tile -= LANES) {
    const int some = min_int(LANES, count - tile);
    vec forB[LANES], forC[LANES];
    if (some < LANES) memset(forB, 0, sizeof forB), memset(forC, 0, sizeof forC);
    for (int i = some - 1; i >= 0; i--) {
      const step *now = steps + tile + i;
      const int64_t p = position(m, k, from + tile + i);
      const vec out = load_part(dy + p * dim, 1, rows);
      const vec g = later + out * C[p * DIRECTIONS];
      later = g * now->a;
      forB[i] = g * now->x * now->u;
      forC[i] = out * now->h;
      const vec through = later * now[-1].h, gB = g * B[p * DIRECTIONS];
      const vec slope = (through * A + now->u * gB) * now->slope;
      *dA += through * now->x;
      *dD += out * now->u;
      *dbias += slope;
      if (rows == LANES && m->large) store_past_caches(ddelta + p * dim, slope);
      else store_part(ddelta + p * dim, 1, slope, rows);
      vec sum = D * out + now->x * gB;
      if (k) sum += load_part(du + p * dim, 1, rows);
      store_part(du + p * dim, 1, sum, rows);
    }
    if (rows < LANES) clear_rest(forB, rows), clear_rest(forC, rows);
    const vec sumB = sum_of_each(forB), sumC = sum_of_each(forC);
    for (int i = 0; i < some; i++) {
      const int64_t p = position(m, k, from + tile + i);
      d->dB[k * L + p] += sumB[i];
      d->dC[k * L + p] += sumC[i];
    }
  }
  *carried = later;
}

INLINE void backward_block(const maps *m, const slopes *d, int64_t item, int64_t first, int rows) {
  const int64_t L = m->length, dim = m->dim;
  step with_start[CHUNK + 1], *const steps = with_start + 1;
  for (int k = 0; k < DIRECTIONS; k++) {
    const vec A = load_part(m->A + k * dim + first, 1, rows), D = load_part(m->D + k * dim + first, 1, rows);
    const vec bias = load_part(m->bias + k * dim + first, 1, rows);
    vec carried = {0}, dA = {0}, dD = {0}, dbias = {0};
    for (int64_t chunk = m->chunks - 1; chunk >= 0; chunk--) {
      const int count = min_int(CHUNK, L - chunk * CHUNK);
      const real *kept = d->kept + ((item * DIRECTIONS + k) * m->chunks + chunk) * dim + first;
      steps[-1].h = load_part(kept, 1, rows);
      backward_chunk(m, d, steps, k, item, chunk * CHUNK, count, first, rows, A, D, bias, &carried, &dA,
                     &dD, &dbias);
    }
    const int64_t at = (item * DIRECTIONS + k) * dim + first;
    store_part(d->dA + at, 1, dA, rows);
    store_part(d->dD + at, 1, dD, rows);
    store_part(d->dbias + at, 1, dbias, rows);
  }
}

/* dA, dD and dbias come per item, (batch, 4, dim); dB and dC per slice of the channels, (batch, slices,
 * 4, positions). The caller adds them up, in an order that the number of threads doesn't change. */
int maps_backward(const real *u, const real *delta, const real *A, const real *B, const real *C,
                      const real *D, const real *bias, const int32_t *columns, int64_t batch,
                      int64_t length, int64_t dim, int threads, int64_t slices, const real *dy,
                      const real *kept, real *du, real *ddelta, real *dA, real *dB, real *dC, real *dD,
                      real *dbias) {
  const maps m = maps_of(u, delta, A, B, C, D, bias, columns, batch, length, dim);
  const int64_t blocks = (dim + LANES - 1) / LANES, size = DIRECTIONS * length;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t task = 0; task < batch * slices; task++) {
    const int64_t item = task / slices, slice = task % slices;
    const slopes d = {dy, kept, du, ddelta, dA, dB + task * size, dC + task * size, dD, dbias};
    memset(d.dB, 0, size * sizeof(real));
    memset(d.dC, 0, size * sizeof(real));
    for (int64_t block = slice * blocks / slices; block < (slice + 1) * blocks / slices; block++) {
      const int rows = min_int(LANES, dim - block * LANES);
      if (rows == LANES) backward_block(&m, &d, item, block * LANES, LANES);
      else backward_block(&m, &d, item, block * LANES, rows);
    }
    finish_stores();
  }
  return 0;
}
