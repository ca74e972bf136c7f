// A correlation of framed images with a packed kernel: a convolution's forward product and its gradient of the images.
#pragma once

#include <cstring>
#include <utility>

#include "images.h"
#include "parallel.h"
#include "tile.h"

namespace cnn {

constexpr int64_t kImagesPerUnit = 4;         // of work that one thread takes
constexpr int64_t kSourceFloats = 96 * 1024;  // of the source held at a time, to stay in a second-level cache
constexpr int64_t kWeightFloats = 96 * 1024;  // above this, one block of channels after the other

inline int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

// One axis of a convolution's geometry.
struct Sliding {
  int64_t stride, dilation, low;
  // How long an axis of `length` is with all the padding that a kernel of `size` reaches from `positions`.
  int64_t frame(int64_t length, int64_t size, int64_t positions) const {
    return std::max(low + length, (positions - 1) * stride + (size - 1) * dilation + 1);
  }
};

struct Geometry {
  Sliding rows, columns;
  int64_t groups;
  int64_t pool;                     // the maps are pooled by pool x pool …
  bool rectify;                     // … and rectified,
  int64_t maps_height, maps_width;  // and have this size before

  explicit Geometry(Numbers n)
      : rows{n[0], n[2], n[4]}, columns{n[1], n[3], n[5]}, groups(n[6]), pool(n[7]), rectify(n[8]), maps_height(n[9]),
        maps_width(n[10]) {}
};

// One axis of a correlation: position i of the result sees the source at i * stride + shifts[k] through taps[k] of the
// kernel. Shifts ascend evenly.
struct Axis {
  int64_t count, stride;
  std::vector<int64_t> taps, shifts;

  static Axis forward(const Sliding& s, int64_t size, int64_t count) {
    Axis axis{count, s.stride, {}, {}};
    for (int64_t k = 0; k < size; k++) axis.add(k, k * s.dilation - s.low);
    return axis;
  }
  // For the gradient of the images at start, start + s.stride, …: the taps that meet these positions.
  static Axis backward(const Sliding& s, int64_t size, int64_t length, int64_t start) {
    Axis axis{(length - start + s.stride - 1) / s.stride, 1, {}, {}};
    for (int64_t k = size; k-- > 0;) {
      const int64_t place = start + s.low - k * s.dilation;
      if (place % s.stride == 0) axis.add(k, place / s.stride);
    }
    return axis;
  }
  int64_t before() const { return shifts.empty() ? 0 : std::max<int64_t>(0, -shifts.front()); }
  int64_t spacing() const { return shifts.size() > 1 ? shifts[1] - shifts[0] : 0; }
  int64_t last() const { return shifts.empty() ? 0 : (count - 1) * stride + shifts.back(); }

 private:
  void add(int64_t tap, int64_t shift) {
    taps.push_back(tap);
    shifts.push_back(shift);
  }
};

// What a convolution's kernel looks like in memory.
struct Kernel {
  int64_t height, width, in, out;  // in: channels of a group
  int64_t elements() const { return height * width * in * out; }
};

// A correlation of images with a kernel, forward or with the kernel turned round and its channels exchanged.
class Correlation {
 public:
  Correlation(Axis rows, Axis columns, const Kernel& kernel, int64_t groups, bool backward, int64_t source_height, int64_t source_width)
      : rows_(std::move(rows)), columns_(std::move(columns)), kernel_(kernel), groups_(groups), backward_(backward) {
    in_ = backward ? kernel.out / groups : kernel.in;
    out_ = backward ? kernel.in : kernel.out / groups;
    blocks_ = blocks_of(out_);
    left_ = columns_.before();
    frame_width_ = std::max(left_ + source_width, left_ + columns_.last() + 1);
    taps_ = int64_t(rows_.taps.size() * columns_.taps.size()) * in_;
    for (size_t k = 0; k < columns_.taps.size(); k++) {
      const int64_t offset = (left_ + columns_.shifts[k]) * in_ * groups;
      if (!runs_.empty() && runs_.back().offset + runs_.back().length == offset) {
        runs_.back().length += in_;
      } else {
        runs_.push_back({offset, in_});
      }
    }
    for (int64_t image = 0; image < kImagesPerUnit; image++) {
      for (int64_t column = 0; column < columns_.count; column++) {
        offsets_.push_back((image * source_height * frame_width_ + column * columns_.stride) * in_ * groups);
      }
    }
  }
  const Axis& rows() const { return rows_; }
  int64_t frame_width() const { return frame_width_; }
  const float* framed(const Images& source, int64_t first, int64_t n, Scratch& scratch) const {
    return source.framed(first, n, 0, left_, source.height, frame_width_, source.channels, scratch);
  }
  int64_t block_count() const { return groups_ * int64_t(blocks_.size()); }
  int64_t packed_elements() const { return groups_ * packed_width(blocks_) * taps_; }

  // Packs one block's weights in the order in which the tile reads them: (tap row, tap column, channel in, lane).
  void pack(const float* kernel, int64_t index, float* packed) const {
    const int64_t group = index / int64_t(blocks_.size());
    const Block& block = blocks_[index % blocks_.size()];
    const int64_t width = block.kernels->width;
    float* to = packed + (group * packed_width(blocks_) + block.packed) * taps_;
    for (int64_t a : rows_.taps) {
      for (int64_t b : columns_.taps) {
        const float* tap = kernel + (a * kernel_.width + b) * kernel_.in * kernel_.out;
        if (backward_) {
          pack_turned(tap + block.first * kernel_.out + group * in_, block.count, width, to);
          to += in_ * width;
          continue;
        }
        const float* from = tap + group * out_ + block.first;
        for (int64_t c = 0; c < in_; c++, from += kernel_.out, to += width) {
          std::memcpy(to, from, block.count * sizeof(float));
          std::memset(to + block.count, 0, (width - block.count) * sizeof(float));
        }
      }
    }
  }

