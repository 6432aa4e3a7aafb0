//! Attended transfers (RFC 3891): the dialogs of calls through us, by their names.
//!
//! Of two calls that both run through us, who transfers names its own dialog with us; the phone that is to take over
//! knows only the other dialog of that call. So the name is exchanged for the one across. And an INVITE that replaces
//! a dialog of ours finds its call here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rsipstack::dialog::DialogId;
use uuid::Uuid;

use super::legs::Named;

/// Dialogs of answered calls, each with the one across and its call: two entries a call.
#[derive(Default)]
pub(super) struct Pairs(Mutex<HashMap<DialogId, Across>>);

#[derive(Clone)]
struct Across {
    other: DialogId,
    call: Uuid,
}

impl Pairs {
    /// The two dialogs are one call from now on.
    pub(super) fn join(&self, call: Uuid, one: &DialogId, other: &DialogId) {
        let mut pairs = self.lock();
        pairs.insert(one.clone(), Across { other: other.clone(), call });
        pairs.insert(other.clone(), Across { other: one.clone(), call });
    }

    /// The dialog is over.
    pub(super) fn part(&self, dialog: &DialogId) {
        let mut pairs = self.lock();
        if let Some(Across { other, .. }) = pairs.remove(dialog)
            && pairs.get(&other).is_some_and(|across| across.other == *dialog)
        {
            pairs.remove(&other);
        }
    }

    /// The value of `Replaces` for whoever is across from the dialog that this one names; nothing when it is
    /// none of ours.
    pub(super) fn across(&self, replaces: &str) -> Option<String> {
        let named = read(replaces)?;
        let other = self.lock().get(&named)?.other.clone();
        // The tags as that phone sees them: its own is the one it must find as `to-tag`.
        Some(format!("{};to-tag={};from-tag={}", other.call_id, other.remote_tag, other.local_tag))
    }

    /// The dialog of ours that a `Replaces` names, and its call.
    pub(super) fn named(&self, replaces: &str) -> Option<Named> {
        let dialog = read(replaces)?;
        let call = self.lock().get(&dialog)?.call;
        Some(Named { call, dialog })
    }

    /// Every change is a few insertions or removals of whole entries.
    fn lock(&self) -> MutexGuard<'_, HashMap<DialogId, Across>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Section 6.1: the tags are those of the one that is asked.
pub(super) fn read(replaces: &str) -> Option<DialogId> {
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
        let call = Uuid::from_u128(1);
        pairs.join(call, &id("in", "us1", "anna"), &id("out", "us2", "ben"));
        let named = pairs.named("in;to-tag=us1;from-tag=anna").unwrap();
        assert_eq!((named.call, named.dialog), (call, id("in", "us1", "anna")));
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
            assert_eq!((pairs.across(other), pairs.named(other)), (None, None), "{other}");
        }
        // The agent leg leads elsewhere: the old name is gone, the new one holds.
        pairs.join(call, &id("in", "us1", "anna"), &id("next", "us3", "carl"));
        pairs.part(&id("out", "us2", "ben"));
        assert_eq!(
            pairs.across("in;to-tag=us1;from-tag=anna").as_deref(),
            Some("next;to-tag=carl;from-tag=us3")
        );
        pairs.part(&id("in", "us1", "anna"));
        assert!(pairs.lock().is_empty());
    }
}
