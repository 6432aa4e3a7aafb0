//! `POST /view/{guid}/act`: what the agent does on the page.

use std::sync::Arc;

use axum::extract::{Request, State};
use http::StatusCode;
use hushpad_domain::field::Field;
use hushpad_domain::page::AgentAction;
use hushpad_domain::ports::ActError;

use super::open::form_fields;
use super::refusal::PageRefusal;
use super::{PageHost, PagePath, page_handle};
use crate::tokens::PageId;

/// `action=redo&field=security_code` fits many times.
pub(super) const FORM_BYTES_MAX: usize = 1024;

/// Hands the action on to the secure side. What it changes comes by the live page.
pub(super) async fn act(
    State(host): State<Arc<PageHost>>,
    PagePath(guid): PagePath,
    request: Request,
) -> Result<StatusCode, PageRefusal> {
    let (head, body) = request.into_parts();
    let handle = page_handle(&host, &head.headers)?;
    host.pages.check(PageId::Payment(guid), handle, host.parts.world.now())?;
    let form = form_fields(&head.headers, body, FORM_BYTES_MAX).await?;
    let action = read_action(&form).ok_or(PageRefusal::Malformed)?;
    match host.parts.secure_side.act(guid, action).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // What stands in the way, the page says beside it.
        Err(ActError::NotNow | ActError::NoLiveCall(_) | ActError::CallTaken | ActError::NoLink) => {
            Err(PageRefusal::NotNow)
        }
        Err(ActError::Unavailable) => Err(PageRefusal::Unavailable),
        Err(ActError::Gone) => Err(PageRefusal::Gone),
    }
}

fn read_action(form: &[(String, String)]) -> Option<AgentAction> {
    let get = |wanted: &str| form.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let field = || get("field").and_then(Field::from_name);
    match get("action")? {
        "start" => field().map(AgentAction::Start),
        "redo" => field().map(AgentAction::Redo),
        "pay" => Some(AgentAction::Pay),
        "link" => Some(AgentAction::IssueLink),
        "revoke" => Some(AgentAction::RevokeLink),
        "keypad" => Some(AgentAction::TakeByKeypad(None)),
        "cancel" => Some(AgentAction::Cancel),
        "key" => match get("key")?.as_bytes() {
            [key @ (b'0'..=b'9' | b'*' | b'#')] => Some(AgentAction::TestKey(*key)),
            _ => None,
        },
        _ => None,
    }
}
