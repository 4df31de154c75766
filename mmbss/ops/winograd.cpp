// 3x3 convolutions by the algorithms F(2x2, 3x3) and F(4x4, 3x3) of Lavin & Gray (2016), for images
// in the NHWC layout on a CPU.
//
// A block of tiles at a time: read and transform the input, multiply with the transformed kernels,
// transform back. A block is as large as its intermediate values fit into a core's cache.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

namespace {

// Vectors of the compiler, which it maps to whatever registers there are.
#ifdef __AVX512F__
constexpr int kLanes = 16;
constexpr int kSums = 24;  // vectors of sums that fit into the registers beside their factors
#else
constexpr int kLanes = 8;
constexpr int kSums = 12;
#endif
using Vec = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using Words = uint32_t __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using Halves = uint16_t __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));

constexpr int64_t kCacheBytes = 224 * 1024;

inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }

// bfloat16 is the upper half of a float32
inline Vec load(const at::BFloat16* from) {
  const auto halves = *reinterpret_cast<const Halves*>(from);
  return (Vec)(__builtin_convertvector(halves, Words) << 16);
}
inline void store(at::BFloat16* to, Vec value) {
  const Words words = (Words)value;
  const Words rounded = words + 0x7fff + ((words >> 16) & 1);
  *reinterpret_cast<Halves*>(to) = __builtin_convertvector(rounded >> 16, Halves);
}

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

// With the points 0, 1, -1, 1/2, -1/2, which round less than 0, 1, -1, 2, -2.
template <>
struct Winograd<4> {
  static void input(const Vec* d, int stride, Vec* to) {
    const Vec d0 = d[0], d1 = d[stride], d2 = d[2 * stride];
    const Vec d3 = d[3 * stride], d4 = d[4 * stride], d5 = d[5 * stride];
    const Vec even = 4 * d4 - d2, odd = 4 * d3 - d1;
    const Vec even_half = 2 * (d2 - d4), odd_half = d1 - d3;
    to[0] = d0 - 5 * d2 + 4 * d4;
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = even_half + odd_half;
    to[4] = even_half - odd_half;
    to[5] = d1 - 5 * d3 + 4 * d5;
  }
  static void output(const Vec* m, int stride, Vec* to) {
    const Vec m1 = m[stride], m2 = m[2 * stride], m3 = m[3 * stride], m4 = m[4 * stride];
    const Vec even = m1 + m2, odd = m1 - m2, even_half = m3 + m4, odd_half = m3 - m4;
    to[0] = m[0] + even + even_half;
    to[1] = odd + 0.5f * odd_half;
    to[2] = even + 0.25f * even_half;
    to[3] = odd + 0.125f * odd_half + m[5 * stride];
  }
  static void gradient(const Vec* g, int stride, Vec* to) {
    const Vec g0 = g[0], g1 = g[stride], g2 = g[2 * stride], g3 = g[3 * stride];
    const Vec even = g0 + g2, odd = g1 + g3;
    const Vec even_half = g0 + 0.25f * g2, odd_half = 0.5f * g1 + 0.125f * g3;
    to[0] = g0;
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = even_half + odd_half;
    to[4] = even_half - odd_half;
    to[5] = g3;
  }
};

// Images (N, H, W, C) in memory, and how tiles of M x M outputs cover them.
template <int M>
struct Tiling {
  int64_t images, height, width, channels;
  int64_t down = (height + M - 1) / M;
  int64_t across = (width + M - 1) / M;
  int64_t count = images * down * across;

  int64_t top(int64_t tile) const { return tile / across % down * M; }
  int64_t left(int64_t tile) const { return tile % across * M; }
  int64_t offset(int64_t tile, int64_t row, int64_t column) const {
    return ((tile / (down * across) * height + row) * width + column) * channels;
  }
};

