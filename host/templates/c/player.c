// The player NAME: its whole state is the variable below.
//
// Nothing saves it from call to call: the host keeps the memory that it lives in.

#include "player.h"

#include <stdlib.h>
#include <string.h>

#include "saved.h"

// How often each point of a reward counts.
static const int64_t REWARD_COUNTS = 1;

// The points. It survives traps and dead machines because its memory does.
static int64_t points;

// Says why, and ends the call: the host drops what it has changed, and the caller reads this.
static _Noreturn void refuse(const char *why, size_t len) {
    host_log(LEVEL_ERROR, why, len);
    __builtin_trap();
}

static _Noreturn void refuse_text(const char *text, size_t len) {
    static const char before[] = "not an integer: \"";
    const size_t before_len = sizeof before - 1;
    char *why = malloc(before_len + len + 1);
    if (why == NULL)
        refuse("out of memory", strlen("out of memory"));
    memcpy(why, before, before_len);
    memcpy(why + before_len, text, len);
    why[before_len + len] = '"';
    refuse(why, before_len + len + 1);
}

// Adds points and returns the new total.
static int64_t add(int64_t more, int64_t times) {
    int64_t product, total;
    if (__builtin_mul_overflow(more, times, &product) ||
        __builtin_add_overflow(points, product, &total))
        refuse("points overflow", strlen("points overflow"));
    points = total;
    return points;
}

int64_t player_reward(int32_t term, int64_t value, size_t len) {
    if (term == TERM_TEXT)
        refuse_text((const char *)(uintptr_t)value, len);
    return add(value, REWARD_COUNTS);
}

int64_t player_points(void) { return points; }

int64_t player_give_bonus(int64_t more, uint32_t times) { return add(more, times); }

// Other code takes the state over by these two: what `save` returns is given to its `load`. The bytes
// begin with a version; see saved.c.
const struct bytes *player_save(void) {
    static uint8_t state[SAVED_MAX];
    static struct bytes saved = {state, 0};
    saved.len = saved_write(state, points);
    return &saved;
}

const struct result *player_load(uint8_t *state, size_t len) {
    static struct result result;
    const char *why = saved_read(state, len, &points);
    // An empty list has no memory to give back.
    if (len > 0)
        free(state);
    result.is_error = why != NULL;
    if (why != NULL)
        result.error = (struct bytes){(uint8_t *)why, strlen(why)};
    return &result;
}

void *player_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size;
    // An empty list has no memory, but an address that is aligned.
    if (size == 0)
        return (void *)align;
    // `realloc` aligns for every type that there is.
    void *new = realloc(old, size);
    if (new == NULL)
        refuse("out of memory", strlen("out of memory"));
    return new;
}
