// AMX: products of up to 16 rows of int8 activations with 32 columns of weights at once.
//
// The sums are the same integers as those of Int8::add, so a sound does not depend on which is
// used. Tile registers are never released: the threads that use them end with the call.
#pragma once

#include "lanes.h"

#if defined(__AMX_INT8__) && defined(__AVX512F__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define V2S_TILES 1
#endif

namespace v2s {

constexpr int kTileRows = 16;
constexpr int kLeastTileRows = 3;  // fewer are faster without tiles (Xeon, two cores)
constexpr int kTileDepth = 64;  // int8 weights of a column in one tile

#if defined(V2S_TILES)

// Ask the kernel, once per process, for the tile registers (Linux, Documentation/.../xstate.rst).
inline bool have_tiles() {
  constexpr int kArchReqXcompPerm = 0x1023, kXfeatureXtileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtileData) == 0;
  return granted;
}

// Registers 0 to 3: sums. 4 and 5: activations, high and low bytes. 6 and 7: weights.
inline void configure_tiles(int rows) {
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {};
  } config;
  static_assert(sizeof config == 64, "the layout of LDTILECFG");
  for (int tile = 0; tile < 8; ++tile) config.rows[tile] = tile < 6 ? rows : kTileRows;
  // Not _tile_loadconfig: that of GCC 12 says that it reads 8 bytes, and the rest is optimized away.
  asm volatile("ldtilecfg %0" : : "m"(config));
}

// Sums of `high` and `low` activations [rows, stride row_bytes] with two vectors of columns of a
// packed group, to sums[vector][high or low][row][lane].
inline void multiply_tiles(const uint8_t* high, const uint8_t* low, int row_bytes, int width,
                           const uint8_t* weights, int32_t (*sums)[2][kTileRows][kLanes]) {
  constexpr int kTileSteps = kTileDepth / Int8::kPer;  // rows of a tile of weights
  static_assert(kTileSteps == kTileRows && kVectorBytes == 64);
  asm volatile("" : : : "memory");  // the loads below do not say what they read
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int at = 0; at < width; at += kTileDepth, weights += kTileSteps * kStepBytes) {
    _tile_loadd(4, high + at, row_bytes);
    _tile_loadd(5, low + at, row_bytes);
    _tile_loadd(6, weights, kStepBytes);
    _tile_loadd(7, weights + kVectorBytes, kStepBytes);
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 5, 6);
    _tile_dpbusd(2, 4, 7);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_stored(0, sums[0][0], 64);
  _tile_stored(1, sums[0][1], 64);
  _tile_stored(2, sums[1][0], 64);
  _tile_stored(3, sums[1][1], 64);
  asm volatile("" : : : "memory");
}

#else

inline bool have_tiles() { return false; }
inline void configure_tiles(int) {}
inline void multiply_tiles(const uint8_t*, const uint8_t*, int, int, const uint8_t*,
                           int32_t (*)[2][kTileRows][kLanes]) {}

#endif

}  // namespace v2s
