//! Our brand table against that of the npm package `credit-card-type`, which many payment pages use.
//! `credit-card-type/package.json` says how `table.json` is made.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use hushpad_card::brand;
use hushpad_domain::masked_card::Brand;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Type {
    #[serde(rename = "type")]
    name: String,
    patterns: Vec<Pattern>,
    lengths: Vec<u8>,
    code: u8,
}

/// A prefix, or the first and the last of a range of prefixes.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Pattern {
    One(u32),
    Range(u32, u32),
}

impl Pattern {
    fn ends(self) -> (u32, u32) {
        match self {
            Self::One(prefix) => (prefix, prefix),
            Self::Range(from, to) => (from, to),
        }
    }

    fn digits(self) -> usize {
        self.ends().0.to_string().len()
    }

    fn holds(self, start: &str) -> bool {
        let (from, to) = self.ends();
        start
            .get(..self.digits())
            .and_then(|prefix| prefix.parse().ok())
            .is_some_and(|it| from <= it && it <= to)
    }
}

fn table() -> Vec<Type> {
    serde_json::from_str(include_str!("credit-card-type/table.json")).unwrap()
}

/// The type that they give to the start of a number, and by how many digits.
fn theirs(table: &[Type], start: &str) -> Option<(String, usize)> {
    let matching = table.iter().flat_map(|kind| kind.patterns.iter().map(move |pattern| (kind, pattern)));
    let longest =
        matching.filter(|(_, pattern)| pattern.holds(start)).max_by_key(|(_, pattern)| pattern.digits())?;
    Some((longest.0.name.clone(), longest.1.digits()))
}

/// Their name of a brand that we tell apart.
fn brand_of(name: &str) -> Option<Brand> {
    Some(match name {
        "visa" => Brand::Visa,
        "mastercard" => Brand::Mastercard,
        "american-express" => Brand::Amex,
        "diners-club" => Brand::Diners,
        "discover" => Brand::Discover,
        "jcb" => Brand::Jcb,
        "unionpay" => Brand::UnionPay,
        "maestro" => Brand::Maestro,
        _ => return None,
    })
}

/// Where we differ, and why.
fn check(table: &[Type], start: &str) -> Result<(), String> {
    let ours = brand::detect(start.as_bytes());
    let is_union_pay = start.starts_with("62") || start.starts_with("81");
    let agree = match theirs(table, start) {
        // All of 62 and 81 is UnionPay's; they list what is in use.
        _ if is_union_pay && ours == Some(Brand::UnionPay) => true,
        None => ours.is_none(),
        // Their last resort for whatever begins with 6.
        Some((name, 1)) if name == "maestro" => ours.is_none(),
        Some((name, _)) => match brand_of(&name) {
            Some(brand) => ours == Some(brand),
            // A brand that we do not tell apart counts as the one whose range it is in.
            None => true,
        },
    };
    if agree { Ok(()) } else { Err(format!("{start}: ours {ours:?}, theirs {:?}", theirs(table, start))) }
}

#[test]
fn the_edges_of_their_ranges_are_the_edges_of_ours() {
    let table = table();
    let edges = table.iter().flat_map(|kind| &kind.patterns).flat_map(|pattern| {
        let (from, to) = pattern.ends();
        [from.saturating_sub(1), from, to, to + 1]
    });
    for edge in edges {
        for filling in ["0", "9"] {
            let mut start = edge.to_string();
            while start.len() < 8 {
                start += filling;
            }
            check(&table, &start).unwrap();
        }
    }
}

#[test]
fn their_lengths_and_code_sizes_are_ours() {
    for kind in table() {
        let Some(brand) = brand_of(&kind.name) else { continue };
        let rules = brand::rules(brand);
        assert_eq!(
            (rules.lengths, rules.security_code_length),
            (kind.lengths.as_slice(), kind.code),
            "{brand:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_start_has_the_brand_that_they_give_it(start in "[0-9]{8}", six in "[2356][0-9]{7}") {
        let table = table();
        prop_assert_eq!(check(&table, &start), Ok(()));
        prop_assert_eq!(check(&table, &six), Ok(()));
    }
}
