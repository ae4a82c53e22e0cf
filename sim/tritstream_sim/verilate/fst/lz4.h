// What Verilator's FST writer needs of LZ4, without the library: blocks of literals only. They are
// valid LZ4, larger than need be, and spare everybody who wants waves a development package.
#pragma once
#include <cstring>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* from, char* to, int size, int) {
  char* out = to;
  *out++ = char((size < 15 ? size : 15) << 4);
  if (size >= 15) {
    int rest = size - 15;
    for (; rest >= 255; rest -= 255) *out++ = char(255);
    *out++ = char(rest);
  }
  std::memcpy(out, from, size);
  return int(out - to) + size;
}
