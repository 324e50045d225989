//! See `host::hostile::wave`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    host_fuzz::bounded(bytes, host::hostile::wave, host_fuzz::MESSAGE_BYTES_MAX);
});
