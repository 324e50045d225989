//! See `host::hostile::deltas`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    host_fuzz::bounded(bytes, host::hostile::deltas, host_fuzz::MESSAGE_BYTES_MAX);
});