// Read a square of side R at each of some tiles, and transform its columns and rows to S each.
// The squares begin `margin` pixels above and left of the tiles; outside the image all is 0.
template <int M, int R, auto Transform, typename T>
void to_frequencies(
    const T* image, const Tiling<M>& tiling, int64_t first, int64_t count, int margin,
    const T* zeros, float* to, int64_t stride) {
  constexpr int S = M + 2, kShared = R - M;  // neighbours share columns
  const int64_t C = tiling.channels;
  for (int64_t t = 0; t < count;) {
    // a run of neighbours
    const int64_t left = tiling.left(first + t), top = tiling.top(first + t) - margin;
    const int64_t end = std::min(count, t + tiling.across - left / M);
    const T* rows[R];
    int64_t steps[R];
    for (int r = 0; r < R; ++r) {
      const bool inside = top + r >= 0 && top + r < tiling.height;
      rows[r] = inside ? image + tiling.offset(first + t, top + r, 0) : zeros;
      steps[r] = inside ? C : 0;
    }
    const T* below = image + tiling.offset(first + t, top + R, 0);
    for (int64_t c = 0; c < C; c += kLanes) {
      Vec columns[R][S];
      const auto read = [&](int j, int64_t column) {
        Vec pixels[R];
        const bool inside = column >= 0 && column < tiling.width;
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r)
          pixels[r] = inside ? load(rows[r] + column * steps[r] + c) : Vec{};
        Transform(pixels, 1, columns[j]);
        // the next run will need the rows below
        for (int r = 0; r < M; ++r) __builtin_prefetch(below + (r * tiling.width + column) * C + c);
      };
#pragma GCC unroll 6
      for (int j = 0; j < kShared; ++j) read(j, left - margin + j);
      int64_t column = left - margin + kShared;
      for (int64_t tile = t; tile < end; ++tile, column += M) {
#pragma GCC unroll 6
        for (int j = kShared; j < R; ++j) read(j, column + j - kShared);
#pragma GCC unroll 6
        for (int i = 0; i < S; ++i) {
          Vec frequencies[S];
          Transform(&columns[0][i], S, frequencies);
#pragma GCC unroll 6
          for (int j = 0; j < S; ++j)
            store(to + (S * i + j) * stride + tile * C + c, frequencies[j]);
        }
#pragma GCC unroll 6
        for (int j = 0; j < kShared; ++j)
#pragma GCC unroll 6
          for (int i = 0; i < S; ++i) columns[j][i] = columns[j + M][i];
      }
    }
    t = end;
  }
}

// What follows a convolution: + bias + residual, ReLU.
template <typename T>
struct Epilogue {
  const float* bias;
  const T* residual;
  bool relu;

  Vec operator()(Vec value, int64_t at, int64_t channel) const {
    if (bias) value += load(bias + channel);
    if (residual) value += load(residual + at);
    if (relu) value = value < 0 ? Vec{} : value;
    return value;
  }
};

template <int M, typename T>
void from_frequencies(
    const float* from, int64_t stride, const Tiling<M>& tiling, int64_t first, int64_t count,
    const Epilogue<T>& epilogue, T* image) {
  constexpr int S = M + 2;
  const int64_t K = tiling.channels;
  for (int64_t t = 0; t < count; ++t) {
    const int64_t top = tiling.top(first + t), left = tiling.left(first + t);
    const int64_t corner = tiling.offset(first + t, top, left);
    const int64_t height = std::min<int64_t>(M, tiling.height - top);
    const int64_t width = std::min<int64_t>(M, tiling.width - left);
    for (int64_t k = 0; k < K; k += kLanes) {
      Vec square[S * S], half[S * M];
#pragma GCC unroll 36
      for (int i = 0; i < S * S; ++i) square[i] = load(from + i * stride + t * K + k);
#pragma GCC unroll 6
      for (int i = 0; i < S; ++i) Winograd<M>::output(square + i, S, half + M * i);
#pragma GCC unroll 4
      for (int i = 0; i < M; ++i) {
        Vec row[M];
        Winograd<M>::output(half + i, M, row);
        for (int j = 0; j < M; ++j) {
          const int64_t at = corner + (i * tiling.width + j) * K + k;
          if (i < height && j < width) store(image + at, epilogue(row[j], at, k));
        }
      }
    }
  }
}

