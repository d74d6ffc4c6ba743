/* Depth-wise 3D convolution and its weight's gradient, for any CPU with a GNU-compatible C compiler.
 *
 *     y[p]  = sum over t of w[t] x[p + t - K/2]          (mirrored: w[K - 1 - t] along each axis)
 *     dw[t] = sum over p of g[p] x[p + t - K/2]          positions p, taps t = 0 .. K - 1 per axis
 *
 * One vector holds LANES channels of one position. A task goes down the rows of a map with some
 * blocks of LANES channels and keeps the K rows around the current one, of every depth, in a ring
 * whose positions lie next to each other and end in zeros; in the map they are `channels` apart, and
 * such strides of a power of two share few places of a cache. Up to TILE neighbouring positions of a
 * row (sums of the outputs, or the output's gradient) stay in registers while K rows of K depths pass.
 *
 * Layouts: x, y, g (items, depth, height, width, channels); w, dw (channels, K, K, K). How a map is
 * cut into parts with sums of their own follows from its sizes alone, so the sums do not depend on
 * the number of threads. Built once with float and, with -DDEPTHWISE_DOUBLE, once with double.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__AVX512F__)
#include <immintrin.h>
#define BYTES 64
#define TILE 12
#elif defined(__AVX__)
#define BYTES 32
#define TILE 6
#else
#define BYTES 16
#define TILE 6
#endif

#ifdef DEPTHWISE_DOUBLE
typedef double real;
#define LANES (BYTES / 8)
#else
typedef float real;
#define LANES (BYTES / 4)
#endif

#define MAX_KERNEL 5
/* Blocks that one task takes along, so that a position gives it some lines at once; bytes of a ring
 * that leave room in a second-level cache; parts that are enough for any machine; rows of a part. */
#define BLOCKS 8
#define RING (512 << 10)
#define PARTS 64
#define ROWS 8
/* Results beyond this many bytes are in no cache when they are read, and new memory for them costs as
 * much as the arithmetic, page by page. */
#define PAGE 4096
#define LARGE (24 << 20)
#define INLINE static inline __attribute__((always_inline))

typedef real vec __attribute__((vector_size(BYTES)));
typedef real row_vec __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t over(int64_t a, int64_t b) { return (a + b - 1) / b; }

INLINE vec load(const real *p, int64_t lanes) {
  vec v = {0};
  if (lanes >= LANES) return *(const row_vec *)p;
  memcpy(&v, p, lanes * sizeof(real));
  return v;
}

/* What no cache would hold goes to memory at once, where a vector is a whole cache line. */
INLINE void store(real *p, vec v, int64_t lanes, int large) {
#if defined(__AVX512F__)
  if (large && lanes >= LANES && (uintptr_t)p % BYTES == 0) {
    _mm512_stream_si512((__m512i *)p, (__m512i)v);
    return;
  }
#endif
  if (lanes >= LANES) *(row_vec *)p = v;
  else memcpy(p, &v, lanes * sizeof(real));
}

typedef struct {
  int64_t items, channels, depth, height, width; /* of the maps */
  int64_t blocks, grouped, groups;               /* of LANES channels; as many in a group; groups */
  int64_t chunks, segments;                      /* parts of the items and of the rows */
  int64_t stride;                                /* vectors from row to row of a ring */
  int kernel, large;
} plan;

/* What one task works on: blocks from `first` on, and the vectors of a ring, [block][row][depth]. */
typedef struct {
  int64_t first, count, from_item, to_item, from_row, to_row;
  vec *ring;
} task;

static plan make_plan(int64_t items, int64_t channels, int64_t depth, int64_t height, int64_t width,
                      int kernel, int threads) {
  plan p = {items, channels, depth, height, width, .kernel = kernel};
  p.blocks = over(channels, LANES);
  p.chunks = least(items, over(PARTS, p.blocks));
  p.segments = most(1, least(height / ROWS, over(PARTS, p.blocks * p.chunks)));
  p.stride = (width + kernel - 1) | 1;
  const int64_t ring = kernel * depth * p.stride * BYTES;
  const int64_t shared = p.blocks * p.chunks * p.segments / (2 * threads);
  p.grouped = most(1, least(least(BLOCKS, RING / ring), least(shared, p.blocks)));
  p.groups = over(p.blocks, p.grouped);
  p.large = items * channels * depth * height * width * (int64_t)sizeof(real) > LARGE;
  return p;
}

