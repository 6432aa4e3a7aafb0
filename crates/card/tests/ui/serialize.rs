//! Digits must not reach a body, a row or a file.

fn needs<T: serde::Serialize>() {}

fn main() {
    needs::<hushpad_card::Secret>();
    needs::<hushpad_card::Card>();
    needs::<hushpad_card::Capture>();
}
