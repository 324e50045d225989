// A player's state in the bytes that the built-in player saves, too: version 0, then the points as a
// zigzag varint.

#ifndef SAVED_H
#define SAVED_H

#include <stddef.h>
#include <stdint.h>

// The version and the ten bytes of the longest varint.
#define SAVED_MAX 11

// Writes the state to `bytes`. Returns its length.
size_t saved_write(uint8_t bytes[SAVED_MAX], int64_t points);

// Reads a state. Returns why it cannot be read, in plain words, or NULL.
const char *saved_read(const uint8_t *bytes, size_t len, int64_t *points);

#endif
