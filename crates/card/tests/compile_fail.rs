//! What cannot be written: card data that is copied, compared, printed, serialised, or read outside a closure.

#[test]
fn card_data_cannot_be_copied_compared_printed_or_kept() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
