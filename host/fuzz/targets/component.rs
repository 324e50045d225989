//! See `host::hostile::component`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    host_fuzz::bounded(bytes, host::hostile::component, host_fuzz::COMPONENT_BYTES_MAX);
});
