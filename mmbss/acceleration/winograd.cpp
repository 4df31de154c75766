// 3x3 convolutions by Winograd's algorithm, and their weights' gradients, for images in the NHWC
// layout on a CPU.
//
// A block of tiles at a time: read and transform the input, multiply with the transformed kernels,
// transform back. A block is as large as its intermediate values fit into a core's cache.

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "products.h"
#include "transforms.h"

namespace mmbss {
namespace {

constexpr int64_t kCacheBytes = 224 * 1024;

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

template <int V, int H, typename T>
void convolve(
    const T* input, const Tiling<V, H>& in, const float* kernels, const float* bias, T* output,
    const Tiling<V, H>& out) {
  constexpr int F = (V + 2) * (H + 2);
  const int64_t C = in.channels, K = out.channels;
  const bool in_place = C == K && take_one_pass(K);  // less memory to pass over
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
      to_frequencies<V, H, V + 2, H + 2, Winograd<V>::input, Winograd<H>::input>(
          input, in, first, count, 1, zeros, v, in_stride);
      for (int f = 0; f < F; ++f) {
        const float *from = v + f * in_stride, *by = kernels + f * C * K;
        float* to = m + f * out_stride;
        if (C == kLanes && K == kLanes)
          multiply_by_square<kSums / 2>(from, by, to, rows);
        else
          multiply<kSums, kSums / 2>(from, C, 1, by, to, rows, C, K, false);
      }
      from_frequencies(m, out_stride, out, first, count, bias, output);
    }
    finish_writes();
  });
}

// Sums over the tiles of input times gradient, (F, C, K), one for each of some parts of the tiles.
template <int V, int H, typename T>
void correlate(
    const T* input, const Tiling<V, H>& in, const T* gradient, const Tiling<V, H>& out, float* sums,
    int64_t parts) {
  constexpr int F = (V + 2) * (H + 2);
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
        to_frequencies<V, H, V + 2, H + 2, Winograd<V>::input, Winograd<H>::input>(
            input, in, first, count, 1, zeros, v, in_stride);
        to_frequencies<V, H, V, H, Winograd<V>::gradient, Winograd<H>::gradient>(
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

// Call what is compiled for that number of frequencies and that type.
template <typename Run>
void dispatch(int64_t frequencies, at::ScalarType type, const Run& run) {
  const auto with_type = [&]<int V, int H>() {
    type == at::kFloat ? run.template operator()<V, H, float>()
                       : run.template operator()<V, H, at::BFloat16>();
  };
  switch (frequencies) {
    case 16: return with_type.template operator()<2, 2>();
    case 24: return with_type.template operator()<4, 2>();
    case 36: return with_type.template operator()<4, 4>();
    default: TORCH_CHECK(false, "winograd: no tiles with ", frequencies, " frequencies");
  }
}

at::Tensor winograd_conv(
    const at::Tensor& input, const at::Tensor& kernels, const std::optional<at::Tensor>& bias) {
  const auto type = input.scalar_type();
  const auto x = in_nhwc(input, type), u = kernels.to(at::kFloat).contiguous();
  const int64_t N = x.size(0), H = x.size(2), W = x.size(3), C = u.size(1), K = u.size(2);
  check(x, C, K);
  auto output = at::empty({N, K, H, W}, x.options(), at::MemoryFormat::ChannelsLast);
  at::Tensor added;
  if (bias) added = bias->to(at::kFloat).contiguous();
  dispatch(u.size(0), type, [&]<int Down, int Across, typename T>() {
    convolve<Down, Across, T>(
        x.const_data_ptr<T>(), {N, H, W, C}, u.const_data_ptr<float>(),
        bias ? added.const_data_ptr<float>() : nullptr, output.data_ptr<T>(), {N, H, W, K});
  });
  return output;
}

at::Tensor winograd_weight_gradient(
    const at::Tensor& input, const at::Tensor& gradient, int64_t frequencies) {
  const auto type = input.scalar_type();
  const auto x = in_nhwc(input, type), g = in_nhwc(gradient, type);
  const int64_t N = x.size(0), C = x.size(1), H = x.size(2), W = x.size(3), K = g.size(1);
  check(x, C, K);
  const int64_t parts = at::get_num_threads();
  auto sums = at::zeros({parts, frequencies, C, K}, x.options().dtype(at::kFloat));
  dispatch(frequencies, type, [&]<int Down, int Across, typename T>() {
    correlate<Down, Across, T>(
        x.const_data_ptr<T>(), {N, H, W, C}, g.const_data_ptr<T>(), {N, H, W, K},
        sums.data_ptr<float>(), parts);
  });
  return sums.sum(0);
}

}  // namespace
}  // namespace mmbss

TORCH_LIBRARY(mmbss, library) {
  library.def("winograd_conv(Tensor input, Tensor kernels, Tensor? bias) -> Tensor");
  library.def(
      "winograd_weight_gradient(Tensor input, Tensor gradient, int frequencies) -> Tensor");
  library.impl("winograd_conv", c10::DispatchKey::CPU, &mmbss::winograd_conv);
  library.impl("winograd_weight_gradient", c10::DispatchKey::CPU, &mmbss::winograd_weight_gradient);
}
