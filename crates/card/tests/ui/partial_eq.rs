//! A comparison would tell digits by guessing.

fn needs<T: PartialEq>() {}

fn main() {
    needs::<hushpad_card::Secret>();
    needs::<hushpad_card::Card>();
    needs::<hushpad_card::Capture>();
}
