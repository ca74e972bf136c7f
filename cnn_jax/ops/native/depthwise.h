// Depthwise convolution, each channel with one filter of its own: vectors hold neighbouring channels.
#pragma once

#include "correlation.h"

namespace cnn {

constexpr int kColumns = 6;  // positions computed together, which share the loads of the weights

inline bool is_depthwise(const Geometry& g, int64_t channels, const Shape<4>& kernel) {
  return g.groups > 1 && g.groups == channels && kernel[2] == 1 && kernel[3] == channels;
}

// Taps [low, high) of an axis that see the source from position i.
inline void taps_inside(const Axis& axis, int64_t i, int64_t length, int64_t& low, int64_t& high) {
  low = 0;
  high = int64_t(axis.taps.size());
  while (low < high && i * axis.stride + axis.shifts[low] < 0) low++;
  while (low < high && i * axis.stride + axis.shifts[high - 1] >= length) high--;
}

// out[i, j, c] = sum over taps of source[i * stride + shift, …, c] * kernel[tap, tap, c] for one image of `channels`
// channels; rows and columns of `out` lie so many floats apart.
class Depthwise {
 public:
  Depthwise(Axis rows, Axis columns, int64_t kernel_width, int64_t height, int64_t width, int64_t channels)
      : rows_(std::move(rows)), columns_(std::move(columns)), kernel_width_(kernel_width), height_(height), width_(width),
        channels_(channels) {
    const int64_t taps = int64_t(columns_.taps.size());
    for (first_ = 0; first_ < columns_.count; first_++) {
      int64_t low, high;
      taps_inside(columns_, first_, width_, low, high);
      if (low == 0 && high == taps) break;
    }
    for (end_ = first_; end_ < columns_.count; end_++) {
      int64_t low, high;
      taps_inside(columns_, end_, width_, low, high);
      if (low != 0 || high != taps) break;
    }
  }

  void run(const float* source, const float* kernel, float* out, int64_t row_floats, int64_t column_floats) const {
    for (int64_t i = 0; i < rows_.count; i++, out += row_floats) {
      int64_t low, high;
      taps_inside(rows_, i, height_, low, high);
      by_lanes<kLanes, 4, 1>(channels_, [&](auto lanes, int64_t c) {
        int64_t j = 0;
        for (; j < first_; j++) positions<lanes(), 1>(source + c, kernel + c, i, j, low, high, out + c, column_floats);
        for (; j + kColumns <= end_; j += kColumns)
          positions<lanes(), kColumns>(source + c, kernel + c, i, j, low, high, out + c, column_floats);
        for (; j < columns_.count; j++) positions<lanes(), 1>(source + c, kernel + c, i, j, low, high, out + c, column_floats);
      });
    }
  }

 private:
  template <int Lanes, int Count>
  void positions(const float* source, const float* kernel, int64_t i, int64_t j, int64_t low, int64_t high, float* out,
                 int64_t column_floats) const {
    typedef typename Vector<Lanes>::type V;
    V sum[Count] = {};
    int64_t left = 0, right = int64_t(columns_.taps.size());
    if (Count == 1) taps_inside(columns_, j, width_, left, right);
    const int64_t step = columns_.stride * channels_;
    for (int64_t a = low; a < high; a++) {
      const float* row = source + ((i * rows_.stride + rows_.shifts[a]) * width_ + j * columns_.stride) * channels_;
      const float* weights = kernel + rows_.taps[a] * kernel_width_ * channels_;
      for (int64_t b = left; b < right; b++) {
        const V w = *(const V*)(weights + columns_.taps[b] * channels_);
        const float* from = row + columns_.shifts[b] * channels_;
#pragma GCC unroll 8
        for (int p = 0; p < Count; p++) sum[p] += *(const V*)(from + p * step) * w;
      }
    }
    for (int p = 0; p < Count; p++) *(V*)(out + (j + p) * column_floats) = sum[p];
  }

