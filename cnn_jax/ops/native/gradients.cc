// The gradients of a convolution's images and kernel. The gradient of the maps comes whole, or in pooled form with codes.

#include "correlation.h"
#include "depthwise.h"

namespace cnn {
namespace {

thread_local Scratch source_scratch, maps_scratch;

// The gradient of the maps as it comes: pooled where `codes` is given, then for maps of `height` x `width`.
struct MapsGradient {
  const Floats& values;
  const Bytes* codes;
  Shape<4> shape, code_shape;
  int64_t height, width, pool;

  MapsGradient(const Floats& values, const Bytes* codes, const Geometry& g)
      : values(values), codes(codes), shape(values), code_shape(codes ? Shape<4>(*codes) : shape),
        height(codes ? g.maps_height : shape[1]), width(codes ? g.maps_width : shape[2]), pool(codes ? g.pool : 1) {}

  Images of(const Leading& leading, int64_t trial) const {
    const int64_t n = shape.elements();
    const uint8_t* code = codes ? codes->typed_data() + leading.own(code_shape, trial) * n : nullptr;
    return {values.typed_data() + leading.own(shape, trial) * n, code, height, width, shape[3], pool, shape[0]};
  }
};

ffi::Error data_gradient_of(ffi::ThreadPool& pool, const MapsGradient& maps, const Floats& kernel, Floats& result,
                            const Geometry& g) {
  const Shape<4> w(kernel), x(result);
  const Leading leading(maps.shape, maps.code_shape, w, x);
  if (!x.elements() || !leading.count()) return ffi::Error::Success();
  const int64_t row_floats = x[2] * x[3], image_floats = x[1] * row_floats;
  // With a stride, the positions of the images fall into stride x stride classes, each met by taps of its own.
  const bool depthwise = !maps.codes && is_depthwise(g, x[3], w);
  for (int64_t row = 0; row < std::min(g.rows.stride, x[1]); row++) {
    for (int64_t column = 0; column < std::min(g.columns.stride, x[2]); column++) {
      if (depthwise) {
        const Depthwise turned(Axis::backward(g.rows, w[0], x[1], row), Axis::backward(g.columns, w[1], x[2], column), w[1],
                               maps.height, maps.width, x[3]);
        parallel_for(pool, leading.count() * x[0], [&](int64_t i) {
          const int64_t trial = i / x[0], image = i % x[0];
          turned.run(maps.of(leading, trial).values + image * maps.height * maps.width * x[3],
                     kernel.typed_data() + leading.own(w, trial) * w.elements(),
                     result.typed_data() + i * image_floats + row * row_floats + column * x[3], g.rows.stride * row_floats,
                     g.columns.stride * x[3]);
        });
        continue;
      }
      const Correlation correlation(Axis::backward(g.rows, w[0], x[1], row),
                                    Axis::backward(g.columns, w[1], x[2], column), kernel_of(w), g.groups, true, maps.height, maps.width);
      const auto packed = pack_all(pool, correlation, kernel.typed_data(), w);
      const std::vector<int64_t> places = correlation.places(image_floats, g.columns.stride * x[3]);
      const int64_t frame_floats = maps.height * correlation.frame_width() * w[3];
      const int64_t at_a_time = images_at_a_time(frame_floats, kImagesPerUnit);
      for_units(pool, leading.count(), x[0], [&](int64_t trial, int64_t begin, int64_t end) {
        const Images source = maps.of(leading, trial);
        const float* weights = packed.get() + leading.own(w, trial) * correlation.packed_elements();
        float* out = result.typed_data() + trial * x.elements() + row * row_floats + column * x[3];
        for (int64_t i = begin; i < end; i += at_a_time) {
          const int64_t n = std::min(at_a_time, end - i);
          const float* framed = correlation.framed(source, i, n, source_scratch);
          correlation.run(framed, maps.height, n, weights, 0, correlation.rows().count, out + i * image_floats,
                          g.rows.stride * row_floats, places.data());
        }
      });
    }
  }
  return ffi::Error::Success();
}

// The images are cut into parts, whose number depends on shapes alone; each is summed on its own, then they are added in
// order. Large kernels have fewer parts and are cut by channels instead.
int64_t parts_of(int64_t images, int64_t elements) {
  return std::min<int64_t>(images, elements <= 128 * 1024 ? 8 : elements <= 1024 * 1024 ? 4 : 2);
}

void add_parts(ffi::ThreadPool& pool, const float* parts, int64_t count, int64_t elements, int64_t trials, float* result) {
  constexpr int64_t kSlice = 4096;
  const int64_t slices = ceil_div(elements, kSlice);
  parallel_for(pool, trials * slices, [&](int64_t i) {
    const int64_t trial = i / slices, from = i % slices * kSlice, n = std::min(kSlice, elements - from);
    float* to = result + trial * elements + from;
    const float* part = parts + trial * count * elements + from;
    std::memcpy(to, part, n * sizeof(float));
    for (int64_t p = 1; p < count; p++) {
      part += elements;
      for (int64_t j = 0; j < n; j++) to[j] += part[j];
    }
  });
}

// The kernel's gradient as a sum over images and positions: taps of the framed images times channels of the maps.
class KernelGradient {
 public:
  KernelGradient(const Geometry& g, const Shape<4>& x, const Shape<4>& w, int64_t maps_height, int64_t maps_width)
      : g_(g), x_(x), w_(w), maps_height_(maps_height), maps_width_(maps_width), blocks_(blocks_of(w[3] / g.groups)) {
    frame_height_ = g.rows.frame(x[1], w[0], maps_height);
    frame_width_ = g.columns.frame(x[2], w[1], maps_width);
    group_out_ = w[3] / g.groups;
    const Block& last = blocks_.back();  // its whole width is read
    maps_channels_ = std::max(w[3], w[3] - group_out_ + last.first + last.kernels->width);
    for (int64_t h = 0; h < maps_height; h++) runs_.push_back({h * g.rows.stride * frame_width_ * x[3], maps_width});
    const int64_t in = w[2], taps = w[0] * w[1] * in;
    for (int64_t t = 0; t < taps; t++) {
      const int64_t a = t / (w[1] * in), b = t / in % w[1];
      offsets_.push_back((a * g.rows.dilation * frame_width_ + b * g.columns.dilation) * x[3] + t % in);
      places_.push_back(t * w[3]);
    }
  }
  int64_t block_count() const { return int64_t(blocks_.size()); }
  int64_t image_floats() const {
    return frame_height_ * frame_width_ * x_[3] + maps_height_ * maps_width_ * maps_channels_;
  }

