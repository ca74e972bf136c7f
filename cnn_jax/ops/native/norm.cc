// Batch normalisation: moments per channel in one pass over memory, and the gradients of a scale, an offset and a relu in
// one. Images are summed in parts, whose number depends on their number alone, then the parts in order.

#include <cmath>

#include "images.h"
#include "parallel.h"

namespace cnn {
namespace {

constexpr int64_t kParts = 8;

// sum[c] += f(value at c of each position), in floats over one image and in doubles over many.
struct ChannelSums {
  std::vector<float> image;
  std::vector<double> total;
  explicit ChannelSums(int64_t channels) : image(channels), total(channels) {}
  void add_image(double weight = 1.0) {
    for (size_t c = 0; c < image.size(); c++) {
      total[c] += weight * image[c];
      image[c] = 0.0f;
    }
  }
};

// Weight, mean and sum of squared distances from it, of some values; Chan, Golub & LeVeque 1983.
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
    std::vector<float> sum(channels), middle(channels);
    std::vector<double> image_mean(channels), image_squares(channels);
    for (int64_t n = x[0] * part / kParts; n < x[0] * (part + 1) / kParts; n++) {
      const double weight = mask.typed_data()[leading.own(m, trial) * x[0] + n];
      if (weight == 0.0) continue;
      const float* image = images.typed_data() + leading.own(x, trial) * x.elements() + n * positions * channels;
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (int64_t p = 0; p < positions; p++) {
        for (int64_t c = 0; c < channels; c++) sum[c] += image[p * channels + c];
      }
      for (int64_t c = 0; c < channels; c++) {
        middle[c] = sum[c] / float(positions);
        image_mean[c] = middle[c];
        sum[c] = 0.0f;
      }
      for (int64_t p = 0; p < positions; p++) {  // again, from the cache
        for (int64_t c = 0; c < channels; c++) {
          const float distance = image[p * channels + c] - middle[c];
          sum[c] += distance * distance;
        }
      }
      for (int64_t c = 0; c < channels; c++) image_squares[c] = weight * sum[c];
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

// One image: from[c] where the relu passed it, times factor; and the sums that the gradients of factor and offset need.
template <bool Rectify>
void gradient_of_image(const float* __restrict x, const float* __restrict gradient, int64_t positions, int64_t channels,
                       const float* __restrict factor, const float* __restrict offset, float* __restrict result,
                       float* __restrict of_factor, float* __restrict of_offset) {
  for (int64_t p = 0; p < positions; p++, x += channels, gradient += channels, result += channels) {
    for (int64_t c = 0; c < channels; c++) {
      const float value = x[c];
      float passed = gradient[c];
      if (Rectify) passed = value * factor[c] + offset[c] > 0.0f ? passed : 0.0f;
      result[c] = passed * factor[c];
      of_factor[c] += passed * value;
      of_offset[c] += passed;
    }
  }
}

ffi::Error affine_gradient(ffi::ThreadPool pool, Floats images, Floats factor, Floats offset, Floats gradient,
                           ffi::Result<Floats> result, ffi::Result<Floats> of_factor, ffi::Result<Floats> of_offset,
                           int64_t rectify) {
  const Shape<4> x(images), g(gradient), r(*result);
  const Shape<1> f(factor), o(offset);
  const Leading leading(x, f, o, g, r);
  const int64_t channels = x[3], positions = x[1] * x[2], floats = positions * channels;
  std::vector<ChannelSums> factors(leading.count() * kParts, ChannelSums(channels)), offsets = factors;
  parallel_for(pool, int64_t(factors.size()), [&](int64_t i) {
    const int64_t trial = i / kParts, part = i % kParts;
    for (int64_t n = x[0] * part / kParts; n < x[0] * (part + 1) / kParts; n++) {
      auto image = rectify ? gradient_of_image<true> : gradient_of_image<false>;
      image(images.typed_data() + (leading.own(x, trial) * x[0] + n) * floats,
            gradient.typed_data() + (leading.own(g, trial) * x[0] + n) * floats, positions, channels,
            factor.typed_data() + leading.own(f, trial) * channels, offset.typed_data() + leading.own(o, trial) * channels,
            result->typed_data() + (trial * x[0] + n) * floats, factors[i].image.data(), offsets[i].image.data());
      factors[i].add_image();
      offsets[i].add_image();
    }
  });
  for (int64_t i = 0; i < leading.count() * channels; i++) {
    double sum_of_factor = 0.0, sum_of_offset = 0.0;
    for (int64_t part = 0; part < kParts; part++) {
      sum_of_factor += factors[i / channels * kParts + part].total[i % channels];
      sum_of_offset += offsets[i / channels * kParts + part].total[i % channels];
    }
    of_factor->typed_data()[i] = float(sum_of_factor);
    of_offset->typed_data()[i] = float(sum_of_offset);
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_moments, moments,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Ret<Floats>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_affine_gradient, affine_gradient,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Ret<Floats>()
        .Ret<Floats>().Ret<Floats>().Attr<int64_t>("rectify"));

}  // namespace cnn
