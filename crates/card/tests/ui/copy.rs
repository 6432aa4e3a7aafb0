//! A second copy of the digits would not be wiped with the first.

fn needs<T: Copy>() {}

fn main() {
    needs::<hushpad_card::Secret>();
    needs::<hushpad_card::Card>();
    needs::<hushpad_card::Capture>();
}
