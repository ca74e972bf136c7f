// Max pooling on its own, any window; its transpose: each gradient back to the position that its code names; and the
// gradient of a bias under a pool.

#include "correlation.h"
#include "pool.h"

namespace cnn {
namespace {

// One axis of a pool: n = {size, stride, padding before}.
struct PoolAxis {
  int64_t size, stride, low;
  // The taps that lie inside an axis of `length` when the window is at position `i`.
  void inside(int64_t i, int64_t length, int64_t& begin, int64_t& end) const {
    const int64_t at = i * stride - low;
    begin = std::max<int64_t>(0, -at);
    end = std::max(begin, std::min(size, length - at));
  }
};

struct Pool {
  PoolAxis rows, columns;
  explicit Pool(Numbers n) : rows{n[0], n[2], n[4]}, columns{n[1], n[3], n[5]} {}
};

// Calls f(image, output row, output column, taps, where the first tap stands in the image) for every window.
template <class F>
void for_windows(ffi::ThreadPool& threads, const Pool& p, const Shape<4>& whole, const Shape<4>& pooled, int64_t images,
                 const F& f) {
  parallel_for(threads, images, [&](int64_t image) {
    for (int64_t i = 0; i < pooled[1]; i++) {
      Taps taps{0, 0, 0, 0, p.columns.size};
      p.rows.inside(i, whole[1], taps.top, taps.bottom);
      for (int64_t j = 0; j < pooled[2]; j++) {
        p.columns.inside(j, whole[2], taps.left, taps.right);
        const int64_t row = i * p.rows.stride - p.rows.low + taps.top;
        const int64_t column = j * p.columns.stride - p.columns.low + taps.left;
        const int64_t from = ((image * whole[1] + row) * whole[2] + column) * whole[3];
        f(((image * pooled[1] + i) * pooled[2] + j) * pooled[3], taps, from);
      }
    }
  });
}

ffi::Error max_pool(ffi::ThreadPool threads, Floats maps, ffi::Result<Floats> pooled, ffi::Result<Bytes> codes,
                    Numbers geometry) {
  const Shape<4> x(maps), y(*pooled);
  const int64_t channels = x[3], row_floats = x[2] * channels;
  for_windows(threads, Pool(geometry), x, y, own_count(x) * x[0], [&](int64_t to, const Taps& taps, int64_t from) {
    float* values = pooled->typed_data() + to;
    uint8_t* places = codes->typed_data() + to;
    if (taps.top == taps.bottom || taps.left == taps.right) {  // a window over padding alone
      std::fill_n(values, channels, -std::numeric_limits<float>::infinity());
      std::fill_n(places, channels, kNone);
    } else if (taps.top == 0 && taps.bottom == 2 && taps.left == 0 && taps.right == 2) {  // constants for the compiler
      pool_window(maps.typed_data() + from, row_floats, channels, {0, 2, 0, 2, taps.width}, nullptr, false, values, places);
    } else {
      pool_window(maps.typed_data() + from, row_floats, channels, taps, nullptr, false, values, places);
    }
  });
  return ffi::Error::Success();
}

ffi::Error unpool(ffi::ThreadPool threads, Floats gradient, Bytes codes, ffi::Result<Floats> result, Numbers geometry) {
  const Shape<4> y(gradient), code_shape(codes), x(*result);
  const Leading leading(y, code_shape, x);
  const Pool p(geometry);
  const int64_t channels = x[3], images = x[0] ? leading.count() * x[0] : 0, image_floats = x[1] * x[2] * channels;
  const int64_t pooled_floats = y[1] * y[2] * channels;
  parallel_for(threads, images, [&](int64_t i) {
    std::memset(result->typed_data() + i * image_floats, 0, image_floats * sizeof(float));
    const int64_t trial = i / x[0], image = i % x[0];
    const float* from = gradient.typed_data() + (leading.own(y, trial) * x[0] + image) * pooled_floats;
    const uint8_t* code = codes.typed_data() + (leading.own(code_shape, trial) * x[0] + image) * pooled_floats;
    for (int64_t row = 0; row < y[1]; row++) {
      Taps taps{0, 0, 0, 0, p.columns.size};
      p.rows.inside(row, x[1], taps.top, taps.bottom);
      for (int64_t column = 0; column < y[2]; column++, from += channels, code += channels) {
        p.columns.inside(column, x[2], taps.left, taps.right);
        for (int64_t a = taps.top; a < taps.bottom; a++) {
          for (int64_t b = taps.left; b < taps.right; b++) {
            const int64_t at = (row * p.rows.stride - p.rows.low + a) * x[2] + column * p.columns.stride - p.columns.low + b;
            float* to = result->typed_data() + i * image_floats + at * channels;
            const uint8_t number = uint8_t(a * taps.width + b);
            for (int64_t c = 0; c < channels; c++) to[c] += code[c] == number ? from[c] : 0.0f;
          }
        }
      }
    }
  });
  return ffi::Error::Success();
}

// The sum per channel over the positions whose code names one. Images are summed in parts, whose number depends on
// their number alone, then the parts in order.
ffi::Error bias_gradient(ffi::ThreadPool threads, Floats gradient, Bytes codes, ffi::Result<Floats> result) {
  constexpr int64_t kParts = 8, kRows = 16;  // positions summed side by side, for vectors where channels are few
  const Shape<4> y(gradient), code_shape(codes);
  const Shape<1> b(*result);
  const Leading leading(y, code_shape, b);
  const int64_t channels = b[0], positions = y[1] * y[2];
  const int64_t width = kRows * channels;
  std::vector<float> partial(leading.count() * kParts * width);
  parallel_for(threads, leading.count() * kParts, [&](int64_t i) {
    const int64_t trial = i / kParts, part = i % kParts;
    const int64_t begin = y[0] * part / kParts * positions, end = y[0] * (part + 1) / kParts * positions;
    const float* from = gradient.typed_data() + leading.own(y, trial) * y.elements() + begin * channels;
    const uint8_t* code = codes.typed_data() + leading.own(code_shape, trial) * y.elements() + begin * channels;
    float* sum = partial.data() + i * width;
    for (int64_t left = (end - begin) * channels; left > 0; left -= width, from += width, code += width) {
      for (int64_t c = 0; c < std::min(left, width); c++) {
        const float value = from[c];
        sum[c] += code[c] != kNone ? value : 0.0f;
      }
    }
  });
  for (int64_t trial = 0; trial < leading.count(); trial++) {
    float* sum = result->typed_data() + trial * channels;
    std::fill_n(sum, channels, 0.0f);
    for (int64_t row = 0; row < kParts * kRows; row++) {
      const float* from = partial.data() + (trial * kParts * kRows + row) * channels;
      for (int64_t c = 0; c < channels; c++) sum[c] += from[c];
    }
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_bias_gradient, guarded(bias_gradient),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Bytes>().Ret<Floats>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_max_pool, guarded(max_pool),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Ret<Floats>().Ret<Bytes>().Attr<Numbers>("geometry"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_unpool, guarded(unpool),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Bytes>().Ret<Floats>().Attr<Numbers>("geometry"));

}  // namespace cnn
