//! Attended transfers of two calls that both run through us (RFC 3891).
//!
//! Who transfers names its own dialog with us; the phone that is to take over knows only the other dialog of that
//! call. So the name is exchanged for the one across.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rsipstack::dialog::DialogId;

/// Dialogs of answered calls, each with the one across: two entries a call.
#[derive(Default)]
pub(super) struct Pairs(Mutex<HashMap<DialogId, DialogId>>);

impl Pairs {
    /// The two dialogs are one call from now on.
    pub(super) fn join(&self, one: &DialogId, other: &DialogId) {
        let mut pairs = self.lock();
        pairs.insert(one.clone(), other.clone());
        pairs.insert(other.clone(), one.clone());
    }

    /// The dialog is over.
    pub(super) fn part(&self, dialog: &DialogId) {
        let mut pairs = self.lock();
        if let Some(other) = pairs.remove(dialog)
            && pairs.get(&other) == Some(dialog)
        {
            pairs.remove(&other);
        }
    }

    /// The value of `Replaces` for whoever is across from the dialog that this one names; nothing when it is
    /// none of ours.
    pub(super) fn across(&self, replaces: &str) -> Option<String> {
        let named = read(replaces)?;
        let other = self.lock().get(&named)?.clone();
        // The tags as that phone sees them: its own is the one it must find as `to-tag`.
        Some(format!("{};to-tag={};from-tag={}", other.call_id, other.remote_tag, other.local_tag))
    }

    /// Every change is a few insertions or removals of whole entries.
    fn lock(&self) -> MutexGuard<'_, HashMap<DialogId, DialogId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Section 6.1: the tags are those of the one that is asked.
fn read(replaces: &str) -> Option<DialogId> {
    let mut parts = replaces.split(';').map(str::trim);
    let call_id = parts.next().filter(|id| !id.is_empty())?.to_owned();
    let (mut local_tag, mut remote_tag) = (None, None);
    for part in parts {
        match part.split_once('=') {
            Some((name, tag)) if name.eq_ignore_ascii_case("to-tag") => local_tag = Some(tag.to_owned()),
            Some((name, tag)) if name.eq_ignore_ascii_case("from-tag") => remote_tag = Some(tag.to_owned()),
            _ => {}
        }
    }
    Some(DialogId { call_id, local_tag: local_tag?, remote_tag: remote_tag? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(call_id: &str, local_tag: &str, remote_tag: &str) -> DialogId {
        let own = str::to_owned;
        DialogId { call_id: own(call_id), local_tag: own(local_tag), remote_tag: own(remote_tag) }
    }

    #[test]
    fn a_dialog_of_ours_is_exchanged_for_the_one_across_while_it_lasts() {
        let pairs = Pairs::default();
        pairs.join(&id("in", "us1", "anna"), &id("out", "us2", "ben"));
        assert_eq!(
            pairs.across("in;to-tag=us1;from-tag=anna").as_deref(),
            Some("out;to-tag=ben;from-tag=us2")
        );
        assert_eq!(
            pairs.across("out;from-tag=ben;to-tag=us2").as_deref(),
            Some("in;to-tag=anna;from-tag=us1")
        );
        for other in ["in;to-tag=anna;from-tag=us1", "in;to-tag=us1", "in", "", "x;to-tag=us1;from-tag=anna"]
        {
            assert_eq!(pairs.across(other), None, "{other}");
        }
        // The agent leg leads elsewhere: the old name is gone, the new one holds.
        pairs.join(&id("in", "us1", "anna"), &id("next", "us3", "carl"));
        pairs.part(&id("out", "us2", "ben"));
        assert_eq!(
            pairs.across("in;to-tag=us1;from-tag=anna").as_deref(),
            Some("next;to-tag=carl;from-tag=us3")
        );
        pairs.part(&id("in", "us1", "anna"));
        assert!(pairs.lock().is_empty());
    }
}