INLINE int64_t parts(const plan *p) { return p->chunks * p->segments; }
INLINE int64_t taps(const plan *p) { return (int64_t)p->kernel * p->kernel * p->kernel; }
INLINE int64_t ring_size(const plan *p) { return p->grouped * p->kernel * p->depth * p->stride; }
INLINE int64_t start(int64_t length, int64_t pieces, int64_t piece) { return length * piece / pieces; }

static task make_task(const plan *p, int64_t number, vec *ring) {
  const int64_t group = number % p->groups, part = number / p->groups;
  const int64_t chunk = part / p->segments, segment = part % p->segments, first = group * p->grouped;
  return (task){first, least(p->grouped, p->blocks - first),
                start(p->items, p->chunks, chunk), start(p->items, p->chunks, chunk + 1),
                start(p->height, p->segments, segment), start(p->height, p->segments, segment + 1),
                ring};
}

INLINE int64_t position(const plan *p, int64_t item, int64_t d, int64_t h, int64_t w) {
  return (((item * p->depth + d) * p->height + h) * p->width + w) * p->channels;
}

INLINE vec *ring_rows(const plan *p, const task *t, int64_t block, int64_t h) {
  return t->ring + (block * p->kernel + h % p->kernel) * p->depth * p->stride;
}

/* Row h of all depths into the ring. */
static void fetch(const plan *p, const task *t, const real *x, int64_t item, int64_t h) {
  const int64_t at = t->first * LANES, whole = least(t->count, (p->channels - at) / LANES);
  const int64_t apart = p->kernel * p->depth * p->stride, C = p->channels;
  for (int64_t d = 0; d < p->depth; d++) {
    const real *from = x + position(p, item, d, h, 0) + at;
    vec *to = ring_rows(p, t, 0, h) + d * p->stride + p->kernel / 2;
    for (int64_t w = 0; w < p->width; w++, from += C, to++) {
      for (int64_t b = 0; b < whole; b++) to[b * apart] = load(from + b * LANES, LANES);
      if (whole < t->count) to[whole * apart] = load(from + whole * LANES, C - at - whole * LANES);
    }
  }
}

/* Asks for what the next row of the map will need, a tile at a time. */
INLINE void ask_ahead(const plan *p, const real *x, int64_t item, int64_t d, int64_t h, int64_t w,
                      int64_t channel, int count) {
  if (h >= p->height) return;
  const real *at = x + position(p, item, d, h, w) + channel;
  for (int i = 0; i < count; i++) __builtin_prefetch(at + i * p->channels);
}

/* Rows of the ring around row h, and which of them are inside of the map. */
typedef struct {
  const vec *row[MAX_KERNEL];
  int64_t low, high;
} around;

INLINE around rows_around(const plan *p, const task *t, int64_t block, int64_t h) {
  const int64_t edge = p->kernel / 2;
  around a = {.low = most(0, edge - h), .high = least(p->kernel, p->height - h + edge)};
  for (int64_t j = a.low; j < a.high; j++) a.row[j] = ring_rows(p, t, block, h + j - edge);
  return a;
}

/* Outputs of one tile; inlined once per kernel and count, so that these are constants. */
INLINE void convolve(const around *a, int64_t depth, int64_t stride, int64_t d, int64_t w,
                     const vec *weights, int kernel, int count, vec *sums) {
  const int64_t edge = kernel / 2;
  vec sum[TILE] = {0};
  for (int64_t i = most(0, edge - d); i < least(kernel, depth - d + edge); i++)
    for (int64_t j = a->low; j < a->high; j++) {
      const vec *row = a->row[j] + (d + i - edge) * stride + w, *tap = weights + (i * kernel + j) * kernel;
#pragma GCC unroll 16
      for (int k = 0; k < count + kernel - 1; k++)
#pragma GCC unroll 5
        for (int l = 0; l < kernel; l++)
          if (k >= l && k - l < count) sum[k - l] += row[k] * tap[l];
    }
#pragma GCC unroll 12
  for (int k = 0; k < count; k++) sums[k] = sum[k];
}