  // Where the positions of one row of all images go, as run() wants it.
  std::vector<int64_t> places(int64_t image_floats, int64_t column_floats) const {
    std::vector<int64_t> found;
    for (int64_t image = 0; image < kImagesPerUnit; image++) {
      for (int64_t column = 0; column < columns_.count; column++) {
        found.push_back(image * image_floats + column * column_floats);
      }
    }
    return found;
  }

  // Rows [first, first + n) of the result of `images` framed images; row `first` goes to `out`, the next row_floats on.
  void run(const float* framed, int64_t source_height, int64_t images, const float* packed, int64_t first, int64_t n,
           float* out, int64_t row_floats_out, const int64_t* places) const {
    const int64_t channels = in_ * groups_, row_floats = frame_width_ * channels;
    const int64_t positions = images * columns_.count;
    const int64_t taps_per_row = int64_t(columns_.taps.size()) * in_;
    const bool by_block = taps_ * packed_width(blocks_) > kWeightFloats;
    for (int64_t group = 0; group < groups_; group++) {
      for (int64_t turn = 0; turn < n * int64_t(blocks_.size()); turn++) {
        const Block& block = blocks_[by_block ? turn / n : turn % blocks_.size()];
        const int64_t row = by_block ? turn % n : turn / blocks_.size();
        const int64_t width = block.kernels->width, at = (first + row) * rows_.stride;
        int64_t low = 0, high = rows_.taps.size();  // the taps that meet a row of the source
        while (low < high && at + rows_.shifts[low] < 0) low++;
        while (low < high && at + rows_.shifts[high - 1] >= source_height) high--;
        Tile tile{};
        tile.repeats = high - low;
        tile.source_repeat = rows_.spacing() * row_floats;
        tile.weight_repeat = taps_per_row * width;
        tile.runs = runs_.data();
        tile.run_count = int64_t(runs_.size());
        tile.source = framed + group * in_ + (low < high ? (at + rows_.shifts[low]) * row_floats : 0);
        tile.source_step = 1;
        tile.weights = packed + (group * packed_width(blocks_) + block.packed) * taps_ + low * taps_per_row * width;
        tile.weight_step = width;
        tile.lanes = int(block.count);
        tile.spacing = columns_.stride * channels;
        tile.out = out + row * row_floats_out + group * out_ + block.first;
        compute_tiles(positions, columns_.count, *block.kernels, tile, [&](int64_t begin, int64_t) {
          tile.offsets = &offsets_[begin];
          tile.places = places + begin;
        });
      }
    }
  }

 private:
  // to[f][lane] = from[lane][f], lanes from `count` on zero.
  void pack_turned(const float* from, int64_t count, int64_t width, float* to) const {
    constexpr int64_t kStrip = 16;
    for (int64_t f0 = 0; f0 < in_; f0 += kStrip) {
      const int64_t f1 = std::min(in_, f0 + kStrip);
      for (int64_t lane = 0; lane < width; lane++) {
        for (int64_t f = f0; f < f1; f++) to[f * width + lane] = lane < count ? from[lane * kernel_.out + f] : 0.0f;
      }
    }
  }

  Axis rows_, columns_;
  Kernel kernel_;
  int64_t groups_;
  bool backward_;
  int64_t in_, out_, left_, frame_width_, taps_;
  std::vector<Block> blocks_;
  std::vector<Run> runs_;
  std::vector<int64_t> offsets_;  // of the positions of one row of all images
};

inline Kernel kernel_of(const Shape<4>& shape) { return {shape[0], shape[1], shape[2], shape[3]}; }

template <class S>
int64_t own_count(const S& shape) {
  int64_t n = 1;
  for (int64_t s : shape.leading) n *= s;
  return n;
}

// The weights of all trials, packed for a correlation.
inline std::unique_ptr<float[]> pack_all(ffi::ThreadPool& pool, const Correlation& correlation, const float* kernels,
                                         const Shape<4>& kernel) {
  const int64_t trials = own_count(kernel), each = correlation.packed_elements(), blocks = correlation.block_count();
  std::unique_ptr<float[]> packed(new float[trials * each]);
  parallel_for(pool, trials * blocks, [&](int64_t i) {
    const int64_t trial = i / blocks;
    correlation.pack(kernels + trial * kernel.elements(), i % blocks, packed.get() + trial * each);
  });
  return packed;
}

// How many of `images` images to hold at a time.
inline int64_t images_at_a_time(int64_t floats, int64_t images) {
  const int64_t fit = std::max<int64_t>(1, kSourceFloats / std::max<int64_t>(1, floats));
  return ceil_div(images, ceil_div(images, std::min(images, fit)));
}

// Calls f(trial, first image, end) for the units of work of all trials.
template <class F>
void for_units(ffi::ThreadPool& pool, int64_t trials, int64_t images, const F& f) {
  const int64_t units = ceil_div(images, kImagesPerUnit);
  parallel_for(pool, trials * units, [&](int64_t i) {
    const int64_t unit = i % units;
    f(i / units, images * unit / units, images * (unit + 1) / units);
  });
}

}  // namespace cnn
