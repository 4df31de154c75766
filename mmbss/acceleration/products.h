// Products of matrices that lie in a core's cache.

#pragma once

#include "vectors.h"

namespace mmbss {

// R rows and J vectors of columns of a product, in registers; the first matrix has its rows and its
// inner dimension the given strides apart.
template <int R, int J>
void multiply_in_registers(
    const float* a, int64_t a_row, int64_t a_inner, const float* b, float* to, int64_t inner,
    int64_t columns, bool add) {
  Vec sums[R][J];
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) sums[r][j] = add ? load(to + r * columns + j * kLanes) : Vec{};
  for (int64_t i = 0; i < inner; ++i) {
    Vec row[J];
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) row[j] = load(b + i * columns + j * kLanes);
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < J; ++j) sums[r][j] += a[r * a_row + i * a_inner] * row[j];
  }
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) store(to + r * columns + j * kLanes, sums[r][j]);
}

// (rows, inner) times (inner, columns); rows a multiple of Sums, columns one of kLanes. The result
// may replace the first matrix where that is contiguous, as wide, and all columns take one pass.
// Where rows are short, Few of the Sums at a time may be faster.
constexpr bool take_one_pass(int64_t columns) {
  return columns == 4 * kLanes || columns == 2 * kLanes || columns == kLanes;
}

template <int Sums, int Few, int J = 4>
void multiply(
    const float* a, int64_t a_row, int64_t a_inner, const float* b, float* to, int64_t rows,
    int64_t inner, int64_t columns, bool add, int64_t begin = 0) {
  constexpr int R = (J < 4 ? Few : Sums) / J;
  for (; begin + J * kLanes <= columns; begin += J * kLanes)
    for (int64_t r = 0; r < rows; r += R)
      multiply_in_registers<R, J>(
          a + r * a_row, a_row, a_inner, b + begin, to + r * columns + begin, inner, columns, add);
  if constexpr (J > 1)
    multiply<Sums, Few, J / 2>(a, a_row, a_inner, b, to, rows, inner, columns, add, begin);
}

// (rows, kLanes) times (kLanes, kLanes), rows a multiple of R: the second matrix stays in registers.
// The result may replace the first matrix.
template <int R>
void multiply_by_square(const float* a, const float* b, float* to, int64_t rows) {
  Vec square[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) square[i] = load(b + i * kLanes);
  for (int64_t r = 0; r < rows * kLanes; r += R * kLanes) {
    Vec sums[R];
#pragma GCC unroll 16
    for (int q = 0; q < R; ++q) sums[q] = a[r + q * kLanes] * square[0];
#pragma GCC unroll 16
    for (int i = 1; i < kLanes; ++i)
#pragma GCC unroll 16
      for (int q = 0; q < R; ++q) sums[q] += a[r + q * kLanes + i] * square[i];
#pragma GCC unroll 16
    for (int q = 0; q < R; ++q) store(to + r + q * kLanes, sums[q]);
  }
}

}  // namespace mmbss
