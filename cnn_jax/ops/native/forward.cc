// Convolution forward: maps, or maps + bias pooled (and rectified) before they leave the cache.

#include "correlation.h"
#include "depthwise.h"
#include "pool.h"

namespace cnn {
namespace {

thread_local Scratch source_scratch, strip_scratch;

ffi::Error forward(ffi::ThreadPool pool, Floats images, Floats kernel, ffi::Result<Floats> maps, Numbers geometry) {
  const Geometry g(geometry);
  const Shape<4> x(images), w(kernel), y(*maps);
  const Leading leading(x, w, y);
  if (!y.elements() || !leading.count()) return ffi::Error::Success();
  if (is_depthwise(g, x[3], w)) {
    const Depthwise depthwise(Axis::forward(g.rows, w[0], y[1]), Axis::forward(g.columns, w[1], y[2]), w[1], x[1], x[2], x[3]);
    parallel_for(pool, leading.count() * x[0], [&](int64_t i) {
      const int64_t trial = i / x[0], image = leading.own(x, trial) * x[0] + i % x[0];
      depthwise.run(images.typed_data() + image * x[1] * x[2] * x[3],
                    kernel.typed_data() + leading.own(w, trial) * w.elements(),
                    maps->typed_data() + i * y[1] * y[2] * y[3], y[2] * y[3], y[3]);
    });
    return ffi::Error::Success();
  }
  const Correlation correlation(Axis::forward(g.rows, w[0], y[1]), Axis::forward(g.columns, w[1], y[2]), kernel_of(w),
                                g.groups, false, x[1], x[2]);
  const auto packed = pack_all(pool, correlation, kernel.typed_data(), w);
  const int64_t at_a_time = images_at_a_time(x[1] * correlation.frame_width() * x[3], kImagesPerUnit);
  const int64_t image_floats = y[1] * y[2] * y[3];
  const std::vector<int64_t> places = correlation.places(image_floats, y[3]);
  for_units(pool, leading.count(), x[0], [&](int64_t trial, int64_t begin, int64_t end) {
    const Images source{images.typed_data() + leading.own(x, trial) * x.elements(), nullptr, x[1], x[2], x[3], 1, x[0]};
    const float* weights = packed.get() + leading.own(w, trial) * correlation.packed_elements();
    float* out = maps->typed_data() + trial * y.elements();
    for (int64_t i = begin; i < end; i += at_a_time) {
      const int64_t n = std::min(at_a_time, end - i);
      const float* framed = correlation.framed(source, i, n, source_scratch);
      correlation.run(framed, x[1], n, weights, 0, y[1], out + i * image_floats, y[2] * y[3], places.data());
    }
  });
  return ffi::Error::Success();
}

ffi::Error forward_pooled(ffi::ThreadPool pool, Floats images, Floats kernel, Floats bias, ffi::Result<Floats> pooled,
                          ffi::Result<Bytes> codes, Numbers geometry) {
  const Geometry g(geometry);
  const Shape<4> x(images), w(kernel), y(*pooled);
  const Shape<1> b(bias);
  const Leading leading(x, w, b, y);
  // Positions that no window covers are not computed.
  const Correlation correlation(Axis::forward(g.rows, w[0], y[1] * g.pool),
                                Axis::forward(g.columns, w[1], y[2] * g.pool), kernel_of(w), g.groups, false, x[1], x[2]);
  if (!y.elements() || !leading.count()) return ffi::Error::Success();
  const auto packed = pack_all(pool, correlation, kernel.typed_data(), w);
  const int64_t at_a_time = images_at_a_time(x[1] * correlation.frame_width() * x[3], kImagesPerUnit);
  const int64_t row_floats = y[2] * g.pool * y[3];
  // Rows of windows computed at a time: one, or all where the weights do not stay in the cache.
  const int64_t strip = correlation.packed_elements() > kWeightFloats ? y[1] : 1, image_floats = strip * g.pool * row_floats;
  const std::vector<int64_t> places = correlation.places(image_floats, y[3]);
  for_units(pool, leading.count(), x[0], [&](int64_t trial, int64_t begin, int64_t end) {
    const Images source{images.typed_data() + leading.own(x, trial) * x.elements(), nullptr, x[1], x[2], x[3], 1, x[0]};
    const float* weights = packed.get() + leading.own(w, trial) * correlation.packed_elements();
    const float* shift = bias.typed_data() + leading.own(b, trial) * b[0];
    for (int64_t i = begin; i < end; i += at_a_time) {
      const int64_t n = std::min(at_a_time, end - i);
      const float* framed = correlation.framed(source, i, n, source_scratch);
      float* maps = strip_scratch.floats(n * image_floats);
      for (int64_t first = 0; first < y[1]; first += strip) {
        correlation.run(framed, x[1], n, weights, first * g.pool, strip * g.pool, maps, row_floats, places.data());
        for (int64_t image = 0; image < n; image++) {
          for (int64_t row = 0; row < strip; row++) {
            const float* from = maps + image * image_floats + row * g.pool * row_floats;
            const int64_t to = trial * y.elements() + ((i + image) * y[1] + first + row) * y[2] * y[3];
            float* values = pooled->typed_data() + to;
            uint8_t* places = codes->typed_data() + to;
            for (int64_t column = 0; column < y[2]; column++, values += y[3], places += y[3], from += g.pool * y[3]) {
              if (g.pool == 2) {  // constants that the compiler sees
                pool_window(from, row_floats, y[3], {0, 2, 0, 2, 2}, shift, g.rectify, values, places);
              } else {
                pool_window(from, row_floats, y[3], {0, g.pool, 0, g.pool, g.pool}, shift, g.rectify, values, places);
              }
            }
          }
        }
      }
    }
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_forward, guarded(forward),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Attr<Numbers>("geometry"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_forward_pooled, guarded(forward_pooled),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Ret<Bytes>()
        .Attr<Numbers>("geometry"));

}  // namespace cnn
