// The inner loops of the native operations against sums in double, for processors on which no Python with JAX is at hand.
// Prints the vectors and how many values were compared; ends with 1 at the first that is off by more than rounding.

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "gradients.cc"
#include "pool.h"
#include "tile.cc"

namespace {

using namespace cnn;

int64_t compared = 0;

struct Sizes {
  std::vector<int64_t> all;
  std::vector<int64_t> dimensions() const { return all; }
};

std::vector<float> numbers(int64_t n) {
  static uint32_t state = 1;
  std::vector<float> values(n);
  for (float& value : values) value = float((state = state * 1664525 + 1013904223) >> 8) / float(1 << 23) - 1.0f;
  return values;
}

// Sums of n products, none larger than one: γ_n of them is less than 2 n² u.
void compare(const char* what, const std::vector<float>& found, const std::vector<double>& truth, double n) {
  for (size_t i = 0; i < truth.size(); i++, compared++) {
    if (std::abs(found[i] - truth[i]) <= 2 * n * n * std::pow(2.0, -24)) continue;
    std::printf("%s: value %zu is %g and not %g\n", what, i, found[i], truth[i]);
    std::exit(1);
  }
}

// One convolution of n square images: its forward product and both gradients.
void check_products(int64_t n, int64_t size, int64_t in, int64_t out, int64_t k, int64_t stride) {
  const int64_t low = k / 2, maps = (size + 2 * low - k) / stride + 1;
  const int64_t geometry[] = {stride, stride, 1, 1, low, low, 1, 1, 0, maps, maps};
  const Geometry g(Numbers(geometry, 11));
  const auto x = numbers(n * size * size * in), w = numbers(k * k * in * out), d = numbers(n * maps * maps * out);
  std::vector<double> y(d.size()), dx(x.size()), dw(w.size());
  for (int64_t i = 0; i < n * maps * maps; i++) {
    for (int64_t tap = 0; tap < k * k; tap++) {
      const int64_t row = i / maps % maps * stride - low + tap / k, column = i % maps * stride - low + tap % k;
      if (row < 0 || row >= size || column < 0 || column >= size) continue;
      for (int64_t c = 0; c < in; c++) {
        const int64_t at = ((i / (maps * maps) * size + row) * size + column) * in + c;
        for (int64_t f = 0; f < out; f++) {
          const int64_t weight = (tap * in + c) * out + f;
          y[i * out + f] += double(x[at]) * w[weight];
          dx[at] += double(d[i * out + f]) * w[weight];
          dw[weight] += double(d[i * out + f]) * x[at];
        }
      }
    }
  }

  Scratch scratch;
  const auto correlate = [&](const Correlation& product, const Images& source, float* result, int64_t image_floats,
                             int64_t row_floats, int64_t column_floats) {
    std::vector<float> packed(product.packed_elements());
    for (int64_t i = 0; i < product.block_count(); i++) product.pack(w.data(), i, packed.data());
    product.run(product.framed(source, 0, n, scratch), source.height, n, packed.data(), 0, product.rows().count, result,
                row_floats, product.places(image_floats, column_floats).data());
  };
  const Kernel kernel{k, k, in, out};
  const Images images{x.data(), nullptr, size, size, in, 1, n}, gradient{d.data(), nullptr, maps, maps, out, 1, n};
  std::vector<float> found(y.size());
  correlate({Axis::forward(g.rows, k, maps), Axis::forward(g.columns, k, maps), kernel, 1, false, size, size}, images,
            found.data(), maps * maps * out, maps * out, out);
  compare("forward", found, y, double(k * k * in));
  found.assign(dx.size(), NAN);
  for (int64_t row = 0; row < stride; row++) {
    for (int64_t column = 0; column < stride; column++) {
      correlate({Axis::backward(g.rows, k, size, row), Axis::backward(g.columns, k, size, column), kernel, 1, true, maps, maps},
                gradient, found.data() + (row * size + column) * in, size * size * in, stride * size * in, stride * in);
    }
  }
  compare("gradient of the images", found, dx, double(k * k * out));
  found.assign(dw.size(), NAN);
  const Shape<4> x_shape(Sizes{{n, size, size, in}}), w_shape(Sizes{{k, k, in, out}});
  const KernelGradient product(g, x_shape, w_shape, maps, maps);
  product.run(images, gradient, 0, n, 0, product.block_count(), false, found.data());
  compare("gradient of the kernel", found, dw, double(n * maps * maps));
}

// Windows of 2 x 2, and that their gradients go back to where the largest stood.
void check_pool(int64_t channels) {
  const auto maps = numbers(4 * channels), bias = numbers(channels);
  std::vector<float> pooled(channels), back(channels);
  std::vector<uint8_t> codes(channels);
  pool_window(maps.data(), 2 * channels, channels, {0, 2, 0, 2, 2}, bias.data(), true, pooled.data(), codes.data());
  std::vector<double> best(channels);
  for (int64_t c = 0; c < channels; c++) {
    for (int64_t tap = 0; tap < 4; tap++) best[c] = std::max<double>(best[c], maps[tap * channels + c] + bias[c]);
  }
  compare("pool", pooled, best, 2);
  for (uint8_t tap = 0; tap < 4; tap++) {
    keep_where(codes.data(), tap, maps.data() + tap * channels, channels, back.data());
    for (int64_t c = 0; c < channels; c++) {
      if (codes[c] != tap) best[c] = 0;
      else best[c] = maps[tap * channels + c];
    }
    compare("gradient of the pool", back, best, 1);
  }
}

}  // namespace

int main() {
  for (int64_t channels : {1, 3, 6, 8, 16, 17, 40}) {
    check_pool(channels);
    for (int64_t k : {1, 3, 5}) {
      for (int64_t stride : {1, 2}) check_products(3, 7, channels, 19, k, stride);
    }
    check_products(2, 8, 5, channels, 3, 1);
  }
  std::printf("%s %ld\n", kVectors, long(compared));
}
