//! Digits must not reach a text by {} or to_string.

fn needs<T: std::fmt::Display>() {}

fn main() {
    needs::<hushpad_card::Secret>();
    needs::<hushpad_card::Card>();
    needs::<hushpad_card::Capture>();
}
