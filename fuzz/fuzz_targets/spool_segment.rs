#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ipfix_balancer_fuzz::spool_segment::run(input));