// R rows and J vectors of columns of a product of matrices, in registers; the first matrix has its
// rows and its inner dimension the given strides apart.
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
// may replace the first matrix where that is contiguous, as wide, and at most kWidest columns.
// Where rows are short, Few of the Sums at a time may be faster.
constexpr int64_t kWidest = 4 * kLanes;

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

// Tiles of a block: as many as their frequencies fit into the cache.
int64_t block_size(int64_t frequencies, int64_t channels) {
  return std::max<int64_t>(1, kCacheBytes / (4 * frequencies * channels) / kSums) * kSums;
}

// Memory of a thread, kept from call to call.
float* scratch(size_t size) {
  static thread_local std::vector<float> memory;
  memory.resize(std::max(memory.size(), size));
  return memory.data();
}

template <int M, typename T>
void convolve(
    const T* input, const Tiling<M>& in, const float* kernels, const Epilogue<T>& epilogue,
    T* output, const Tiling<M>& out) {
  constexpr int S = M + 2, F = S * S;
  const int64_t C = in.channels, K = out.channels;
  const bool in_place = C == K && K <= kWidest;  // less memory to pass over
  const int64_t block = block_size(F, in_place ? C : C + K);
  // a vector more, so that the frequencies do not fall onto the same places of the cache
  const int64_t in_stride = block * C + kLanes, out_stride = block * K + kLanes;
  at::parallel_for(0, (in.count + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    float* v = scratch(F * (in_stride + out_stride) + C);
    float* m = in_place ? v : v + F * in_stride;
    T* zeros = reinterpret_cast<T*>(v + F * (in_stride + out_stride));
    std::fill(zeros, zeros + C, T(0));
    for (int64_t first = begin * block; first < std::min(end * block, in.count); first += block) {
      const int64_t count = std::min(block, in.count - first);
      const int64_t rows = (count + kSums - 1) / kSums * kSums;
      to_frequencies<M, S, Winograd<M>::input>(input, in, first, count, 1, zeros, v, in_stride);
      for (int f = 0; f < F; ++f)
        multiply<kSums, kSums / 2>(
            v + f * in_stride, C, 1, kernels + f * C * K, m + f * out_stride, rows, C, K, false);
      from_frequencies<M>(m, out_stride, out, first, count, epilogue, output);
    }
  });
}

// Sums over the tiles of input times gradient, (F, C, K), one for each of some parts of the tiles.
template <int M, typename T>
void correlate(
    const T* input, const Tiling<M>& in, const T* gradient, const Tiling<M>& out, float* sums,
    int64_t parts) {
  constexpr int S = M + 2, F = S * S;
  const int64_t C = in.channels, K = out.channels, block = block_size(F, C + K);
  const int64_t in_stride = block * C + kLanes, out_stride = block * K + kLanes;
  const int64_t blocks = (in.count + block - 1) / block;
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    float* v = scratch(F * (in_stride + out_stride) + std::max(C, K));
    float* g = v + F * in_stride;
    T* zeros = reinterpret_cast<T*>(g + F * out_stride);
    std::fill(zeros, zeros + std::max(C, K), T(0));
    for (int64_t part = begin; part < end; ++part) {
      const int64_t last = std::min(blocks * (part + 1) / parts * block, in.count);
      for (int64_t first = blocks * part / parts * block; first < last; first += block) {
        const int64_t count = std::min(block, last - first);
        to_frequencies<M, S, Winograd<M>::input>(input, in, first, count, 1, zeros, v, in_stride);
        to_frequencies<M, M, Winograd<M>::gradient>(
            gradient, out, first, count, 0, zeros, g, out_stride);
        for (int f = 0; f < F; ++f)
          multiply<16, 16>(
              v + f * in_stride, 1, C, g + f * out_stride, sums + (part * F + f) * C * K, C, count,
              K, true);
      }
    }
  });
}