  // sum (+)= the part of `n` images from number `first`, for blocks [begin, end) of every group.
  void run(const Images& images, const Images& maps, int64_t first, int64_t n, int64_t begin, int64_t end, bool add,
           float* sum) const {
    const float* framed =
        images.framed(first, n, g_.rows.low, g_.columns.low, frame_height_, frame_width_, x_[3], source_scratch);
    const float* weights = maps.framed(first, n, 0, 0, maps_height_, maps_width_, maps_channels_, maps_scratch);
    const int64_t row_floats = frame_width_ * x_[3], taps_per_row = w_[1] * w_[2];
    for (int64_t group = 0; group < g_.groups; group++) {
      for (int64_t k = begin; k < end; k++) {
        const Block& block = blocks_[k];
        const int64_t channel = group * group_out_ + block.first;
        Tile tile{};
        tile.source = framed + group * w_[2];
        tile.repeats = n;
        tile.source_repeat = frame_height_ * row_floats;
        tile.weight_repeat = maps_height_ * maps_width_ * maps_channels_;
        tile.source_step = g_.columns.stride * x_[3];
        tile.spacing = 1;  // the channels of a tap
        tile.weight_step = maps_channels_;
        tile.out = sum + channel;
        tile.lanes = int(block.count);
        tile.add = add;
        compute_tiles(int64_t(offsets_.size()), w_[2], *block.kernels, tile, [&](int64_t tap, int64_t count) {
          // Only the rows of maps at which some tap of the tile sees a row of the images.
          const int64_t highest = tap / taps_per_row * g_.rows.dilation;
          const int64_t lowest = (tap + count - 1) / taps_per_row * g_.rows.dilation;
          const int64_t h0 = std::clamp<int64_t>(ceil_div(g_.rows.low - lowest, g_.rows.stride), 0, maps_height_);
          const int64_t h1 = std::min(maps_height_, ceil_div(x_[1] + g_.rows.low - highest, g_.rows.stride));
          tile.runs = runs_.data() + h0;
          tile.run_count = std::max<int64_t>(0, h1 - h0);
          tile.weights = weights + h0 * maps_width_ * maps_channels_ + channel;
          tile.offsets = &offsets_[tap];
          tile.places = &places_[tap];
        });
      }
    }
  }