  Axis rows_, columns_;
  int64_t kernel_width_, height_, width_, channels_;
  int64_t first_, end_;  // the columns of the result all of whose taps lie inside
};

// sum[a, b, c] += images[i * stride + a * dilation - low, …, c] * maps[i, j, c] over the positions of one image.
class DepthwiseKernel {
 public:
  DepthwiseKernel(const Geometry& g, const Shape<4>& x, const Shape<4>& w, int64_t maps_height, int64_t maps_width)
      : g_(g), height_(x[1]), width_(x[2]), channels_(x[3]), kernel_height_(w[0]), kernel_width_(w[1]),
        maps_height_(maps_height), maps_width_(maps_width) {}

  void add(const float* images, const float* maps, float* sum) const {
    int64_t b = 0;
    for (; b + 7 <= kernel_width_; b += 7) taps<7>(images, maps, b, sum);
    for (; b + 5 <= kernel_width_; b += 5) taps<5>(images, maps, b, sum);
    for (; b + 3 <= kernel_width_; b += 3) taps<3>(images, maps, b, sum);
    for (; b < kernel_width_; b++) taps<1>(images, maps, b, sum);
  }

 private:
  // The positions [first, end) from which tap k sees `length` positions of the images.
  static void seen(const Sliding& s, int64_t k, int64_t length, int64_t count, int64_t& first, int64_t& end) {
    first = std::clamp<int64_t>(ceil_div(s.low - k * s.dilation, s.stride), 0, count);
    end = std::clamp<int64_t>(ceil_div(length + s.low - k * s.dilation, s.stride), first, count);
  }

  // `Count` taps of each row of the kernel, from column b on.
  template <int Count>
  void taps(const float* images, const float* maps, int64_t b, float* sum) const {
    int64_t first[Count], end[Count], inner_first = 0, inner_end = maps_width_;
    for (int k = 0; k < Count; k++) {
      seen(g_.columns, b + k, width_, maps_width_, first[k], end[k]);
      inner_first = std::max(inner_first, first[k]);
      inner_end = std::min(inner_end, end[k]);
    }
    inner_end = std::max(inner_first, inner_end);
    const int64_t step = g_.columns.stride * channels_, spacing = g_.columns.dilation * channels_;
    for (int64_t a = 0; a < kernel_height_; a++) {
      int64_t top, bottom;
      seen(g_.rows, a, height_, maps_height_, top, bottom);
      by_lanes<kLanes, 4, 1>(channels_, [&](auto lanes, int64_t c) {
        typedef typename Vector<lanes()>::type V;
        V total[Count] = {};
        for (int64_t i = top; i < bottom; i++) {
          const float* row = images + (i * g_.rows.stride + a * g_.rows.dilation - g_.rows.low) * width_ * channels_ + c +
                             (b * g_.columns.dilation - g_.columns.low) * channels_;
          const float* signal = maps + i * maps_width_ * channels_ + c;
          for (int64_t j = inner_first; j < inner_end; j++) {
            const V g = *(const V*)(signal + j * channels_);
#pragma GCC unroll 8
            for (int k = 0; k < Count; k++) total[k] += *(const V*)(row + j * step + k * spacing) * g;
          }
          for (int k = 0; k < Count; k++) {
            for (int64_t j = first[k]; j < end[k]; j++) {
              if (j == inner_first && inner_end > inner_first) j = inner_end;
              if (j >= end[k]) break;
              total[k] += *(const V*)(row + j * step + k * spacing) * *(const V*)(signal + j * channels_);
            }
          }
        }
        for (int k = 0; k < Count; k++) {
          V* to = (V*)(sum + (a * kernel_width_ + b + k) * channels_ + c);
          *to += total[k];
        }
      });
    }
  }

  const Geometry& g_;
  int64_t height_, width_, channels_, kernel_height_, kernel_width_, maps_height_, maps_width_;
};

}  // namespace cnn
