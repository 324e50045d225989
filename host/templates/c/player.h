// The world `rules` of wit/rules.wit, by hand: its imports, its exports, and how strings
// and lists cross the boundary (the component model's canonical ABI). `wit-bindgen c` writes the like
// for worlds of any size.

#ifndef PLAYER_H
#define PLAYER_H

#include <stddef.h>
#include <stdint.h>

// `enum level`.
enum level { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG };

// The case of a `term`.
enum term { TERM_INTEGER, TERM_TEXT };

// A `list<u8>` or a `string`.
struct bytes {
    uint8_t *start;
    size_t len;
};

// A `result<_, string>`.
struct result {
    uint8_t is_error;
    struct bytes error;
};

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define MIGRATE "player:host/migrate@0.1.0"

IMPORT("$root", "log") void host_log(int32_t level, const char *message, size_t len);

// `reward: func(points: term) -> s64`. The two cases share `value`: it is the integer, or the address
// of a text of `len` bytes, which belongs to the callee.
EXPORT("reward") int64_t player_reward(int32_t term, int64_t value, size_t len);

// `points: func() -> s64`.
EXPORT("points") int64_t player_points(void);

// `give-bonus: func(bonus: bonus) -> s64`. A record comes as its fields.
EXPORT("give-bonus") int64_t player_give_bonus(int64_t points, uint32_t times);

// `save: func() -> list<u8>`. The list is read before the next call.
EXPORT(MIGRATE "#save") const struct bytes *player_save(void);

// `load: func(state: list<u8>) -> result<_, string>`. The state belongs to the callee, and the result
// is read before the next call.
EXPORT(MIGRATE "#load") const struct result *player_load(uint8_t *state, size_t len);

// Where the host puts texts and lists before it calls.
EXPORT("cabi_realloc") void *player_realloc(void *old, size_t old_size, size_t align, size_t size);

#endif
