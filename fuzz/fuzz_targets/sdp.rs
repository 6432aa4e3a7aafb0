#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hushpad_fuzz::targets::sdp::run(data));
