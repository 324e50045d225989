//! See `host::hostile::values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    host_fuzz::bounded(bytes, host::hostile::values, host_fuzz::MESSAGE_BYTES_MAX);
});