 private:
  const Geometry& g_;
  const Shape<4>&x_, &w_;
  int64_t maps_height_, maps_width_, frame_height_, frame_width_, group_out_, maps_channels_;
  std::vector<Block> blocks_;
  std::vector<int64_t> offsets_, places_;  // of the taps in the framed images, and in the kernel
  std::vector<Run> runs_;         // the rows of the maps
};

ffi::Error kernel_gradient_of(ffi::ThreadPool& pool, const Floats& images, const MapsGradient& maps, Floats& result,
                              const Geometry& g) {
  const Shape<4> x(images), w(result);
  const Leading leading(x, maps.shape, maps.code_shape, w);
  const int64_t trials = leading.count(), elements = w.elements();
  if (!elements || !trials) return ffi::Error::Success();
  if (!x.elements() || !maps.shape.elements()) {
    std::memset(result.typed_data(), 0, trials * elements * sizeof(float));
    return ffi::Error::Success();
  }
  const int64_t parts = parts_of(x[0], elements);
  if (!maps.codes && is_depthwise(g, x[3], w)) {
    const DepthwiseKernel depthwise(g, x, w, maps.height, maps.width);
    std::vector<float> sums(trials * parts * elements);
    parallel_for(pool, trials * parts, [&](int64_t unit) {
      const int64_t part = unit % parts, trial = unit / parts;
      const float* values = images.typed_data() + leading.own(x, trial) * x.elements();
      const float* gradient = maps.of(leading, trial).values;
      for (int64_t i = x[0] * part / parts; i < x[0] * (part + 1) / parts; i++) {
        depthwise.add(values + i * x[1] * x[2] * x[3], gradient + i * maps.height * maps.width * x[3],
                      sums.data() + unit * elements);
      }
    });
    add_parts(pool, sums.data(), parts, elements, trials, result.typed_data());
    return ffi::Error::Success();
  }
  const KernelGradient product(g, x, w, maps.height, maps.width);
  const int64_t block_parts = std::min(product.block_count(), std::max<int64_t>(1, elements / (128 * 1024)));
  const int64_t at_a_time = images_at_a_time(product.image_floats(), ceil_div(x[0], parts));
  std::unique_ptr<float[]> partial(parts > 1 ? new float[trials * parts * elements] : nullptr);
  float* sums = partial ? partial.get() : result.typed_data();
  parallel_for(pool, trials * parts * block_parts, [&](int64_t unit) {
    const int64_t part_of_blocks = unit % block_parts, part = unit / block_parts % parts, trial = unit / block_parts / parts;
    const int64_t begin = x[0] * part / parts, end = x[0] * (part + 1) / parts;
    const Images source{images.typed_data() + leading.own(x, trial) * x.elements(), nullptr, x[1], x[2], x[3], 1, x[0]};
    const Images gradient = maps.of(leading, trial);
    for (int64_t i = begin; i < end; i += at_a_time) {
      product.run(source, gradient, i, std::min(at_a_time, end - i), product.block_count() * part_of_blocks / block_parts,
                  product.block_count() * (part_of_blocks + 1) / block_parts, i > begin, sums + (trial * parts + part) * elements);
    }
  });
  if (partial) add_parts(pool, sums, parts, elements, trials, result.typed_data());
  return ffi::Error::Success();
}

ffi::Error data_gradient(ffi::ThreadPool pool, Floats gradient, Floats kernel, ffi::Result<Floats> result, Numbers geometry) {
  const Geometry g(geometry);
  return data_gradient_of(pool, {gradient, nullptr, g}, kernel, *result, g);
}

ffi::Error data_gradient_pooled(ffi::ThreadPool pool, Floats gradient, Floats kernel, Bytes codes,
                                ffi::Result<Floats> result, Numbers geometry) {
  const Geometry g(geometry);
  return data_gradient_of(pool, {gradient, &codes, g}, kernel, *result, g);
}

ffi::Error kernel_gradient(ffi::ThreadPool pool, Floats images, Floats gradient, ffi::Result<Floats> result,
                           Numbers geometry) {
  const Geometry g(geometry);
  return kernel_gradient_of(pool, images, {gradient, nullptr, g}, *result, g);
}

ffi::Error kernel_gradient_pooled(ffi::ThreadPool pool, Floats images, Floats gradient, Bytes codes,
                                  ffi::Result<Floats> result, Numbers geometry) {
  const Geometry g(geometry);
  return kernel_gradient_of(pool, images, {gradient, &codes, g}, *result, g);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_data_gradient, guarded(data_gradient),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Attr<Numbers>("geometry"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_data_gradient_pooled, guarded(data_gradient_pooled),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Bytes>().Ret<Floats>()
        .Attr<Numbers>("geometry"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_kernel_gradient, guarded(kernel_gradient),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Attr<Numbers>("geometry"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_kernel_gradient_pooled, guarded(kernel_gradient_pooled),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Bytes>().Ret<Floats>()
        .Attr<Numbers>("geometry"));

}  // namespace cnn