/* Adds what one tile of the output's gradient says about every tap. */
INLINE void correlate(const around *a, int64_t depth, int64_t stride, int64_t d, int64_t w,
                      const vec *given, int kernel, int count, vec *sums) {
  const int64_t edge = kernel / 2;
  vec grad[TILE];
#pragma GCC unroll 12
  for (int k = 0; k < count; k++) grad[k] = given[k];
  for (int64_t i = most(0, edge - d); i < least(kernel, depth - d + edge); i++)
    for (int64_t j = a->low; j < a->high; j++) {
      const vec *row = a->row[j] + (d + i - edge) * stride + w;
      vec *tap = sums + (i * kernel + j) * kernel, sum[MAX_KERNEL];
#pragma GCC unroll 5
      for (int l = 0; l < kernel; l++) sum[l] = tap[l];
#pragma GCC unroll 16
      for (int k = 0; k < count + kernel - 1; k++)
#pragma GCC unroll 5
        for (int l = 0; l < kernel; l++)
          if (k >= l && k - l < count) sum[l] += row[k] * grad[k - l];
#pragma GCC unroll 5
      for (int l = 0; l < kernel; l++) tap[l] = sum[l];
    }
}

#define COUNTS(CASE, K) \
  CASE(K, 1) CASE(K, 2) CASE(K, 3) CASE(K, 4) CASE(K, 5) CASE(K, 6) \
  CASE(K, 7) CASE(K, 8) CASE(K, 9) CASE(K, 10) CASE(K, 11) CASE(K, 12)
