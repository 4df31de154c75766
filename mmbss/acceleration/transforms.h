// The transforms of the algorithms F(2x2, 3x3), F(4x2, 3x3) and F(4x4, 3x3) of Lavin & Gray (2016):
// from images to the frequencies of their tiles, and back.

#pragma once

#include <algorithm>

#include "vectors.h"

namespace mmbss {

// The one-dimensional transforms for tiles of M outputs; vectors are a given stride apart. The
// gradient's is that of the outputs, transposed.
template <int M>
struct Winograd;

template <>
struct Winograd<2> {
  static void input(const Vec* d, int stride, Vec* to) {
    const Vec d0 = d[0], d1 = d[stride], d2 = d[2 * stride], d3 = d[3 * stride];
    to[0] = d0 - d2;
    to[1] = d1 + d2;
    to[2] = d2 - d1;
    to[3] = d1 - d3;
  }
  static void output(const Vec* m, int stride, Vec* to) {
    const Vec m0 = m[0], m1 = m[stride], m2 = m[2 * stride], m3 = m[3 * stride];
    to[0] = m0 + m1 + m2;
    to[1] = m1 - m2 - m3;
  }
  static void gradient(const Vec* g, int stride, Vec* to) {
    const Vec g0 = g[0], g1 = g[stride];
    to[0] = g0;
    to[1] = g0 + g1;
    to[2] = g0 - g1;
    to[3] = -g1;
  }
};

// The points 0, 3/4, -3/4, 3/2, -3/2 round less than 0, 1, -1, 2, -2.
template <>
struct Winograd<4> {
  static constexpr float kNear = 0.75f, kFar = 1.5f;
  static constexpr float kNear2 = kNear * kNear, kFar2 = kFar * kFar;

  static void input(const Vec* d, int stride, Vec* to) {
    const Vec d0 = d[0], d1 = d[stride], d2 = d[2 * stride];
    const Vec d3 = d[3 * stride], d4 = d[4 * stride], d5 = d[5 * stride];
    const Vec near = d4 - kFar2 * d2, near_odd = kNear * (d3 - kFar2 * d1);
    const Vec far = d4 - kNear2 * d2, far_odd = kFar * (d3 - kNear2 * d1);
    to[0] = d4 - (kNear2 + kFar2) * d2 + kNear2 * kFar2 * d0;
    to[1] = near + near_odd;
    to[2] = near - near_odd;
    to[3] = far + far_odd;
    to[4] = far - far_odd;
    to[5] = d5 - (kNear2 + kFar2) * d3 + kNear2 * kFar2 * d1;
  }
  static void output(const Vec* m, int stride, Vec* to) {
    const Vec m1 = m[stride], m2 = m[2 * stride], m3 = m[3 * stride], m4 = m[4 * stride];
    const Vec near = m1 + m2, near_odd = kNear * (m1 - m2);
    const Vec far = m3 + m4, far_odd = kFar * (m3 - m4);
    to[0] = m[0] + near + far;
    to[1] = near_odd + far_odd;
    to[2] = kNear2 * near + kFar2 * far;
    to[3] = kNear2 * near_odd + kFar2 * far_odd + m[5 * stride];
  }
  static void gradient(const Vec* g, int stride, Vec* to) {
    const Vec g0 = g[0], g1 = g[stride], g2 = g[2 * stride], g3 = g[3 * stride];
    const Vec near = g0 + kNear2 * g2, near_odd = kNear * (g1 + kNear2 * g3);
    const Vec far = g0 + kFar2 * g2, far_odd = kFar * (g1 + kFar2 * g3);
    to[0] = g0;
    to[1] = near + near_odd;
    to[2] = near - near_odd;
    to[3] = far + far_odd;
    to[4] = far - far_odd;
    to[5] = g3;
  }
};

// Images (N, H, W, C) in memory, and how tiles of V x H outputs cover them.
template <int V, int H>
struct Tiling {
  int64_t images, height, width, channels;
  int64_t down = (height + V - 1) / V;
  int64_t across = (width + H - 1) / H;
  int64_t count = images * down * across;