void check(const at::Tensor& input, int64_t C, int64_t K) {
  TORCH_CHECK(input.size(1) == C, "winograd: ", C, " channels expected, got ", input.size(1));
  TORCH_CHECK(C % 16 == 0 && K % 16 == 0, "winograd: channels must be multiples of 16");
}

at::Tensor in_nhwc(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.to(type).contiguous(at::MemoryFormat::ChannelsLast);
}

template <typename T>
const T* pointer(const std::optional<at::Tensor>& tensor) {
  return tensor ? tensor->const_data_ptr<T>() : nullptr;
}

// Call what is compiled for tiles of so many outputs and for that type.
template <typename Run>
void dispatch(int64_t outputs, at::ScalarType type, const Run& run) {
  const bool is_float = type == at::kFloat;
  if (outputs == 2)
    is_float ? run.template operator()<2, float>() : run.template operator()<2, at::BFloat16>();
  else
    is_float ? run.template operator()<4, float>() : run.template operator()<4, at::BFloat16>();
}

at::Tensor winograd_conv(
    const at::Tensor& input, const at::Tensor& kernels, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& residual, bool relu) {
  const auto type = input.scalar_type();
  const auto x = in_nhwc(input, type), u = kernels.to(at::kFloat).contiguous();
  const int64_t N = x.size(0), H = x.size(2), W = x.size(3), C = u.size(1), K = u.size(2);
  check(x, C, K);
  auto output = at::empty({N, K, H, W}, x.options(), at::MemoryFormat::ChannelsLast);
  std::optional<at::Tensor> shift, added;
  if (bias) shift = bias->to(at::kFloat).contiguous();
  if (residual) added = in_nhwc(*residual, type);
  const auto run = [&]<int M, typename T>() {
    const Epilogue<T> epilogue{pointer<float>(shift), pointer<T>(added), relu};
    convolve<M, T>(
        x.const_data_ptr<T>(), {N, H, W, C}, u.const_data_ptr<float>(), epilogue,
        output.data_ptr<T>(), {N, H, W, K});
  };
  dispatch(u.size(0) == 16 ? 2 : 4, type, run);
  return output;
}

at::Tensor winograd_weight_gradient(
    const at::Tensor& input, const at::Tensor& gradient, int64_t outputs) {
  const auto type = input.scalar_type();
  const auto x = in_nhwc(input, type), g = in_nhwc(gradient, type);
  const int64_t N = x.size(0), C = x.size(1), H = x.size(2), W = x.size(3), K = g.size(1);
  check(x, C, K);
  const int64_t parts = at::get_num_threads(), side = outputs + 2;
  auto sums = at::zeros({parts, side * side, C, K}, x.options().dtype(at::kFloat));
  const auto run = [&]<int M, typename T>() {
    correlate<M, T>(
        x.const_data_ptr<T>(), {N, H, W, C}, g.const_data_ptr<T>(), {N, H, W, K},
        sums.data_ptr<float>(), parts);
  };
  dispatch(outputs, type, run);
  return sums.sum(0);
}

}  // namespace

TORCH_LIBRARY(mmbss, library) {
  library.def(
      "winograd_conv(Tensor input, Tensor kernels, Tensor? bias, Tensor? residual, bool relu) "
      "-> Tensor");
  library.def(
      "winograd_weight_gradient(Tensor input, Tensor gradient, int outputs) -> Tensor");
  library.impl("winograd_conv", c10::DispatchKey::CPU, &winograd_conv);
  library.impl("winograd_weight_gradient", c10::DispatchKey::CPU, &winograd_weight_gradient);
}