#define TILE_OF(name, K) \
  static void name##_##K(const around *a, int64_t depth, int64_t stride, int64_t d, int64_t w, \
                         const vec *given, int count, vec *sums) { \
    switch (count) { COUNTS(CASE_##name, K) } \
  }
#define CASE_convolve(K, N) \
  case N: if (N <= TILE) convolve(a, depth, stride, d, w, given, K, N, sums); break;
#define CASE_correlate(K, N) \
  case N: if (N <= TILE) correlate(a, depth, stride, d, w, given, K, N, sums); break;
TILE_OF(convolve, 3)
TILE_OF(convolve, 5)
TILE_OF(correlate, 3)
TILE_OF(correlate, 5)

typedef struct {
  const real *x, *grad; /* what the ring holds, and the output's gradient or null */
  real *y;
  vec *taps; /* of this task's first block: weights to read, or sums to add to */
} work;

/* One row of one block: its tiles, each for all depths, which share most of what they read. */
static void do_row(const plan *p, const task *t, const work *job, int64_t item, int64_t h,
                   int64_t block) {
  const around a = rows_around(p, t, block, h);
  const int64_t channel = (t->first + block) * LANES, lanes = p->channels - channel;
  const int64_t width = over(p->width, over(p->width, TILE));
  vec tile[TILE], *own = job->taps + block * taps(p);
  for (int64_t w = 0; w < p->width; w += width)
    for (int64_t d = 0; d < p->depth; d++) {
      const int count = (int)least(width, p->width - w);
      const int64_t at = position(p, item, d, h, w) + channel;
      ask_ahead(p, job->x, item, d, h + p->kernel / 2 + 1, w, channel, count);
      if (job->grad) {
        ask_ahead(p, job->grad, item, d, h + 1, w, channel, count);
        for (int k = 0; k < count; k++) tile[k] = load(job->grad + at + k * p->channels, lanes);
        (p->kernel == 3 ? correlate_3 : correlate_5)(&a, p->depth, p->stride, d, w, tile, count, own);
      } else {
        (p->kernel == 3 ? convolve_3 : convolve_5)(&a, p->depth, p->stride, d, w, own, count, tile);
        for (int k = 0; k < count; k++) store(job->y + at + k * p->channels, tile[k], lanes, p->large);
      }
    }
}

static void do_task(const plan *p, const task *t, const work *job) {
  const int64_t edge = p->kernel / 2;
  for (int64_t item = t->from_item; item < t->to_item; item++) {
    int64_t next = most(0, t->from_row - edge);
    for (int64_t h = t->from_row; h < t->to_row; h++) {
      for (; next < least(p->height, h + edge + 1); next++) fetch(p, t, job->x, item, next);
      for (int64_t block = 0; block < t->count; block++) do_row(p, t, job, item, h, block);
    }
  }
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

static vec *vectors(int64_t count) { return aligned_alloc(BYTES, most(1, count) * BYTES); }

/* Does all tasks; `at` says which taps are a part's. 0, or 1 where there is no memory for it. */
static int do_all(const plan *p, const work *job, int threads, int64_t taps_of_part) {
  int failed = 0;
#pragma omp parallel num_threads(threads)
  {
    vec *ring = vectors(ring_size(p));
    if (ring) memset(ring, 0, ring_size(p) * BYTES);
#pragma omp for schedule(dynamic)
    for (int64_t number = 0; number < p->groups * parts(p); number++) {
      if (!ring) {
#pragma omp atomic write
        failed = 1;
        continue;
      }
      const task t = make_task(p, number, ring);
      work own = *job;
      own.taps += number / p->groups * taps_of_part + t.first * taps(p);
      do_task(p, &t, &own);
    }
    free(ring);
  }
  return failed;
}

/* The weights of a block, vector by vector; lanes beyond the channels are 0. */
static void pack(const plan *p, const real *weight, int mirrored, int64_t block, vec *packed) {
  const int64_t T = taps(p), lanes = least(LANES, p->channels - block * LANES);
  const real *from = weight + block * LANES * T;
  for (int64_t t = 0; t < T; t++) {
    vec v = {0};
    for (int64_t i = 0; i < lanes; i++) v[i] = from[i * T + (mirrored ? T - 1 - t : t)];
    packed[block * T + t] = v;
  }
}

/* The sums over the parts for a block, as a weight lies in memory. */
static void unpack(const plan *p, const vec *sums, int64_t block, real *dweight) {
  const int64_t T = taps(p), lanes = least(LANES, p->channels - block * LANES);
  real *to = dweight + block * LANES * T;
  for (int64_t t = 0; t < T; t++) {
    vec v = {0};
    for (int64_t part = 0; part < parts(p); part++) v += sums[(part * p->blocks + block) * T + t];
    for (int64_t i = 0; i < lanes; i++) to[i * T + t] = v[i];
  }
}

/* Large pages for a large result, where the system gives them to who asks. */
static void ask_for_large_pages(real *y, int64_t count) {
#if defined(MADV_HUGEPAGE)
  const uintptr_t from = ((uintptr_t)y + PAGE - 1) / PAGE * PAGE, to = (uintptr_t)(y + count) / PAGE * PAGE;
  madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
  (void)y, (void)count;
#endif
}

int depthwise_forward(const real *x, const real *weight, int mirrored, int64_t items,
                      int64_t channels, int64_t depth, int64_t height, int64_t width, int kernel,
                      int threads, real *y) {
  const plan p = make_plan(items, channels, depth, height, width, kernel, threads);
  vec *packed = vectors(p.blocks * taps(&p));
  if (!packed) return 1;
#pragma omp parallel for num_threads(threads)
  for (int64_t block = 0; block < p.blocks; block++) pack(&p, weight, mirrored, block, packed);
  if (p.large) ask_for_large_pages(y, items * channels * depth * height * width);
  const int failed = do_all(&p, &(work){x, 0, y, packed}, threads, 0);
  free(packed);
  return failed;
}

int depthwise_weight_gradient(const real *x, const real *grad, int64_t items, int64_t channels,
                              int64_t depth, int64_t height, int64_t width, int kernel, int threads,
                              real *dweight) {
  const plan p = make_plan(items, channels, depth, height, width, kernel, threads);
  const int64_t all = p.blocks * taps(&p);
  vec *sums = vectors(parts(&p) * all);
  if (!sums) return 1;
  memset(sums, 0, parts(&p) * all * BYTES);
  const int failed = do_all(&p, &(work){x, grad, 0, sums}, threads, all);
#pragma omp parallel for num_threads(threads)
  for (int64_t block = 0; block < p.blocks; block++) unpack(&p, sums, block, dweight);
  free(sums);
  return failed;
}