  // Call with each run of neighbours among some tiles: the first and the end of the run, counted
  // from the first tile, the image, and the pixel at its top left.
  template <typename Visit>
  void for_each_run(int64_t first, int64_t count, const Visit& visit) const {
    for (int64_t t = 0; t < count;) {
      const int64_t row = (first + t) / across, column = (first + t) % across;
      const int64_t end = std::min(count, t + across - column);
      visit(t, end, row / down, row % down * V, column * H);
      t = end;
    }
  }
  int64_t offset(int64_t image, int64_t row, int64_t column) const {
    return ((image * height + row) * width + column) * channels;
  }
};

// Read windows of RV x RH pixels at some tiles, and transform their columns and rows. They begin
// `margin` pixels above and left of the tiles; outside the image all is 0.
template <int V, int H, int RV, int RH, auto Vertical, auto Horizontal, typename T>
void to_frequencies(
    const T* image, const Tiling<V, H>& tiling, int64_t first, int64_t count, int margin,
    const T* zeros, float* to, int64_t stride) {
  constexpr int SV = V + 2, SH = H + 2, kShared = RH - H;  // neighbours share columns
  const int64_t C = tiling.channels;
  tiling.for_each_run(
      first, count, [&](int64_t begin, int64_t end, int64_t n, int64_t top, int64_t left) {
        const T* rows[RV];
        int64_t steps[RV];
        for (int r = 0; r < RV; ++r) {
          const int64_t row = top - margin + r;
          const bool inside = row >= 0 && row < tiling.height;
          rows[r] = inside ? image + tiling.offset(n, row, 0) : zeros;
          steps[r] = inside ? C : 0;
        }
        const T* below = image + tiling.offset(n, top - margin + RV, 0);
        for (int64_t c = 0; c < C; c += kLanes) {
          Vec columns[RH][SV];
          const auto read = [&](int j, int64_t column) {
            Vec pixels[RV];
            const bool inside = column >= 0 && column < tiling.width;
#pragma GCC unroll 6
            for (int r = 0; r < RV; ++r)
              pixels[r] = inside ? load(rows[r] + column * steps[r] + c) : Vec{};
            Vertical(pixels, 1, columns[j]);
            // the next run will need the rows below
            for (int r = 0; r < V; ++r)
              __builtin_prefetch(below + (r * tiling.width + column) * C + c);
          };
#pragma GCC unroll 6
          for (int j = 0; j < kShared; ++j) read(j, left - margin + j);
          int64_t column = left - margin + kShared;
          for (int64_t tile = begin; tile < end; ++tile, column += H) {
#pragma GCC unroll 6
            for (int j = kShared; j < RH; ++j) read(j, column + j - kShared);
#pragma GCC unroll 6
            for (int i = 0; i < SV; ++i) {
              Vec frequencies[SH];
              Horizontal(&columns[0][i], SV, frequencies);
#pragma GCC unroll 6
              for (int j = 0; j < SH; ++j)
                store(to + (SH * i + j) * stride + tile * C + c, frequencies[j]);
            }
#pragma GCC unroll 6
            for (int j = 0; j < kShared; ++j)
#pragma GCC unroll 6
              for (int i = 0; i < SV; ++i) columns[j][i] = columns[j + H][i];
          }
        }
      });
}

// Transform the frequencies of some tiles back, add a bias if there is one, and write the images.
template <int V, int H, typename T>
void from_frequencies(
    const float* from, int64_t stride, const Tiling<V, H>& tiling, int64_t first, int64_t count,
    const float* bias, T* image) {
  constexpr int SV = V + 2, SH = H + 2;
  const int64_t K = tiling.channels, ahead = V * tiling.width * K;  // the next run's rows
  tiling.for_each_run(
      first, count, [&](int64_t begin, int64_t end, int64_t n, int64_t top, int64_t left) {
        const int64_t height = std::min<int64_t>(V, tiling.height - top);
        for (int64_t t = begin; t < end; ++t, left += H) {
          const int64_t corner = tiling.offset(n, top, left);
          const int64_t width = std::min<int64_t>(H, tiling.width - left);
          for (int64_t k = 0; k < K; k += kLanes) {
            Vec half[SV][H];
#pragma GCC unroll 6
            for (int i = 0; i < SV; ++i) {
              Vec row[SH];
#pragma GCC unroll 6
              for (int j = 0; j < SH; ++j) row[j] = load(from + (SH * i + j) * stride + t * K + k);
              Winograd<H>::output(row, 1, half[i]);
            }
#pragma GCC unroll 4
            for (int j = 0; j < H; ++j) {
              Vec column[V];
              Winograd<V>::output(&half[0][j], H, column);
#pragma GCC unroll 4
              for (int i = 0; i < V; ++i) {
                const int64_t at = corner + (i * tiling.width + j) * K + k;
                if (i < height && j < width)
                  write(image + at, ahead, bias ? column[i] + load(bias + k) : column[i]);
              }
            }
          }
        }
      });
}

}  // namespace mmbss
