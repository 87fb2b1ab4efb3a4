// Vectors of the processor's width, and dot products of packed weights in three formats.
//
// A packed product has its columns in groups of 64: [columns / 64][rows / per][4][16 lanes][per],
// where `per` rows share one 32-bit lane: 1 of float32, 2 of bfloat16, 4 of int8.
// Each (row, column) sums its terms in the same order for any number of rows of activations: the
// engine is batch-invariant.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace v2s {

// Lanes of 32 bits in a vector, and registers for sums of products.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kSumRegisters = 24;
#elif defined(__AVX__)
constexpr int kLanes = 8, kSumRegisters = 12;
#else  // NEON, SSE
constexpr int kLanes = 4, kSumRegisters = 12;
#endif
constexpr int kVectorBytes = 4 * kLanes;
constexpr int kGroup = 64;                 // columns of a packed group
constexpr int kStepBytes = 4 * kGroup;     // of a packed group, for `per` rows of weights
constexpr int kVectors = kGroup / kLanes;  // vectors of a packed group
constexpr int kAtOnce = 4;                 // vectors that a product computes at once

typedef float Floats __attribute__((vector_size(kVectorBytes)));
typedef int32_t Ints __attribute__((vector_size(kVectorBytes)));
typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));

// Call `body(std::integral_constant<int, i>)` for i from 0 to N - 1. Unlike a loop, this keeps
// arrays that `i` indexes in registers: GCC unrolls loops after it has decided what goes to memory.
template <int... I, typename Body>
inline __attribute__((always_inline)) void unrolled(std::integer_sequence<int, I...>, Body body) {
  (body(std::integral_constant<int, I>{}), ...);
}
template <int N, typename Body>
inline __attribute__((always_inline)) void unrolled(Body body) {
  unrolled(std::make_integer_sequence<int, N>{}, body);
}

