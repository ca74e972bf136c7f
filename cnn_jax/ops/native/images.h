// Images in a frame of zeros, and maps that exist in pooled form only.
#pragma once

#include <cstring>

#include "arrays.h"
#include "tile.h"

namespace cnn {

constexpr uint8_t kNone = 255;  // the code of a pooled value that no position gets a gradient for

template <int L>
inline void keep_lanes(const uint8_t* code, uint8_t position, const float* from, float* to) {
  typedef typename Vector<L>::type V;
  *(V*)to = widen<L>(code) == int32_t(position) ? *(const V*)from : V{};
}

// The same for fewer channels than lanes, zeros behind them. Reads as many values as there are lanes.
template <int L>
inline void keep_few(const uint8_t* code, uint8_t position, const float* from, int64_t channels, float* to) {
  typedef typename Vector<L>::type V;
  typedef typename Vector<L>::integers M;
  M number;
  for (int l = 0; l < L; l++) number[l] = l;
  *(V*)to = (widen<L>(code) == int32_t(position)) & (number < int32_t(channels)) ? *(const V*)from : V{};
}

// to[c] = from[c] where code[c] is `position`, else 0.
inline void keep_where(const uint8_t* code, uint8_t position, const float* from, int64_t channels, float* to) {
  by_lanes<kLanes, 4, 1>(channels, [&](auto lanes, int64_t c) { keep_lanes<lanes()>(code + c, position, from + c, to + c); });
}

// A part of the images of an array in a frame of zeros. In pooled form `values` has (height / pool, width / pool).
struct Images {
  const float* values;
  const uint8_t* codes;  // nullptr where the values are not pooled
  int64_t height, width, channels, pool, count;  // count: of images

  // `n` images from number `first` on: (n, frame_height, frame_width, frame_channels), with `top` rows and `left`
  // columns of zeros before. Where nothing is to be done, that is the array itself.
  const float* framed(int64_t first, int64_t n, int64_t top, int64_t left, int64_t frame_height, int64_t frame_width,
                      int64_t frame_channels, Scratch& scratch) const {
    if (!codes && !top && !left && frame_height == height && frame_width == width && frame_channels == channels)
      return values + first * height * width * channels;
    const int64_t row = frame_width * frame_channels;
    float* frame = scratch.floats(n * frame_height * row);
    const int64_t copied = std::min(width, frame_width - left);
    for (int64_t i = 0; i < n; i++) {
      for (int64_t y = 0; y < frame_height; y++) {
        float* to = frame + (i * frame_height + y) * row;
        const int64_t from = y - top;
        if (from < 0 || from >= height) {
          std::memset(to, 0, row * sizeof(float));
          continue;
        }
        std::memset(to, 0, left * frame_channels * sizeof(float));
        float* inside = to + left * frame_channels;
        if (codes) {
          unpool_row(first + i, from, copied, frame_channels, inside);
        } else {
          copy_row(values + ((first + i) * height + from) * width * channels, copied, frame_channels, inside);
        }
        std::memset(inside + copied * frame_channels, 0, (frame_width - left - copied) * frame_channels * sizeof(float));
      }
    }
    return frame;
  }

 private:
  void copy_row(const float* from, int64_t columns, int64_t frame_channels, float* to) const {
    if (frame_channels == channels) {
      std::memcpy(to, from, columns * channels * sizeof(float));
      return;
    }
    for (int64_t x = 0; x < columns; x++, from += channels, to += frame_channels) {
      std::memcpy(to, from, channels * sizeof(float));
      std::memset(to + channels, 0, (frame_channels - channels) * sizeof(float));
    }
  }

  // Row `y` of the full maps: each pooled value at the position that its code names, zero elsewhere.
  void unpool_row(int64_t image, int64_t y, int64_t columns, int64_t frame_channels, float* to) const {
    const int64_t pooled_height = height / pool, pooled_width = width / pool, row = y / pool;
    const int64_t covered = row < pooled_height ? std::min(columns, pooled_width * pool) : 0;
    const int64_t at = (image * pooled_height + row) * pooled_width * channels;
    const float* from = values + at;
    const float* values_end = values + count * pooled_height * pooled_width * channels;
    const uint8_t* code = codes + at;
    for (int64_t x = 0; x < covered; x += pool, from += channels, code += channels) {
      const bool last = from + frame_channels > values_end;  // where no more may be read than there is
      for (int64_t k = 0; k < pool && x + k < covered; k++, to += frame_channels) {
        const uint8_t position = uint8_t(y % pool * pool + k);
        if (frame_channels == 8 && channels < 8 && !last) {
          keep_few<8>(code, position, from, channels, to);
          continue;
        }
        keep_where(code, position, from, channels, to);
        for (int64_t c = channels; c < frame_channels; c++) to[c] = 0.0f;
      }
    }
    std::memset(to, 0, (columns - covered) * frame_channels * sizeof(float));
  }
};

}  // namespace cnn
