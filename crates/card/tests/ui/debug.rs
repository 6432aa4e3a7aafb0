//! Digits must not reach a log line by {:?}.

fn needs<T: std::fmt::Debug>() {}

fn main() {
    needs::<hushpad_card::Secret>();
    needs::<hushpad_card::Card>();
    needs::<hushpad_card::Capture>();
}