template <typename V>
inline V load(const void* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
inline void store(float* to, Floats v) { std::memcpy(to, &v, sizeof v); }
inline Floats all(float x) { return x - Floats{}; }
inline Floats largest(Floats a, Floats b) { return a > b ? a : b; }
// Keep the compiler from joining a product and a later sum, which would round only once: two places
// that do the same must not differ.
inline Floats rounded(Floats x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__x86_64__)
  asm("" : "+x"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}
inline Floats relu(Floats x) { return largest(x, Floats{}); }

inline float max_of(Floats v) {
  float best = v[0];
  for (int i = 1; i < kLanes; ++i) best = std::max(best, v[i]);
  return best;
}
inline float sum_of(Floats v) {
  float sums[kLanes];
  std::memcpy(sums, &v, sizeof v);
  for (int n = kLanes / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) sums[i] += sums[i + n];
  return sums[0];
}

// e^x to about 1 ulp: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes, expf).
inline Floats exp_of(Floats x) {
  x = largest(x, all(-87.0f));
  x = x < all(88.0f) ? x : all(88.0f);
  const Floats shifted = x * 1.44269504088896341f + 12582912.0f;  // rounds to the nearest integer
  const Floats n = shifted - 12582912.0f;
  const Floats r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Floats p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
  return p * load<Floats>(&power);
}
inline Floats sigmoid(Floats x) { return 1.0f / (1.0f + exp_of(-x)); }
inline Floats tanh_of(Floats x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

inline uint16_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// One struct per format: how it prepares a row of activations, adds products, and scales the sum.

struct Float32 {
  static constexpr int kPer = 1;
  static constexpr int kSums = 1;
  using Sum = Floats;

  static int row_bytes(int width) { return width * 4; }

  static float prepare(const float* x, int width, uint8_t* row) {
    std::memcpy(row, x, width * sizeof(float));
    return 1.0f;
  }
  static void add(Sum* sums, const uint8_t* row, int, int step, const uint8_t* weights) {
    float x;
    std::memcpy(&x, row + 4 * step, sizeof x);
    sums[0] += x * load<Floats>(weights);
  }
  static Floats finish(const Sum* sums, float, const float*, const int32_t*) { return sums[0]; }
};

struct BFloat16 {
  static constexpr int kPer = 2;
  static constexpr int kSums = 1;
  using Sum = Floats;

  static int row_bytes(int width) { return width * 2; }

  static float prepare(const float* x, int width, uint8_t* row) {
#if defined(__AVX512BF16__)
    for (int i = 0; i < width; i += 16) {
      const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
      std::memcpy(row + 2 * i, &rounded, sizeof rounded);
    }
#else
    uint16_t* to = reinterpret_cast<uint16_t*>(row);
    for (int i = 0; i < width; ++i) to[i] = to_bfloat16(x[i]);
#endif
    return 1.0f;
  }
  static void add(Sum* sums, const uint8_t* row, int, int step, const uint8_t* weights) {
    uint32_t pair;
    std::memcpy(&pair, row + 4 * step, sizeof pair);
#if defined(__AVX512BF16__)
    sums[0] = (Floats)_mm512_dpbf16_ps((__m512)sums[0], (__m512bh)_mm512_set1_epi32(pair),
                                       load<__m512bh>(weights));
#else
    const Words w = load<Words>(weights);
    const Words low = w << 16, high = w & 0xffff0000u;
    const uint32_t first = pair << 16, second = pair & 0xffff0000u;
    float a, b;
    std::memcpy(&a, &first, sizeof a);
    std::memcpy(&b, &second, sizeof b);
    sums[0] += a * load<Floats>(&low);
    sums[0] += b * load<Floats>(&high);
#endif
  }
  static Floats finish(const Sum* sums, float, const float*, const int32_t*) { return sums[0]; }
};

// int8 weights; activations in 15 bits (linear.INT8_INPUT_MAX), as two bytes without sign:
//   x = scale * (256 * high + low - 32768),   so   x W = scale * (256 * H + L - 32768 * sum(W)).
// The sums are exact integers: only the rounding to 8 and to 15 bits loses precision.
struct Int8 {
  static constexpr int kPer = 4;
  static constexpr int kSums = 2;
  using Sum = Ints;
  static constexpr float kMaxInput = 16319.0f;

  static int row_bytes(int width) { return width * 2; }

  static float prepare(const float* x, int width, uint8_t* row) {
    Floats largest_abs = {};
    for (int i = 0; i < width; i += kLanes) {
      const Floats v = load<Floats>(x + i);
      largest_abs = largest(largest_abs, largest(v, -v));
    }
    const float peak = max_of(largest_abs);
    const float inverse = peak > 0 ? kMaxInput / peak : 0.0f;
    for (int i = 0; i < width; i += kLanes) {
      // 32768 + rounding to nearest: the integers are the low 16 bits of the float.
      const Floats shifted = load<Floats>(x + i) * inverse + (8388608.0f + 32768.0f);
      const Words bits = load<Words>(&shifted);
      const Words high = (bits >> 8) & 0xff, low = bits & 0xff;
      typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
      const Bytes high_bytes = __builtin_convertvector(high, Bytes);
      const Bytes low_bytes = __builtin_convertvector(low, Bytes);
      std::memcpy(row + i, &high_bytes, sizeof high_bytes);
      std::memcpy(row + width + i, &low_bytes, sizeof low_bytes);
    }
    return peak / kMaxInput;
  }
  typedef int16_t Pairs __attribute__((vector_size(kVectorBytes)));

  // a[2i] b[2i] + a[2i + 1] b[2i + 1] in each lane
  static Ints sum_pairs(Pairs a, Pairs b) {
#if defined(__AVX512BW__)
    return (Ints)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && !defined(__AVX512F__)
    return (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && !defined(__AVX__)
    return (Ints)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    const Ints x = (Ints)a, y = (Ints)b;
    return ((x << 16) >> 16) * ((y << 16) >> 16) + (x >> 16) * (y >> 16);
#endif
  }
  static Ints dot(Ints sum, uint32_t bytes, const uint8_t* weights) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(bytes),
                                     load<__m512i>(weights));
#elif defined(__AVXVNNI__) && !defined(__AVX512F__)
    return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, _mm256_set1_epi32(bytes),
                                         load<__m256i>(weights));
#elif defined(__ARM_FEATURE_MATMUL_INT8)
    return (Ints)vusdotq_s32((int32x4_t)sum, vreinterpretq_u8_u32(vdupq_n_u32(bytes)),
                             load<int8x16_t>(weights));
#else
    // Bytes 0 and 2, then 1 and 3, as pairs of 16 bits.
    const Ints w = load<Ints>(weights);
    const Pairs x = (Pairs)(bytes - Words{}), pairs = (Pairs)w;
    return sum + sum_pairs((pairs << 8) >> 8, x & 0xff) + sum_pairs(pairs >> 8, (x >> 8) & 0xff);
#endif
  }
  static void add(Sum* sums, const uint8_t* row, int width, int step, const uint8_t* weights) {
    uint32_t high, low;
    std::memcpy(&high, row + 4 * step, sizeof high);
    std::memcpy(&low, row + width + 4 * step, sizeof low);
    sums[0] = dot(sums[0], high, weights);
    sums[1] = dot(sums[1], low, weights);
  }
  static Floats finish(const Sum* sums, float scale, const float* scales, const int32_t* totals) {
    const Ints high = sums[0] - 128 * load<Ints>(totals);
    const Floats wide = 256.0f * __builtin_convertvector(high, Floats) +
                        __builtin_convertvector(sums[1], Floats);
    return rounded(wide * scale * load<Floats>(scales));
  }
};

}  // namespace v2s
