#include "saved.h"

#include <stdbool.h>

// A new version gets the next number, and `saved_read` goes on reading the older ones.
static const uint8_t VERSION = 0;

static const char *const DAMAGED = "the saved state is cut off or damaged";

size_t saved_write(uint8_t bytes[SAVED_MAX], int64_t points) {
    // Small numbers of either sign become small numbers: 0, -1, 1, -2 … are 0, 1, 2, 3 …
    uint64_t rest = ((uint64_t)points << 1) ^ (points < 0 ? UINT64_MAX : 0);
    size_t len = 0;
    bytes[len++] = VERSION;
    for (; rest >= 0x80; rest >>= 7)
        bytes[len++] = (uint8_t)(rest | 0x80);
    bytes[len++] = (uint8_t)rest;
    return len;
}

const char *saved_read(const uint8_t *bytes, size_t len, int64_t *points) {
    if (len == 0)
        return DAMAGED;
    if (bytes[0] != VERSION)
        return "the saved state has another version than 0, the only one that this player reads";
    uint64_t number = 0;
    for (size_t at = 1; at < len; at++) {
        uint64_t bits = bytes[at] & 0x7f;
        unsigned shift = 7 * (unsigned)(at - 1);
        // 64 bits are nine times seven and one more.
        if (shift > 63 || (shift == 63 && bits > 1))
            return DAMAGED;
        number |= bits << shift;
        bool is_last = bytes[at] < 0x80;
        if (is_last && at + 1 == len) {
            *points = (int64_t)((number >> 1) ^ (number & 1 ? UINT64_MAX : 0));
            return NULL;
        }
        if (is_last)
            break;
    }
    return DAMAGED;
}
