// Batch normalisation: moments per channel in one pass over memory, and the gradients of a scale, an offset and a relu in
// one. Images are summed in parts, whose number depends on their number alone, then the parts in order.

#include "images.h"
#include "parallel.h"
#include "tile.h"

namespace cnn {
namespace {

constexpr int64_t kParts = 8;

// The sum of at(position), in several sums side by side that do not wait for each other.
template <int Lanes, class F>
typename Vector<Lanes>::type sum_of(int64_t positions, const F& at) {
  constexpr int64_t kSums = 4;
  typename Vector<Lanes>::type sums[kSums] = {};
  int64_t p = 0;
  for (; p + kSums <= positions; p += kSums) {
    for (int64_t k = 0; k < kSums; k++) sums[k] += at(p + k);
  }
  for (; p < positions; p++) sums[0] += at(p);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Weight, mean and sum of squared distances from it, of some values; chan1983algorithms.
struct Moments {
  double weight = 0.0;
  std::vector<double> mean, squares;
  explicit Moments(int64_t channels) : mean(channels), squares(channels) {}
  void add(double other, const double* other_mean, const double* other_squares) {
    if (other == 0.0) return;
    const double whole = weight + other;
    for (size_t c = 0; c < mean.size(); c++) {
      const double distance = other_mean[c] - mean[c];
      mean[c] += distance * (other / whole);
      squares[c] += other_squares[c] + distance * distance * (weight * other / whole);
    }
    weight = whole;
  }
};

ffi::Error moments(ffi::ThreadPool pool, Floats images, Floats mask, ffi::Result<Floats> mean, ffi::Result<Floats> variance) {
  const Shape<4> x(images);
  const Shape<1> m(mask), out(*mean);
  const Leading leading(x, m, out);
  const int64_t channels = x[3], positions = x[1] * x[2];
  std::vector<Moments> parts(leading.count() * kParts, Moments(channels));
  parallel_for(pool, int64_t(parts.size()), [&](int64_t i) {
    const int64_t trial = i / kParts, part = i % kParts;
    std::vector<double> image_mean(channels), image_squares(channels);
    for (int64_t n = x[0] * part / kParts; n < x[0] * (part + 1) / kParts; n++) {
      const double weight = mask.typed_data()[leading.own(m, trial) * x[0] + n];
      if (weight == 0.0) continue;
      const float* image = images.typed_data() + leading.own(x, trial) * x.elements() + n * positions * channels;
      by_lanes<kLanes, 4, 1>(channels, [&](auto lanes, int64_t c) {
        typedef typename Vector<lanes()>::type V;
        const auto at = [&](int64_t p) { return *(const V*)(image + p * channels + c); };
        const V mean = sum_of<lanes()>(positions, at) / float(positions);
        const V squares = sum_of<lanes()>(positions, [&](int64_t p) { return (at(p) - mean) * (at(p) - mean); });
        for (int l = 0; l < lanes(); l++) {
          image_mean[c + l] = mean[l];
          image_squares[c + l] = weight * squares[l];
        }
      });
      parts[i].add(weight * double(positions), image_mean.data(), image_squares.data());
    }
  });
  for (int64_t trial = 0; trial < leading.count(); trial++) {
    Moments all(channels);
    for (int64_t part = 0; part < kParts; part++) {
      const Moments& one = parts[trial * kParts + part];
      all.add(one.weight, one.mean.data(), one.squares.data());
    }
    for (int64_t c = 0; c < channels; c++) {
      mean->typed_data()[trial * channels + c] = float(all.mean[c]);
      variance->typed_data()[trial * channels + c] = float(all.weight > 0.0 ? all.squares[c] / all.weight : 0.0);
    }
  }
  return ffi::Error::Success();
}

// One image: the gradient where the relu passed it, times factor; added to of_factor and of_offset, what these have of it.
template <bool Rectify>
void gradient_of_image(const float* x, const float* gradient, int64_t positions, int64_t channels, const float* factor,
                       const float* offset, float* result, double* of_factor, double* of_offset) {
  by_lanes<kLanes, 4, 1>(channels, [&](auto lanes, int64_t c) {
    typedef typename Vector<lanes()>::type V;
    const V scale = *(const V*)(factor + c), shift = *(const V*)(offset + c);
    V products[2] = {}, sums[2] = {};
    const auto add = [&](int64_t p, int k) {
      const V value = *(const V*)(x + p * channels + c);
      V passed = *(const V*)(gradient + p * channels + c);
      if (Rectify) passed = value * scale + shift > 0.0f ? passed : V{};
      *(V*)(result + p * channels + c) = passed * scale;
      products[k] += passed * value;
      sums[k] += passed;
    };
    int64_t p = 0;
    for (; p + 2 <= positions; p += 2) {
      add(p, 0);
      add(p + 1, 1);
    }
    if (p < positions) add(p, 0);
    for (int l = 0; l < lanes(); l++) {
      of_factor[c + l] += products[0][l] + products[1][l];
      of_offset[c + l] += sums[0][l] + sums[1][l];
    }
  });
}

ffi::Error affine_gradient(ffi::ThreadPool pool, Floats images, Floats factor, Floats offset, Floats gradient,
                           ffi::Result<Floats> result, ffi::Result<Floats> of_factor, ffi::Result<Floats> of_offset,
                           int64_t rectify) {
  const Shape<4> x(images), g(gradient), r(*result);
  const Shape<1> f(factor), o(offset);
  const Leading leading(x, f, o, g, r);
  const int64_t channels = x[3], positions = x[1] * x[2], floats = positions * channels;
  std::vector<std::vector<double>> factors(leading.count() * kParts, std::vector<double>(channels)), offsets = factors;
  parallel_for(pool, int64_t(factors.size()), [&](int64_t i) {
    const int64_t trial = i / kParts, part = i % kParts;
    for (int64_t n = x[0] * part / kParts; n < x[0] * (part + 1) / kParts; n++) {
      auto image = rectify ? gradient_of_image<true> : gradient_of_image<false>;
      image(images.typed_data() + (leading.own(x, trial) * x[0] + n) * floats,
            gradient.typed_data() + (leading.own(g, trial) * x[0] + n) * floats, positions, channels,
            factor.typed_data() + leading.own(f, trial) * channels, offset.typed_data() + leading.own(o, trial) * channels,
            result->typed_data() + (trial * x[0] + n) * floats, factors[i].data(), offsets[i].data());
    }
  });
  for (int64_t i = 0; i < leading.count() * channels; i++) {
    double sum_of_factor = 0.0, sum_of_offset = 0.0;
    for (int64_t part = 0; part < kParts; part++) {
      sum_of_factor += factors[i / channels * kParts + part][i % channels];
      sum_of_offset += offsets[i / channels * kParts + part][i % channels];
    }
    of_factor->typed_data()[i] = float(sum_of_factor);
    of_offset->typed_data()[i] = float(sum_of_offset);
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_moments, guarded(moments),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Ret<Floats>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_affine_gradient, guarded(affine_gradient),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Ret<Floats>()
        .Ret<Floats>().Ret<Floats>().Attr<int64_t>("rectify"));

}  // namespace cnn
