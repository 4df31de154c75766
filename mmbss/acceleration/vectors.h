// Vectors of floats as the compiler knows them, which it maps to whatever registers there are; how
// they are read from and written to float32 and bfloat16.

#pragma once

#include <ATen/ATen.h>

#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace mmbss {

#ifdef __AVX512F__
constexpr int kLanes = 16;
constexpr int kSums = 24;  // vectors of sums that fit into the registers beside their factors
#else
constexpr int kLanes = 8;
constexpr int kSums = 12;
#endif
using Vec = float __attribute__((vector_size(4 * kLanes)));
using Words = uint32_t __attribute__((vector_size(4 * kLanes)));
using Halves = uint16_t __attribute__((vector_size(2 * kLanes)));

// Memory need not be aligned; compilers know this call and make one instruction of it.
template <typename Vector>
Vector read(const void* from) {
  Vector value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

inline Vec load(const float* from) { return read<Vec>(from); }
inline void store(float* to, Vec value) { std::memcpy(to, &value, sizeof(value)); }

// bfloat16 is the upper half of a float32
inline Vec load(const at::BFloat16* from) {
  return (Vec)(__builtin_convertvector(read<Halves>(from), Words) << 16);
}
inline void store(at::BFloat16* to, Vec value) {
#ifdef __AVX512BF16__
  const Halves halves = (Halves)_mm512_cvtneps_pbh((__m512)value);
#else
  const Words words = (Words)value;
  const Words rounded = words + 0x7fff + ((words >> 16) & 1);
  const Halves halves = __builtin_convertvector(rounded >> 16, Halves);
#endif
  std::memcpy(to, &halves, sizeof(halves));
}

// Write what is read again only after much else; `to + ahead` will be written soon. Whole lines of
// the cache, at addresses that are multiples of their size, pass it by; others are asked for early.
inline void write(float* to, int64_t ahead, Vec value) {
#ifdef __AVX512F__
  _mm512_stream_ps(to, (__m512)value);
#else
  __builtin_prefetch(to + ahead, 1);
  store(to, value);
#endif
}
inline void write(at::BFloat16* to, int64_t ahead, Vec value) {
  __builtin_prefetch(to + ahead, 1);
  store(to, value);
}
// To be called before another thread may read what was written.
inline void finish_writes() {
#ifdef __AVX512F__
  _mm_sfence();
#endif
}

}  // namespace mmbss
