//! See `host::hostile::store`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    host_fuzz::bounded(bytes, host::hostile::store, host_fuzz::STORE_BYTES_MAX);
});
